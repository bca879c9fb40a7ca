"""What begins at once imports no torch: counted in modules, for a clock would depend on luck."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Told by name: torch and what it or a backbone's library drags in.
HEAVY = (
    "torch", "torchvision", "timm", "transformers", "numpy", "safetensors", "PIL", "rich", "sympy",
)  # fmt: skip

RUN = """
import sys
from composer.cli import main
try:
    main({args!r})
except SystemExit as left:
    status = left.code
print("loaded", *[name for name in {heavy!r} if name in sys.modules], status, file=sys.stderr)
"""

LIGHT = [
    ([], 0),
    (["--help"], 0),
    (["--version"], 0),
    (["insert", "--help"], 0),
    (["lift", "--help"], 0),
    (["lift", "timm.layers:SEModule", "--layout", "n,c"], 2),
    (["lift", "timm.layers:SEModule", "--name", "se"], 2),
    (["list", "specs"], 0),
    (["list", "ops"], 0),
    (["list", "backbones"], 0),
    (["list", "backbones", "--filter", "resnet"], 0),
    (["list", "backbones", "--filter", "zzz"], 1),
    (["check", "se", "cbam"], 0),
    (["check", "no.yaml"], 1),
    (["list", "ops", "pool"], 0),
    (["new", "mine"], 0),
    (["new", "mine", "--from", "cbam"], 0),
    (["new", "se"], 2),
    (["schema"], 0),
    (["inser"], 2),
    (["insert", "--spec", "sse", "--into", "resnet18"], 1),
    (["insert", "--spec", "se", "--into", "resnet19"], 1),
    (["insert", "--spec", "se", "--into", "torchvision:resnet19"], 1),
    (["insert", "--spec", "se", "--into", "resnet18", "--set", "x=1"], 2),
    (["insert", "--spec", "se", "--into", "resnet18", "--stages", "x"], 2),
    (["insert", "--spec", "se", "--into", "resnet18", "--weights", "no.pth"], 1),
    (["insert", "--spec", "se", "--into", "resnet18", "--input", "no.png"], 1),
    (["insert", "--spec", "se", "--into", "resnet18", "-o", "/proc/x"], 1),
    (["show", "se"], 0),
    (["show", "se", "--yaml"], 0),
    (["show", "se", "--latex"], 0),
    (["show", "sk", "--json"], 0),
    (["show", "mhsa", "--channels", "60"], 1),
    (["show", "se", "--size", "x"], 2),
    (["show", "se", "--set", "x=1"], 2),
    (["study", "--help"], 0),
    (["study", "run", "--help"], 0),
    (["study", "plan", "no.yaml"], 1),
    (["sites", "resnet19"], 1),
    (["sites", "hf:nowhere"], 1),
]


@pytest.mark.quick(8, then="long")
@pytest.mark.parametrize(("args", "status"), LIGHT, ids=str)
def test_torch_stays_out(args, status, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(args=args, heavy=HEAVY)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""},
    )
    assert done.stderr.splitlines()[-1] == f"loaded {status}"


def test_the_package_itself_imports_nothing():
    code = "import sys, composer as c; dir(c); print([m for m in sys.modules if 'composer.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"

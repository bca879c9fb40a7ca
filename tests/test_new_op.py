"""`composer new NAME --op`: the package that it writes installs, keeps the laws, and is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command import Command
from installed import install as install
from probe import random

import composer
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.neighbours import looking_at_neighbours
from composer.graph.passes import compile_graph
from composer.testing import LAWS, check_op

ROOT = Path(__file__).parents[1]
FILES = [
    "composer_soften/__init__.py", "composer_soften/soften.py", "composer_soften/specs/__init__.py",
    "composer_soften/specs/soften_gate.yaml", "pyproject.toml", "tests/test_soften.py",
]  # fmt: skip


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Command:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Command(capsys)


def installed(install, run, name: str = "soften") -> Path:
    """Write a new op, and install it as pip would: its files, and its entry points as metadata."""
    import tomllib

    run.fine("new", name, "--op")
    project = tomllib.loads((Path(name) / "pyproject.toml").read_text())
    files = {
        str(path.relative_to(name)): path.read_text() for path in Path(name).rglob("*")
        if path.suffix in (".py", ".yaml") and "tests" not in path.parts
    }  # fmt: skip
    install(project["project"]["name"], project["project"]["entry-points"], files)
    return Path(name)


def test_what_is_written(run):
    result = run.fine("new", "soften", "--op")
    found = sorted(str(p.relative_to("soften")) for p in Path("soften").rglob("*") if p.is_file())
    assert found == FILES
    assert result.out.startswith("written to soften: pyproject.toml, ")
    assert result.err == (
        "next: pip install --no-build-isolation -e soften, pytest soften, "
        "composer insert --spec soften_gate --into resnet50\n"
    )
    for path in FILES:
        text = (Path("soften") / path).read_text()
        assert not {"NAME", "SPEC", "CLASS", "DASHED"} & set(text.replace('"', " ").split()), path
    told = run.fine("new", "other", "--op", "-o", "deep/er", "--json").json
    assert (told["name"], told["output"], sorted(told["files"])[-1]) == (
        "other", "deep/er", "tests/test_other.py"
    )  # fmt: skip
    assert Path("deep/er/composer_other/other.py").is_file()


def test_the_op_keeps_all_laws_and_its_spec_is_inserted(install, run):
    installed(install, run)
    check_op("soften", only=[law for law in LAWS if law not in ("compiled", "exported")])
    module = composer.build("soften_gate", channels=4, dtype=torch.float64)
    x = random(2, 4, 5, 6)
    want = x * (x + 0.5 * (x - x.mean((2, 3), keepdim=True))).sigmoid()
    torch.testing.assert_close(module(x), want)
    shown = run.fine("show", "soften_gate", "--channels", "4").out
    assert "soften over h, w" in shown and "receptive field: the whole map" not in shown
    schedule = run.fine("list", "ops", "soften").out
    assert "how much more; 0 gives back x" in schedule


@pytest.mark.parametrize(("over", "looks"), [("[h, w]", False), ("c", False), ("h", True)])
def test_whether_it_looks_at_neighbours(install, run, over: str, looks: bool):
    installed(install, run)
    text = f"name: t\ninput: [b, c, h, w]\nnodes:\n  a: {{op: soften, over: {over}}}\n"
    graph = compile_graph(graph_of(load_spec(text), Settings({"c": 4})))
    assert (looking_at_neighbours(graph) is not None) == looks


@pytest.mark.long
def test_the_tests_that_it_writes_pass(install, run):
    """In a process of their own, by pytest, as the author runs them."""
    folder = installed(install, run)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not compiled",
         str(folder / "tests")],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{sys.path[0]}:{ROOT}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


REFUSED = [
    (("pool", "--op"), 2, "error[bad-name]: there is an op named 'pool'\n"
     "  help: choose another name, such as my_pool\n"),
    (("Soften-It", "--op"), 2, "error[bad-name]: 'Soften-It' is not a name for an op\n"
     "  help: use lower-case letters, digits and _, such as soften_it\n"),
    (("3d", "--op"), 2, "error[bad-name]: '3d' is not a name for an op\n"
     "  help: use lower-case letters, digits and _, such as op_3d\n"),
    (("class", "--op"), 2, "error[bad-name]: 'class' is a reserved word, not a name\n"
     "  help: choose another name, such as class_op\n"),
    (("a" * 60, "--op"), 2, "error[bad-name]: a name of 60 characters is too long\n"
     "  help: use at most 55\n"),
    (("soften", "--op", "--from", "se"), 2, "error[usage]: --from is for a spec, and --op is "
        "for an op\n"
     "  help: omit one of them\n"),
    (("soften", "--op", "--force"), 2, "error[usage]: --force overwrites a file, and an op is a "
     "folder\n  help: choose another with -o\n"),
    (("there", "--op"), 1, "there: error[output]: exists already\n  help: choose another with "
                           "-o\n"),
    (("file", "--op"), 1, "file: error[output]: exists already\n  help: choose another with -o\n"),
    (("soften", "--op", "-o", "file/x"), 1, "file/x: error[output]: 'file' is a file, "
     "not a folder\n  help: choose another with -o\n"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "status", "said"), REFUSED, ids=lambda x: str(x)[:40])
def test_what_is_refused(run, args, status, said):
    Path("there").mkdir()
    Path("there/precious").write_text("old")
    Path("file").write_text("old")
    result = run("new", *args)
    assert (result.status, result.out, result.err) == (status, "", said)
    assert sorted(p.name for p in Path().iterdir()) == ["file", "there"]


USED = """
import site, sys
site.addsitedir(sys.argv[1])
import composer
print(type(composer.build("soften_gate", channels=4)).__name__)
print(composer.load_spec("soften_gate").origin.file)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [["."], ["-e", "."]], ids=" ".join)
def test_pip_installs_it_without_network(run, tmp_path, how: list[str]):
    run.fine("new", "soften", "--op")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    where = ["--no-build-isolation", "--no-index", "--target", str(tmp_path / "site")]
    done = subprocess.run([*pip, *where, *how], capture_output=True, text=True,
                          check=False, cwd="soften")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(
        [sys.executable, "-c", USED, str(tmp_path / "site")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (
        "SoftenGate\nsoften_gate (composer-soften 0.1.0)\n", ""
    )  # fmt: skip

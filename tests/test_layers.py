"""Each layer imports only those above it, and the front end never imports torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

import composer

ROOT = Path(composer.__file__).parent

#: From the top: a layer may import itself and those before it.
LAYERS = (
    "visible", "turns", "errors", "explanations", "files", "plugins", "language", "kernels",
    "primitives", "extending", "graph", "lower", "measure", "models", "lifting", "analysis",
    "surgery", "training", "compiling", "artifact", "exporting", "looking", "certificate",
    "drawing", "study", "api", "testing", "cli",
)  # fmt: skip
#: Layers that never meet, though one stands above the other: opening models, and reading them.
APART = {("analysis", "models")}
EXEMPT = {"__init__", "__main__"}

MODULES = sorted(p for p in ROOT.rglob("*.py") if p.relative_to(ROOT).with_suffix("").name or p)


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import of Composer's own modules, wherever it stands."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                base = ".".join(package[: len(package) - level + 1]) if level else ""
                stem = ".".join(part for part in (base, module) if part)
                found = [f"{stem}.{alias.name}" for alias in names]
            case _:
                continue
        yield from ((node.lineno, n) for n in found if n.split(".")[0] == "composer")


def wrong_imports(text: str, layer: str, package: tuple[str, ...]) -> list[str]:
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    wrong = []
    for line, name in imported(ast.parse(text), package):
        if name == "composer.__version__":
            continue
        target = name.split(".")[1] if "." in name else "__init__"
        if target not in allowed or (layer, target) in APART:
            wrong.append(f"line {line}: {layer} imports {name}")
    return wrong


def test_a_module_imports_only_from_above():
    found = {}
    for path in MODULES:
        if (layer := layer_of(path)) in EXEMPT:
            continue
        assert layer in LAYERS, f"{layer} has no place among the layers"
        package = ("composer", *path.relative_to(ROOT).parent.parts)
        if wrong := wrong_imports(path.read_text(encoding="utf-8"), layer, package):
            found[str(path.relative_to(ROOT))] = wrong
    assert len(MODULES) > 400 and found == {}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("from composer.language import models", []),
        ("import composer.lower.build", ["line 1: graph imports composer.lower.build"]),
        ("from composer import cli", ["line 1: graph imports composer.cli"]),
        ("import composer", ["line 1: graph imports composer"]),
        ("from ..lower import build", ["line 1: graph imports composer.lower.build"]),
        ("from . import graph\nfrom .passes import bind", []),
        ("def f():\n    from composer.surgery import plan",
         ["line 2: graph imports composer.surgery.plan"]),
        ("if TYPE_CHECKING:\n    import composer.cli", ["line 2: graph imports composer.cli"]),
    ],
)  # fmt: skip
def test_the_rule_sees(text, wrong):
    assert wrong_imports(text, "graph", ("composer", "graph")) == wrong


WITHOUT_TORCH = """
import sys
import composer
import composer.graph.frontend as frontend
from composer.primitives.schema import json_schema
from composer.language.library import shipped_folder
for path in shipped_folder().glob("*.yaml"):
    spec, problems = frontend.check_text(path.read_text(encoding="utf-8"), path.name)
    assert spec is not None, problems
    assert composer.load_spec(path.stem).name == path.stem
frontend.check_text("nodes: {a: {op: nope}}", "bad.yaml")
json_schema()
dir(composer)
print(sorted({"torch", "timm", "torchvision", "numpy"} & set(sys.modules)))
"""


def test_the_front_end_does_not_import_torch():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_no_two_files_import_one_another():
    """Whatever stands at the head of a file: a circle of files can't be read one by one."""
    files = {path: ".".join(("composer", *path.relative_to(ROOT).with_suffix("").parts))
             for path in MODULES}  # fmt: skip
    names = {name.removesuffix(".__init__") for name in files.values()}
    graph = nx.DiGraph()
    for path, name in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        heads = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        package = ("composer", *path.relative_to(ROOT).parent.parts)
        for _, target in imported(ast.Module(heads, []), package):
            found = target if target in names else target.rpartition(".")[0]
            if found in names and found != name.removesuffix(".__init__"):
                graph.add_edge(name.removesuffix(".__init__"), found)
    assert len(graph) > 200
    assert [sorted(circle) for circle in nx.simple_cycles(graph)] == []

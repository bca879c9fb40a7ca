"""Each dependency is used, and stands with its licence on docs/licences.md."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import composer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
from licence_pages import HEAD, USES, dependencies, licence  # noqa: E402

PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
#: What is used without an import: where, and by which word.
NOT_IMPORTED = {
    "graphviz-pure": ("drawing/engine.py", 'sysconfig.get_path("scripts")'),
    "onnxruntime": ("exporting/onnx.py", "import onnxruntime"),  # in a process of its own
    "onnxscript": ("exporting/onnx.py", '"onnxscript"'),
}


def imported() -> set[str]:
    """Return the top-level modules that Composer imports, wherever that stands."""
    found = set()
    for path in Path(composer.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    found |= {alias.name.partition(".")[0] for alias in names}
                case ast.ImportFrom(module=str() as module, level=0):
                    found.add(module.partition(".")[0])
                case ast.Call(
                    func=ast.Name(id="library" | "import_module") | ast.Attribute(),
                    args=[ast.Constant(value=str() as name), *_],
                ) if re.fullmatch(r"[\w.]+", name):
                    called = ast.unparse(node.func).rpartition(".")[2]
                    if called in ("library", "import_module"):
                        found.add(name.partition(".")[0])
    return found


@pytest.fixture(scope="module")
def modules() -> set[str]:
    return imported()


def test_the_page_is_of_the_dependencies_there_are():
    assert list(USES) == list(dependencies())
    assert PAGE.startswith(HEAD)
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][2:]
    assert [(row[0].removeprefix("| "), row[1].strip("`")) for row in rows] == list(
        dependencies().items()
    )
    assert all(len(row) == 4 and row[2].strip() for row in rows)


@pytest.mark.parametrize("name", dependencies())
def test_a_dependency_is_used(name, modules):
    module = USES[name].module
    if module is not None:
        assert module in modules
        return
    file, word = NOT_IMPORTED[name]
    assert word in (Path(composer.__file__).parent / file).read_text(encoding="utf-8")


def test_what_is_imported_is_a_dependency(modules):
    ours = {use.module for use in USES.values()} | {"composer", *sys.stdlib_module_names}
    # of what a dependency needs; libraries of models that may be there; the kit for tests of ops
    others = {"pydantic_core", "numpy", "huggingface_hub", "ultralytics", "torchao", "jsonschema"}
    assert modules - ours <= others


@pytest.mark.parametrize("name", ["click", "pyyaml", "torch"])
def test_a_licence_is_one_line(name):
    assert re.fullmatch(r"[^\n|]{3,200}", licence(name))

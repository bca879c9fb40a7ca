"""Mutants: does a test fail where the code is wrong? ``python tests/mutants.py expressions``.

A mutant is the package with one small fault: a comparison turned, ``+`` for ``-``, ``and`` for
``or``, a number one more, a condition denied, a ``return None``, a statement gone. A seeded sample
of an area's mutants is made, one at a time, in a copy of the repository; the area's fast tests run
on each. One that no test kills is a hole in the tests, or computes the same; `mutants.md` lists
those that were found so.

The libraries are imported once, and each mutant runs in a fork; so this needs a POSIX system.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import SimpleQueue

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Area:
    """Which files are mutated, and which tests are to notice, the most likely first."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


#: What the tests import besides the package; once, and not for each mutant.
LIBRARIES = (
    "yaml", "pydantic", "networkx", "click", "rich", "hypothesis", "pytest", "torch",
    "torch._dynamo", "torch.fx.experimental.proxy_tensor", "torchvision", "timm",
)  # fmt: skip

AREAS = {
    "expressions": Area(
        ("language/expressions.py",), ("test_expressions", "test_language"),
    ),
    "axes": Area(
        ("primitives/axes.py", "primitives/attention_axes.py", "graph/passes/infer_axes.py"),
        ("test_passes", "test_use_axes", "test_use_inputs", "test_messages_primitives",
         "test_primitives"),
    ),
    "surgery": Area(
        ("surgery/source.py", "surgery/edited_class.py", "surgery/wrapping.py", "surgery/match.py",
         "surgery/place.py", "surgery/placement.py"),
        ("test_source", "test_plan", "test_wrapped", "test_stand_in", "test_edit",
         "test_replace_modules", "test_add_in_a_child", "test_other_layers", "test_anatomy",
         "test_lasting", "test_every_layout", "test_saving_after_training", "test_whole_models"),
    ),
}  # fmt: skip


# ---------------------------------------------------------------------------------------- mutants

Path_ = tuple[tuple[str, int | None], ...]  # from the root of a tree: fields, and places in lists

_TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.Mod: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
_NOT_CODE = {"annotation", "returns", "decorator_list", "type_params", "bases"}


@dataclass(frozen=True)
class Mutant:
    """One fault: where, what it was and what it is, and the module's text with it."""

    file: str
    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before}  ->  {self.after}"


def mutants(file: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a module's text."""
    tree = ast.parse(text)
    for path, node in _nodes(tree, ()):
        for other in _variants(node):
            mutated = copy.deepcopy(tree)
            _put(mutated, path, other)
            before, after = _line(node), _line(other)
            yield Mutant(file, node.lineno, before, after, ast.unparse(mutated))  # type: ignore[attr-defined]


def _line(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:100]


def _nodes(node: ast.AST, path: Path_) -> Iterator[tuple[Path_, ast.AST]]:
    """Yield what runs, with the way to it; neither annotations nor docstrings."""
    yield path, node
    for field, value in ast.iter_fields(node):
        if field in _NOT_CODE:
            continue
        for place, inner in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(inner, ast.AST) and not _is_text(inner):
                yield from _nodes(inner, (*path, (field, place)))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in a node's place."""
    match node:
        case ast.Compare(ops=[op], left=left, comparators=others) if type(op) in _TURNED:
            yield ast.Compare(left, [_TURNED[type(op)]()], others)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _TURNED:
            yield ast.BinOp(left, _TURNED[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(_TURNED[type(op)](), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.If(test=test, body=body, orelse=orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Return(value=ast.AST() as value) if not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Delete():
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _put(tree: ast.AST, path: Path_, node: ast.AST) -> None:
    """Put a node where a path leads."""
    *way, (field, place) = path
    for name, index in way:
        tree = getattr(tree, name) if index is None else getattr(tree, name)[index]
    if place is None:
        setattr(tree, field, node)
    else:
        getattr(tree, field)[place] = node
    ast.fix_missing_locations(tree)


def sample(area: Area, count: int, seed: int) -> list[Mutant]:
    """Return some of an area's mutants, the same for the same seed."""
    every = [
        mutant
        for file in area.files
        for mutant in mutants(file, (ROOT / "composer" / file).read_text(encoding="utf-8"))
    ]
    chosen = random.Random(seed).sample(every, min(count, len(every)))
    print(f"{len(every)} mutants, of which {len(chosen)} are tried", flush=True)
    return chosen


# ------------------------------------------------------------------------------------------- runs


def copied(where: Path) -> Path:
    """Return a copy of the repository to break."""
    for name in ("composer", "tests", "specs", "docs", "examples"):
        ignored = shutil.ignore_patterns("__pycache__", ".hypothesis", "node_modules")
        shutil.copytree(ROOT / name, where / name, ignore=ignored)
    shutil.copytree(ROOT / ".github", where / ".github")
    for name in (
        "pyproject.toml", "README.md", "SECURITY.md", "CHANGELOG.md", "ARCHITECTURE.md",
        "CONTRIBUTING.md", "CITATION.cff", ".pre-commit-config.yaml",
    ):  # fmt: skip
        shutil.copy(ROOT / name, where / name)
    # by the text and not by its time, for two mutants may be written within one second
    compileall.compile_dir(
        where / "composer", quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH
    )
    return where


def outcome(place: Path, area: Area, seconds: float) -> str:
    """Run the area's tests there, in a fork: "survived", "killed", or "killed: no end"."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os._exit(_tested(place, area))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "killed: no end"


def _tested(place: Path, area: Area) -> int:
    try:
        import pytest

        os.chdir(place)
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.path.insert(0, str(place))
        os.environ["PYTHONPATH"] = str(place)
        files = [f"tests/{name}.py" for name in area.tests]
        plain = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
        plain += ["-m", "not slow"]
        return int(pytest.main([*plain, *files]))
    except BaseException:
        return 1


def run(area: Area, chosen: Sequence[Mutant], jobs: int) -> list[tuple[Mutant, str]]:
    """Return what becomes of each mutant."""
    for library in LIBRARIES:
        __import__(library)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        free: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            free.put(copied(Path(folder, str(number))))
        place = free.get()
        began = time.monotonic()
        if outcome(place, area, 3600) != "survived":
            raise SystemExit(f"the tests fail without a mutant:\n{(place / 'log').read_text()}")
        patience = 30 + 4 * (time.monotonic() - began)
        print(f"the tests take {time.monotonic() - began:.0f} s as it is", flush=True)
        free.put(place)

        def one(mutant: Mutant) -> tuple[Mutant, str]:
            place = free.get()
            file = place / "composer" / mutant.file
            was = file.read_text(encoding="utf-8")
            try:
                file.write_text(mutant.text, encoding="utf-8")
                found = outcome(place, area, patience)
            finally:
                file.write_text(was, encoding="utf-8")
                free.put(place)
            print(f"{found:15} {mutant}", flush=True)
            return mutant, found

        return list(pool.map(one, chosen))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("area", choices=AREAS)
    asked.add_argument("--count", type=int, default=40)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--jobs", type=int, default=2)
    asked.add_argument("--file", help="only mutants of this file")
    asked.add_argument("--only", help="only those of the sample that the lines of this file name")
    given = asked.parse_args()
    area = AREAS[given.area]
    if given.file:
        area = Area((given.file,), area.tests)
    chosen = sample(area, given.count, given.seed)
    if given.only:
        named = Path(given.only).read_text(encoding="utf-8")
        chosen = [mutant for mutant in chosen if str(mutant) in named]
    found = run(area, chosen, given.jobs)
    counts = Counter(how.partition(":")[0] for _, how in found)
    print(f"\n{counts['killed']} of {len(found)} killed; survivors:")
    for mutant, how in found:
        if how == "survived":
            print(f"  {mutant}")


if __name__ == "__main__":
    main()

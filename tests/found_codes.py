"""The codes of all diagnostics, read from the source: no code can be raised that is not found."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import composer

PACKAGE = Path(composer.__file__).parent
CODE = re.compile(r"[a-z]+(-[a-z0-9]+)*")
#: What a diagnostic is made of, wherever: each takes the code first. Pydantic's own is read as one.
EVERYWHERE = {"Diagnostic": 0, "error": 0, "AxisProblem": 0, "ExpressionError": 0,
              "PydanticCustomError": 0}  # fmt: skip


@dataclass
class Found:
    """The places of each code, and the calls whose code is no word of the source."""

    codes: dict[str, list[str]] = field(default_factory=dict)
    handed_on: list[str] = field(default_factory=list)


@cache
def found_codes(package: Path = PACKAGE) -> Found:
    """Return the codes of a package: what is given for each parameter named ``code``."""
    trees = {
        path.relative_to(package).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }
    found = Found()
    for path, tree in trees.items():
        takers = EVERYWHERE | dict(_takers(tree))
        constants = _constants(tree)
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            called = call.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name not in takers:
                continue
            given = _given(call, takers[name])
            words = [] if given is None else list(_words(given, constants))
            for word in words:
                found.codes.setdefault(word, []).append(f"{path}:{call.lineno}")
            if not words:
                shown = "?" if given is None else ast.unparse(given)
                found.handed_on.append(f"{path}: {name}({shown})")
    return found


def _takers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the functions of a file that take a code and hand it on, and at which place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":
            names = [one.arg for one in node.args.args if one.arg != "self"]
            if "code" in names and _is_text(node, "code"):
                yield node.name, names.index("code")


def _is_text(node: ast.FunctionDef, name: str) -> bool:
    (wanted,) = [one for one in node.args.args if one.arg == name]
    return wanted.annotation is not None and ast.unparse(wanted.annotation) == "str"


def _constants(tree: ast.AST) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                found.setdefault(target.id, []).append(node.value)
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    if isinstance(one, ast.Name):
                        found.setdefault(one.id, []).append(value)
    return found


def _given(call: ast.Call, at: int) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == "code":
            return keyword.value
    if len(call.args) > at and not any(isinstance(a, ast.Starred) for a in call.args[: at + 1]):
        return call.args[at]
    return None


def _words(given: ast.expr, constants: dict[str, list[ast.expr]]) -> Iterator[str]:
    if isinstance(given, ast.Constant):
        if isinstance(given.value, str) and CODE.fullmatch(given.value):
            yield given.value
    elif isinstance(given, ast.IfExp):
        yield from _words(given.body, constants)
        yield from _words(given.orelse, constants)
    elif isinstance(given, ast.Name):
        for value in constants.get(given.id, ()):
            if not isinstance(value, ast.Name):
                yield from _words(value, constants)

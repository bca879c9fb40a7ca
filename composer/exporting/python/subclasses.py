"""The edited classes of a model as subclasses: the author's source plus one expression."""

from __future__ import annotations

import ast
import linecache
import re
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, cast

from torch import nn

from composer.analysis.edited import class_before_edits, decorated_methods, undecorated
from composer.errors import ComposerError, error
from composer.surgery.edited_class import Edits, Method, edited_class, edits_of

_WITH_ITEM = '''def with_item(given, index, made):
    """Return a tuple or a list with another value at one index."""
    values = [made if place == index else value for place, value in enumerate(given)]
    kind = type(given)
    return kind(*values) if hasattr(given, "_fields") else kind(values)'''


@dataclass(frozen=True)
class Subclass:
    """A class: its name, its text, its imports, and the functions that it calls."""

    name: str
    text: str
    imports: frozenset[str]
    helpers: tuple[str, ...]


def subclass_of(module: nn.Module, name: str) -> Subclass:
    """Return the class of an edited module, under a name.

    Raises:
        ComposerError: code ``no-plain-form``: a method can't be moved to another file.
    """
    original, edits = class_before_edits(module), edits_of(module)
    imports = {_import_of(original)}
    texts: list[str] = []
    base = original.__name__
    bodies = _bodies(original, edits, imports)
    own = bodies.pop(original, [])
    bases = [base]
    for kind, methods in bodies.items():
        imports.add(_import_of(kind))
        above = f"{kind.__name__}Of{name}"
        texts.append(_class(above, [kind.__name__], kind, methods))
        bases.append(above)
    levels = len(edits.around)
    if own or bodies or not levels:
        first = name if not levels else f"{name}Inside"
        texts.append(_class(first, bases, original, own))
        base = first
    helpers: tuple[str, ...] = ()
    for level in range(1, levels + 1):
        last = name if level == levels else f"{name}{level}"
        forward = _around(original, edits, level)
        helpers = (_WITH_ITEM,) if "with_item(" in forward else helpers
        texts.append(_class(last, [base], original, [forward]))
        base = last
    return Subclass(name, "\n\n\n".join(texts), frozenset(imports), helpers)


def _class(name: str, bases: list[str], original: type, methods: list[str]) -> str:
    body = "\n\n".join(textwrap.indent(text.rstrip(), "    ") for text in methods)
    where = f"{original.__module__}.{original.__qualname__}"
    document = f'    """`{where}`, with what was inserted."""'
    parts = [f"class {name}({', '.join(bases)}):", document, *(["", body] if body else [])]
    return "\n".join(parts)


def _bodies(original: type[nn.Module], edits: Edits, imports: set[str]) -> dict[type, list[str]]:
    """Return the texts of the edited methods by their class."""
    own = decorated_methods(original)
    by_name = {f"{k.__module__}.{k.__qualname__}": k for k in original.__mro__}
    found: dict[type, list[str]] = {}
    for method in edits.methods:
        whose = by_name[method.name.rpartition(".")[0]]
        found.setdefault(whose, []).append(_method(method, undecorated(own[method.name]), whose,
                                                   imports))  # fmt: skip
    return found


def _method(method: Method, like: FunctionType, whose: type, imports: set[str]) -> str:
    text = textwrap.dedent(method.text.text)
    held = [name for name in like.__code__.co_freevars if name != "__class__"]
    if held:
        raise _refused(f"{method.name} closes over {', '.join(held)}")
    tree = ast.parse(text)
    private = [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)
               and n.attr.startswith("__") and not n.attr.endswith("__")]  # fmt: skip
    if private:
        raise _refused(f"{method.name} uses private names of its class ({private[0]})")
    for name in _free_names(tree):
        if name in like.__globals__:
            imports.add(_import_line(name, like.__globals__[name], like.__module__))
    me = like.__code__.co_varnames[0]
    return re.sub(r"\bsuper\(\)", f"super({whose.__name__}, {me})", text)


def _free_names(tree: ast.AST) -> Iterator[str]:
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)
              and not isinstance(n.ctx, ast.Load)}  # fmt: skip
    taken = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    yield from sorted(names - stored - taken)


def _import_of(kind: type) -> str:
    if "." in kind.__qualname__:
        raise _refused(f"{kind.__qualname__} is a nested class")
    return f"from {kind.__module__} import {kind.__name__}"


def _import_line(name: str, value: Any, module: str) -> str:
    if isinstance(value, ModuleType):
        if value.__name__ == name:
            return f"import {name}"
        parent, _, last = value.__name__.rpartition(".")
        alias = "" if last == name else f" as {name}"
        noqa = "  # noqa: N812" if name != name.lower() else ""
        return f"from {parent} import {last}{alias}{noqa}" if parent else f"import {last}{alias}"
    if getattr(typing, name, None) is value:
        return f"from typing import {name}"
    own = getattr(value, "__module__", None)
    if isinstance(value, (type, FunctionType)) and own and getattr(value, "__name__", "") == name:
        return f"from {own} import {name}"
    return f"from {module} import {name}"


def _around(original: type[nn.Module], edits: Edits, level: int) -> str:
    """Return the forward that a wrapper makes."""
    upto = Edits(edits.methods, edits.around[:level])
    made: Any = edited_class(cast("Any", original), upto)
    forward = vars(made)["forward"]
    lines = linecache.getlines(forward.__code__.co_filename)
    text = textwrap.dedent("".join(lines))
    if re.search(r"=\s*\.\.\.", text):
        raise _refused(f"the forward of {original.__qualname__} has a default that is not a number")
    return text


def _refused(why: str) -> ComposerError:
    return error(
        "no-plain-form",
        f"the edited class can't be written to a file: {why}",
        "export to pt2 or onnx",
    )

"""From a value in a recorded forward to the source: every way to route it through a child."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

from torch import fx, nn

from composer.analysis.edited import own_methods, run_as
from composer.analysis.recording import INSTRUCTIONS
from composer.analysis.residual import Branch
from composer.surgery.change import WrittenIn
from composer.surgery.source import (
    CHILD,
    GIVEN,
    Extent,
    NoSource,
    Splice,
    body_of,
    found_at,
    parsed,
    text_of,
)

_MOST = 12  # ways to try

_Way = tuple[str, tuple[Splice, ...]]


def ways_to_write(module: nn.Module, ends: tuple[Branch, Branch]) -> Iterator[WrittenIn]:
    """Yield the changes of a module's methods that may route a value through a child.

    Unconditional expressions come first, and those under a condition last. Among these, first where
    the value is made, in the outermost method, so that all else in it comes before; then where it
    is read. Where training and evaluation make it by different expressions, both are edited. A
    trial decides which way works.

    Args:
        module: the owner.
        ends: the value and its readers, in training and in evaluation mode.

    Raises:
        NoSource: none of these methods has a source.
    """
    training, evaluation = (_ways(module, end) for end in ends)
    overwritten = any(_is_overwritten(module, end) for end in ends)
    same = [way for way in evaluation if way in training]
    pairs = itertools.product(training, evaluation)
    both = (sorted({*pair}, key=repr) for pair in pairs if pair[0] != pair[1])
    for ways in itertools.islice(itertools.chain(([way] for way in same), both), _MOST):
        methods: dict[str, tuple[Splice, ...]] = {}
        for name, splices in ways:
            methods[name] = (*methods.get(name, ()), *splices)
        yield WrittenIn(tuple(methods.items()), overwritten)


def _ways(module: nn.Module, end: Branch) -> list[_Way]:
    found: list[tuple[bool, _Way]] = []
    for method, node, me in _written(module, end.end):
        found.append((_is_conditional(module, method, node), (method, _around(node, me))))
    if len(end.readers) == 1:
        for method, node, me in _written(module, end.readers[0]):
            conditional = _is_conditional(module, method, node)
            found += [(conditional, (method, splices)) for splices in _read_in(node, me)]
    return [way for _, way in sorted(found, key=lambda one: one[0])]


def _is_conditional(module: nn.Module, method: str, node: ast.AST) -> bool:
    """Return whether an expression may be skipped by a flag of the module."""
    own = own_methods(type(module))[method]
    for around in ast.walk(parsed(text_of(own), own.__code__)):
        if isinstance(around, (ast.If, ast.IfExp, ast.For, ast.While, ast.Try)):
            inside = (part for child in ast.iter_child_nodes(around) for part in ast.walk(child))
            if any(part is node for part in inside):
                return True
    return False


def _written(
    module: nn.Module, node: fx.Node
) -> Iterator[tuple[str, ast.expr | ast.AugAssign, str]]:
    """Yield the expressions of a step of a forward, the outermost method's first."""
    own = own_methods(type(module))
    for instruction in node.meta.get(INSTRUCTIONS, ()):
        function: FunctionType = own[instruction.method]
        found = found_at(text_of(function), function.__code__, instruction)
        if found is not None:
            yield instruction.method, found, function.__code__.co_varnames[0]


def _around(node: ast.expr | ast.AugAssign, me: str) -> tuple[Splice, ...]:
    if isinstance(node, ast.AugAssign):  # x += y; x = self.child(x)
        extent, name = Extent.of(node), ast.unparse(node.target)
        text = f"; {name} = {me}.{CHILD}({name}){GIVEN}"
        return (Splice(extent.end, text),)
    extent = Extent.of(node)
    return Splice(extent.start, f"{me}.{CHILD}("), Splice(extent.end, f"){GIVEN}")


def _read_in(node: ast.expr | ast.AugAssign, me: str) -> Iterator[tuple[Splice, ...]]:
    """Yield the ways to route what an expression reads through a child."""
    if isinstance(node, ast.AugAssign):
        extent, name = Extent.of(node), ast.unparse(node.target)
        text = f"{name} = {me}.{CHILD}({name}){GIVEN}; "
        yield (Splice(extent.start, text),)
        read: list[Any] = [node.value]
    elif isinstance(node, ast.BinOp):
        read = [node.left, node.right]
    elif isinstance(node, ast.Call):
        read = [*node.args, *(keyword.value for keyword in node.keywords)]
        read += [node.func.value] if isinstance(node.func, ast.Attribute) else []
    else:
        read = [node.value] if isinstance(node, (ast.Subscript, ast.Attribute)) else []
    for one in read:
        if isinstance(one, ast.expr) and not isinstance(one, (ast.Starred, ast.Constant)):
            yield _around(one, me)


def _is_overwritten(module: nn.Module, end: Branch) -> bool:
    """Return whether a reader of a value writes into it."""
    return any(
        getattr(module.get_submodule(str(reader.target)), "inplace", False)
        if reader.op == "call_module"
        else str(getattr(reader.target, "__name__", "")).endswith("_")
        for reader in end.readers
    )


# ---------------------------------------------------------------------------- own loops

_PAIRS, _VALUES = ("items", "named_children"), ("values", "children")


def loops_without(module: nn.Module) -> tuple[_Way, ...]:
    """Return the edits that make a module's loops over its children skip one child.

    Raises:
        NoSource: its source is not available.
    """
    name = run_as(type(module), "forward")
    if name is None:
        return ()
    own = own_methods(type(module))[name]
    text, me = text_of(own), own.__code__.co_varnames[0]
    splices = []
    for node in ast.walk(parsed(text, own.__code__)):
        whole = _loop(node, me, isinstance(module, nn.ModuleDict))
        if whole is not None:
            splices.append(Splice(Extent.of(whole[0]), whole[1]))
    return ((name, tuple(splices)),) if splices else ()


def _loop(node: ast.AST, me: str, keyed: bool) -> tuple[ast.expr, str] | None:
    """Return an expression for a module's children, and its replacement without one child."""
    if isinstance(node, (ast.For, ast.comprehension)) and ast.unparse(node.iter) == me:
        pairs, what = f"{me}.items()" if keyed else f"{me}.named_children()", "n" if keyed else "m"
        return node.iter, f'[{what} for n, m in {pairs} if n != "{CHILD}"]'
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args:
        whose, name = ast.unparse(node.func.value), node.func.attr
        if whose in (me, f"{me}._modules") and name in (*_PAIRS, *_VALUES):
            pairs = f"{whose}.items()" if whose != me or keyed else f"{me}.named_children()"
            what = "(n, m)" if name in _PAIRS else "m"
            return node, f'[{what} for n, m in {pairs} if n != "{CHILD}"]'
    return None


# ------------------------------------------------------------------------- steps passed by


def passed_by(module: nn.Module, steps: Iterable[fx.Node]) -> dict[str, tuple[Splice, ...]]:
    """Return the edits that make the methods of a module omit some steps.

    Each step is a call of a function of one value, and is replaced by the value itself.

    Raises:
        NoSource: a step is not such a call.
    """
    found: dict[str, set[Splice]] = {}
    for step in steps:
        method, node, _ = next(_innermost(module, step), ("", None, ""))
        if not isinstance(node, ast.Call):
            raise NoSource("what follows is not a call in its source")
        values = [one for one in (*node.args, getattr(node.func, "value", None))
                  if isinstance(one, ast.expr)]  # fmt: skip
        own = own_methods(type(module))[method]
        value = Extent.of(values[0])
        text = text_of(own).piece(value)
        found.setdefault(method, set()).add(Splice(Extent.of(node), f"({text})"))
    for splices in found.values():
        extents = sorted(one.extent for one in splices)
        if any(a.end.start > b.start for a, b in itertools.pairwise(extents)):
            raise NoSource("what follows is a call inside another call")
    return {method: tuple(splices) for method, splices in found.items()}


def given_besides(
    module: nn.Module, calls: Iterable[fx.Node], name: str
) -> dict[str, tuple[Splice, ...]]:
    """Return the edits that make a method pass a child's output to some of its calls.

    The child, `CHILD` in the text, runs first, on the method's input.

    Raises:
        NoSource: the calls are in several methods, or have another form.
    """
    found = [next(_innermost(module, call), None) for call in calls]
    methods = {one[0] for one in found if one is not None}
    if len(methods) != 1 or None in found:
        raise NoSource("the calls are not all in one method")
    (method,) = methods
    own = own_methods(type(module))[method]
    text, code = text_of(own), own.__code__
    me, given = code.co_varnames[:2]
    first = body_of(text, code)[0]
    after = "; " if isinstance(first, _SIMPLE) else f"\n{' ' * first.col_offset}"
    splices = [Splice(Extent.of(first).start, f"{name} = {me}.{CHILD}({given}){after}")]
    for one in found:
        if one is None or not isinstance(one[1], ast.Call) or not one[1].args:
            raise NoSource("a layer is called in the source with something other than its input")
        splices.append(Splice(Extent.of(one[1].args[-1]).end, f", {name}"))
    return {method: tuple(splices)}


_SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return, ast.Assert)


def _innermost(
    module: nn.Module, step: fx.Node
) -> Iterator[tuple[str, ast.expr | ast.AugAssign, str]]:
    return reversed(list(_written(module, step)))

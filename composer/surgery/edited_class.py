"""Classes whose forward runs what was inserted, derived from a backbone's class and the edits.

Owners of one class with the same edits share one derived class. It can be rebuilt from its base
class and the edits, which are plain values; so its instances pickle like those of any class,
wherever the base class and Composer can be imported.
"""

from __future__ import annotations

import builtins
import inspect
import linecache
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cache
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any, Literal, Self, cast

from torch import nn

from composer.analysis.edited import (
    EDITS,
    INNER,
    ORIGINAL,
    class_before_edits,
    decorated_methods,
    own_methods,
    redecorated,
    undecorated,
)
from composer.errors import error
from composer.surgery.source import NoSource, Text, function_of, text_of
from composer.turns import in_turn


@dataclass(frozen=True)
class Method:
    """A method whose source was edited, by its name among `own_methods`.

    `text` is its current source, and `own` identifies the author's text.
    """

    name: str
    text: Text
    own: str


@dataclass(frozen=True)
class Around:
    """What runs at one end of a forward: a child, on its input or output.

    `index` is the position of the value, where the forward returns several. `forward` names the
    method that runs as the forward.
    """

    child: str
    end: Literal["input", "output"]
    index: int | None = None
    forward: str = "forward"


@dataclass(frozen=True)
class Edits:
    """All edits of a class."""

    methods: tuple[Method, ...] = ()
    around: tuple[Around, ...] = ()

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def with_method(self, method: Method) -> Edits:
        """Return the edits with another text of a method."""
        others = tuple(m for m in self.methods if m.name != method.name)
        return replace(self, methods=(*others, method))

    def with_around(self, around: Around) -> Edits:
        """Return the edits with something around the forward.

        Modules at the input run in the order of insertion, like those at the output.
        """
        if around.end == "output":
            return replace(self, around=(*self.around, around))
        return replace(self, around=(around, *self.around))


def edits_of(module: nn.Module) -> Edits:
    """Return the edits of a module's class."""
    found = getattr(type(module), EDITS, None)
    return found if isinstance(found, Edits) else Edits()


def put_edits(module: nn.Module, edits: Edits) -> None:
    """Give a module the class that results from its original class by these edits."""
    module.__class__ = edited_class(cast("Hashable", class_before_edits(module)), edits)


@in_turn  # two threads would make two classes
@cache
def edited_class(original: type[nn.Module], edits: Edits) -> type[nn.Module]:
    """Return the edited class of a backbone's class.

    Raises:
        ComposerError: its source has changed since it was edited.
    """
    if edits == Edits():
        return original
    kind = _with_methods(original, edits)
    inner = kind
    for around in edits.around:
        cell = CellType()
        forward = _forward_around(kind, around, cell)
        kind = _derived((kind,), original, edits, {"forward": forward, INNER: inner})
        cell.cell_contents = kind
    return kind


def _with_methods(original: type[nn.Module], edits: Edits) -> type[nn.Module]:
    """Return a class with the edited methods.

    Methods of a base class go into a class derived from that base, which comes before it where
    the original calls ``super()``.
    """
    own = decorated_methods(original)
    bodies: dict[str, dict[str, Any]] = {}
    for method in edits.methods:
        whose, _, name = method.name.rpartition(".")
        bodies.setdefault(whose, {})[name] = _method(own.get(method.name), method)
    body = bodies.pop(f"{original.__module__}.{original.__qualname__}", {})
    above = tuple(
        _derived((base,), original, edits, made, named=base)
        for base in original.__mro__
        if (made := bodies.get(f"{base.__module__}.{base.__qualname__}")) is not None
    )
    return _derived((original, *above), original, edits, body)


def _method(own: FunctionType | None, method: Method) -> FunctionType:
    try:
        if own is None or text_of(undecorated(own)).digest != method.own:
            raise NoSource("it is not the one that was edited")
        return redecorated(own, function_of(method.text, undecorated(own)))
    except NoSource as why:
        raise error(
            "other-source",
            f"{method.name} can't be edited again: {why}",
            "install the version that the model was composed with, or insert again",
        ) from None


def _derived(
    bases: tuple[type[nn.Module], ...],
    original: type[nn.Module],
    edits: Edits,
    body: dict[str, Any],
    named: type[nn.Module] | None = None,
) -> type[nn.Module]:
    """Return a class under the name of the original, or under another name."""
    named = named or original
    space: dict[str, Any] = {
        ORIGINAL: original,
        EDITS: edits,
        "__module__": named.__module__,
        "__qualname__": named.__qualname__,
        "__doc__": named.__doc__,
        "__reduce_ex__": _reduce,
    }
    if other_forwards(original):
        space["__setattr__"] = _set
    if hasattr(original, "__deepcopy__"):
        space["__deepcopy__"] = _deepcopy
    metaclass: Any = type(original)
    return cast("type[nn.Module]", metaclass(named.__name__, bases, {**space, **body}))


# ------------------------------------------------------------------------------------ pickling


def _reduce(module: nn.Module, protocol: int) -> Any:
    """Return how to make a module again: like its original class, then with the edits."""
    original = class_before_edits(module)
    reduced: Any = original.__reduce_ex__(module, max(protocol, 2))
    given = tuple(original if one is type(module) else one for one in reduced[1])
    return (_again, (edits_of(module), reduced[0], given), *reduced[2:])


def _again(edits: Edits, make: Callable[..., nn.Module], given: tuple[Any, ...]) -> nn.Module:
    module = make(*given)
    put_edits(module, edits)
    return module


def _deepcopy(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Return a copy of an instance whose class has its own way of copying, as fx's modules do."""
    original: Any = class_before_edits(module)
    copied: nn.Module = original.__deepcopy__(module, memo)
    put_edits(copied, edits_of(module))
    return copied


# --------------------------------------------------------------------------- around a forward


def _forward_around(kind: type[nn.Module], around: Around, cell: CellType) -> FunctionType:
    """Return a forward with the same signature that calls that of the class above.

    Args:
        kind: the class above.
        around: what runs before or after it.
        cell: will hold the class of the forward.
    """
    signature = inspect.signature(getattr(kind, around.forward))
    taken = list(signature.parameters.values())
    if taken[0].kind is taken[0].VAR_POSITIONAL:  # forward(*args): the module is among them
        taken = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *taken]
    me = taken[0].name
    call = f"super().{around.forward}({', '.join(map(_passed, taken[1:]))})"
    if around.end == "input":
        lines = [*_first(taken[1], f"{me}.{around.child}"), f"return {call}"]
    elif around.index is None:
        lines = [f"return {me}.{around.child}({call})"]
    else:
        item = f"{me}.{around.child}(given[{around.index}])"
        lines = [f"given = {call}", f"return with_item(given, {around.index}, {item})"]
    shown = signature.replace(
        parameters=[_readable(parameter) for parameter in taken],
        return_annotation=inspect.Signature.empty,
    )
    source = f"    def forward{shown}:\n" + "".join(f"        {line}\n" for line in lines)
    text = Text(source, f"{kind.__qualname__}.forward")
    file = f"<composer: {text.qualname} {text.digest[:12]}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = compile(f"class _:\n{source}", file, "exec", dont_inherit=True)
    (body,) = (one for one in module.co_consts if isinstance(one, CodeType))
    (code,) = (one for one in body.co_consts if isinstance(one, CodeType))
    code = code.replace(co_firstlineno=1)
    named = {"with_item": with_item, "__name__": __name__, "__builtins__": builtins}
    forward = FunctionType(code, named, "forward", None, (cell,))
    positional = [p.default for p in taken if p.default is not p.empty
                  and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]  # fmt: skip
    forward.__defaults__ = tuple(positional) or None
    forward.__kwdefaults__ = {
        p.name: p.default for p in taken if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    } or None
    forward.__module__, forward.__qualname__ = kind.__module__, text.qualname
    return forward


def _passed(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.KEYWORD_ONLY:
        return f"{parameter.name}={parameter.name}"
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    star = next((sign for kind, sign in stars.items() if kind is parameter.kind), "")
    return f"{star}{parameter.name}"


def _first(taken: inspect.Parameter, call: str) -> list[str]:
    if taken.kind is taken.VAR_POSITIONAL:
        return [f"{taken.name} = ({call}({taken.name}[0]), *{taken.name}[1:])"]
    return [f"{taken.name} = {call}({taken.name})"]


class _Shown(str):
    """A default as shown in a signature; the function has the value itself."""

    __slots__ = ()
    __repr__ = str.__str__


def _readable(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.default is parameter.empty:
        return parameter.replace(annotation=parameter.empty)
    plain = isinstance(parameter.default, (bool, int, float, str, type(None)))
    shown = _Shown(repr(parameter.default) if plain else "...")
    return parameter.replace(default=shown, annotation=parameter.empty)


def with_item(given: Any, index: int, made: Any) -> Any:
    """Return a tuple or a list with another value at one place."""
    values = [made if place == index else value for place, value in enumerate(given)]
    kind = type(given)
    return kind(*values) if hasattr(given, "_fields") else kind(values)


# --------------------------------------------------------------------------- other forwards


def other_forwards(kind: type[nn.Module]) -> tuple[str, ...]:
    """Return the methods of a class that may replace its forward.

    YOLO's convolution has one: ``fuse()`` sets ``m.forward = m.forward_fuse``.
    """
    names = dict.fromkeys(method.rpartition(".")[2] for method in own_methods(kind))
    return tuple(name for name in names if name.startswith("forward_"))


def _set(module: nn.Module, name: str, value: Any) -> None:
    """Set an attribute; a new forward replaces the edited one, with what runs around it.

    Raises:
        ComposerError: the insertion is inside the forward that would be replaced.
    """
    if name != "forward":
        class_before_edits(module).__setattr__(module, name, value)
        return
    edits = edits_of(module)
    method = getattr(value, "__func__", None)
    known = isinstance(value, MethodType) and value.__self__ is module
    if not known or method is None or edits.methods:
        raise error(
            "forward-replaced",
            f"this {type(module).__name__} has a forward into which something was inserted, "
            "which would be lost",
            "eject it first: composer.eject(model)",
        )
    around = tuple(replace(one, forward="forward") for one in edits.around)
    first = replace(around[0], forward=method.__name__)
    put_edits(module, replace(edits, around=(first, *around[1:])))

"""What a primitive is: its fields, axis rule, lowering and cost; its label and formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pydantic_core import PydanticCustomError

from composer.language.expressions import Expr, Value, constant, leaves
from composer.language.fields import Kind
from composer.language.models import Model
from composer.language.source import YamlPath
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.cost import Cost

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import Node as FxNode


#: An expression of an op: its path in the op's fields, what it must come to, itself.
Written = tuple[YamlPath, Kind, Expr]

#: What a picture draws an op as: the kinds of `composer.drawing` that a node may have.
COLOURS = ("plain", "reduce", "layer", "gate", "reweight", "combine")


class AxisProblem(Exception):  # noqa: N818 - a finding of the check, not a fault of ours
    """A rule of the axes that does not hold; `field` is the field at fault."""

    def __init__(
        self,
        code: str,
        message: str,
        field: YamlPath = (),
        help: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.field, self.help = code, message, field, help


def misuse(said: str, way_out: str) -> PydanticCustomError:
    """Return what a model's validator raises, with its way out."""
    return PydanticCustomError("invalid-value", "{said}", {"said": said, "help": way_out})


class Emitter(Protocol):
    """What a primitive writes its lowering to; see `composer.lower.emitter`."""

    @property
    def here(self) -> Expr:
        """The node being written, as a reference to itself."""

    def axes(self, ref: Expr) -> Axes:
        """Return the axes of an operand, or of the node being written."""

    def node(self, ref: Expr) -> FxNode:
        """Return the fx node of an operand."""

    def size(self, size: Expr) -> int | FxNode:
        """Return a size where it is known, else write how it follows from those of the input."""

    def number(self, number: Expr) -> Value | FxNode:
        """Return a number where it is known, else write how it follows from the input's sizes."""

    @property
    def as_written(self) -> Primitive | None:
        """The op of the node being written as the spec has it, before its names were bound."""

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> FxNode:
        """Write a call of a function."""

    def method(self, target: str, *args: Any, **kwargs: Any) -> FxNode:
        """Write a call of a tensor's method."""

    def module(self, local: str, module: nn.Module, x: FxNode) -> FxNode:
        """Write a call of a module that lives under this node's name."""

    def parameter(self, tensor: Tensor, local: str | None = None) -> FxNode:
        """Write a read of a parameter that carries this node's name, or lives under it."""

    def schedule(self, begin: float, end: float, steps: int) -> FxNode:
        """Write a read of a number that a training loop moves from one value to another."""

    def table(self, value: Expr, axes: Axes) -> FxNode:
        """Write a table of numbers that are not learned: kept, or computed from open sizes."""

    def given(self) -> FxNode:
        """Write this node's value as one more input of the module."""

    def arrange(self, x: FxNode, have: tuple[str, ...], want: tuple[str, ...]) -> FxNode:
        """Write what brings axes from one order to another, adding those missing with size 1."""

    def spread(self, ref: Expr, want: tuple[str, ...]) -> FxNode:
        """Write what brings an operand to the axes wanted, in one step where they lie together."""

    def slices(self, ref: Expr, axis: str) -> tuple[FxNode, tuple[int, ...]] | None:
        """Write all slices of an operand along an axis, where several nodes pick some of them.

        With them comes the order to bring the axes of each into.
        """

    def once(self, key: tuple[Any, ...], write: Callable[[], FxNode]) -> FxNode:
        """Return what `write` wrote for the first of the nodes that share a key."""

    def is_spent(self, ref: Expr) -> bool:
        """Return whether an operand is a new tensor of the module's own, and read here last."""


class Primitive(Model):
    """One op of the language. A subclass is one file, one idea.

    Its docstring says what it does, on a first line that stands alone; `example` shows it: the
    nodes of a spec on ``[b, c, h, w]`` of 64 channels, for each word of an `op` of several.

    `colour` is the group that a picture draws it in, one of `COLOURS`; `draws_weights` tells that
    two nodes with equal fields still differ, for each has parameters, or draws numbers, of its
    own; `anew` that its value is a new tensor under any fields, and no view of an operand;
    `computed` names the fields whose numbers may follow from the sizes of the input when the
    module runs.
    """

    example: ClassVar[str | Mapping[str, str]] = ""

    draws_weights: ClassVar[bool] = False
    anew: ClassVar[bool] = False
    computed: ClassVar[tuple[str, ...]] = ()
    colour: ClassVar[str] = "plain"

    op: str

    def expressions(self) -> tuple[Written, ...]:
        """Return every expression of the node with its path and what it must come to."""
        return _expressions_of(self)

    def every_expression(self) -> tuple[Written, ...]:
        """Return those of the ops written inside this one, too."""
        return _expressions_of(self)

    def indices(self, path: YamlPath) -> Mapping[str, Expr]:
        """Return the names that stand for an index in a field, and what they are once bound."""
        return {}

    def operands(self) -> list[tuple[YamlPath, Expr]]:
        """Return the fields that name other nodes."""
        return [
            (path, expr)
            for path, kind, expr in _expressions_of(self)
            if kind.name == "node" or (kind.name == "operand" and refers(expr))
        ]

    def references(self) -> list[Written]:
        """Return the fields that may name other nodes, those that are numbers here among them."""
        return [found for found in _expressions_of(self) if found[1].names_nodes]

    def redirected(self, names: Mapping[str, str]) -> Self:
        """Return the op with every operand that `names` has read under its other name there."""
        moved = {
            path: constant(names[str(ref)]) for path, ref in self.operands() if str(ref) in names
        }
        return replaced(self, moved) if moved else self

    @property
    def reads_above(self) -> bool:
        """Whether it reads one value x and does not say which: that of the node above."""
        return "x" in type(self).model_fields and getattr(self, "x") is None  # noqa: B009

    @property
    def makes_anew(self) -> bool:
        """Whether its value is a new tensor, and never a view of an operand."""
        return self.anew

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of the value from those of the operands.

        Raises:
            AxisProblem: the operands do not suit.
        """
        raise NotImplementedError

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return the field that makes it work down and across alone, and why, once it is bound.

        None for an op that works on the places of any map.
        """
        return None

    @property
    def named_axes(self) -> frozenset[str]:
        """The names in its fields that may be axes: words, of lists too, and of mappings."""
        values = (getattr(self, field) for field in type(self).model_fields if field != "op")
        return frozenset(word for value in values for word in _words(value))

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it matters where in a map a place is, once it is bound.

        So it is where it names an axis of the map, unless the op says that it takes the places
        along it as a set, as a mean does.
        """
        return not self.named_axes.isdisjoint(places)

    def need_known(self) -> None:
        """Refuse a number or a flag that is not known, and is kept where it can't be computed.

        Raises:
            AxisProblem: code ``open-size``.
        """
        for path, kind, expr in self.expressions():
            if kind.name not in ("number", "flag") or path[0] in self.computed:
                continue
            if not expr.is_constant:
                raise AxisProblem(
                    "open-size",
                    f"the {kind.name} {expr} is not known when the module is built",
                    path,
                    help="say the sizes to build, such as size=(14, 14) for h and w",
                )

    def lower(self, emit: Emitter) -> FxNode:
        """Write the value as fx nodes."""
        raise NotImplementedError

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return what `lower` draws and multiplies, from the axes of the operands and its `own`.

        Raises:
            AxisProblem: code ``open-size``, where it depends on a size that is not known.
        """
        return Cost()

    def label(self) -> str:
        """Return the words a picture shows."""
        return self.op

    def formula(self) -> str:
        """Return what it computes as a short line of maths; nothing where the label says it all.

        It is written for a bound op, in Latin-1, Greek, and ``−√′…``: a figure's font has no more.
        """
        return ""

    def carries(self) -> tuple[Expr, ...]:
        """Return the operands whose value it carries on; the others only say how.

        They are the main road of a picture.
        """
        return tuple(ref for _, ref in self.operands())


_Fields = tuple[tuple[str, Kind | None], ...]


def _expressions_of(model: Model) -> tuple[Written, ...]:
    """Return every expression of a model, which is looked through once: it is frozen."""
    try:
        found: tuple[Written, ...] = object.__getattribute__(model, "_found")  # not pydantic's
    except AttributeError:
        found = tuple(_looked_through(model))
        object.__setattr__(model, "_found", found)
    return found


def _looked_through(model: Model) -> Iterator[Written]:
    values = vars(model)
    for field, kind in _with_expressions(type(model)):
        value = values[field]
        if isinstance(value, Expr):
            if kind is not None:
                yield (field,), kind, value
        elif value is None:
            continue
        elif isinstance(value, Model):
            for path, inner, item in _expressions_of(value):
                yield (field, *path), inner, item
        elif kind is not None and isinstance(value, tuple | dict):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                if isinstance(item, Expr):
                    yield (field, key), kind, item


@cache
def _with_expressions(model: type[Model]) -> _Fields:
    """Return the fields that may hold expressions, each with what these must come to.

    One that holds another model, in which they are, has no kind of its own.
    """
    found = []
    for field, info in model.model_fields.items():
        kind = next((m for m in info.metadata if isinstance(m, Kind)), None)
        kind = kind or _inner_kind(info.annotation)
        if kind is not None or _may_be_model(info.annotation):
            found.append((field, kind))
    return tuple(found)


@cache
def reference_fields(model: type[Model]) -> _Fields:
    """Return those of the fields that may name nodes."""
    found = _with_expressions(model)
    return tuple((field, kind) for field, kind in found if kind is None or kind.names_nodes)


def _may_be_model(annotation: Any) -> bool:
    if inner := getattr(annotation, "__args__", ()):
        return any(map(_may_be_model, inner))
    if isinstance(annotation, type):
        return issubclass(annotation, Model)
    return not isinstance(annotation, (str, bool, int))  # of a Literal


def _inner_kind(annotation: Any) -> Kind | None:
    """Return the kind inside ``tuple[NodeRef, ...]``, ``dict[AxisName, Size]`` or a union."""
    for inner in getattr(annotation, "__args__", ()):
        for meta in getattr(inner, "__metadata__", ()):
            if isinstance(meta, Kind):
                return meta
        if (found := _inner_kind(inner)) is not None:
            return found
    return None


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | dict):
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            if isinstance(item, str):
                yield item


def refers(operand: Expr) -> bool:
    """Return whether an operand, which may be a number, is the name of a node, or may be."""
    if not operand.args:
        return operand.is_constant and isinstance(operand.value, str)
    return any(leaf.is_constant and isinstance(leaf.value, str) for leaf in leaves(operand))


def with_references(op: Primitive, nodes: Collection[str]) -> Primitive:
    """Return an op whose operands that may be numbers tell the names of these nodes from others.

    A node's name is text from then on, and any other name that of a size or a param.
    """
    found = [(path, expr) for path, kind, expr in op.expressions() if kind.name == "operand"]
    if not found:
        return op
    named: Primitive = replaced(op, {path: _referring(expr, nodes) for path, expr in found})
    return named


def _referring(expr: Expr, nodes: Collection[str]) -> Expr:
    if expr.kind == "if":
        test, *branches = expr.args
        return replace(expr, args=(test, *(_referring(one, nodes) for one in branches)))
    known = expr.kind == "name" and expr.value in nodes
    return Expr("constant", expr.value, (), expr.start, expr.length) if known else expr


def replaced(model: Any, new: Mapping[YamlPath, Expr]) -> Any:
    """Return `model` with the expressions at some paths replaced."""
    if not new:
        return model
    update: dict[str, Any] = {}
    deeper: dict[str, dict[YamlPath, Expr]] = {}
    for path, expr in new.items():
        if len(path) == 1:
            update[str(path[0])] = expr
        else:
            deeper.setdefault(str(path[0]), {})[path[1:]] = expr
    for field, inside in deeper.items():
        value = getattr(model, field)
        if isinstance(value, Model):
            update[field] = replaced(value, inside)
        elif isinstance(value, dict):
            update[field] = {k: inside.get((k,), v) for k, v in value.items()}
        else:
            update[field] = tuple(inside.get((i,), v) for i, v in enumerate(value))
    copied = model.model_copy(update=update)
    # the same paths have the new ones
    here = [(path, kind, new.get(path, expr)) for path, kind, expr in _expressions_of(model)]
    object.__setattr__(copied, "_found", tuple(here))
    return copied


def need_axes(axes: Axes, wanted: tuple[str, ...], field: YamlPath, whose: Expr) -> None:
    """Refuse where a value lacks an axis that the op works on, or the op names it twice.

    Raises:
        AxisProblem: code ``unknown-axis`` or ``duplicate-axis``.
    """
    for index, axis in enumerate(wanted):
        here = (*field, index)
        if axis not in axes:
            raise AxisProblem(
                "unknown-axis", f"{str(whose)!r} has no axis {axis!r}", here, f"its axes are {axes}"
            )
        if axis in wanted[:index]:
            raise AxisProblem(
                "duplicate-axis", f"the axis {axis!r} is named twice", here, "name each axis once"
            )


def need_odd(kernel: Expr, field: YamlPath = ("kernel",)) -> None:
    """Refuse a kernel that has no middle.

    Raises:
        AxisProblem: code ``even-kernel``.
    """
    if kernel.is_constant and whole(kernel) % 2 == 0:
        raise AxisProblem(
            "even-kernel",
            f"a kernel of {kernel} has no middle, so the size would change",
            field,
            "take an odd one; odd(x) is the whole part of x, or one more where that is even",
        )


def whole(size: Expr, field: YamlPath = ()) -> int:
    """Return the number that a bound size is.

    Raises:
        AxisProblem: code ``open-size``, at the field that needs the number.
    """
    if not size.is_constant:
        raise AxisProblem(
            "open-size",
            f"the size {size} is not known when the module is built",
            field,
            help="say it to build, such as size=(14, 14) for h and w",
        )
    return int(size.value)


def elements(axes: Axes) -> int:
    """Return how many elements a value of these axes has.

    Raises:
        AxisProblem: code ``open-size``.
    """
    return math.prod(whole(size) for _, size in axes.sizes)


def flag(value: Expr) -> bool:
    """Return the truth that a bound flag is."""
    return bool(value.value)

"""The base class of a primitive: fields, axis rule, lowering, cost, label and formula."""

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


#: An expression of an op: its path in the op's fields, its kind, and itself.
Written = tuple[YamlPath, Kind, Expr]

#: How a picture draws an op: the kinds of node in `composer.drawing`.
COLOURS = ("plain", "reduce", "layer", "gate", "reweight", "combine")


class AxisProblem(Exception):  # noqa: N818 - a problem in the spec, not an error of ours
    """A violated axis rule; `field` is the field at fault."""

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
    """Return the exception for a model's validator, with its way out."""
    return PydanticCustomError("invalid-value", "{said}", {"said": said, "help": way_out})


class Emitter(Protocol):
    """The interface for lowering a primitive; see `composer.lower.emitter`."""

    @property
    def here(self) -> Expr:
        """The node being lowered, as a reference."""

    def axes(self, ref: Expr) -> Axes:
        """Return the axes of an operand, or of the node being lowered."""

    def node(self, ref: Expr) -> FxNode:
        """Return the fx node of an operand."""

    def size(self, size: Expr) -> int | FxNode:
        """Return a size if it is known, else emit its computation from the input's sizes."""

    def number(self, number: Expr) -> Value | FxNode:
        """Return a number if it is known, else emit its computation from the input's sizes."""

    @property
    def as_written(self) -> Primitive | None:
        """The op of the node being lowered as written in the spec, before binding."""

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> FxNode:
        """Emit a call of a function."""

    def method(self, target: str, *args: Any, **kwargs: Any) -> FxNode:
        """Emit a call of a tensor's method."""

    def module(self, local: str, module: nn.Module, x: FxNode) -> FxNode:
        """Emit a call of a module that is registered under this node's name."""

    def parameter(self, tensor: Tensor, local: str | None = None) -> FxNode:
        """Emit a read of a parameter registered at or under this node's name."""

    def schedule(self, begin: float, end: float, steps: int) -> FxNode:
        """Emit a read of a number that a training loop moves from one value to another."""

    def table(self, value: Expr, axes: Axes) -> FxNode:
        """Emit a table of constants: stored, or computed from open sizes."""

    def given(self) -> FxNode:
        """Emit this node's value as an additional input of the module."""

    def arrange(self, x: FxNode, have: tuple[str, ...], want: tuple[str, ...]) -> FxNode:
        """Emit a permute and unsqueeze from one order of axes to another; new axes have size 1."""

    def spread(self, ref: Expr, want: tuple[str, ...]) -> FxNode:
        """Emit a conversion of an operand to the wanted axes, in one step if they are adjacent."""

    def slices(self, ref: Expr, axis: str) -> tuple[FxNode, tuple[int, ...]] | None:
        """Emit all slices of an operand along an axis, if several nodes pick some of them.

        Also return the order into which to bring the axes of each.
        """

    def once(self, key: tuple[Any, ...], write: Callable[[], FxNode]) -> FxNode:
        """Return what `write` emitted for the first of the nodes that share a key."""

    def is_spent(self, ref: Expr) -> bool:
        """Return whether an operand is the module's own new tensor, and last read here."""


class Primitive(Model):
    """One op of the language. A subclass is one file, one idea.

    Its docstring says what it does; the first line must be complete in itself. `example` holds
    the nodes of a spec on ``[b, c, h, w]`` with 64 channels, one for each word of the `op`.

    `colour` is its group in a picture, one of `COLOURS`. `draws_weights` means that two nodes with
    equal fields still differ, because each has its own parameters or random numbers. `anew` means
    that its value is a new tensor for all fields, never a view of an operand. `computed` names the
    fields whose numbers may be computed from the input's sizes at run time.
    """

    example: ClassVar[str | Mapping[str, str]] = ""

    draws_weights: ClassVar[bool] = False
    anew: ClassVar[bool] = False
    computed: ClassVar[tuple[str, ...]] = ()
    colour: ClassVar[str] = "plain"

    op: str

    def expressions(self) -> tuple[Written, ...]:
        """Return every expression of the node with its path and its kind."""
        return _expressions_of(self)

    def every_expression(self) -> tuple[Written, ...]:
        """Return also those of the ops nested in this one."""
        return _expressions_of(self)

    def indices(self, path: YamlPath) -> Mapping[str, Expr]:
        """Return the names that are indices in a field, and their bound form."""
        return {}

    def operands(self) -> list[tuple[YamlPath, Expr]]:
        """Return the fields that name other nodes."""
        return [
            (path, expr)
            for path, kind, expr in _expressions_of(self)
            if kind.name == "node" or (kind.name == "operand" and refers(expr))
        ]

    def references(self) -> list[Written]:
        """Return the fields that may name other nodes, including those that are numbers here."""
        return [found for found in _expressions_of(self) if found[1].names_nodes]

    def redirected(self, names: Mapping[str, str]) -> Self:
        """Return the op with its operands renamed by `names`."""
        moved = {
            path: constant(names[str(ref)]) for path, ref in self.operands() if str(ref) in names
        }
        return replaced(self, moved) if moved else self

    @property
    def reads_above(self) -> bool:
        """Whether it reads one value x that is not given: then it is the node above."""
        return "x" in type(self).model_fields and getattr(self, "x") is None  # noqa: B009

    @property
    def makes_anew(self) -> bool:
        """Whether its value is a new tensor, never a view of an operand."""
        return self.anew

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of the value from those of the operands.

        Raises:
            AxisProblem: the axes of the operands do not fit.
        """
        raise NotImplementedError

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return the field that ties a bound op to height and width, and why.

        None for an op that works on maps of any number of dimensions.
        """
        return None

    @property
    def named_axes(self) -> frozenset[str]:
        """The names in its fields that may be axes: words, also in lists and mappings."""
        values = (getattr(self, field) for field in type(self).model_fields if field != "op")
        return frozenset(word for value in values for word in _words(value))

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether a bound op depends on where in the map a position is.

        By default it does if it names a spatial axis; an op overrides this if it treats the
        positions along the axis as a set, as a mean does.
        """
        return not self.named_axes.isdisjoint(places)

    def need_known(self) -> None:
        """Refuse a number or a flag that is not known and can't be computed at run time.

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
                    help="pass the sizes to build, such as size=(14, 14) for h and w",
                )

    def lower(self, emit: Emitter) -> FxNode:
        """Emit the value as fx nodes."""
        raise NotImplementedError

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the cost of `lower`, from the axes of the operands and its `own`.

        Raises:
            AxisProblem: code ``open-size``, if it depends on an unknown size.
        """
        return Cost()

    def label(self) -> str:
        """Return its label in a picture."""
        return self.op

    def formula(self) -> str:
        """Return a short formula of what it computes; empty if the label is enough.

        It is for a bound op, in Latin-1, Greek, and ``−√′…``: the fonts of figures have no more.
        """
        return ""

    def carries(self) -> tuple[Expr, ...]:
        """Return the operands whose value it passes on; the others only modify it.

        They form the main path of a picture.
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
    """Return the fields that may hold expressions, each with its kind.

    A field that holds another model with such fields has no kind.
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
    """Return the fields that may name nodes."""
    found = _with_expressions(model)
    return tuple((field, kind) for field, kind in found if kind is None or kind.names_nodes)


def _may_be_model(annotation: Any) -> bool:
    if inner := getattr(annotation, "__args__", ()):
        return any(map(_may_be_model, inner))
    if isinstance(annotation, type):
        return issubclass(annotation, Model)
    return not isinstance(annotation, (str, bool, int))  # values of a Literal


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
    """Return whether an operand, which may be a number, is or may be the name of a node."""
    if not operand.args:
        return operand.is_constant and isinstance(operand.value, str)
    return any(leaf.is_constant and isinstance(leaf.value, str) for leaf in leaves(operand))


def with_references(op: Primitive, nodes: Collection[str]) -> Primitive:
    """Return an op in whose operands names of the given nodes are distinguished from others.

    A node's name becomes text, and any other name remains that of a size or a param.
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
    """Refuse if a value lacks an axis that the op works on, or the op names it twice.

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
    """Refuse a kernel of even size, which has no centre.

    Raises:
        AxisProblem: code ``even-kernel``.
    """
    if kernel.is_constant and whole(kernel) % 2 == 0:
        raise AxisProblem(
            "even-kernel",
            f"a kernel of {kernel} has no centre, so the size would change",
            field,
            "use an odd one; odd(x) is the whole part of x, plus one if that is even",
        )


def whole(size: Expr, field: YamlPath = ()) -> int:
    """Return the value of a bound size.

    Raises:
        AxisProblem: code ``open-size``, at the field that needs the number.
    """
    if not size.is_constant:
        raise AxisProblem(
            "open-size",
            f"the size {size} is not known when the module is built",
            field,
            help="pass it to build, such as size=(14, 14) for h and w",
        )
    return int(size.value)


def elements(axes: Axes) -> int:
    """Return how many elements a value with these axes has.

    Raises:
        AxisProblem: code ``open-size``.
    """
    return math.prod(whole(size) for _, size in axes.sizes)


def flag(value: Expr) -> bool:
    """Return the value of a bound flag."""
    return bool(value.value)

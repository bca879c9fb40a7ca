"""`norm`: a norm as a separate node, over any axes; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from composer.language.expressions import Expr, constant
from composer.language.fields import (
    AxisName,
    AxisNames,
    Epsilon,
    NodeRef,
    Number,
    Share,
    Size,
    word,
)
from composer.primitives.activations import Act, activate, applied
from composer.primitives.around import partly
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, misuse, need_axes, whole
from composer.primitives.cost import Cost
from composer.primitives.normalization import (
    begins_affine,
    epsilon,
    need_groups,
    refuse_settings,
)
from composer.primitives.statistics import NORMS, Statistics


def _none_or_more(value: Any) -> Any:
    if value == "none":
        return ()
    if isinstance(value, bool) or value == []:
        raise misuse(
            "'affine' must name the axes along which there are weights",
            "write for example 'affine: c', or 'affine: none' for no weights",
        )
    return value if isinstance(value, (list, tuple)) else [value]


Affine = Annotated[
    tuple[AxisName, ...],
    BeforeValidator(
        _none_or_more,
        json_schema_input_type=AxisName | Annotated[list[AxisName], Field(min_length=1)],
    ),
]


class Normalize(Primitive):
    """Subtract the mean of the values that share statistics, and divide by the standard deviation.

    A batch norm has statistics for each channel of `over`. All others have them over the axes
    `over`, at each position of the other axes: ``{op: norm, fn: layer, over: c}`` per token,
    ``{fn: group, over: [c, h, w], groups: 32}`` per group of c, which comes first,
    ``{fn: instance, over: [h, w]}`` per map. rms and l2 only divide: by the root mean square, or
    by the length.
    """

    example: ClassVar[str] = "out: {op: norm, over: c, act: relu}"
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"

    op: Literal["norm"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(
        min_length=1,
        description="the channels of a batch norm; else the axes that share statistics, for a "
        "group norm starting with the axis in groups",
    )
    fn: Annotated[Expr, word(*NORMS)] = Field(default=constant("batch"), description="which norm")
    affine: Affine | None = Field(
        default=None,
        description="the axes along which there are weights, or none; by default those of 'over', "
        "for a group norm the first, for instance and l2 none",
    )
    groups: Size | None = Field(
        default=None, description="only for a group norm: the number of groups"
    )
    eps: Epsilon | None = Field(
        default=None,
        description="added to the variance, default 1e-5; for l2 the minimum length, default 1e-12",
    )
    momentum: Share = Field(
        default=constant(0.1),
        description="the weight of the current batch in the running statistics",
    )
    scale: Number = Field(default=constant(1), description="the initial value of its weight")
    act: Act = Field(default=constant("none"), description="the activation, after the norm")

    @model_validator(mode="after")
    def _settings_suit(self) -> Normalize:
        refuse_settings(
            self.fn, self.model_fields_set, None if self.affine is None else bool(self.affine)
        )
        return self

    @property
    def weights_along(self) -> tuple[str, ...]:
        """The axes of its weights, once bound."""
        if self.affine is not None:
            return self.affine
        if not begins_affine(str(self.fn.value)):
            return ()
        return self.over[:1] if self.fn.value == "group" else self.over

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        have = axes(self.x)
        need_axes(have, self.over, ("over",), self.x)
        if self.affine is not None:
            need_axes(have, self.affine, ("affine",), self.x)
        if self.fn.value == "batch":
            self._need_channels()
        if self.fn.value == "group":
            need_groups(self.groups, have[self.over[0]])
            self._need_map(have.without([*self.over, *order.added, order.input[0]]))
        return have

    def _need_channels(self) -> None:
        if len(self.over) > 1:
            raise AxisProblem(
                "invalid-value",
                f"a batch norm has one channel axis, and 'over' names {len(self.over)}",
                ("over",),
                f"merge them first: {{op: merge, axes: [{', '.join(self.over)}], into: …}}; or use "
                "'fn: layer', a norm over several axes",
            )
        if self.affine and self.affine != self.over:
            other = ", ".join(axis for axis in self.affine if axis not in self.over)
            raise AxisProblem(
                "invalid-value",
                f"a batch norm has weights along its channels {self.over[0]!r}, and none "
                f"along {other!r}",
                ("affine",),
                "omit 'affine', or write 'affine: none'",
            )

    def _need_map(self, riding: Axes) -> None:
        """Refuse a group norm that omits the spatial axes: nobody means that by a group norm."""
        if len(self.over) > 1 or not len(riding):
            return
        (channels,), rest = self.over, ", ".join(riding)
        raise AxisProblem(
            "invalid-value",
            f"each position of {rest} would have separate statistics for groups of {channels!r}",
            ("over",),
            f"write over: [{channels}, {rest}]; for a norm per position, split {channels!r} and "
            "use a layer norm over the part",
        )

    @property
    def _statistics(self) -> Statistics:
        fn = str(self.fn.value)
        return Statistics(
            fn,
            self.over,
            self.weights_along,
            eps=epsilon(self.eps, fn),
            groups=1 if self.groups is None else whole(self.groups),
            momentum=float(self.momentum.value),
            scale=float(self.scale.value),
        )

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether its weights or its statistics differ between positions."""
        return partly(self.over, places) or not set(places).isdisjoint(self.weights_along)

    def lower(self, emit: Emitter) -> Any:
        """Emit the norm and the activation."""
        assert self.x is not None
        node = self._statistics.write(emit, emit.node(self.x), emit.axes(self.x))
        return activate(emit, str(self.act.value), node, own=True)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the norm."""
        return self._statistics.cost(own)

    def label(self) -> str:
        """Return such as ``batch norm over c``, or ``group norm over c, h, w, 8 groups``."""
        groups = "" if self.groups is None else f", {self.groups} groups"
        return f"{self.fn} norm over {', '.join(self.over)}{groups}"

    def formula(self) -> str:
        """Return such as ``BN(x)`` or ``relu(LN(x))``."""
        return applied(self.act, f"{NORMS.get(str(self.fn.value), 'norm')}(x)")

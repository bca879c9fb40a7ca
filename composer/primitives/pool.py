"""`pool`: reduces axes, windows of them, or to given sizes; all others ride along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant, leaves
from composer.language.fields import AxisNames, Flag, NodeRef, Operand, Sizes, word
from composer.language.source import YamlPath
from composer.primitives.adaptive import pooled_to
from composer.primitives.arithmetic import raised, shown
from composer.primitives.around import partly
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import (
    AxisProblem,
    Emitter,
    Primitive,
    flag,
    need_axes,
    refers,
    whole,
)
from composer.primitives.batch import on_maps
from composer.primitives.per_axis import (
    alike,
    by_axis,
    down_and_across,
    for_each,
    repeated,
)
from composer.primitives.reductions import length, median, power_mean, side_by_side
from composer.primitives.windows import strided

_REDUCTIONS = ("mean", "max", "sum", "min", "std", "var", "median", "length", "power")
_OF_WINDOWS = ("mean", "max")
_MOST = 3  # axes that torch's adaptive pools take


class Pool(Primitive):
    """Reduce `over` the named axes: ``{op: pool, over: [h, w]}`` is the mean of each channel.

    With a `kernel` the two axes stay, each with the size ``(n - 1) // stride + 1``; with `to` they
    get the given sizes, as in adaptive pooling. ``std`` and ``var`` divide by the number of values
    (biased); ``median`` is the lower one of two middle values; ``length`` is √Σx²; ``power`` is
    the generalised mean of positive values, (mean of xᵖ)^(1/p) (arXiv:1711.02512).
    """

    example: ClassVar[str] = "out: {op: pool, over: [h, w], reduce: max}"
    colour: ClassVar[str] = "reduce"

    op: Literal["pool"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(
        min_length=1, description="the axes to reduce; with a kernel, the two it slides over"
    )
    reduce: Annotated[Expr, word(*_REDUCTIONS)] = Field(
        default=constant("mean"), description="the reduction"
    )
    exponent: Operand | None = Field(
        default=None, description="p of the power mean: a number, or a node such as a parameter"
    )
    to: Sizes | None = Field(
        default=None, description="the output sizes, one for each axis or one for all: [1, w]"
    )
    kernel: Sizes | None = Field(
        default=None,
        description="the size of a window, one number or one for each axis, odd or equal to the "
        "stride; by default the whole axes are reduced",
    )
    stride: Sizes = Field(
        default=(constant(1),),
        description="the step between windows, one number or one for each axis",
    )
    count_padding: Flag = Field(
        default=constant(False), description="whether a mean includes the zero padding"
    )

    @model_validator(mode="after")
    def _windows_say_their_kernel(self) -> Pool:
        for field in ("stride", "count_padding"):
            if self.kernel is None and field in self.model_fields_set:
                raise ValueError(f"{field!r} is for windows, so it needs a 'kernel'")
        if self.kernel is not None and len(self.over) != 2:
            raise ValueError(f"a kernel slides over two axes, and 'over' names {len(self.over)}")
        return self

    @model_validator(mode="after")
    def _sizes_are_those_of_the_axes(self) -> Pool:
        if self.to is None:
            return self
        if self.kernel is not None:
            raise ValueError(
                "'kernel' sets the size of windows, and 'to' their number; give only one"
            )
        if len(self.over) > _MOST:
            raise ValueError(f"'to' takes up to three axes, and 'over' names {len(self.over)}")
        return self

    @model_validator(mode="after")
    def _a_power_has_an_exponent(self) -> Pool:
        words = {str(leaf) for leaf in leaves(self.reduce)}
        if self.exponent is not None and words <= {*_REDUCTIONS} - {"power"}:
            raise ValueError(f"'exponent' is for the power mean, not for {self.reduce}")
        if self.exponent is None and "power" in words:
            raise ValueError("the power mean needs its 'exponent', such as 3")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether the axes are reduced completely, without windows."""
        return self.kernel is None and self.to is None

    @property
    def lengths(self) -> dict[str, Expr]:
        """The output sizes of the axes."""
        assert self.to is not None
        return dict(zip(self.over, for_each(self.to, self.over, "to"), strict=True))

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return the field that gives one value per axis, if any."""
        return down_and_across(self, ("to", "kernel", "stride"))

    @property
    def makes_anew(self) -> bool:
        """Whether its value is a new tensor: windows of 1×1 return their input."""
        return self.is_whole

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes without the reduced ones, or all of them with smaller maps."""
        assert self.x is not None
        have = axes(self.x)
        need_axes(have, self.over, ("over",), self.x)
        self._check_exponent(axes, have)
        if self.is_whole:
            return have.without(self.over)
        if self.reduce.value not in _OF_WINDOWS:
            what = "windows are pooled" if self.kernel is not None else "adaptive pooling is"
            way_out = "use mean or max; to reduce whole axes, omit 'kernel' and 'to'"
            if self.reduce.value == "sum" and self.kernel is not None:
                way_out = "use the mean; the sum is kernel * kernel times that"
            message = f"{what} by mean or max, not by {self.reduce.value}"
            raise AxisProblem("invalid-value", message, ("reduce",), way_out)
        if self.kernel is None:
            for axis, size in self.lengths.items():
                have = have.resized(axis, size)
            return have
        for index, axis in enumerate(self.over):
            kernel, stride = (
                for_each(getattr(self, field), self.over, field)[index]
                for field in ("kernel", "stride")
            )
            self._need_middle(kernel, stride, index)
            have = have.resized(axis, strided(have[axis], stride))
        return have

    def _check_exponent(self, axes: Callable[[Expr], Axes], have: Axes) -> None:
        if self.exponent is None:
            if self.reduce.value == "power":
                message = "the power mean needs its 'exponent', such as 3"
                raise AxisProblem("missing-field", message, ("reduce",))
            return
        if self.exponent.is_constant and self.exponent.value == 0:
            message = "a power mean with exponent 0 is undefined"
            way_out = "1 is the mean, -1 the harmonic mean, and a large one approaches the maximum"
            raise AxisProblem("invalid-value", message, ("exponent",), way_out)
        if not refers(self.exponent):
            return
        for axis in axes(self.exponent):
            if axis not in have or axis in self.over:
                why = "is reduced" if axis in have else f"{str(self.x)!r} does not have"
                message = f"{str(self.exponent)!r} has the axis {axis!r}, which {why}"
                way_out = "an exponent can only have axes that are not reduced, or none"
                raise AxisProblem("unknown-axis", message, ("exponent",), way_out)

    def _need_middle(self, kernel: Expr, stride: Expr, index: int) -> None:
        if not (kernel.is_constant and stride.is_constant):
            return
        if whole(kernel) % 2 == 0 and whole(kernel) != whole(stride):
            raise AxisProblem(
                "even-kernel",
                f"a window of {kernel} has no centre, and a stride of {stride} makes windows "
                "overlap",
                ("kernel", index),
                f"use an odd kernel, or a stride of {kernel}",
            )

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it has windows, or pools over only some of the spatial axes."""
        return partly(self.over, places) or not self.is_whole

    def lower(self, emit: Emitter) -> Any:
        """Emit the reduction; adjacent axes are flattened first.

        A mean over one flattened axis is faster than over two, and `amax`, unlike `max`, computes
        no indices.
        """
        assert self.x is not None
        if self.kernel is not None:
            return self._lower_windows(emit, self.kernel)
        reduce = str(self.reduce.value)
        if self.to is not None:
            return pooled_to(emit, self.x, self.lengths, reduce)
        if reduce == "median":
            return median(emit, self.x, self.over)
        if reduce == "length":
            return length(emit, self.x, self.over)
        if reduce == "power":
            assert self.exponent is not None
            return power_mean(emit, self.x, self.over, self.exponent)
        node, where = side_by_side(emit, self.x, self.over)
        if reduce == "max":
            from composer.kernels.largest import largest

            return emit.function(largest, node, where)
        if reduce in ("std", "var"):
            from composer.kernels.deviation import deviation, variance

            return emit.function(deviation if reduce == "std" else variance, node, where)
        axes = where[0] if len(where) == 1 else where
        if reduce == "mean":
            from composer.kernels.mean import mean

            return emit.function(mean, node, axes)
        return emit.method("amin" if reduce == "min" else reduce, node, axes)

    def _lower_windows(self, emit: Emitter, kernel: tuple[Expr, ...]) -> Any:
        import torch
        from torch.nn import functional

        assert self.x is not None
        have = emit.axes(self.x)
        numbers = zip(repeated(kernel, self.over), repeated(self.stride, self.over), strict=True)
        known = {a: (whole(k), whole(s)) for a, (k, s) in zip(self.over, numbers, strict=True)}
        windows = [known[axis] for axis in have if axis in known]  # in memory order
        if all(window == (1, 1) for window in windows):
            return emit.node(self.x)
        is_mean = (
            self.reduce.value == "mean"
        )  # torch.max_pool2d can be pickled, that of nn.functional can't
        pool: Callable[..., Any] = functional.avg_pool2d if is_mean else torch.max_pool2d
        if len(self.over) == 1:
            pool = functional.avg_pool1d if is_mean else torch.max_pool1d
        more = {"count_include_pad": flag(self.count_padding)} if is_mean else {}

        def pooled(x: Any) -> Any:
            if len(self.over) == 3:
                return _in_two_steps(emit, x, pool, windows[0], more)
            for step in _steps(windows):
                sizes, strides = (alike(numbers) for numbers in zip(*step, strict=True))
                x = emit.function(pool, x, sizes, strides, **_options(step), **more)
            return x

        return on_maps(emit, emit.node(self.x), have, self.over, pooled)

    def carries(self) -> tuple[Expr, ...]:
        """Return x; an exponent only modifies it."""
        return () if self.x is None else (self.x,)

    def label(self) -> str:
        """Return such as ``mean over h, w``."""
        if self.kernel is not None:
            stride = "×".join(dict.fromkeys(map(str, self.stride)))
            return f"{self.reduce} of {by_axis(self.kernel, self.over)}, stride {stride}"
        if self.to is not None:
            return f"{self.reduce} to {', '.join(f'{a} = {n}' for a, n in self.lengths.items())}"
        what = "power mean" if str(self.reduce) == "power" else self.reduce
        return f"{what} over {', '.join(self.over)}"

    def formula(self) -> str:
        """Return such as ``Σ x / hw``, ``max x``, or ``Σ x / 3²`` for a window."""
        if self.kernel is not None and {*self.kernel, *self.stride} == {constant(1)}:
            return "x"
        if self.to is not None:
            return ""
        reduce = str(self.reduce.value)
        if reduce in ("var", "std"):
            var = mean_of(self.over, "(x − μ)²")
            return f"√({var})" if reduce == "std" else var
        if reduce == "length":
            return "√(Σ x²)"
        if reduce == "power" and self.exponent is not None:
            mean = mean_of(self.over, raised("x", self.exponent))
            return f"({mean})^(1/{shown(self.exponent)})"
        if reduce != "mean":
            return "Σ x" if reduce == "sum" else f"{reduce} x" if reduce in _REDUCTIONS else ""
        if self.kernel is None:
            return mean_of(self.over)
        if len(set(self.kernel)) > 1:
            return f"Σ x / ({' · '.join(map(shown, self.kernel))})"
        return f"Σ x / {shown(self.kernel[0])}{('', '²', '³')[len(self.over) - 1]}"


Window = tuple[int, int]  # its size, and the stride to the next one


def _steps(windows: list[Window]) -> list[list[Window]]:
    """Return windows over several axes as calls: one for all, or one for each axis.

    Even windows are adjacent, and the last may reach beyond the edge; odd ones are centred. torch
    does only one of the two along all axes of a call.
    """
    even = {kernel % 2 == 0 for kernel, stride in windows if kernel > 1 or stride > 1}
    if len(even) < 2:
        return [windows]
    alone: list[Window] = [(1, 1)] * len(windows)
    return [[*alone[:place], window, *alone[place + 1 :]] for place, window in enumerate(windows)]


def _options(windows: list[Window]) -> dict[str, Any]:
    """Return how torch pads the map, and whether a window may reach beyond it."""
    tiles = any(kernel % 2 == 0 for kernel, _ in windows)
    padding = tuple(0 if tiles else kernel // 2 for kernel, _ in windows)
    return {"padding": alike(padding), "ceil_mode": tiles}


def _in_two_steps(
    emit: Emitter, x: Any, pool: Callable[..., Any], window: Window, more: Mapping[str, Any]
) -> Any:
    """Emit windows of [batch, channels, depth, height, width]: along the depth, then the rest.

    Mean and maximum of a box are separable, and torch's three-dimensional pools refuse a map that
    is smaller than a window, as in the last stage of a video network.
    """
    kernel, stride = window
    options = _options([window])
    of_depth = {**options, **more, "padding": (options["padding"], 0)}
    flat = emit.method("flatten", x, -2)
    deep = emit.function(pool, flat, (kernel, 1), (stride, 1), **of_depth)
    deep = emit.method("unflatten", deep, -1, tuple(emit.method("size", x, i) for i in (-2, -1)))
    flat = emit.method("flatten", deep, 1, 2)
    across = emit.function(pool, flat, kernel, stride, **options, **more)
    return emit.method("unflatten", across, 1, (emit.method("size", x, 1), -1))


def mean_of(axes: Sequence[str], of: str = "x") -> str:
    """Return the mean of x over some axes as a formula: ``Σ x / hw``, ``Σ x / (head · d)``."""
    if all(len(axis) == 1 for axis in axes):
        return f"Σ {of} / {''.join(axes)}"
    return f"Σ {of} / ({' · '.join(axes)})" if len(axes) > 1 else f"Σ {of} / {axes[0]}"

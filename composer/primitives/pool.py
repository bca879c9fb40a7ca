"""`pool`: reduce the named axes, or windows of two of them; all others ride along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisNames, Flag, NodeRef, Size, word
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, flag, need_axes, whole
from composer.primitives.batch import on_maps
from composer.primitives.windows import strided


class Pool(Primitive):
    """Reduce `over` the named axes: ``{op: pool, over: [h, w]}`` is the mean of each channel.

    With a `kernel` the two axes stay, each with the size ``(n - 1) // stride + 1``.
    """

    colour: ClassVar[str] = "reduce"

    op: Literal["pool"]
    x: NodeRef | None = Field(default=None, description="the node above unless told")
    over: AxisNames = Field(
        min_length=1, description="the axes that go; with a kernel, the two it slides over"
    )
    reduce: Annotated[Expr, word("mean", "max", "sum")] = Field(
        default=constant("mean"), description="mean unless told"
    )
    kernel: Size | None = Field(
        default=None,
        description="height and width of a window, odd, or as large as the stride; all unless told",
    )
    stride: Size = Field(default=constant(1), description="from window to window; 1 unless told")
    count_padding: Flag = Field(
        default=constant(False), description="whether zeros around the map count in a mean"
    )

    @model_validator(mode="after")
    def _windows_say_their_kernel(self) -> Pool:
        for field in ("stride", "count_padding"):
            if self.kernel is None and field in self.model_fields_set:
                raise ValueError(f"{field!r} belongs to windows, so it needs a 'kernel'")
        if self.kernel is not None and len(self.over) != 2:
            raise ValueError(f"a kernel slides over two axes, and 'over' names {len(self.over)}")
        return self

    @property
    def makes_anew(self) -> bool:
        """Whether its value is a new tensor: windows of 1×1 give back theirs."""
        return self.kernel is None

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes less those reduced, or all of them with smaller maps."""
        assert self.x is not None
        have = axes(self.x)
        need_axes(have, self.over, ("over",), self.x)
        if self.kernel is None:
            return have.without(self.over)
        if self.reduce.value == "sum":
            raise AxisProblem(
                "invalid-value",
                "windows are pooled by mean or max, not by sum",
                ("reduce",),
                "take the mean; the sum is kernel * kernel times that",
            )
        self._need_middle(self.kernel)
        for axis in self.over:
            have = have.resized(axis, strided(have[axis], self.stride))
        return have

    def _need_middle(self, kernel: Expr) -> None:
        if not (kernel.is_constant and self.stride.is_constant):
            return
        if whole(kernel) % 2 == 0 and whole(kernel) != whole(self.stride):
            raise AxisProblem(
                "even-kernel",
                f"a window of {kernel} has no middle, and a stride of {self.stride} does not lay "
                "it side by side",
                ("kernel",),
                f"take an odd kernel, or a stride of {kernel}",
            )

    def lower(self, emit: Emitter) -> Any:
        """Write the reduction; neighbouring axes are flattened first.

        A mean over one flattened axis runs faster than over two, and `amax`, unlike `max`,
        makes no indices.
        """
        assert self.x is not None
        if self.kernel is not None:
            return self._lower_windows(emit, whole(self.kernel), whole(self.stride))
        node, where = side_by_side(emit, self.x, self.over)
        if self.reduce.value == "max":
            from composer.kernels.largest import largest

            return emit.function(largest, node, where)
        return emit.method(
            str(self.reduce.value), node, where[0] if len(where) == 1 else where
        )

    def _lower_windows(self, emit: Emitter, kernel: int, stride: int) -> Any:
        from torch.nn import functional

        assert self.x is not None
        if kernel == stride == 1:
            return emit.node(self.x)
        tiles = kernel % 2 == 0
        options: dict[str, Any] = {"padding": 0 if tiles else kernel // 2, "ceil_mode": tiles}
        is_mean = self.reduce.value == "mean"
        pool: Callable[..., Any] = functional.avg_pool2d if is_mean else functional.max_pool2d
        if len(self.over) == 1:
            pool = functional.avg_pool1d if is_mean else functional.max_pool1d
        if is_mean:
            options["count_include_pad"] = flag(self.count_padding)

        def pooled(x: Any) -> Any:
            if len(self.over) == 3:
                return _in_two_steps(emit, x, pool, kernel, stride, options)
            return emit.function(pool, x, kernel, stride, **options)

        return on_maps(emit, emit.node(self.x), emit.axes(self.x), self.over, pooled)

    def label(self) -> str:
        """Return such as ``mean over h, w``."""
        if self.kernel is not None:
            size = "×".join([str(self.kernel)] * len(self.over))
            return f"{self.reduce} of {size}, stride {self.stride}"
        return f"{self.reduce} over {', '.join(self.over)}"

    def formula(self) -> str:
        """Return such as ``Σ x / hw``, ``max x``, or ``Σ x / 3²`` of a window."""
        if self.kernel is not None and self.kernel == self.stride == constant(1):
            return "x"
        if self.reduce.value != "mean":
            return {"max": "max x", "sum": "Σ x"}.get(str(self.reduce), "")
        if self.kernel is None:
            return mean_of(self.over)
        plain = self.kernel.is_constant or self.kernel.kind == "name"
        power = ("", "²", "³")[len(self.over) - 1]
        return f"Σ x / {self.kernel if plain else f'({self.kernel})'}{power}"


def _in_two_steps(
    emit: Emitter, x: Any, pool: Callable[..., Any], kernel: int, stride: int, options: Any
) -> Any:
    """Write windows of [batch, channels, depth, height, width]: along the depth, then across.

    Mean and maximum of a box come apart so, and torch's own of three dimensions refuse a map that
    is smaller than a window, as those of the last stage of a network for videos are.
    """
    of_depth = {**options, "padding": (options["padding"], 0)}
    flat = emit.method("flatten", x, -2)
    deep = emit.function(pool, flat, (kernel, 1), (stride, 1), **of_depth)
    deep = emit.method("unflatten", deep, -1, tuple(emit.method("size", x, i) for i in (-2, -1)))
    across = emit.function(pool, emit.method("flatten", deep, 1, 2), kernel, stride, **options)
    return emit.method("unflatten", across, 1, (emit.method("size", x, 1), -1))


def mean_of(axes: Sequence[str]) -> str:
    """Return the mean of x over some axes as maths: ``Σ x / hw``, ``Σ x / (head · d)``."""
    if all(len(axis) == 1 for axis in axes):
        return f"Σ x / {''.join(axes)}"
    return f"Σ x / ({' · '.join(axes)})" if len(axes) > 1 else f"Σ x / {axes[0]}"


def side_by_side(emit: Emitter, ref: Expr, over: Sequence[str]) -> tuple[Any, tuple[int, ...]]:
    """Write a value with the axes to reduce as one, where they are neighbours; and their places."""
    node, names = emit.node(ref), emit.axes(ref).names
    where = sorted(names.index(axis) for axis in over)
    if len(where) > 1 and where == list(range(where[0], where[-1] + 1)):
        return emit.method("flatten", node, where[0], where[-1]), (where[0],)
    return node, tuple(where)

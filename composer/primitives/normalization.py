"""The norm after a layer, over its channels, with the settings of the paper."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from composer.language import expressions
from composer.language.expressions import Expr
from composer.language.fields import Epsilon, Flag, Number, Share, Size, word
from composer.language.models import Model
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, flag, misuse, whole
from composer.primitives.cost import Cost, of_norm
from composer.primitives.statistics import EPS, NORMS, UNCENTRED, Statistics

#: The non-spatial axes of a layer's output; no spec has such names.
_BATCH, _CHANNELS = "", "*"


class Norm(Model):
    """A norm over the channels, written as a word (``batch``) or with its settings."""

    fn: Annotated[Expr, word("none", *NORMS)] = Field(
        default=expressions.constant("batch"),
        description="which norm; group has its statistics also over the map, instance only over "
        "the map, and layer, rms and l2 over the channels of each position",
    )
    momentum: Share = Field(
        default=expressions.constant(0.1),
        description="the weight of the current batch in the running statistics",
    )
    eps: Epsilon | None = Field(
        default=None,
        description="added to the variance, default 1e-5; for l2 the minimum length, default 1e-12",
    )
    scale: Number = Field(
        default=expressions.constant(1), description="the initial value of its weight"
    )
    groups: Size | None = Field(
        default=None, description="only for a group norm: the number of groups"
    )
    affine: Flag | None = Field(
        default=None,
        description="whether each channel has a weight; default true, for instance and l2 false",
    )

    @model_validator(mode="after")
    def _settings_suit(self) -> Norm:
        has = None if self.affine is None or not self.affine.is_constant else flag(self.affine)
        refuse_settings(self.fn, self.model_fields_set, has)
        return self

    @property
    def is_on(self) -> bool:
        """Whether there is a norm, once bound."""
        return bool(self.fn.value != "none")

    @property
    def has_weights(self) -> bool:
        """Whether each channel has a weight, once bound."""
        return begins_affine(str(self.fn.value)) if self.affine is None else flag(self.affine)

    def need(
        self,
        channels: Expr,
        rest: Axes,
        order: AxisOrder,
        places: tuple[str, ...] = (),
        layer: str = "linear",
    ) -> None:
        """Refuse a norm that is impossible for the output of a layer.

        Args:
            channels: the number of output channels.
            rest: the other axes of the output.
            order: of all axes.
            places: the spatial axes of the layer, if it has any.
            layer: its name in messages.

        Raises:
            AxisProblem: code ``invalid-value``, ``missing-field`` or ``groups-do-not-divide``.
        """
        fn = str(self.fn.value)
        if fn == "instance" and not places:
            raise AxisProblem(
                "invalid-value",
                f"an instance norm needs a map for its statistics, and {layer} has none",
                ("norm", "fn"),
                "write the norm as a node: {op: norm, fn: instance, over: [h, w], affine: c}",
            )
        if fn != "group":
            return
        need_groups(self.groups, channels, ("norm",))
        riding = rest.without([order.input[0], *order.added])
        if not places and len(riding):
            raise AxisProblem(
                "invalid-value",
                f"a group norm after {layer} would have separate statistics at each position of "
                f"{', '.join(riding)}",
                ("norm", "fn"),
                "write the norm as a node, with all axes that share statistics: "
                f"{{op: norm, fn: group, over: [c, {', '.join(riding)}], groups: {self.groups}}}",
            )

    def write(self, emit: Emitter, x: Any, riding: int, width: int, places: int = 0) -> Any:
        """Emit the norm of [riding…, channels, places…]; nothing if there is none."""
        if not self.is_on:
            return x
        unknown = expressions.constant(0)
        rest = [f"{_BATCH}{i}" for i in range(riding)]
        of_map = [f"{_CHANNELS}{i}" for i in range(places)]
        axes = Axes.of(
            {
                **dict.fromkeys(rest, unknown),
                _CHANNELS: expressions.constant(width),
                **dict.fromkeys(of_map, unknown),
            }
        )
        return self._statistics(tuple(of_map)).write(emit, x, axes)

    def _statistics(self, places: tuple[str, ...]) -> Statistics:
        fn = str(self.fn.value)
        over = {"group": (_CHANNELS, *places), "instance": places}.get(fn, (_CHANNELS,))
        return Statistics(
            fn,
            over,
            (_CHANNELS,) if self.has_weights else (),
            eps=epsilon(self.eps, fn),
            groups=1 if self.groups is None else whole(self.groups),
            momentum=float(self.momentum.value),
            scale=float(self.scale.value),
        )

    def cost(self, channels: int, elements: int) -> Cost:
        """Return the cost of the norm, if any, of a value with so many channels and elements."""
        if not self.is_on:
            return Cost()
        centred = self.fn.value not in UNCENTRED
        return of_norm(channels * self.has_weights, elements, centred)

    def formula(self, of: str) -> str:
        """Return the norm of `of` as a formula."""
        return f"{NORMS.get(str(self.fn.value), 'norm')}({of})" if self.is_on else of


def begins_affine(fn: str) -> bool:
    """Return whether a norm has weights by default."""
    return fn not in ("instance", "l2")


def epsilon(eps: Expr | None, fn: str) -> float:
    """Return the eps of the norm, as written or its default."""
    return EPS[fn] if eps is None else float(eps.value)


def refuse_settings(fn: Expr, written: set[str], affine: bool | None) -> None:
    """Refuse settings that have no effect on a norm, if its name is written.

    Args:
        fn: which norm.
        written: the fields given in the spec.
        affine: whether it has weights; None for the default.

    Raises:
        PydanticCustomError: for the first such setting.
    """
    word = str(fn.value) if fn.kind in ("name", "constant") else ""
    if word not in NORMS:
        return
    this = f"{'a' if word in ('batch', 'layer', 'group') else 'an'} {word} norm"
    if word != "batch" and "momentum" in written:
        raise misuse(
            f"{this} keeps no running statistics, so it has no 'momentum'", "omit 'momentum'"
        )
    if word != "group" and "groups" in written:
        raise misuse(
            f"{this} has no 'groups'", "omit 'groups', or write 'fn: group' for a group norm"
        )
    if word == "group" and "groups" not in written:
        raise misuse(_NO_GROUPS, "add 'groups: 32'")
    has = begins_affine(word) if affine is None else affine
    if not has and "scale" in written:
        default = " by default" if affine is None else ""
        raise misuse(
            f"{this} has no weights{default}, so 'scale' has no effect",
            "omit 'scale', or set 'affine' to give it weights",
        )


_NO_GROUPS = "a group norm needs 'groups', the number of groups of channels"


def need_groups(groups: Expr | None, channels: Expr, field: tuple[str, ...] = ()) -> None:
    """Refuse a group norm without groups, or with groups that do not divide its channels.

    Raises:
        AxisProblem: code ``missing-field`` or ``groups-do-not-divide``.
    """
    if groups is None:
        raise AxisProblem(
            "missing-field",
            _NO_GROUPS,
            (*field, "fn"),
            "add 'groups: 32'",
        )
    if groups.is_constant and channels.is_constant and whole(channels) % whole(groups):
        raise AxisProblem(
            "groups-do-not-divide",
            f"{groups} groups do not divide {channels} channels",
            (*field, "groups"),
            f"choose groups that divide {channels}",
        )


def _written(value: Any) -> Any:
    return {"fn": value} if not isinstance(value, (dict, Norm)) else value


NormField = Annotated[Norm, BeforeValidator(_written, json_schema_input_type=Norm | str)]
NO_NORM = Norm(fn=expressions.constant("none"))

"""The norm that follows a layer, over its channels, with the paper's settings."""

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

#: The axes that a layer's value has, beside those of a map; no spec has such names.
_BATCH, _CHANNELS = "", "*"


class Norm(Model):
    """A norm over the channels, written as a word (``batch``) or with its settings."""

    fn: Annotated[Expr, word("none", *NORMS)] = Field(
        default=expressions.constant("batch"),
        description="which norm; group takes its statistics over the map, too, instance over the "
        "map alone, and layer, rms and l2 over the channels of each place",
    )
    momentum: Share = Field(
        default=expressions.constant(0.1), description="weight of the newest batch's statistics"
    )
    eps: Epsilon | None = Field(
        default=None,
        description="added to the variance, default 1e-5; of l2 the least length, default 1e-12",
    )
    scale: Number = Field(default=expressions.constant(1), description="what its weight begins at")
    groups: Size | None = Field(default=None, description="of a group norm: parts of the channels")
    affine: Flag | None = Field(
        default=None,
        description="whether each channel has a weight; default true, of instance and l2 false",
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
        """Refuse a norm that the value of a layer can't have.

        Args:
            channels: how many the layer gives.
            rest: the other axes of its value.
            order: of all axes.
            places: the axes of the layer's map, where it has one.
            layer: what to call it.

        Raises:
            AxisProblem: code ``invalid-value``, ``missing-field`` or ``groups-do-not-divide``.
        """
        fn = str(self.fn.value)
        if fn == "instance" and not places:
            raise AxisProblem(
                "invalid-value",
                f"an instance norm has its statistics over a map, and {layer} works on none",
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
                f"a group norm after {layer} would have statistics of its own at each place of "
                f"{', '.join(riding)}",
                ("norm", "fn"),
                "write the norm as a node, with all axes that share their statistics: "
                f"{{op: norm, fn: group, over: [c, {', '.join(riding)}], groups: {self.groups}}}",
            )

    def write(self, emit: Emitter, x: Any, riding: int, width: int, places: int = 0) -> Any:
        """Write the norm of [riding…, channels, places…]; nothing where there is none."""
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
        """Return the cost of the norm of a value with so many channels and elements, if any."""
        if not self.is_on:
            return Cost()
        centred = self.fn.value not in UNCENTRED
        return of_norm(channels * self.has_weights, elements, centred)

    def formula(self, of: str) -> str:
        """Return the norm of `of` as maths."""
        return f"{NORMS.get(str(self.fn.value), 'norm')}({of})" if self.is_on else of


def begins_affine(fn: str) -> bool:
    """Return whether a norm has weights by default."""
    return fn not in ("instance", "l2")


def epsilon(eps: Expr | None, fn: str) -> float:
    """Return what keeps the divisor from zero, as written or the default of this norm."""
    return EPS[fn] if eps is None else float(eps.value)


def refuse_settings(fn: Expr, written: set[str], affine: bool | None) -> None:
    """Refuse settings that a norm, where its name is written, has no use for.

    Args:
        fn: which norm.
        written: the fields that the spec has.
        affine: whether it has weights; None where that is the default.

    Raises:
        PydanticCustomError: the first of them.
    """
    word = str(fn.value) if fn.kind in ("name", "constant") else ""
    if word not in NORMS:
        return
    this = f"{'a' if word in ('batch', 'layer', 'group') else 'an'} {word} norm"
    if word != "batch" and "momentum" in written:
        raise misuse(f"{this} keeps no statistics, so it has no 'momentum'", "omit 'momentum'")
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
            f"{this} has no weights{default}, so there is nothing that begins at 'scale'",
            "omit 'scale', or say in 'affine' that it has weights",
        )


_NO_GROUPS = "a group norm needs 'groups', the number of parts that its channels are in"


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

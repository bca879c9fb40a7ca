"""The claims of a paper about a mechanism, as data: a new mechanism is one `Claim`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from composer.language.expressions import Value, bind, parse

#: The default tolerance of a count: exact to the unit, or 0.1 %.
THOUSANDTH = 0.001
SI = {"k": 10**3, "M": 10**6, "G": 10**9, "Mi": 2**20}


@dataclass(frozen=True)
class Conv:
    """A convolution to replace, of any width; it multiplies the channels by `widen`."""

    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    bias: bool = False
    widen: int = 1

    def layer(self, channels: int) -> nn.Conv2d:
        """Return the convolution at a width; `groups` 0 makes it depthwise."""
        return nn.Conv2d(
            channels,
            self.widen * channels,
            self.kernel,
            self.stride,
            self.dilation * (self.kernel // 2),
            self.dilation,
            self.groups or channels,
            self.bias,
        )

    def __str__(self) -> str:
        grouped = "depthwise" if self.groups == 0 else f"{self.groups} groups"
        parts = [
            f"{self.kernel}×{self.kernel}",
            f"stride {self.stride}" if self.stride > 1 else "",
            f"dilation {self.dilation}" if self.dilation > 1 else "",
            grouped if self.groups != 1 else "",
            "with bias" if self.bias else "",
        ]
        return " ".join(filter(None, parts))


@dataclass(frozen=True)
class Setting:
    """The sizes a module is built for: channels, map size, the convolution it stands for."""

    channels: int
    size: tuple[int, int]
    conv: nn.Conv2d

    @property
    def known(self) -> dict[str, Value]:
        """The names of a formula."""
        (height, width), conv = self.size, self.conv
        return {
            "c": self.channels,
            "h": height,
            "w": width,
            "out": conv.out_channels,
            "kernel": conv.kernel_size[0],
            "groups": conv.groups,
        }


Oracle = Callable[[Setting], nn.Module]


@dataclass(frozen=True)
class Case:
    """A spec with some params, and its oracle.

    Attributes:
        oracle: builds the oracle.
        formula: the number of parameters, over c h w, the params, `hidden`, and for a stand-in
            out kernel groups.
        keys: the oracle's key for each key of our checkpoint.
        params: those that differ from the spec's defaults.
        hidden: the width of a bottleneck, for the formula.
        conv: the convolution that a stand-in replaces.
        width: the number of channels at which values are compared.
        widths: the numbers of channels at which parameters are counted.
        shapes: the batch and the other sizes at which values are compared.
        sized: whether it is built for one map size.
        tolerance: the allowed relative difference of two values.
    """

    oracle: Oracle
    formula: str
    keys: Mapping[str, str]
    params: Mapping[str, Value] = field(default_factory=dict)
    hidden: str | None = None
    conv: Conv | None = None
    width: int = 32
    widths: tuple[int, ...] = (64, 256, 512, 2048)
    shapes: tuple[tuple[int, ...], ...] = ((3, 7, 9), (2, 5, 3))
    sized: bool = False
    tolerance: float = 1e-10

    @property
    def said(self) -> str:
        """The formula with the definition of its names."""
        return f"{self.formula}, hidden = {self.hidden}" if self.hidden else self.formula

    def count(self, at: Setting) -> int:
        """Return the number of parameters according to the formula."""
        known = {**at.known, **self.params}
        if self.hidden:
            known["hidden"] = bind(parse(self.hidden), known).value
        return int(bind(parse(self.formula), known).value)

    def setting(self, channels: int, size: tuple[int, int] = (7, 9)) -> Setting:
        """Return the sizes for the module at a width."""
        return Setting(channels, size, (self.conv or Conv()).layer(channels))

    def __str__(self) -> str:
        params = [f"{key}={str(value).lower()}" for key, value in self.params.items()]
        conv = [] if self.conv is None else [str(self.conv)]
        return ", ".join([*params, *conv])


@dataclass(frozen=True)
class CanonicalPlace:
    """Where the paper puts a mechanism, in its best-known network.

    Attributes:
        backbone: a MODEL string.
        sites: the number of sites.
        paths: a glob that matches the path of every site.
        words: a description of the place.
        position: the position at every site.
        absorb: the layers that are replaced together with a convolution.
        shares: whether the sites of a block share a value.
        instead: whether it replaces the modules at these paths, which are blocks; the certificate
            then puts it there itself, because this is not an insertion.
        width: the channels of the replaced module, if they differ from those of the head.
        source: the source, if it is not the paper.
    """

    backbone: str
    sites: int
    paths: str
    words: str
    position: str = "residual"
    absorb: tuple[str, ...] = ()
    shares: bool = False
    instead: bool = False
    width: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class Count:
    """A published number of a whole network.

    Attributes:
        shown: ``28,088,024``, or a decimal with its unit, ``27.48 M``, ``24.37 Mi`` (of 2²⁰).
        source: the source of the number.
        tolerance: the allowed relative difference; by default exact to the unit, or 0.1 %.
        params: those that differ from the spec's defaults.
        backbone: the network, if it differs from that of the place.
        replaces: the class of the network's modules that it replaces, if the network already has
            the mechanism.
        statistics: whether the norms' statistics are also counted.
        norms: whether multiply-adds of norms are counted, two for each element.
    """

    shown: str
    source: str
    tolerance: float | None = None
    params: Mapping[str, Value] = field(default_factory=dict)
    backbone: str | None = None
    replaces: str | None = None
    statistics: bool = False
    norms: bool = True

    @property
    def amount(self) -> float:
        """The number."""
        number, _, unit = self.shown.replace(",", "").partition(" ")
        return float(number) * SI[unit] if unit else int(number)

    @property
    def slack(self) -> float:
        """The allowed relative difference."""
        if self.tolerance is not None:
            return self.tolerance
        return THOUSANDTH if " " in self.shown else 0.0


@dataclass(frozen=True)
class Claim:
    """Everything that is certified for one spec.

    Attributes:
        spec: its name.
        paper: the source of the formula, with the equation.
        cases: the spec with its defaults, and with other params.
        place: where the paper puts it.
        parameters: parameter counts of whole networks.
        flops: multiply-adds of whole networks for one image.
        deviations: for each deviation that the spec must declare, a word of it.
        schedule: the value of its only schedule after so many epochs.
        defaults: the params that the paper recommends.
    """

    spec: str
    paper: str
    cases: tuple[Case, ...]
    place: CanonicalPlace
    parameters: tuple[Count, ...]
    flops: tuple[Count, ...] = ()
    deviations: tuple[str, ...] = ()
    schedule: Mapping[int, float] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)

"""What is timed: each shipped spec at the sizes of the networks it is meant for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import composer
from composer.certificate.claim import Case as Claimed
from composer.certificate.claim import Conv, Oracle, Setting
from composer.certificate.claims import CLAIMS
from composer.certificate.oracles import SwinWindow
from composer.language.expressions import Value

MAPS = ("256x56x56", "512x28x28", "1024x14x14", "2048x7x7")  # the stages of a ResNet-50
CONVS = ("64x56x56", "128x28x28", "256x14x14", "512x7x7")  # what its 3×3 convolutions see
LATE = ("256x14x14", "512x7x7")  # 3,136 pixels attending to all would take gigabytes
TOKENS = ("196x384", "196x768")  # of ViT-S and ViT-B
MORE_TOKENS = (*TOKENS, "784x384", "1024x384", "4096x384")  # to a 64×64 grid
WINDOWED = ("96x56x56", "192x28x28", "384x14x14")  # the stages of Swin-T
#: Of the tokens of a batch: where plain code stores the weight of each, 8 heads take a gigabyte.
MOST_PAIRS = 2**25
BATCHES = (1, 8, 32)

#: The layer that a stand-in takes the place of: its kernel and its groups.
KERNELS = {"sk": (3, 32), "cond_conv_1x1": (1, 1)}
#: Rows of a spec other than as it is: whose they are, and with which params.
VARIANTS: dict[str, tuple[str, dict[str, Value]]] = {
    "cond_conv_1x1": ("cond_conv", {}),
    "swin_window_shifted": ("swin_window", {"shift": 3}),
}
ORACLES: dict[str, Oracle] = {
    "swin_window_shifted": lambda at: SwinWindow(at.channels, 7, 3, at.channels // 32)
}

SHAPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("se", "se_var1", "se_var2", "se_var3", "ese", "eca"), MAPS),
    **dict.fromkeys(("cbam", "cbam_channel", "cbam_spatial", "bam"), MAPS),
    **dict.fromkeys(("ge_theta_minus", "ge_theta", "ge_theta_plus"), MAPS),
    **dict.fromkeys(("sk", "split_attention", "dynamic_conv", "cond_conv"), CONVS),
    "cond_conv_1x1": MAPS,
    "bot_mhsa": (*LATE, "256x32x32"),
    "swin_window": WINDOWED,
    "swin_window_shifted": WINDOWED,
    "outlook": ("192x28x28",),
    "sa": MORE_TOKENS,
    "mhsa": MORE_TOKENS,
    "transformer_layer": TOKENS,
}
#: What weighs every place against every other.
PAIRED = (
    "axial",
    "axial_height",
    "criss_cross",
    "danet_position",
    "non_local",
    "outlook",
    "rcca",
    "coatnet_attention",
    "global_filter",
)


def _usual(claim: Claimed) -> tuple[str, ...]:
    """Return the shapes of a spec that the table does not name."""
    if len(claim.shapes[0]) == 2:
        return TOKENS
    return CONVS if claim.conv is not None else MAPS


#: A spec without a row of its own is timed at the shapes of its kind.
SHAPES |= {name: LATE if name in PAIRED else _usual(claim.cases[0])
           for name, claim in CLAIMS.items() if name not in SHAPES}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A spec on a batch of one shape: ``se`` on ``8x256x56x56``; tokens have two sizes."""

    name: str
    batch: int
    shape: tuple[int, ...]

    @property
    def spec(self) -> str:
        """The name of the shipped spec."""
        return VARIANTS[self.name][0] if self.name in VARIANTS else self.name

    @property
    def claimed(self) -> Claimed:
        """What the certificate says of the spec as it is."""
        return CLAIMS[self.spec].cases[0]

    @property
    def channels(self) -> int:
        """The size of the axis ``c``, which is the last one of tokens."""
        return self.shape[0] if len(self.shape) == 3 else self.shape[1]

    @property
    def gates(self) -> bool:
        """Whether it scales a map, so that memory traffic is what it may come down to."""
        return len(self.shape) == 3 and self.claimed.conv is None

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the map; tokens are one row."""
        return (self.shape[1], self.shape[2]) if len(self.shape) == 3 else (1, self.shape[0])

    @property
    def conv(self) -> nn.Conv2d:
        """The layer that a stand-in takes the place of."""
        usual = self.claimed.conv or Conv()
        kernel, groups = KERNELS.get(self.name, (usual.kernel, usual.groups))
        c = self.channels
        groups = groups or c  # 0 is depthwise
        return nn.Conv2d(c, c, kernel, padding=kernel // 2, groups=groups, bias=False)

    def ours(self) -> nn.Module:
        """Return the module of the shipped spec."""
        size = self.size if self.claimed.sized else None
        params = VARIANTS[self.name][1] if self.name in VARIANTS else self.claimed.params
        if self.claimed.conv is not None:
            return composer.build(self.spec, like=self.conv, size=size, params=params)
        return composer.build(self.spec, channels=self.channels, size=size, params=params)

    def oracle(self) -> nn.Module:
        """Return the mechanism as the certificate's plain torch."""
        made = ORACLES.get(self.name, self.claimed.oracle)
        return made(Setting(self.channels, self.size, self.conv))

    def input(self, device: str = "cpu", dtype: torch.dtype = torch.float32,
              channels_last: bool = False) -> Tensor:  # fmt: skip
        """Return a batch of normal numbers."""
        x = torch.randn(self.batch, *self.shape, device=device, dtype=dtype)
        if channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x

    def __str__(self) -> str:
        return f"{self.name} {'x'.join(map(str, (self.batch, *self.shape)))}"


def cases(
    names: Sequence[str] = (), batches: Sequence[int] = BATCHES, shapes: Sequence[str] = ()
) -> Iterator[Case]:
    """Yield the cases of these specs, all unless told, in these batches and shapes.

    Of the shapes a spec takes those that its own table has; where it has none of them, all that
    have as many axes. Of tokens there are at most `MOST_PAIRS` in a batch.
    """
    for name in names or SHAPES:
        own = SHAPES[name]
        alike = [s for s in shapes if s.count("x") == own[0].count("x")]
        wanted = [s for s in alike if s in own] or alike if shapes else own
        for shape in wanted:
            sizes = tuple(map(int, shape.split("x")))
            for batch in batches:
                if len(sizes) == 3 or batch * sizes[0] ** 2 <= MOST_PAIRS:
                    yield Case(name, batch, sizes)

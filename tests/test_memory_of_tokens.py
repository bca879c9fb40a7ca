"""What tokens cost in memory: linear in their number, unless the formula has a weight per pair."""

from __future__ import annotations

import pytest
import torch
from shipped import SIZED, TOKENS

from composer.lower.build import build
from composer.measure.memory import peak_memory

CHANNELS = 64
#: The attention of these is softmax(q kᵀ) v, or has no weights of pairs at all.
LINEAR = (
    "mhsa", "sa", "transformer_layer", "non_local", "danet_position", "danet_channel", "xca",
    "linear_attention", "external_attention", "separable_attention", "double_attention",
    "swin_window",
)  # fmt: skip
#: Weights as small as these are stored, since that takes less time than computing them twice; of
#: larger ones see test_attention_by_parts_stores_no_weights.
STORED = ("danet_position", True)
CASES = [(name, learns) for name in LINEAR for learns in (False, True) if (name, learns) != STORED]
#: A position for each pair, or a layer over the heads of the weights themselves, needs them all.
BY_PAIRS = ("aft", "bot_mhsa", "coatnet_attention", "talking_heads")


def growth(name: str, learns: bool) -> float:
    """Return how many times the memory four times the tokens take."""
    peaks = []
    for side in (28, 56):
        size = (1, side * side) if name in TOKENS else (side, side)
        shape = (1, side * side, CHANNELS) if name in TOKENS else (1, CHANNELS, *size)
        module = build(name, CHANNELS, size=size if name in SIZED else None).eval()
        x = torch.randn(shape, requires_grad=learns)

        def step(module: torch.nn.Module = module, x: torch.Tensor = x) -> None:
            with torch.set_grad_enabled(learns):
                out = module(x)
                if learns:
                    torch.autograd.grad(out.sum(), x)

        step()
        peaks.append(peak_memory(step, "cpu"))
    return peaks[1] / peaks[0]


@pytest.mark.quick(4, then="long")
@pytest.mark.parametrize(("name", "learns"), CASES)
def test_memory_grows_with_the_tokens(name: str, learns: bool) -> None:
    assert growth(name, learns) < 4.5


@pytest.mark.long
@pytest.mark.parametrize("name", BY_PAIRS)
def test_memory_of_weights_of_pairs(name: str) -> None:
    assert 10 < growth(name, learns=False) < 17

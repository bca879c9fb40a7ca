"""The class of layer that mixes the last axis of a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_OF_MAPS = 3  # batch, height and width


def fully_connected(riding: int) -> type[nn.Linear]:
    """Return the layer class for a value with so many axes before the one that it mixes."""
    from torch import nn

    from composer.kernels.linear import Linear

    return Linear if riding >= _OF_MAPS else nn.Linear

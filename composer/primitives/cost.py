"""What a node costs: the sums that the layers share; the sizes come from the primitives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Parameters, and `flops`: the multiply-adds of one image, as `composer.measure.cost` counts.

    These are the multiply-adds of every convolution and product of matrices, and two for each
    element of a norm.
    """

    parameters: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Return what both cost together."""
        return Cost(self.parameters + other.parameters, self.flops + other.flops)


def of_layer(inputs: int, outputs: int, elements: int, bias: bool) -> Cost:
    """Return the cost of a layer that makes each of `elements` from so many `inputs`.

    Args:
        inputs: that one element is summed over: channels of a group times places of a kernel.
        outputs: how many of them have weights of their own.
        elements: of the layer's value, for one image.
        bias: whether each output has one; adding it is not counted.
    """
    return Cost(outputs * (inputs + bias), elements * inputs)


def of_norm(weights: int, elements: int, centred: bool = True) -> Cost:
    """Return the cost of a norm with so many weights: statistics are no parameters.

    One that does not move the mean has no bias, and torch makes it of products of elements, which
    are not counted.
    """
    return Cost(2 * weights, 2 * elements) if centred else Cost(weights)


def of_einsum(elements: int, summed: int) -> Cost:
    """Return the cost of a product that sums so many pairs for each of its `elements`.

    Where that is one pair, torch multiplies element by element, which is not counted.
    """
    return Cost(flops=elements * summed if summed > 1 else 0)

"""The cost of a node: formulas shared by the layers; the sizes come from the primitives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Parameters, and `flops`: the multiply-adds of one image, as `composer.measure.cost` counts.

    These are the multiply-adds of every convolution and matrix product, and two for each element
    of a norm.
    """

    parameters: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Return the sum of both costs."""
        return Cost(self.parameters + other.parameters, self.flops + other.flops)


def of_layer(inputs: int, outputs: int, elements: int, bias: bool) -> Cost:
    """Return the cost of a layer that computes each of `elements` from `inputs` values.

    Args:
        inputs: the values summed for one element: channels of a group times kernel positions.
        outputs: the number of outputs with their own weights.
        elements: of the layer's output, for one image.
        bias: whether each output has one; adding it is not counted.
    """
    return Cost(outputs * (inputs + bias), elements * inputs)


def of_norm(weights: int, elements: int, centred: bool = True) -> Cost:
    """Return the cost of a norm with so many weights; statistics are not parameters.

    A norm without mean subtraction has no bias, and torch computes it elementwise, which is not
    counted.
    """
    return Cost(2 * weights, 2 * elements) if centred else Cost(weights)


def of_einsum(elements: int, summed: int) -> Cost:
    """Return the cost of a product that sums so many pairs for each of its `elements`.

    For a single pair, torch multiplies elementwise, which is not counted.
    """
    return Cost(flops=elements * summed if summed > 1 else 0)

"""Compares our module with its oracle, with equal weights: outputs, statistics and gradients."""

from __future__ import annotations

from torch import Tensor, fx

from composer.certificate.claim import Case
from composer.certificate.draw import random
from composer.certificate.pair import Gap, Pair, shown
from composer.certificate.trace import first_difference
from composer.errors import counted, listing
from composer.graph.frontend import graph_of
from composer.graph.passes import compile_graph
from composer.lower.build import lower, settings_for
from composer.primitives import Spec


def agreement(spec: Spec, case: Case) -> tuple[bool, str]:
    """Compare in both modes, at every shape of the case; return whether all agree, and the details.

    Raises:
        ComposerError: the spec can't be built, or its tensors are not those of the paper.
    """
    worst: dict[bool, float] = {}
    for shape in case.shapes:
        pair = pair_of(spec, case, size_of(shape))
        x = input_of(case, shape)
        for training in (False, True):
            gaps = pair.train(training).gaps(x)
            if any(gap.wide for gap in gaps):
                return False, _difference(pair, gaps, x)
            worst[training] = max(worst.get(training, 0.0), *(gap.size for gap in gaps))
    shapes = listing([shown(input_shape(case, shape)) for shape in case.shapes])
    largest = f"in eval {worst[False]:.1g}, in training {worst[True]:.1g}"
    return True, f"largest difference {largest}, on {shapes}"


def pair_of(spec: Spec, case: Case, size: tuple[int, int]) -> Pair:
    """Build both in float64; `size` is for a mechanism that is built for one map size.

    Raises:
        ComposerError: the spec can't be built, or its tensors are not those of the paper.
    """
    ours = module_of(spec, case, case.width, size).double()
    written = module_of(spec, case, case.width, size, as_written=True).double()
    theirs = case.oracle(case.setting(case.width, size)).double()
    return Pair(ours, theirs, written, case.keys, case.tolerance).drawn()


def module_of(
    spec: Spec, case: Case, channels: int, size: tuple[int, int], as_written: bool = False
) -> fx.GraphModule:
    """Return our module for a case, as users get it, or with the nodes as written in the spec.

    Raises:
        ComposerError: the spec does not fit the case.
    """
    like = case.setting(channels, size).conv if case.conv is not None else None
    told = size if case.sized else None
    wide = None if like is not None else channels
    settings = settings_for(spec, wide, like, told, case.params)
    return lower(compile_graph(graph_of(spec, settings), as_written))


def input_shape(case: Case, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an input: a map [b, c, h, w], or tokens [b, n, c]."""
    batch, *rest = shape
    return (batch, case.width, *rest) if len(rest) == 2 else (batch, *rest, case.width)


def input_of(case: Case, shape: tuple[int, ...]) -> Tensor:
    """Return a random input."""
    return random(*input_shape(case, shape))


def size_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width in a shape; n tokens are a map with one row."""
    return (shape[-2], shape[-1]) if len(shape) == 3 else (1, shape[-1])


def _difference(pair: Pair, gaps: list[Gap], x: Tensor) -> str:
    """Describe the differences, the most informative first, and where they begin."""
    wide = [gap for gap in gaps if gap.wide]
    first = wide[0]
    more = f" and {counted(len(wide) - 1, 'other tensor')}" if len(wide) > 1 else ""
    mode = "training" if pair.ours.training else "eval"
    said = f"in {mode} {first.what} differs by {first.size:.2g}{more}"
    begins = first_difference(pair.written, pair.theirs, x)
    return f"{said}; {begins}" if begins else said

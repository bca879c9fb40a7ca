"""The values of a constant tensor as a simple formula of their indices, if there is one."""

from __future__ import annotations

from collections.abc import Mapping

from composer.lifting.formulas import Formulas
from composer.lifting.values import Missing, Numbers, Source


def formula_of(source: Source, sizes: Mapping[str, Numbers], formulas: Formulas) -> str | float:
    """Return the values of a constant as an expression over its axes: a + b·i + ….

    Raises:
        Missing: no such formula matches.
    """
    terms: list[tuple[str, tuple[float, ...]]] = []
    bases = []
    steps: dict[str, list[float]] = {axis: [] for axis in source.axes}
    for run, tensor in enumerate(source.tables):
        table = tensor.double().reshape([sizes[axis][run] for axis in source.axes])
        base = float(table.flatten()[0]) if table.numel() else 0.0
        guess = table.new_full(table.shape, base)
        for place, axis in enumerate(source.axes):
            length = table.shape[place]
            index = [0] * table.dim()
            index[place] = min(1, length - 1)
            step = float(table[tuple(index)]) - base
            steps[axis].append(step)
            shape = [1] * table.dim()
            shape[place] = length
            guess = guess + step * table.new_tensor(range(length)).reshape(shape)
        if not bool((guess - table).abs().max() <= 1e-9 * (1 + table.abs().max())):
            raise Missing(
                "no formula was found for its table of numbers",
                "make it an nn.Parameter, or write the spec by hand with {op: constant}",
            )
        bases.append(base)
    terms = [(axis, tuple(found)) for axis, found in steps.items() if any(found)]
    text = [str(formulas.number(bases))] if any(bases) or not terms else []
    text += [f"{formulas.number(step)} * {axis}" for axis, step in terms]
    whole = " + ".join(text)
    return formulas.number(bases) if not terms else whole

"""`lift`: from a torch module to a spec that computes the same, or a list of what has none.

captures     run the module at a few sizes and record each call
joined       join the runs; a number that differs has one value per run
lifter       a node for each call, by the rules; numbers become expressions over the sizes
fused        fewer nodes: layer, norm and activation become one
written      write the text
compared     compare outputs and gradients with the module's, with the same weights
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from composer.errors import ComposerError, Diagnostic, error
from composer.lifting.begun import with_beginnings
from composer.lifting.captures import Captured, capture, no_channels
from composer.lifting.compared import Beside, compare
from composer.lifting.draft import Node
from composer.lifting.formulas import Formulas
from composer.lifting.fused import fused
from composer.lifting.lifter import Lifter
from composer.lifting.opened import Opened, open_code
from composer.lifting.written import spec_text

DEFAULT_CHANNELS = 64
_OF_FLOAT32 = 1e-4  # the difference after intermediate rounding to float32


@dataclass(frozen=True)
class Lifted:
    """A spec that computes the same as a module.

    Attributes:
        name: of the spec.
        text: the YAML.
        weights: the module's key for each of the spec's keys; shapes may differ by a reshape.
        compared: the comparisons, all of which agree.
    """

    name: str
    text: str
    weights: Mapping[str, str]
    compared: tuple[Beside, ...]

    @property
    def difference(self) -> float:
        """The largest relative difference of outputs and gradients, in float64."""
        return max(max(one.output, one.gradient) for one in self.compared)


def lift(
    module: nn.Module | Callable[..., nn.Module] | str,
    channels: int | None = None,
    *,
    size: tuple[int, int] | None = None,
    layout: tuple[str, ...] | None = None,
    name: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Lifted:
    """Return a module as a spec, checked on random weights and inputs in float64.

    Args:
        module: a module; or a class or factory, or its location: ``timm.layers:SEModule``,
            ``file.py:Class``. A class can be built for other channels, which shows the sizes that
            depend on them; for a module all numbers stay numbers, except the number of channels.
        channels: of the input; 64 by default for a class.
        size: height and width of the map; by default one that works.
        layout: the axes of the input in order, such as ``("b", "n", "c")``; by default the first
            of [b, c, h, w], [b, n, c] and [b, h, w, c] that the module accepts.
        name: of the spec; by default that of the class.
        arguments: of the class or factory, other than the channels; a text may be an expression
            over them, such as ``"c // 4"``.

    Raises:
        ComposerError: for each operation without a counterpart, with its line of the source; or
            the module can't be built or run, or branches on the values of a tensor.
    """
    opened = _opened(module, arguments or {}, channels)
    width = channels if channels is not None else DEFAULT_CHANNELS
    captured = capture(opened.make, width, size, layout, opened.takes_channels, opened.title)
    formulas = Formulas(captured.sizes)
    lifter = Lifter(captured.runs, captured.layout, formulas)
    output = lifter.output()
    if lifter.problems or output is None:
        raise ComposerError(dict.fromkeys(lifter.problems))
    draft = lifter.draft
    nodes, last = fused(draft.nodes, output.node)
    if not nodes:
        message = f"{opened.title} returns its input unchanged"
        raise error("nothing-to-lift", message, "lift a module that computes something")
    with_beginnings(nodes, captured.first)
    _check_once(nodes, opened.title)
    for node in nodes:
        node.fields = formulas.resolved(node.fields)
    fixed = _fixed(formulas, captured)
    word = name or _word(opened.title)
    text = spec_text(word, opened.title, opened.source, _named(captured.layout), nodes, last, fixed)
    weights = _weights(nodes)
    order = tuple(axis for dim in output.dims for axis in dim)
    beside = _compared(text, weights, opened, captured, order, nodes, bool(formulas.unexplained))
    return Lifted(word, text, weights, beside)


def _opened(
    module: nn.Module | Callable[..., nn.Module] | str,
    arguments: Mapping[str, Any],
    channels: int | None,
) -> Opened:
    if isinstance(module, nn.Module):
        title = type(module).__name__
        if channels is None:
            raise no_channels(title)
        return Opened(lambda _: module, title, f"lifted from {title}", False)
    return open_code(module, arguments)


def _named(layout: tuple[str, ...]) -> tuple[str, ...]:
    """Return the axes of the input in a spec's order: for a map the channels after the batch."""
    return ("b", "c", "h", "w") if {*layout} == {"b", "c", "h", "w"} else layout


def _word(title: str) -> str:
    """Return a name for a spec: ``se_module`` for SEModule."""
    word = title.rpartition(".")[2].rpartition(":")[2]
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", word).lower()
    return re.sub(r"\W", "_", word).strip("_") or "module"


def _fixed(formulas: Formulas, captured: Captured) -> list[str]:
    """Return the notes about numbers that are valid at only one size."""
    notes = []
    first = captured.at[0]
    if len({at.size for at in captured.at}) == 1 and "c" in captured.layout:
        notes.append(f"Lifted only for h = {first.size[0]} and w = {first.size[1]}.")
    for number, found in formulas.unexplained.items():
        said = ", ".join(str(n) for n in found)
        widths = ", ".join(str(at.channels) for at in captured.at)
        notes.append(f"{number} is valid for c = {first.channels}: at {widths} it is {said}.")
    return notes


def _weights(nodes: list[Node]) -> dict[str, str]:
    found = {}
    for node in nodes:
        for local, key in node.weights.items():
            found[f"{node.name}.{local}" if local else node.name] = key
    return found


def _check_once(nodes: list[Node], title: str) -> None:
    """Refuse weights of several nodes, which would be copies that diverge in training.

    Raises:
        ComposerError: it names each such key of the module.
    """
    keys = Counter(key for node in nodes for key in node.weights.values())
    problems = [
        Diagnostic(
            "no-counterpart",
            f"{key!r} of {title} is used {number} times, on values with different axes",
            "each node has its own weights; make the module use them only once",
        )
        for key, number in keys.items()
        if number > 1
    ]
    if problems:
        raise ComposerError(problems)


def _compared(
    text: str,
    weights: Mapping[str, str],
    opened: Opened,
    captured: Captured,
    order: tuple[str, ...],
    nodes: list[Node],
    one_width: bool,
) -> tuple[Beside, ...]:
    """Compare at each size, also in training mode unless there is dropout.

    Raises:
        ComposerError: they differ, so this is not a spec of that module.
    """
    places = [*captured.at[:2], *([captured.more] if captured.more else captured.at[2:][-1:])]
    if one_width:
        places = [at for at in places if at.channels == captured.at[0].channels]
    trains = (False, True) if all(node.op != "dropout" for node in nodes) else (False,)
    found = []
    for at in places:
        module = opened.make(at.channels)
        for training in trains:
            try:
                one = compare(text, weights, module, at, captured.layout, order, training)
            except ComposerError as failure:
                raise _not_sound(opened.title, failure.diagnostics[0]) from None
            except (RuntimeError, ValueError) as failure:
                said = (str(failure).strip().splitlines() or [""])[0]
                raise _not_sound(opened.title, Diagnostic("", said)) from None
            if not one.agrees:
                raise _differs(opened.title, one)
            found.append(one)
    return tuple(found)


def _not_sound(title: str, said: Diagnostic) -> ComposerError:
    """Return the error for a module whose spec has errors."""
    line = f" at '{said.where.text.strip()}'" if said.where else ""
    return error(
        "not-lifted",
        f"the spec lifted from {title} has an error{line}: {said.message}",
        "its sizes depend on its input in a way that is not recognised; write the spec by hand: "
        "composer new",
    )


def _differs(title: str, one: Beside) -> ComposerError:
    h, w = one.at.size
    mode = "training" if one.training else "evaluation"
    what = "outputs" if one.output >= one.gradient else "gradients"
    largest = max(one.output, one.gradient)
    way_out = "some of it is not visible as torch calls, such as an in-place change; "
    if largest < _OF_FLOAT32:
        way_out = "it computes in float32 internally, whatever its input; "
    if largest == float("inf"):
        way_out = "the sizes of its weights depend on the channels in an unknown way; "
    return ComposerError(
        Diagnostic(
            "differs",
            f"the spec lifted from {title} gives different {what} at c = {one.at.channels}, "
            f"h = {h}, w = {w} in {mode}: they differ by {largest:.1g}",
            f"{way_out}write the spec by hand: composer new",
        )
    )

"""The cost of models side by side: size, multiply-adds, time and memory on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import nn

from composer.analysis.probe import Probe, probe
from composer.artifact.running import Mode, Running
from composer.errors import ComposerError, error
from composer.measure.cost import parameters
from composer.measure.latency import Timing, interleaved
from composer.measure.memory import peak_memory

Kind = Literal["backbone", "spec", "against"]


@dataclass(frozen=True)
class Entrant:
    """A model to compare, under the name that the table shows.

    Attributes:
        name: the MODEL string; for a spec in the backbone, the spec's name.
        kind: the unchanged backbone, a spec in it, or another model.
        model: the model; measuring changes its mode and its batch-norm statistics.
        sites: for a spec in the backbone, the number of sites.
    """

    name: str
    kind: Kind
    model: nn.Module
    sites: int | None = None

    @cached_property
    def ran(self) -> Probe:
        """The result of a pass on fake tensors; one serves all batch sizes."""
        return probe(self.model)


@dataclass(frozen=True)
class Cost:
    """What one model costs on one batch; `flops` are multiply-adds of one image.

    Attributes:
        model: the name of the entrant.
        kind: that of the entrant.
        sites: for a spec, the number of sites.
        input_shape: channels, height and width of an image.
        parameters: their number.
        flops: the number of multiply-adds.
        batch: the batch size.
        timing: the time of one pass.
        ratio: its time relative to that of the unchanged backbone.
        memory: the bytes that one pass allocates at its peak, without the weights.
    """

    model: str
    kind: Kind
    sites: int | None
    input_shape: tuple[int, ...]
    parameters: int
    flops: int
    batch: int
    timing: Timing
    ratio: float
    memory: int

    @property
    def images_per_second(self) -> float:
        """Images per second, by the median time."""
        return self.batch / self.timing.median

    def as_json(self) -> dict[str, Any]:
        """Return the row that ``--json`` prints; times are seconds, memory is bytes."""
        return {
            "model": self.model,
            "kind": self.kind,
            "sites": self.sites,
            "input": list(self.input_shape),
            "parameters": self.parameters,
            "flops": self.flops,
            "batch": self.batch,
            "latency": {
                "median": self.timing.median,
                "quartiles": list(self.timing.quartiles),
                "runs": self.timing.runs,
            },
            "ratio": self.ratio,
            "images_per_second": self.images_per_second,
            "memory": self.memory,
        }


def compare(entrants: Sequence[Entrant], batch: int, running: Running) -> list[Cost]:
    """Return the cost of each model on a batch; models alternate, and the first is the base.

    Raises:
        ComposerError: the mode is unknown, or a model fails on such a batch.
    """
    if running.mode not in get_args(Mode):
        message = f"{running.mode!r} is not a mode"
        raise error("invalid-value", message, "use 'inference' or 'training'")
    probes = [entrant.ran for entrant in entrants]
    torch.compiler.reset()
    with running.running():
        steps, memory = {}, []
        for number, (entrant, ran) in enumerate(zip(entrants, probes, strict=True)):
            step = running.step(entrant.model, ran, batch)
            with _named(entrant, batch, running):
                step()  # caches and compilation happen here
                memory.append(peak_memory(step, running.device))
            steps[str(number)] = step
        timings = list(interleaved(steps, running.device, running.seconds).values())
    return [
        Cost(
            entrant.name,
            entrant.kind,
            entrant.sites,
            ran.input_shape,
            parameters(entrant.model),
            ran.flops,
            batch,
            timing,
            timing.ratio(timings[0]),
            peak,
        )
        for entrant, ran, timing, peak in zip(entrants, probes, timings, memory, strict=True)
    ]


@contextmanager
def _named(entrant: Entrant, batch: int, running: Running) -> Iterator[None]:
    """Report which model failed, and how it was run."""
    try:
        yield
    except ComposerError:
        raise
    except Exception as failure:
        said = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        way = "compiled " if running.compiled else ""
        if running.mode == "training" and batch == 1:
            help_ = "a norm after a global pool needs more than one image: use --batch 2"
        elif running.compiled:
            help_ = "does it run without --compile?"
        elif batch > 1:
            help_ = "does it run with --batch 1?"
        else:
            help_ = "'composer sites' shows how the model was read"
        message = f"{way}{running.mode} of {entrant.name} on a batch of {batch} fails: {said}"
        raise error(f"{running.mode}-failed", message, help_) from None

"""What models cost beside one another: size, multiply-adds, time and memory on this machine."""

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
    """A model that is compared, under the name that the table shows.

    Attributes:
        name: the MODEL string; of a spec in the backbone, the spec's name.
        kind: the backbone as it is, a spec in it, or another model.
        model: the model, which measuring leaves in another mode and with other statistics.
        sites: where it is a spec in the backbone, at how many sites.
    """

    name: str
    kind: Kind
    model: nn.Module
    sites: int | None = None

    @cached_property
    def ran(self) -> Probe:
        """What a pass on fake tensors shows of the model; one serves all batches."""
        return probe(self.model)


@dataclass(frozen=True)
class Cost:
    """What one model costs on one batch; `flops` are multiply-adds of one image.

    Attributes:
        model: the name of the entrant.
        kind: its kind.
        sites: of a spec, how many.
        input_shape: channels, height and width of an image.
        parameters: how many.
        flops: how many multiply-adds.
        batch: how many images at once.
        timing: of one pass.
        ratio: how many times as long it takes as the backbone as it is.
        memory: the bytes that one pass allocates at its peak, beside the weights.
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
        """How many images go through in a second, by the median."""
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
    """Return what each model costs on a batch; all are timed in turn, the first for the ratio.

    Raises:
        ComposerError: a mode is none, or a model fails on such a batch.
    """
    if running.mode not in get_args(Mode):
        message = f"{running.mode!r} is not a way to run"
        raise error("invalid-value", message, "say 'inference' or 'training'")
    probes = [entrant.ran for entrant in entrants]
    torch.compiler.reset()
    with running.running():
        steps, memory = {}, []
        for number, (entrant, ran) in enumerate(zip(entrants, probes, strict=True)):
            step = running.step(entrant.model, ran, batch)
            with _named(entrant, batch, running):
                step()  # what is made once, and compiled
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
    """Say which model failed, and how it was run."""
    try:
        yield
    except ComposerError:
        raise
    except Exception as failure:
        said = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        way = "compiled " if running.compiled else ""
        if running.mode == "training" and batch == 1:
            help_ = "a norm behind a global pool needs more than one image: say --batch 2"
        elif running.compiled:
            help_ = "does it run without --compile?"
        elif batch > 1:
            help_ = "does it run with --batch 1?"
        else:
            help_ = "'composer sites' shows what the model was seen to do"
        message = f"{way}{running.mode} of {entrant.name} on a batch of {batch} fails: {said}"
        raise error(f"{running.mode}-failed", message, help_) from None

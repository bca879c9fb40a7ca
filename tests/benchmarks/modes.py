"""How a case is run: inference or a training step, as it is or compiled; its time or its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import limit
import torch
from cases import Case
from torch import Tensor, nn

from composer.measure.latency import Timing, interleaved
from composer.measure.memory import peak_memory

MODES = ("eager", "compiled", "training", "compiled-training", "cuda-graphs", "memory")
LAYOUTS = ("nchw", "channels-last")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

#: Where a norm stands behind a global pool, a single sample has no variance to train with.
NORM_OF_POOLED = ("bam", "ge_theta", "ge_theta_plus", "sk", "split_attention")


@dataclass(frozen=True)
class Setting:
    """How the rivals of a case are run."""

    mode: str = "eager"
    layout: str = "nchw"
    device: str = "cpu"
    dtype: str = "float32"
    heap: str = "default"
    seconds: float = 0.2
    threads: int = 0  # of a rival's process; 0 is torch's own choice
    processes: int = 1  # of each rival, one after the other

    @property
    def trains(self) -> bool:
        """Whether a call is a step forward and backward, not a forward pass alone."""
        return self.mode in ("training", "compiled-training", "memory")

    def suits(self, case: Case) -> bool:
        """Return whether the case can be run so, and differs from another that is."""
        if self.layout == "channels-last" and len(case.shape) == 2:
            return False
        return not (self.trains and case.batch == 1 and case.spec in NORM_OF_POOLED)

    def __str__(self) -> str:
        heap = () if self.heap == "default" else (f"memory {self.heap}",)
        return ", ".join((self.mode, self.layout, self.dtype, *heap))

    def seconds_of(self, case: Case, modules: dict[str, nn.Module]) -> dict[str, Timing]:
        """Return how long each takes, and the limit, all in this process: for a GPU."""
        with self.running():
            calls = self.calls(case, modules)
            return interleaved(calls, self.device, self.seconds, least_runs=9)

    def bytes_of(self, case: Case, modules: dict[str, nn.Module]) -> dict[str, int]:
        """Return what each allocates at its peak, and the limit."""
        with self.running():
            found = {}
            for name, call in self.calls(case, modules).items():
                call()
                found[name] = peak_memory(call, self.device)
            return found

    @contextmanager
    def running(self) -> Iterator[None]:
        """Set what holds for all calls: no gradients for inference; half precision by autocast."""
        torch.compiler.reset()
        kind, half = torch.device(self.device).type, self.dtype != "float32"
        cast = torch.autocast(kind, DTYPES[self.dtype]) if half else nullcontext()
        with nullcontext() if self.trains else torch.inference_mode(), cast:
            yield

    def calls(self, case: Case, modules: dict[str, nn.Module]) -> dict[str, Callable[[], object]]:
        """Return what is timed of each module, and of the limit."""
        channels_last = self.layout == "channels-last"
        x = case.input(self.device, DTYPES[self.dtype], channels_last)
        gradient = torch.randn_like(x)
        calls: dict[str, Callable[[], object]] = {}
        for name, module in modules.items():
            placed = module.to(self.device).train(self.trains)
            if channels_last:
                placed = placed.to(memory_format=torch.channels_last)
            ready = self._ready(placed)
            calls[name] = _step(ready, placed, x, gradient) if self.trains else partial(ready, x)
        if self.trains:
            calls["limit"] = partial(limit.step, x, gradient)
        else:
            calls["limit"] = partial(limit.forward, x)
        return calls

    def _ready(self, module: nn.Module) -> Callable[..., Tensor]:
        """Return what is called: the module, or compiled."""
        if self.mode in ("eager", "training", "memory"):
            return module
        how = "reduce-overhead" if self.mode == "cuda-graphs" else None
        compiled: Callable[..., Tensor] = torch.compile(
            module, fullgraph=True, dynamic=False, mode=how
        )
        return compiled


def _step(
    call: Callable[..., Tensor], module: nn.Module, x: Tensor, gradient: Tensor
) -> Callable[[], object]:
    """Return a step forward and backward to a leaf of its own; gradients are dropped after it."""
    leaf = x.detach().requires_grad_()
    parameters = list(module.parameters())

    def step() -> Tensor:
        out = call(leaf)
        out.backward(gradient.to(out.dtype))
        leaf.grad = None
        for parameter in parameters:
            parameter.grad = None
        return out

    return step

"""How a model is run to measure its cost: on random images, forward, or forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from composer.analysis.probe import Probe
from composer.measure.inputs import Inputs

Mode = Literal["inference", "training"]


@dataclass(frozen=True)
class Running:
    """How models are run: on random images of the size that each expects.

    Attributes:
        mode: ``"inference"``, or ``"training"`` for a pass forward and backward.
        compiled: whether under ``torch.compile(fullgraph=True)``.
        channels_last: whether to use the channels-last memory format.
        device: the device.
        dtype: float32, or half precision by autocast.
        seconds: how long each model is timed.
    """

    mode: Mode = "inference"
    compiled: bool = False
    channels_last: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    seconds: float = 3.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Set what applies to all models: no gradients for inference; half precision."""
        half = self.dtype != torch.float32
        contexts: list[AbstractContextManager[Any]] = [
            *([] if self.mode == "training" else [torch.inference_mode()]),
            *([torch.autocast(self.device.type, self.dtype)] if half else []),
        ]
        with ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            yield

    def step(self, model: nn.Module, ran: Probe, batch: int) -> Callable[[], object]:
        """Return the function to time: one pass of a model on a batch."""
        entered = model.get_submodule(ran.entry)
        model.to(self.device).train(self.mode == "training")
        inputs = ran.inputs.filled().batch(batch).on(model)
        if self.channels_last:
            volumes = ran.dimensions == 3
            last = torch.channels_last_3d if volumes else torch.channels_last
            model.to(memory_format=last)
            inputs = inputs.channels_last()
        call: Callable[..., Any] = entered
        if self.compiled:
            call = torch.compile(entered, fullgraph=True, dynamic=False)
        if self.mode == "inference":
            return partial(call, *inputs.args, **inputs.kwargs)
        return partial(_trained, call, entered, inputs)


def _trained(call: Callable[..., Any], model: nn.Module, inputs: Inputs) -> None:
    """Run a pass forward and backward, and drop its gradients."""
    image = inputs.image
    if image is not None and image.is_floating_point():
        image.requires_grad_()
    found = tree_leaves(call(*inputs.args, **inputs.kwargs))
    tensors = [t for t in found if isinstance(t, Tensor) and t.is_floating_point()]
    torch.stack([t.float().square().mean() for t in tensors]).sum().backward()  # type: ignore[no-untyped-call]
    if image is not None:
        image.grad = None
    model.zero_grad(set_to_none=True)

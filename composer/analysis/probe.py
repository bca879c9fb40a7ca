"""What runs where: one forward pass on fake tensors, with every call of a module noted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from composer.analysis.edited import before_stand_in
from composer.errors import error
from composer.measure.cost import FakeRun, FlopCounter, floating_dtype

#: Tried in turn for a model that does not say which size it takes.
SIZES = (224, 256, 32, 64, 28, 96, 128, 192, 299, 384, 512)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: what went in, what came out, when, and its multiply-adds."""

    path: str
    order: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    flops: int = 0

    @property
    def inputs(self) -> frozenset[int]:
        """The identities of the tensors that went in."""
        return frozenset(id(t) for t in _tensors((self.args, self.kwargs)))

    @property
    def outputs(self) -> frozenset[int]:
        """The identities of the tensors that came out."""
        return frozenset(id(t) for t in _tensors(self.output))

    @property
    def index(self) -> int | None:
        """Where the value stands in the output, where that is a tuple or a list.

        It is the first tensor in it of the batch that was given.
        """
        if isinstance(self.output, (tuple, list)):
            for place, value in enumerate(self.output):
                if isinstance(value, Tensor) and value.dim() > 2 and value.shape[0] == 1:
                    return place
        return None

    @property
    def value(self) -> Tensor | None:
        """What it gives: one tensor, or the first of a tuple or a list; None for anything else."""
        if isinstance(self.output, Tensor):
            return self.output
        return None if self.index is None else self.output[self.index]

    @property
    def given(self) -> Tensor | None:
        """The first thing that it takes, where that is a tensor."""
        first = self.args[0] if self.args else next(iter(self.kwargs.values()), None)
        return first if isinstance(first, Tensor) else None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of the value."""
        return None if self.value is None else tuple(self.value.shape)


@dataclass(frozen=True)
class Probe:
    """The calls of one forward pass, in the order they ended, and its multiply-adds, `flops`.

    `entry` is the module that was given the images: the model, or of a detector its backbone.
    """

    input_shape: tuple[int, int, int]
    calls: tuple[Call, ...]
    flops: int
    entry: str = ""

    def of(self, path: str) -> tuple[Call, ...]:
        """Return the calls of one module."""
        return tuple(self._by_path.get(path, ()))

    def inside(self, path: str) -> dict[str, list[Call]]:
        """Return the calls of what is inside a module, by the paths from there."""
        start = f"{path}." if path else ""
        return {
            p.removeprefix(start): calls for p, calls in self._by_path.items()
            if p != path and p.startswith(start)
        }  # fmt: skip

    @cached_property
    def _by_path(self) -> dict[str, list[Call]]:
        found: dict[str, list[Call]] = {}
        for call in self.calls:
            found.setdefault(call.path, []).append(call)
        return found


def input_shape(model: nn.Module) -> tuple[int, int, int] | None:
    """Return the (channels, height, width) that a model says it takes, if it says so."""
    for attribute in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, attribute, None)
        shape = config.get("input_size") if isinstance(config, dict) else None
        if isinstance(shape, (tuple, list)) and len(shape) == 3:
            return int(shape[0]), int(shape[1]), int(shape[2])
    config = getattr(model, "config", None)  # of Hugging Face
    size = _pair(getattr(config, "image_size", None))
    channels = getattr(config, "num_channels", None)
    return (channels, *size) if size and isinstance(channels, int) else None


def _pair(size: Any) -> tuple[int, int] | None:
    """Return a height and a width, where a size is that, or one number for both."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size, size
    if isinstance(size, (tuple, list)) and len(size) == 2 and all(type(n) is int for n in size):
        return size[0], size[1]
    return None


def _built_for(model: nn.Module) -> Iterator[tuple[int, int]]:
    """Yield the sizes that modules inside say they are built for, as those of timm do."""
    for module in model.modules():
        if (size := _pair(getattr(module, "img_size", None))) is not None:
            yield size


def probe(
    model: nn.Module,
    shape: tuple[int, int, int] | None = None,
    run: FakeRun | None = None,
    entered: str | None = None,
) -> Probe:
    """Run the model once on fake tensors and note what was called.

    Args:
        model: any model that takes a batch of images.
        shape: the (channels, height, width) to run at; what the model says, else the first size
            that it takes.
        run: a fake copy of the model, where there is one already.
        entered: the module that takes the images, where that is known; the model itself, else its
            backbone, where the model takes more than a batch of images, as detectors do.

    Raises:
        ComposerError: the forward pass fails at every size tried.
    """
    run = run or FakeRun.of(model)
    told = shape or input_shape(model)
    first = _image_channels(model)
    images = [(told[1], told[2])] if told else []
    if shape is None:  # it may be made for another size than its configuration says
        images += _built_for(model)
    images = list(dict.fromkeys(images if told else [*images, *((n, n) for n in SIZES)]))
    channels = [shape[0]] if shape else [first, told[0] if told else 3]
    tries = [(c, h, w) for c in dict.fromkeys(channels) if c for h, w in images]
    reasons = []
    for entry in ("", *_backbones(model)) if shape is None or entered is None else (entered,):
        for attempt in tries:
            try:
                return _probe_at(model, run, attempt, entry)
            except Exception as failure:
                said = str(failure).strip().splitlines()
                reasons.append(f"{attempt[1]}x{attempt[2]}: {said[0] if said else failure!r}")
    if "aten." in reasons[0]:
        raise error(
            "forward-failed",
            f"the forward pass of {type(model).__name__} hangs on the numbers in a tensor "
            f"({reasons[0].partition(': ')[2]})",
            "give the part of it whose forward hangs on shapes alone, such as its backbone",
        )
    raise error(
        "forward-failed",
        f"the forward pass of {type(model).__name__} fails on a batch of "
        f"{tries[0][0]}-channel images ({reasons[0]})",
        "a backbone takes one batch of images [batch, channels, height, width]; "
        f"sizes tried: {', '.join(str(h) for h, _ in images)}",
    )


def _image_channels(model: nn.Module) -> int | None:
    """Return the channels that the first convolution takes."""
    for module in model.modules():
        before = before_stand_in(module)
        if before is not None and before.in_channels is not None:
            return before.in_channels
        channels = getattr(module, "in_channels", None)
        weight = getattr(module, "weight", None)
        if isinstance(channels, int) and isinstance(weight, Tensor) and weight.dim() == 4:
            return channels
    return None


def blank_image(model: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    """Return a batch of one image of (channels, height, width), on a model's device, of its dtype.

    Its numbers are none in particular.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return torch.empty((1, *shape), device=device, dtype=floating_dtype(model))


def _backbones(model: nn.Module) -> Iterator[str]:
    """Yield the children that are a backbone by name."""
    return (name for name, _ in model.named_children() if name in ("backbone", "trunk", "encoder"))


def _probe_at(
    model: nn.Module, run: FakeRun, shape: tuple[int, int, int], entry: str
) -> Probe:
    calls: list[Call] = []
    counter = FlopCounter()
    with _noted(model, calls, counter):
        entered = model.get_submodule(entry)
        run.inside(entry)(entered, lambda: (blank_image(model, shape),), counter)
    return Probe(shape, tuple(calls), counter.total, entry)


@contextlib.contextmanager
def _noted(model: nn.Module, calls: list[Call], counter: FlopCounter) -> Iterator[None]:
    handles = []

    def watch(path: str, module: nn.Module) -> None:
        begun: list[int] = []

        def begin(*_: Any) -> None:
            begun.append(counter.total)

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            # a list may grow after the call: keep what it held
            given, named, gave = tree_map(lambda value: value, (args, kwargs, out))
            flops = counter.total - begun.pop()
            calls.append(Call(path, len(calls), given, named, gave, flops))

        handles.append(module.register_forward_pre_hook(begin))
        handles.append(module.register_forward_hook(note, with_kwargs=True))

    for path, module in model.named_modules():
        watch(path, module)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]

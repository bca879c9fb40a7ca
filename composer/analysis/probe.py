"""What runs where: one forward pass on fake tensors, with every call of a module noted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from composer.analysis.image_flow import ImageFlow
from composer.analysis.taken import dimensions_of, shapes
from composer.errors import ComposerError, error
from composer.measure.cost import FakeRun, FlopCounter, on_numbers
from composer.measure.inputs import Inputs, remembered_inputs
from composer.measure.inside import Inside

#: Names of the image part in models that take more than a batch of images.
_BACKBONES = ("backbone", "trunk", "encoder", "visual", "vision_model", "image_encoder")


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: what went in, what came out, when, and its multiply-adds.

    `caller` is the nearest running module in whose forward it was called; `sees_image` says
    whether its output depends on the image, and not only on other inputs.
    """

    path: str
    order: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    flops: int = 0
    caller: str = ""
    sees_image: bool = True

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
        """The index of the value in the output, if that is a tuple or a list.

        It is the first tensor with the batch size of the input; tensors merely passed through, such
        as an image among features, only count if there is no other.
        """
        if not isinstance(self.output, (tuple, list)):
            return None
        places = [place for place, value in enumerate(self.output) if _may_be_a_map(value)]
        places = [p for p in places if self.output[p].shape[0] == 1] or places
        alone = self.inputs if len(self.inputs) == 1 else frozenset()
        made = [place for place in places if id(self.output[place]) not in alone]
        return next(iter(made or places), None)

    @property
    def value(self) -> Tensor | None:
        """Its output: one tensor, or the first of a tuple or a list; None for anything else."""
        if isinstance(self.output, Tensor):
            return self.output
        return None if self.index is None else self.output[self.index]

    @property
    def given(self) -> Tensor | None:
        """Its first input, if that is a tensor."""
        first = self.args[0] if self.args else next(iter(self.kwargs.values()), None)
        return first if isinstance(first, Tensor) else None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of the value."""
        return None if self.value is None else tuple(self.value.shape)


@dataclass(frozen=True)
class Probe:
    """The calls of one forward pass, in the order they ended, and its multiply-adds, `flops`.

    Attributes:
        inputs: its inputs.
        calls: the calls.
        flops: the multiply-adds of all.
        entry: the module that took the inputs: the model, or the backbone of a detector.
        has_numbers: whether the pass needs real tensors, since its forward reads values.
        dimensions: the number of spatial axes of the maps; two for height and width.
    """

    inputs: Inputs
    calls: tuple[Call, ...]
    flops: int
    entry: str = ""
    has_numbers: bool = False
    dimensions: int = 2

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The channels, height and width of the image."""
        return self.inputs.shape

    @cached_property
    def batches(self) -> frozenset[int]:
        """The sizes that the first axis of a map may have: one image, or the frames of a video."""
        shape = self.input_shape
        return frozenset((1, shape[0])) if len(shape) > 1 + self.dimensions else frozenset((1,))

    def of(self, path: str) -> tuple[Call, ...]:
        """Return the calls of one module."""
        return tuple(self._by_path.get(path, ()))

    def inside(self, path: str) -> dict[str, list[Call]]:
        """Return the calls inside a module, by relative path."""
        start = len(path) + 1 if path else 0
        return {below[start:]: self._by_path[below] for below in self._inside.of(path)}

    @cached_property
    def _inside(self) -> Inside:
        return Inside(self._by_path)

    @cached_property
    def _by_path(self) -> dict[str, list[Call]]:
        found: dict[str, list[Call]] = {}
        for call in self.calls:
            found.setdefault(call.path, []).append(call)
        return found


def probe(
    model: nn.Module,
    inputs: Inputs | None = None,
    run: FakeRun | None = None,
    entered: str | None = None,
) -> Probe:
    """Run the model once on fake tensors and record the calls.

    Where the forward reads values of a tensor, the model runs on real ones in evaluation.

    Args:
        model: any model.
        inputs: its inputs; by default the remembered ones, else one image of the size that the
            model declares, or the first size that works.
        run: a fake copy of the model, if there is one already.
        entered: the module that takes the inputs, if known; by default the model itself, or its
            backbone if the model takes more than a batch of images, as detectors do.

    Raises:
        ComposerError: the forward pass fails on all inputs tried.
    """
    run = run or FakeRun.of(model)
    known = inputs or remembered_inputs(model)
    if known is not None:
        entries = [entered] if entered is not None else ["", *_backbones(model)]
        tries = [known.on(model)]
    else:
        entries = ["", *_backbones(model)]
        tries = _images(model)
    reasons: list[str] = []
    if known is not None and known.are_examples:
        entries = entries[:1]
    can_have_numbers = not any(p.is_meta for p in model.parameters())
    for has_numbers in (False, True) if can_have_numbers else (False,):
        if has_numbers and not _reads_numbers(reasons[0]):
            break
        for entry in entries:
            for attempt in tries:
                found = _tried(model, run, attempt, entry, has_numbers)
                if isinstance(found, Probe):
                    return found
                reasons.append(found)
    if known is not None and known.are_examples:
        raise error(
            "forward-failed",
            f"the forward pass of {type(model).__name__} fails on the inputs given: {reasons[0]}",
            "pass the inputs of the model's forward as example_inputs",
        )
    channels, *size = tries[0].shape
    what = {1: "signals", 3: "volumes"}.get(len(size), "images")
    sizes = (str(n[0]) if len(n) == 2 else "×".join(map(str, n)) for _, *n in map(_shape, tries))
    raise error(
        "forward-failed",
        f"the forward pass of {type(model).__name__} fails on a batch of {channels}-channel "
        f"{what} ({'x'.join(map(str, size))}: {reasons[0]})",
        f"sizes tried: {', '.join(dict.fromkeys(sizes))}; give another with --input-size or, for a "
        f"model that takes more than {what}, example_inputs=",
    )


def _shape(inputs: Inputs) -> tuple[int, ...]:
    return inputs.shape


def _images(model: nn.Module) -> list[Inputs]:
    """Return the images to try: of the size that a model declares, else of usual sizes."""
    return [Inputs.images(model, shape) for shape in shapes(model)]


def _tried(
    model: nn.Module, run: FakeRun, inputs: Inputs, entry: str, has_numbers: bool
) -> Probe | str:
    """Return the result of one pass, or the reason why it fails."""
    try:
        return _probe_at(model, run, inputs, entry, has_numbers)
    except ComposerError:
        raise
    except Exception as failure:
        said = str(failure).strip().splitlines()
        return said[0] if said else repr(failure)


def _reads_numbers(reason: str) -> bool:
    """Return whether a pass failed because fake tensors have no values."""
    return "aten." in reason


def _backbones(model: nn.Module) -> Iterator[str]:
    """Yield the children that are a backbone by name."""
    return (name for name, _ in model.named_children() if name in _BACKBONES)


def _probe_at(
    model: nn.Module, run: FakeRun, inputs: Inputs, entry: str, has_numbers: bool
) -> Probe:
    calls: list[Call] = []
    counter = FlopCounter()
    flow = ImageFlow() if inputs.has_several else None
    twins = _Twins(run) if has_numbers else None
    with _noted(model, calls, counter, twins, flow, entry):
        run_through(model, run, inputs, entry, _both(counter, flow), has_numbers)
    dimensions = dimensions_of(model, inputs)
    return Probe(inputs, tuple(calls), counter.total, entry, has_numbers, dimensions)


@contextlib.contextmanager
def _both(counter: FlopCounter, flow: ImageFlow | None) -> Iterator[None]:
    with counter, flow if flow is not None else contextlib.nullcontext():
        yield


def run_through(
    model: nn.Module,
    run: FakeRun,
    inputs: Inputs,
    entry: str,
    watch: AbstractContextManager[Any],
    has_numbers: bool,
) -> None:
    """Run a model once inside `watch`: on fake tensors, or on real ones in evaluation."""
    entered = model.get_submodule(entry)
    if has_numbers:
        filled = inputs.filled()
        on_numbers(entered, filled.args, dict(filled.kwargs), watch)
        return
    run.inside(entry)(entered, lambda: inputs.made()[0], watch, lambda: inputs.made()[1])


class _Twins:
    """Fake tensors in place of real ones, one for each, so that the real ones need not be kept."""

    def __init__(self, run: FakeRun) -> None:
        self.run, self.known = run, WeakIdKeyDictionary()

    def of(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value not in self.known:
            self.known[value] = self.run.mode.from_tensor(value.detach())
        return self.known[value]


@contextlib.contextmanager
def _noted(
    model: nn.Module,
    calls: list[Call],
    counter: FlopCounter,
    twins: _Twins | None,
    flow: ImageFlow | None,
    entry: str,
) -> Iterator[None]:
    handles = []
    seen: Callable[[Any], Any] = twins.of if twins is not None else lambda value: value

    running: list[tuple[str, int]] = []  # the unfinished calls, each with the sum at its start

    def watch(path: str, module: nn.Module) -> None:
        def begin(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            running.append((path, counter.total))
            if flow is not None and path == entry:
                flow.begin(Inputs(args, kwargs).image, (args, kwargs))

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            # a list may grow after the call: keep its contents
            given, named, gave = tree_map(seen, (args, kwargs, out))
            flops = counter.total - running.pop()[1]
            caller = running[-1][0] if running else ""
            sees = flow is None or flow.reaches(out)
            calls.append(Call(path, len(calls), given, named, gave, flops, caller, sees))

        handles.append(module.register_forward_pre_hook(begin, with_kwargs=True))
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


def _may_be_a_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 2

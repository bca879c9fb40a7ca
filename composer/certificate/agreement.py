"""Our module beside its oracle, weight for weight: outputs, statistics and gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from composer.certificate.claim import Case
from composer.certificate.trace import first_difference
from composer.errors import counted, error, listing
from composer.lower.build import build
from composer.primitives import Spec

_SHOWN = 4  # keys that a message lists


@dataclass(frozen=True)
class Gap:
    """How far a tensor lies from the oracle's, and whether that is too far."""

    what: str
    size: float
    wide: bool


@dataclass(frozen=True)
class Pair:
    """Our module and the oracle, in float64, with the same random weights and statistics."""

    ours: fx.GraphModule
    theirs: nn.Module
    keys: Mapping[str, str]
    tolerance: float

    @classmethod
    def of(cls, spec: Spec, case: Case, size: tuple[int, int]) -> Pair:
        """Build both; `size` matters where the mechanism is made for one size of the map.

        Raises:
            ComposerError: the spec does not build, or its tensors are not those of the paper.
        """
        ours = module_of(spec, case, case.width, size).double()
        randomise(ours)
        theirs = case.oracle(case.setting(case.width, size)).double()
        return cls(ours, theirs, case.keys, case.tolerance).loaded()

    def loaded(self) -> Pair:
        """Give the oracle our weights.

        Raises:
            ComposerError: a tensor is missing, is one more, or has another number of elements.
        """
        state, shapes = self.ours.state_dict(), _shapes(self.theirs)
        if wrong := _wrong_tensors(_shapes(self.ours), shapes, self.keys):
            raise error("other-tensors", "; ".join(wrong))
        self.theirs.load_state_dict(
            {theirs: state[ours].reshape(shapes[theirs]) for ours, theirs in self.keys.items()}
        )
        return self

    def train(self, training: bool = True) -> Pair:
        """Put both into a mode."""
        self.ours.train(training)
        self.theirs.train(training)
        return self

    def gaps(self, x: Tensor) -> list[Gap]:
        """Run both forward and backward on x, and return how far each tensor lies apart."""
        return list(self._gaps(x))

    def _gaps(self, x: Tensor) -> Iterator[Gap]:
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        ours, theirs = self.ours(inputs[0]), self.theirs(inputs[1])
        yield self._gap("the output", ours, theirs, 1e-10)
        if ours.shape != theirs.shape:
            return
        cotangent = random(*ours.shape, seed=2)
        for output in (ours, theirs):
            (output * cotangent).sum().backward()
        yield self._gap("the gradient of the input", inputs[0].grad, inputs[1].grad)
        parameters = dict(self.theirs.named_parameters())
        for key, parameter in self.ours.named_parameters():
            other = parameters[self.keys[key]].grad
            yield self._gap(f"the gradient of '{key}'", parameter.grad, other)
        buffers = dict(self.theirs.named_buffers())
        for key, buffer in self.ours.named_buffers():
            if key in self.keys:
                yield self._gap(f"the statistic '{key}'", buffer, buffers[self.keys[key]])

    def _gap(
        self, what: str, ours: Tensor | None, theirs: Tensor | None, tolerance: float | None = None
    ) -> Gap:
        if ours is None or theirs is None:
            return Gap(f"{what}, which one side lacks,", float("inf"), wide=ours is not theirs)
        if ours.numel() != theirs.numel():
            sizes = f"{_shape(ours.shape)} and not {_shape(theirs.shape)}"
            return Gap(f"{what}, of shape {sizes},", float("inf"), wide=True)
        ours, theirs = ours.detach(), theirs.detach().reshape(ours.shape).to(ours.dtype)
        slack = self.tolerance if tolerance is None else tolerance
        close = torch.isclose(ours, theirs, rtol=slack, atol=slack)
        size = float((ours - theirs).abs().max()) if ours.numel() else 0.0
        return Gap(what, size, wide=not bool(close.all()))


def agreement(spec: Spec, case: Case) -> tuple[bool, str]:
    """Compare in both modes, at every shape of the case; return whether all agrees, and what not.

    Raises:
        ComposerError: the spec does not build, or its tensors are not those of the paper.
    """
    worst: dict[bool, float] = {}
    for shape in case.shapes:
        pair = Pair.of(spec, case, _size(shape))
        x = input_of(case, shape)
        for training in (False, True):
            gaps = pair.train(training).gaps(x)
            if any(gap.wide for gap in gaps):
                return False, _difference(pair, gaps, x)
            worst[training] = max(worst.get(training, 0.0), *(gap.size for gap in gaps))
    shapes = listing([_shape(input_shape(case, shape)) for shape in case.shapes])
    largest = f"in eval {worst[False]:.1g}, in training {worst[True]:.1g}"
    return True, f"largest difference {largest}, on {shapes}"


def module_of(spec: Spec, case: Case, channels: int, size: tuple[int, int]) -> fx.GraphModule:
    """Return our module of a case.

    Raises:
        ComposerError: the spec does not suit.
    """
    at = case.setting(channels, size)
    told = size if case.sized else None
    if case.conv is not None:
        return build(spec, like=at.conv, size=told, params=case.params)
    return build(spec, channels, size=told, params=case.params)


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Draw every parameter and statistic anew, so that no zero or one hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
        for key, tensor in module.named_buffers():
            if key.endswith("running_mean"):
                tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
            elif key.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))


def random(*shape: int, seed: int = 1) -> Tensor:
    """Return normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def input_shape(case: Case, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an input: a map [b, c, h, w], or tokens [b, n, c]."""
    batch, *rest = shape
    return (batch, case.width, *rest) if len(rest) == 2 else (batch, *rest, case.width)


def input_of(case: Case, shape: tuple[int, ...]) -> Tensor:
    """Return a random input."""
    return random(*input_shape(case, shape))


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[-2], shape[-1]) if len(shape) == 3 else (1, shape[-1])


def _difference(pair: Pair, gaps: list[Gap], x: Tensor) -> str:
    """Say what lies apart, most telling first, and where that begins."""
    wide = [gap for gap in gaps if gap.wide]
    first = wide[0]
    more = f" and {counted(len(wide) - 1, 'other tensor')}" if len(wide) > 1 else ""
    mode = "training" if pair.ours.training else "eval"
    said = f"in {mode} {first.what} differs by {first.size:.2g}{more}"
    begins = first_difference(pair.ours, pair.theirs, x)
    return f"{said}; {begins}" if begins else said


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in module.state_dict().items()}


def _wrong_tensors(
    ours: Mapping[str, torch.Size], theirs: Mapping[str, torch.Size], keys: Mapping[str, str]
) -> list[str]:
    """Return what is wrong with our tensors, by key."""
    missing, more = [k for k in keys if k not in ours], [k for k in ours if k not in keys]
    wrong = []
    if missing:
        wrong.append(f"without the paper's {_some(missing)}")
    if more:
        wrong.append(f"with {_some(more)}, which the paper has not")
    wrong += [
        f"'{a}' is {_shape(ours[a])}, and {_shape(theirs[b])} in the paper"
        for a, b in keys.items()
        if a in ours and ours[a].numel() != theirs[b].numel()
    ]
    return wrong


def _some(keys: list[str]) -> str:
    left = len(keys) - _SHOWN
    shown = [repr(key) for key in keys[:_SHOWN]]
    return listing(shown) if left <= 0 else f"{', '.join(shown)} and {left} more"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "one number"

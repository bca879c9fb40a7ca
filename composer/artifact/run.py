"""The proof of a composition: it runs forward and backward, and what it gives is compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from composer.analysis.probe import Probe, input_shape, probe
from composer.errors import ComposerError, Diagnostic, UsageError, counted, error
from composer.measure.cost import floating_dtype
from composer.surgery.composition import inserted_prefixes
from composer.surgery.site import Plan


@dataclass(frozen=True)
class Verification:
    """Runs a model on one batch: an image, or random numbers from a fixed seed.

    `entry` is the module that takes images: the model itself, or of a detector its backbone.
    """

    batch: Tensor
    entry: str = ""

    @classmethod
    def of(
        cls, model: nn.Module, pixels: Tensor | None, ran: Probe | Plan | None = None
    ) -> Verification:
        """Prepare the batch, on the model's device and in its dtype.

        Where the model ran before, `ran` knows what it takes.
        """
        near = next(model.parameters(), torch.empty(0))
        ran = ran or probe(model)
        if pixels is None:
            draw = torch.Generator().manual_seed(0)
            pixels = torch.randn((1, *ran.input_shape), generator=draw)
        return cls(pixels.to(near.device, floating_dtype(model)), ran.entry)

    def output(self, model: nn.Module) -> list[Tensor]:
        """Return the tensors that the model gives in evaluation mode.

        Raises:
            ComposerError: the forward pass fails.
        """
        try:
            with _mode(model, training=False), torch.no_grad():
                return _tensors(model.get_submodule(self.entry)(self.batch))
        except Exception as failure:
            raise _failed("forward", failure) from None

    def difference(self, before: list[Tensor], after: list[Tensor]) -> float:
        """Return the largest difference between two outputs.

        Raises:
            ComposerError: they are not alike in shape, or one alone is not finite.
        """
        if [t.shape for t in before] != [t.shape for t in after]:
            raise error("other-output", "the composed model gives outputs of other shapes")
        largest = max(map(_difference, before, after), default=0.0)
        if not math.isfinite(largest):
            raise error(
                "not-finite",
                "the composed model gives NaN or infinity where the original gives a number",
                "try --dtype float32, and look at the spec for a division by zero",
            )
        return largest

    def backward(self, model: nn.Module) -> tuple[str, ...]:
        """Run a training step's forward and backward; nothing of the model is changed.

        Returns:
            The inserted modules that nothing behind them reads, by their paths: of their
            parameters none gets any gradient.

        Raises:
            ComposerError: a pass fails, or a new parameter gets no gradient.
        """
        inside = inserted_prefixes(model)
        new = {
            name: parameter
            for name, parameter in model.named_parameters()
            if name.startswith(inside) and parameter.requires_grad
        }
        entered = model.get_submodule(self.entry)
        buffers = {name: buffer.clone() for name, buffer in entered.named_buffers()}
        batch = torch.cat([self.batch, self.batch.flip(-1)]).requires_grad_()
        try:
            with _mode(model, training=True):
                with torch.random.fork_rng(devices=[]):
                    out = torch.func.functional_call(entered, buffers, (batch,))
                loss = torch.stack([t.float().square().mean() for t in _tensors(out)]).sum()
                wanted = [*new.values(), batch]  # a mechanism may have no parameter at all
                *gradients, _ = torch.autograd.grad(loss, wanted, allow_unused=True)
        except Exception as failure:
            raise _failed("training", failure) from None
        reached: dict[str, Tensor | None] = dict(zip(new, gradients, strict=True))
        unread = tuple(
            prefix.removesuffix(".") for prefix in inside if _none_reached(prefix, reached)
        )
        without = [
            name
            for name, gradient in reached.items()
            if gradient is None and not name.startswith(tuple(f"{path}." for path in unread))
        ]
        if without:
            raise error(
                "no-gradient",
                f"{counted(len(without), 'new parameter')} without a gradient: {without[0]}",
                "does the spec's output depend on every node with weights?",
            )
        return unread

    def compiled(self, model: nn.Module) -> None:
        """Run the model through ``torch.compile(fullgraph=True)`` and compare.

        Raises:
            ComposerError: it does not compile to one graph, or gives other numbers.
        """
        expected = self.output(model)
        try:
            with _mode(model, training=False), torch.no_grad():
                entered = model.get_submodule(self.entry)
                out = _tensors(torch.compile(entered, fullgraph=True)(self.batch))
        except Exception as failure:
            raise _failed("compiled", failure) from None
        difference = self.difference(expected, out)
        scale = max(float(t.abs().max()) for t in expected) or 1.0
        if not difference <= 1e-2 * scale:
            raise error(
                "compiled-differs",
                f"the compiled model differs by {difference:.3g} from the model as it is",
                "report this with the spec: it is a fault of the compiler or of Composer",
            )


def _none_reached(prefix: str, gradients: Mapping[str, Tensor | None]) -> bool:
    """Return whether no parameter of a module, of which it has some, gets any gradient."""
    mine = [g for name, g in gradients.items() if name.startswith(prefix)]
    return bool(mine) and not any(g is not None and bool(g.any()) for g in mine)


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put every module into one mode, and back into its own afterwards."""
    was = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, mode in was.items():
            module.training = mode


def target(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Return the device and the dtype that two words name.

    Raises:
        UsageError: there is no such device here.
    """
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).item()
    except (RuntimeError, AssertionError):
        raise UsageError(
            Diagnostic(
                "no-device",
                f"there is no device {device!r} here",
                "take --device cpu" + (", or cuda:N" if torch.cuda.is_available() else ""),
            )
        ) from None
    number = getattr(torch, dtype)
    assert isinstance(number, torch.dtype)
    return place, number


def read_image(path: Path, model: nn.Module) -> Tensor:
    """Return an image as the batch of one that the model was trained on.

    The size, crop, mean and deviation are those of the model's own configuration (timm), else
    ImageNet's at the size that the model takes.

    Raises:
        ComposerError: the file is no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except FileNotFoundError:
        raise _no_image(path, "there is no such file") from None
    except IsADirectoryError:
        raise _no_image(path, "this is a folder") from None
    except UnidentifiedImageError:
        raise _no_image(path, "this is not an image") from None
    except (OSError, ValueError, Image.DecompressionBombError) as failure:
        raise _no_image(path, f"this image cannot be read: {failure}") from None
    batch: Tensor = transform_for(model)(picture).unsqueeze(0)
    channels = probe(model).input_shape[0]
    if channels == 1:
        return batch.mean(1, keepdim=True)
    if channels != batch.shape[1]:
        message = f"the backbone takes {channels} channels, and an image has 3"
        raise ComposerError(Diagnostic("image", message, "leave --input away", file=str(path)))
    return batch


def transform_for(model: nn.Module) -> Any:
    """Return the function from a picture to a tensor that suits a model."""
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    resolve: Any = resolve_data_config
    config = resolve({}, model=model)
    if input_shape(model) is None:
        config["input_size"] = probe(model).input_shape
    return create_transform(**config)


def _difference(before: Tensor, after: Tensor) -> float:
    """Return the largest difference; what is the same, be it NaN or infinite, differs by 0."""
    a, b = before.double(), after.double()
    same = (a == b) | (a.isnan() & b.isnan())
    return float((a - b).abs().masked_fill(same, 0.0).amax()) if a.numel() else 0.0


def _no_image(path: Path, message: str) -> ComposerError:
    return ComposerError(Diagnostic("image", message, "give a PNG or JPEG", file=str(path)))


def _tensors(out: Any) -> list[Tensor]:
    found = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.is_floating_point()]
    if not found:
        raise error("no-output", "the model gives no tensor", None)
    return found


def _failed(what: str, failure: Exception) -> ComposerError:
    if isinstance(failure, ComposerError):
        return failure
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return error(
        f"{what}-failed",
        f"the {what} pass of the composed model fails: {lines[0]}",
        "does the backbone run alone? 'composer sites' shows what it was seen to do",
    )

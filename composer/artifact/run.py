"""The verification of a composition: it runs forward and backward, and its output is compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from composer.analysis.copies import shell_of
from composer.analysis.probe import Probe, probe
from composer.analysis.taken import input_shape
from composer.errors import ComposerError, Diagnostic, UsageError, error
from composer.measure.inputs import Inputs, remembered_inputs
from composer.surgery.site import Plan


@dataclass(frozen=True)
class Verification:
    """Runs a model on one batch: examples, an image, or random numbers from a fixed seed.

    `entry` is the module that takes the inputs: the model itself, or the backbone of a detector.
    """

    inputs: Inputs
    entry: str = ""

    @classmethod
    def of(
        cls, model: nn.Module, pixels: Tensor | None, ran: Probe | Plan | None = None
    ) -> Verification:
        """Prepare the batch, on the model's device and in its dtype.

        Where the model ran before, `ran` has its inputs.
        """
        ran = ran or probe(model)
        inputs = ran.inputs.filled()
        return cls((inputs if pixels is None else inputs.with_image(pixels)).on(model), ran.entry)

    def output(self, model: nn.Module) -> list[Tensor]:
        """Return the output tensors of the model in evaluation mode.

        Raises:
            ComposerError: the forward pass fails.
        """
        try:
            with in_mode(model, training=False), torch.no_grad():
                return self._run(model.get_submodule(self.entry))
        except Exception as failure:
            raise pass_failed("forward", failure) from None

    def _run(self, entered: Callable[..., Any]) -> list[Tensor]:
        return tensors_of(entered(*self.inputs.args, **self.inputs.kwargs))

    def difference(self, before: list[Tensor], after: list[Tensor]) -> float:
        """Return the largest difference between two outputs.

        Raises:
            ComposerError: their shapes differ, or only one is not finite.
        """
        if [t.shape for t in before] != [t.shape for t in after]:
            raise error("other-output", "the outputs of the composed model have different shapes")
        largest = max(map(_difference, before, after), default=0.0)
        if not math.isfinite(largest):
            raise error(
                "not-finite",
                "the composed model outputs NaN or infinity where the original outputs a number",
                "try --dtype float32, and check the spec for a division by zero",
            )
        return largest

    def compiled(self, model: nn.Module) -> None:
        """Run the model through ``torch.compile(fullgraph=True)`` and compare.

        Raises:
            ComposerError: it does not compile to one graph, or its output differs.
        """
        expected = self.output(model)
        try:
            with in_mode(model, training=False), torch.no_grad():
                out = self._run(torch.compile(model.get_submodule(self.entry), fullgraph=True))
        except Exception as failure:
            raise pass_failed("compiled", failure) from None
        difference = self.difference(expected, out)
        scale = max(float(t.abs().max()) for t in expected) or 1.0
        if not difference <= 1e-2 * scale:
            raise error(
                "compiled-differs",
                f"the compiled model differs by {difference:.3g} from the uncompiled model",
                "report this with the spec: it is a fault of the compiler or of Composer",
            )


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put every module into one mode, and restore its own mode afterwards."""
    was = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, mode in was.items():
            module.training = mode


def target(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Return the device and the dtype with these names.

    Raises:
        UsageError: the device is not available.
    """
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).item()
    except (RuntimeError, AssertionError):
        raise UsageError(
            Diagnostic(
                "no-device",
                f"the device {device!r} is not available",
                "use --device cpu" + (", or cuda:N" if torch.cuda.is_available() else ""),
            )
        ) from None
    number = getattr(torch, dtype)
    assert isinstance(number, torch.dtype)
    return place, number


def read_image(path: Path, model: nn.Module) -> Tensor:
    """Return an image as a batch of one, preprocessed as in the model's training.

    The size, crop, mean and deviation are those of the model's own configuration (timm), else
    ImageNet's at the size that the model takes.

    Raises:
        ComposerError: the file is not an image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except FileNotFoundError:
        raise _no_image(path, "there is no such file") from None
    except IsADirectoryError:
        raise _no_image(path, "this is a folder") from None
    except (UnidentifiedImageError, ImportError):  # Ultralytics adds more image formats
        raise _no_image(path, "this is not an image") from None
    except (OSError, ValueError, Image.DecompressionBombError) as failure:
        raise _no_image(path, f"this image cannot be read: {failure}") from None
    ran = probe(shell_of(model))
    if ran.dimensions != 2:
        taken = "volumes" if ran.dimensions == 3 else "signals"
        message = f"the backbone takes {taken}, and this is an image"
        raise ComposerError(Diagnostic("image", message, "omit --input", file=str(path)))
    batch: Tensor = transform_for(model)(picture).unsqueeze(0)
    channels = ran.input_shape[0]
    if channels == 1:
        return batch.mean(1, keepdim=True)
    if channels != batch.shape[1]:
        message = f"the backbone takes {channels} channels, and an image has 3"
        raise ComposerError(Diagnostic("image", message, "omit --input", file=str(path)))
    return batch


def as_seen(model: nn.Module, image: Tensor) -> Tensor:
    """Return one image of a batch of `read_image` for display: [3, height, width] from 0 to 1."""
    config = _data_config(model)
    mean, deviation = (image.new_tensor(config[key])[:, None, None] for key in ("mean", "std"))
    if len(image) == 1:
        mean, deviation = mean.mean(0, keepdim=True), deviation.mean(0, keepdim=True)
    return (image * deviation + mean).clamp(0, 1).expand(3, -1, -1)


def transform_for(model: nn.Module) -> Any:
    """Return the function that turns a picture into an input of a model."""
    from timm.data.transforms_factory import create_transform

    return create_transform(**_data_config(model))


def _data_config(model: nn.Module) -> dict[str, Any]:
    from timm.data.config import resolve_data_config

    resolve: Any = resolve_data_config
    config: dict[str, Any] = resolve({}, model=model)
    if input_shape(model) is None or remembered_inputs(model) is not None:
        config["input_size"] = probe(shell_of(model)).input_shape
    return config


def _difference(before: Tensor, after: Tensor) -> float:
    """Return the largest difference; equal values, NaN and infinity included, differ by 0."""
    a, b = before.double(), after.double()
    same = (a == b) | (a.isnan() & b.isnan())
    return float((a - b).abs().masked_fill(same, 0.0).amax()) if a.numel() else 0.0


def _no_image(path: Path, message: str) -> ComposerError:
    return ComposerError(Diagnostic("image", message, "give a PNG or JPEG", file=str(path)))


def tensors_of(out: Any) -> list[Tensor]:
    """Return the floating-point tensors in a model's output.

    Raises:
        ComposerError: there is none.
    """
    found = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.is_floating_point()]
    if not found:
        raise error("no-output", "the model outputs no tensor", None)
    return found


def pass_failed(what: str, failure: Exception) -> ComposerError:
    """Return the error for a failed pass of the composed model."""
    if isinstance(failure, ComposerError):
        return failure
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return error(
        f"{what}-failed",
        f"the {what} pass of the composed model fails: {lines[0]}",
        "does the backbone run alone? 'composer sites' shows how it was read",
    )

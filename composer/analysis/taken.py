"""The inputs of a model: the shapes to try, and the number of spatial axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from composer.analysis.edited import before_stand_in
from composer.measure.inputs import Inputs

#: Sizes to try for a model that does not declare one.
SIZES = (224, 256, 32, 64, 28, 96, 128, 192, 299, 384, 512)

#: The same for a model whose first convolution is over one axis, or over three: frames or slices
#: of a height and a width, and cubes.
OTHER_SIZES: dict[int, tuple[tuple[int, ...], ...]] = {
    1: tuple((n,) for n in (1024, 4096, 256, 16_384, 128, 64)),
    3: ((16, 112, 112), (16, 224, 224), (64, 64, 64), (96, 96, 96), (128, 128, 128),
        (32, 32, 32), (32, 224, 224)),
}  # fmt: skip


def input_shape(model: nn.Module) -> tuple[int, int, int] | None:
    """Return the (channels, height, width) that a model declares, if any."""
    for attribute in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, attribute, None)
        shape = config.get("input_size") if isinstance(config, dict) else None
        if isinstance(shape, (tuple, list)) and len(shape) == 3:
            return int(shape[0]), int(shape[1]), int(shape[2])
    if (shape := _of_ultralytics(model)) is not None:
        return shape
    config = getattr(model, "config", None)  # of Hugging Face
    size = _pair(getattr(config, "image_size", None))
    channels = getattr(config, "num_channels", None)
    return (channels, *size) if size and isinstance(channels, int) else None


def _of_ultralytics(model: nn.Module) -> tuple[int, int, int] | None:
    """Return the shape of images that a network of a ``YOLO`` is trained on by default."""
    args, task = getattr(model, "args", None), getattr(model, "task", None)
    size = args.get("imgsz") if isinstance(args, dict) else getattr(args, "imgsz", None)
    sizes = _pair(size)
    config = getattr(model, "yaml", None)
    if sizes is None or not isinstance(config, dict):
        return None
    return config.get("channels", 3), *((224, 224) if task == "classify" else sizes)


def _pair(size: Any) -> tuple[int, int] | None:
    """Return a height and a width from such a size, or from one number for both."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size, size
    if isinstance(size, (tuple, list)) and len(size) == 2 and all(type(n) is int for n in size):
        return size[0], size[1]
    return None


def _built_for(model: nn.Module) -> Iterator[tuple[int, int]]:
    """Yield the sizes that modules inside declare, as those of timm do."""
    for module in model.modules():
        if (size := _pair(getattr(module, "img_size", None))) is not None:
            yield size


def shapes(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """Yield the input shapes that a model may take, each once, the likeliest first.

    It takes images if it declares so, else what its first convolution slides over.
    """
    told = input_shape(model)
    channels = channels_of(model)
    for dimensions in () if told else channels:
        if dimensions == 2:
            break
        yield from ((channels[dimensions], *size) for size in OTHER_SIZES[dimensions])
    if channels and 2 not in channels and told is None:
        return
    sizes = [(told[1], told[2])] if told else []
    sizes += _built_for(model)  # it may be built for another size than its configuration declares
    sizes = list(dict.fromkeys(sizes if told else [*sizes, *((n, n) for n in SIZES)]))
    for number in dict.fromkeys((channels.get(2), told[0] if told else 3)):
        if number:
            yield from ((number, *size) for size in sizes)


def channels_of(model: nn.Module) -> dict[int, int]:
    """Return the input channels of the first convolution of one, two and three axes.

    They are in the order of the model.
    """
    found: dict[int, int] = {}
    for module in model.modules():
        before = before_stand_in(module)
        if before is not None and before.in_channels is not None:
            found.setdefault(before.dimensions, before.in_channels)
        channels = getattr(module, "in_channels", None)
        weight = getattr(module, "weight", None)
        if not isinstance(channels, int) or not isinstance(weight, Tensor):
            continue
        if weight.dim() == 4 or isinstance(module, (nn.Conv1d, nn.Conv3d)):
            found.setdefault(weight.dim() - 2, channels)
    return found


def dimensions_of(model: nn.Module, inputs: Inputs) -> int:
    """Return the number of spatial axes of a model's maps, from its first suitable convolution.

    One of three axes takes no frames of images, ``[b, frames, c, h, w]``: its channels come first.
    """
    shape = inputs.shape
    for dimensions, channels in channels_of(model).items():
        if len(shape) > dimensions and shape[-dimensions - 1] == channels:
            return dimensions
    return 2 if len(shape) > 2 else 1

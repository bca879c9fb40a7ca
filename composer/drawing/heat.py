"""Numbers as colours, over an image or alone, as the data URI of a small JPEG or PNG."""

from __future__ import annotations

import base64
import io
from typing import Literal

import torch
from torch import Tensor

#: From dark to bright, also in print and for colour-blind readers; RGB at even steps.
_STEPS = (
    (8, 8, 40), (60, 16, 104), (120, 28, 109), (177, 47, 88), (224, 84, 54), (247, 140, 28),
    (250, 198, 60), (252, 250, 170),
)  # fmt: skip
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
_HEAT, _MOST = 0.6, 224


def coloured(values: Tensor) -> Tensor:
    """Return numbers from 0 to 1 as colours, [3, height, width]."""
    table = torch.tensor(_STEPS).T / 255
    place = values.clamp(0, 1) * (table.shape[1] - 1)
    low = place.floor().long().clamp(max=table.shape[1] - 2)
    return torch.lerp(table[:, low], table[:, low + 1], place - low)


def over(image: Tensor, values: Tensor) -> Tensor:
    """Return an image in grey under the colours of a map [h, w]; only grey where it is constant.

    Args:
        image: [3, height, width], from 0 to 1.
        values: a map of any size, resized to the whole image.
    """
    grey = (image * image.new_tensor(_GREY)[:, None, None]).sum(0)
    if bool(values.max() == values.min()):
        return grey.expand(3, -1, -1)
    whole = _even(values)[None, None]
    heat = torch.nn.functional.interpolate(
        whole, size=image.shape[1:], mode="bilinear", align_corners=False
    )
    return (1 - _HEAT) * grey + _HEAT * coloured(heat[0, 0])


def matrix(values: Tensor) -> Tensor:
    """Return a matrix as colours, each entry at least some pixels large."""
    times = max(1, _MOST // max(values.shape))
    large = _even(values).repeat_interleave(times, 0).repeat_interleave(times, 1)
    return coloured(large)


def uri(image: Tensor, form: Literal["JPEG", "PNG"] = "JPEG") -> str:
    """Return an image [3, height, width] from 0 to 1 as a data URI."""
    from PIL import Image

    levels = (image.clamp(0, 1) * 255).round().byte()
    height, width = levels.shape[1:]
    content = bytes(levels.permute(1, 2, 0).contiguous().flatten().tolist())
    picture = Image.frombytes("RGB", (width, height), content)
    picture.thumbnail((2 * _MOST, 2 * _MOST))
    out = io.BytesIO()
    picture.save(out, form, quality=88)
    return f"data:image/{form.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def _even(values: Tensor) -> Tensor:
    """Return numbers rescaled to 0 to 1; 0.5 if all are the same."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.full_like(values, 0.5)

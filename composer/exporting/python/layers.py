"""The layers of a lowered module, as calls of torch's constructors."""

from __future__ import annotations

from typing import Any

from torch import nn

from composer.errors import ComposerError, error
from composer.kernels.affine import Affine
from composer.kernels.dropout import SharedDropout
from composer.kernels.row_conv1d import RowConv1d
from composer.lower.schedule import Schedule
from composer.lower.table import Table

Arguments = tuple[tuple[str, Any, Any], ...]

#: Has no default.
REQUIRED = object()

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def arguments_of(layer: nn.Module | nn.Parameter) -> tuple[str, Arguments]:
    """Return the name of a layer's class, and its arguments with their names and defaults.

    Raises:
        ComposerError: code ``no-plain-form``.
    """
    match layer:
        case nn.Parameter():
            return "parameter", (("shape", tuple(layer.shape), REQUIRED),)
        case Table():
            return "table", (
                ("tree", layer.tree, REQUIRED),
                ("names", layer.names, REQUIRED),
                ("lengths", layer.lengths, REQUIRED),
            )
        case Schedule():
            own = {"begin": layer.begin, "end": layer.end, "steps": layer.steps}
            return "Schedule", tuple((name, value, REQUIRED) for name, value in own.items())
        case SharedDropout():
            return "SharedDropout", (("p", layer.p, REQUIRED), ("shared", layer.shared, REQUIRED))
        case Affine():
            own = {"channels": layer.in_channels, "bias": layer.bias is not None}
            own |= {"after": layer.behind}
            return "Affine", tuple((name, value, REQUIRED) for name, value in own.items())
        case RowConv1d():
            return "RowConv1d", _convolution(layer)
        case nn.Linear():
            return "Linear", (
                ("in_features", layer.in_features, REQUIRED),
                ("out_features", layer.out_features, REQUIRED),
                ("bias", layer.bias is not None, True),
            )
    if isinstance(layer, _CONVOLUTIONS):
        return type(layer).__name__, _convolution(layer)
    if (found := _of_norms(layer)) is not None:
        return type(layer).__name__, found
    raise no_plain_form(type(layer).__name__)


def no_plain_form(what: str) -> ComposerError:
    """Return the error for what has no form in plain torch."""
    return error(
        "no-plain-form",
        f"{what} has no plain torch form here, so what calls it can't be written as Python",
        "export to onnx or pt2, or write the mechanism with the shipped ops",
    )


def _of_norms(layer: nn.Module) -> Arguments | None:
    match layer:
        case nn.GroupNorm():
            return (
                ("num_groups", layer.num_groups, REQUIRED),
                ("num_channels", layer.num_channels, REQUIRED),
                ("eps", layer.eps, 1e-5),
            )
        case nn.LayerNorm():
            shape = _alike(layer.normalized_shape)
            return (("normalized_shape", shape, REQUIRED), ("eps", layer.eps, 1e-5))
        case nn.RMSNorm():
            shape = _alike(layer.normalized_shape)
            return (("normalized_shape", shape, REQUIRED), ("eps", layer.eps, None))
        case nn.Dropout():
            return (("p", layer.p, 0.5),)
    if isinstance(layer, _BATCH_NORMS):
        return (
            ("num_features", layer.num_features, REQUIRED),
            ("eps", layer.eps, 1e-5),
            ("momentum", layer.momentum, 0.1),
            ("affine", layer.affine, True),
        )
    return None


def _convolution(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> Arguments:
    return (
        ("in_channels", layer.in_channels, REQUIRED),
        ("out_channels", layer.out_channels, REQUIRED),
        ("kernel_size", _alike(layer.kernel_size), REQUIRED),
        ("stride", _alike(layer.stride), 1),
        ("padding", _alike(layer.padding), 0),
        ("dilation", _alike(layer.dilation), 1),
        ("groups", layer.groups, 1),
        ("bias", layer.bias is not None, True),
    )


def _alike(numbers: Any) -> Any:
    """Return one number if all are the same."""
    numbers = tuple(numbers)
    return numbers[0] if len(set(numbers)) == 1 and len(numbers) else numbers

"""Whether tokens are in the order of the places of a map: row by row."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from composer.analysis.maps import MapShape
from composer.analysis.probe import Call, Probe
from composer.measure.cost import untouched


class _Reached(Exception):  # noqa: N818 - ends a forward pass where nothing more is needed
    pass


#: Row by row after the prefix tokens; row by row, with other tokens after them; in another order.
TokenOrder = Literal["rows", "behind", "other"]


def token_order(model: nn.Module, probe: Probe, call: Call, shape: MapShape) -> TokenOrder:
    """Return how the input tokens of a module follow the rows of the image.

    A few places of the image are changed, one at a time, and the token that changes most must be
    that of the place or a neighbour. A model on the meta device is assumed to be in order.
    """
    if any(p.is_meta for p in model.parameters()):
        return "rows"
    places = _places(shape.size)
    given = probe.inputs.image
    if given is None or given.dim() != 2 + len(shape.size):
        return "rows"
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(given.shape, generator=draw).to(given)
    images = torch.cat([image, *(_changed(image, place, shape.size) for place in places)])
    tokens = _given(model, probe, call, images)
    if tokens is None:
        return "rows"
    axis = shape.layout.index("n")
    change = (tokens[1:] - tokens[:1]).float().abs().sum(3 - axis)
    moved = [int(row.argmax()) for row in change]
    wanted = [_number(place, shape.size) for place in places]
    before = {token - place for token, place in zip(moved, wanted, strict=True)}
    if len(before) == 1 and 0 <= min(before) < shape.prefix:
        return "behind"
    near = all(
        abs(a - b) <= 1
        for token, place in zip(moved, places, strict=True)
        for a, b in zip(_place(token - shape.prefix, shape.size), place, strict=True)
    )
    return "rows" if near else "other"


def _places(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return a few places off the diagonal, where rows and columns could be confused."""
    at = [(0.6, 0.2, 0.7), (0.3, 0.5, 0.1), (0.9, 0.8, 0.4), (0.1, 0.4, 0.9)]
    return [tuple(int(a * n) for a, n in zip(one[-len(size) :], size, strict=True)) for one in at]


def _number(place: tuple[int, ...], size: tuple[int, ...]) -> int:
    """Return the number of a place of a map, counted row by row."""
    number = 0
    for at, length in zip(place, size, strict=True):
        number = number * length + at
    return number


def _place(number: int, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the place of a map that has a number."""
    found: list[int] = []
    for length in reversed(size[1:]):
        number, at = divmod(number, length)
        found.append(at)
    return (number, *reversed(found))


def _changed(image: Tensor, place: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """Return the image with other numbers at one place of a map of a size."""
    changed = image.clone()
    steps = (n // length for n, length in zip(image.shape[2:], size, strict=True))
    patch = (slice(at * n, (at + 1) * n) for at, n in zip(place, steps, strict=True))
    changed[(slice(None), slice(None), *patch)] *= -3
    return changed


def _given(model: nn.Module, probe: Probe, call: Call, images: Tensor) -> Tensor | None:
    """Return a module's inputs when the model runs on images; None where it fails."""
    found: list[Tensor] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.extend([v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)][:1])
        raise _Reached

    was = [(module, module.training) for module in model.modules()]
    handle = model.get_submodule(call.path).register_forward_pre_hook(note, with_kwargs=True)
    try:
        with untouched(model), torch.no_grad():
            given = probe.inputs.filled().with_image(images)
            model.get_submodule(probe.entry).eval()(*given.args, **given.kwargs)
    except _Reached:
        pass
    except Exception:
        return None
    finally:
        handle.remove()
        for module, training in was:
            module.training = training
    return found[0] if found and found[0].shape[0] == len(images) else None

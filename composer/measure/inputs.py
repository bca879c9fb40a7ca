"""The inputs of a model: its positional and keyword arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from composer.errors import error
from composer.measure.cost import floating_dtype

_ATTRIBUTE = "_example_inputs"

#: The dtypes that an example input may have, by their names.
DTYPES = {
    name: getattr(torch, name)
    for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8",
                 "uint8", "bool", "complex64", "complex128")
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of one forward pass on a batch of one.

    Attributes:
        args: positional.
        kwargs: keyword.
        are_examples: whether the values are a user's; else only the sizes matter.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    are_examples: bool = False

    @classmethod
    def images(cls, model: nn.Module, shape: Sequence[int]) -> Inputs:
        """Return one image of (channels, height, width), on a model's device, in its dtype."""
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        return cls((torch.empty((1, *shape), device=device, dtype=floating_dtype(model)),))

    @classmethod
    def examples(cls, model: nn.Module, given: Any) -> Inputs:
        """Read a user's example inputs; of a batch the first sample is used.

        Args:
            model: the model.
            given: a tensor; a tuple or list of arguments; a mapping, which means keyword arguments
                if the forward names them all, else one argument; or a tuple of both, as in
                ``((image,), {"text": text})``.

        Raises:
            ComposerError: there is no tensor in them.
        """
        args: tuple[Any, ...]
        kwargs: Mapping[str, Any] = {}
        if isinstance(given, Inputs):
            return given
        match given:
            case Mapping():
                args, kwargs = ((), given) if _names(model, given) else ((given,), {})
            case (tuple() | list() as places, Mapping() as names):
                args, kwargs = tuple(places), names
            case tuple() | list():
                args = tuple(given)
            case _:
                args = (given,)
        found = cls(args, kwargs, are_examples=True)
        if found.image is None:
            raise error(
                "invalid-inputs",
                "there is no tensor in example_inputs",
                "pass the inputs of the model's forward: a tensor, (image, text), or "
                "{'pixel_values': image}",
            )
        batch = found.image.shape[0] if found.image.dim() else 1
        return found._each(lambda t: t[:1] if t.dim() and t.shape[0] == batch else t)

    @property
    def image(self) -> Tensor | None:
        """The tensor with the map: the first non-integer one with the most axes."""
        numbers = [t for t in self._tensors if t.is_floating_point()] or self._tensors
        return max(numbers, key=Tensor.dim, default=None)

    @property
    def has_several(self) -> bool:
        """Whether there is any tensor besides the image."""
        return len(self._tensors) > 1

    @property
    def _tensors(self) -> list[Tensor]:
        leaves = tree_leaves((self.args, dict(self.kwargs)))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the image without its batch: (channels, height, width)."""
        return () if self.image is None else tuple(self.image.shape[1:])

    def made(self, device: torch.device | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return tensors of the same sizes with arbitrary values."""
        blank = self._each(lambda t: torch.empty(t.shape, dtype=t.dtype, device=device or t.device))
        return blank.args, dict(blank.kwargs)

    def on(self, model: nn.Module) -> Inputs:
        """Return the same on a model's device, with floating-point tensors in its dtype."""
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        dtype = floating_dtype(model)
        return self._each(
            lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else t.dtype)
        )

    def filled(self) -> Inputs:
        """Return inputs with values: those of the examples, else random ones."""
        if self.are_examples:
            return self
        draw = torch.Generator().manual_seed(0)
        return self._each(lambda t: torch.randn(t.shape, generator=draw).to(t))

    def larger(self, more: int, dimensions: int) -> Inputs:
        """Return inputs with a larger image, and other inputs of its size enlarged with it."""
        size = self.shape[-dimensions:]

        def grown(t: Tensor) -> Tensor:
            if t.dim() < dimensions or tuple(t.shape[-dimensions:]) != size:
                return t
            return t.new_empty((*t.shape[:-dimensions], *(n + more for n in size)))

        return self._each(grown)

    def channels_last(self) -> Inputs:
        """Return the same with the channels of each map last in memory."""
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        return self._each(
            lambda t: t.contiguous(memory_format=formats[t.dim()]) if t.dim() in formats else t
        )

    def batch(self, count: int) -> Inputs:
        """Return `count` samples instead of one."""
        return self._each(lambda t: t.expand(count, *t.shape[1:]).clone() if _one(t) else t)

    def mirrored(self) -> Inputs:
        """Return two samples: this one, and one with its image mirrored."""
        own, twice = self.image, self.batch(2)
        if own is None or not own.is_floating_point() or twice.image is None:
            return twice
        return twice.with_image(torch.cat([own, own.flip(-1)]).detach())

    def with_image(self, image: Tensor) -> Inputs:
        """Return the same with another image or batch of images."""
        own = self.image
        return self._each(
            lambda t: image if t is own
            else (t.expand(len(image), *t.shape[1:]) if _one(t) else t)
        )  # fmt: skip

    def _each(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        args, kwargs = tree_map_only(Tensor, change, (self.args, dict(self.kwargs)))
        return Inputs(args, kwargs, self.are_examples)


def described(inputs: Inputs) -> tuple[list[Any], dict[str, Any]]:
    """Return inputs as plain values: a tensor is its shape and its dtype.

    Raises:
        ComposerError: they hold something other than tensors and plain values.
    """
    return [_plain(value) for value in inputs.args], {
        name: _plain(value) for name, value in inputs.kwargs.items()
    }


def from_description(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Inputs:
    """Return inputs as described, filled with zeros.

    Raises:
        ComposerError: a tensor has no such shape or dtype.
    """
    return Inputs(
        tuple(map(_read, args)), {name: _read(v) for name, v in kwargs.items()}, are_examples=True
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise error(
        "invalid-inputs",
        f"the example inputs hold {type(value).__name__}, which a recipe can't hold",
        "name the backbone as file.py:factory, and let the factory return (model, example_inputs)",
    )


def _read(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"shape", "dtype"}:
        shape, dtype = value["shape"], DTYPES.get(str(value["dtype"]))
        sound = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
        if not sound or dtype is None:
            message = f"there is no tensor of shape {shape} and dtype {value['dtype']}"
            raise error("bad-recipe", message, "was the recipe edited?")
        return torch.zeros(shape, dtype=dtype)
    if isinstance(value, dict):
        return {key: _read(inner) for key, inner in value.items()}
    return [_read(inner) for inner in value] if isinstance(value, list) else value


def remember_inputs(model: nn.Module, inputs: Inputs | None) -> None:
    """Remember the inputs on the model; None keeps the earlier ones."""
    if inputs is not None:
        vars(model)[_ATTRIBUTE] = inputs


def remembered_inputs(model: nn.Module) -> Inputs | None:
    """Return the inputs remembered for a model, if any."""
    found = vars(model).get(_ATTRIBUTE)
    return found if isinstance(found, Inputs) else None


def _names(model: nn.Module, given: Mapping[str, Any]) -> bool:
    """Return whether a model's forward takes these keyword arguments."""
    if not all(isinstance(name, str) for name in given):
        return False
    try:
        inspect.signature(model.forward).bind(**given)
    except TypeError:
        return False
    return True


def _one(tensor: Tensor) -> bool:
    return tensor.dim() > 0 and tensor.shape[0] == 1

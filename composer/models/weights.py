"""Load a weights file into a model: every tensor fits, or a message lists those that don't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from composer.errors import counted
from composer.files import write_file
from composer.models.weights_file import read_weights, refused

#: Prefixes that data-parallel training and `torch.compile` add to every key.
PREFIXES = ("module.", "_orig_mod.")


def load_weights(model: nn.Module, path: Path, name: str) -> None:
    """Load a safetensors file, or a state dict that `torch.save` wrote, into the model.

    A state dict inside a training checkpoint is found, and the prefixes that data-parallel
    training or `torch.compile` add to every key are removed.

    Args:
        model: the model to load into.
        path: the file.
        name: the model's name in messages.

    Raises:
        ComposerError: the file can't be read, or its keys or shapes don't match the model's;
            the model is then unchanged.
    """

    def check(state: dict[str, Tensor]) -> None:
        check_fit(model, without_prefixes(state, model), path, name)

    state = without_prefixes(read_weights(path, check), model)
    fit_weights(model, state, path, name, finite=True)


def fit_weights(
    model: nn.Module, state: Mapping[str, Tensor], path: Path, name: str, finite: bool = False
) -> None:
    """Load a state dict into the model; for tied tensors one name is enough.

    Args:
        model: the model to load into.
        state: the tensors by their names.
        path: the file.
        name: the model's name in messages.
        finite: whether NaN and infinity are refused; see `check_finite`.

    Raises:
        ComposerError: the keys, shapes or dtypes don't match the model's, which is then
            unchanged.
    """
    check_fit(model, state, path, name)
    own = model.state_dict()
    if finite:
        check_finite(state, own, path)
    model.load_state_dict({**own, **state})


def check_finite(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    """Refuse non-finite numbers where the freshly made model has finite ones.

    A mask of the model itself may hold -inf. Other non-finite values come from a diverged
    training, and would silently make every output NaN.

    Raises:
        ComposerError: with the first tensor, and how many of its values are not finite.
    """
    keys = [*(key for key in own if key in state), *(key for key in state if key not in own)]
    wrong = {key: n for key in keys if (n := _not_finite(state[key], own.get(key)))}
    if not wrong:
        return
    key, count = next(iter(wrong.items()))
    others = counted(len(wrong) - 1, "other tensor")
    more = f", and {others} as well" if len(wrong) > 1 else ""
    raise refused(
        path,
        f"{key} holds {counted(count, 'value')} of {state[key].numel():,} that are not finite "
        f"(NaN or infinity){more}",
        "use a checkpoint from before they appeared; or, to inspect this one anyway, load it "
        "in Python, replace them by numbers (torch.nan_to_num), and save that",
    )


def _not_finite(tensor: Tensor, own: Tensor | None) -> int:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return 0
    finite = tensor.isfinite()
    if bool(finite.all()):
        return 0
    if own is not None and own.shape == tensor.shape and not own.is_meta:
        finite = finite | ~own.isfinite().to(finite.device)
    return tensor.numel() - int(finite.sum())


def write_weights(model: nn.Module, path: Path, *, force: bool = False) -> None:
    """Write a model's weights as safetensors: to a temporary file first, then renamed.

    Raises:
        ComposerError: the file can't be written; an existing one is unchanged.
    """
    write_file(path, lambda place: save_weights(model, place), force=force)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights as safetensors; of tied tensors only the first name.

    Raises:
        OSError: the file can't be written.
    """
    firsts = {names[0] for names in _ties(model)}
    aliases = {name for names in _ties(model) for name in names} - firsts
    state: dict[str, Tensor] = {}
    storages: set[tuple[torch.device, int]] = set()
    for key, tensor in model.state_dict().items():
        if key in aliases:
            continue
        storage = (tensor.device, tensor.untyped_storage().data_ptr())
        state[key] = tensor.clone() if storage in storages else tensor
        state[key] = state[key].contiguous()
        storages.add(storage)
    path.touch()
    mode = path.stat().st_mode  # by the user's umask; safetensors would exclude others
    try:
        save_file(state, path, metadata={"format": "pt"})
    except SafetensorError as failure:
        raise OSError(str(failure)) from None
    path.chmod(mode)


def _ties(model: nn.Module) -> Iterator[list[str]]:
    """Yield the names of each tensor with more than one."""
    names: dict[int, list[str]] = {}
    for name, tensor in chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    ):
        names.setdefault(id(tensor), []).append(name)
    yield from (several for several in names.values() if len(several) > 1)


def without_prefixes(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Remove the prefixes that data-parallel training or `torch.compile` add to every key."""
    own = model.state_dict().keys()
    for prefix in PREFIXES * 2:  # in either order
        everywhere = all(key.startswith(prefix) for key in state)
        if everywhere and not any(key.startswith(prefix) for key in own):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def check_fit(model: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Refuse tensors, or those of a header, that don't match the model's.

    Raises:
        ComposerError: a key is missing or unexpected, or of different shape or dtype.
    """
    own = model.state_dict()
    spared = {key for key in own if key.endswith("num_batches_tracked")}
    spared.update(n for names in _ties(model) if not state.keys().isdisjoint(names) for n in names)
    missing = [key for key in own if key not in state and key not in spared]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} ({_size(state[key])} in the file, {_size(own[key])} in the model)"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    kinds = [
        f"{key} ({_dtype(state[key])} in the file, {_dtype(own[key])} in the model)"
        for key in own
        if key in state and not suits(state[key].dtype, own[key].dtype)
    ]
    problems = [
        f"{counted(len(keys), 'key')} {what}: {_some(keys)}"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of different shape", shapes),
            ("of different dtype", kinds),
        )
        if keys
    ]
    if problems:
        matching = len(own.keys() & state.keys()) - len(shapes) - len(kinds)
        help_ = (
            f"{matching:,} of {len(own):,} keys match; are these the weights of another model, or "
            "of one with another head (resnet50?num_classes=10)?"
        )
        raise refused(path, f"does not fit {name}: {'; '.join(problems)}", help_)


def _some(keys: list[str], most: int = 3) -> str:
    more = f" and {len(keys) - most:,} more" if len(keys) > most else ""
    return f"{', '.join(keys[:most])}{more}"


def suits(given: torch.dtype, own: torch.dtype) -> bool:
    """Return whether numbers of one dtype may be loaded as another.

    Floating-point and complex numbers always may; integers may where every one fits.
    """
    if given == own:
        return True
    if torch.bool in (given, own):
        return False
    if given.is_complex or own.is_complex:
        return given.is_complex and own.is_complex
    if given.is_floating_point or own.is_floating_point:
        return given.is_floating_point and own.is_floating_point
    a, b = torch.iinfo(given), torch.iinfo(own)
    return b.min <= a.min and a.max <= b.max


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"

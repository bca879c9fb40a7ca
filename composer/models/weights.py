"""A weights file into a model: every tensor in its place, or a message that says which are not."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from composer.errors import ComposerError, Diagnostic, counted
from composer.files import write_file

#: What training scripts call the state dict inside a checkpoint.
WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
#: What data-parallel training and `torch.compile` put before every key.
PREFIXES = ("module.", "_orig_mod.")


def load_weights(model: nn.Module, path: Path, name: str) -> None:
    """Load a safetensors file, or a state dict that `torch.save` wrote, into the model.

    A state dict inside a training checkpoint is found, and what data-parallel training or
    `torch.compile` put before every key is taken off.

    Args:
        model: what the weights are for.
        path: the file.
        name: what messages call the model.

    Raises:
        ComposerError: the file can't be read, or its keys or shapes are not the model's; the
            model is not changed then.
    """
    fit_weights(model, without_prefixes(read_weights(path), model), path, name)


def fit_weights(model: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Load what a file holds into the model; of tied tensors one name is enough.

    Raises:
        ComposerError: the keys or shapes are not the model's; the model is not changed then.
    """
    own = model.state_dict()
    _check_fit(model, own, state, path, name)
    model.load_state_dict({**own, **state})


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file, on the CPU.

    Raises:
        ComposerError: the file is missing, or holds something else.
    """
    try:
        if _is_safetensors(path):
            loaded: dict[str, Tensor] = load_file(path)
            return loaded
        options: list[Any] = [argparse.Namespace]  # timm's train.py keeps it beside
        with torch.serialization.safe_globals(options), warnings.catch_warnings(action="ignore"):
            return _tensors(torch.load(path, map_location="cpu", weights_only=True), path)
    except FileNotFoundError:
        raise _refused(path, "there is no such file", "look at the path") from None
    except IsADirectoryError:
        raise _refused(path, "this is a folder", "give a file of weights") from None
    except OSError as failure:
        raise _refused(path, f"cannot be read: {failure.strerror or failure}", None) from None
    except pickle.UnpicklingError as failure:
        raise _refused(path, *_unpickled(str(failure))) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as failure:
        said = " ".join(str(failure).split())[:160] or "it is empty"
        way_out = "is it whole? Give a .safetensors file, or a state dict that torch.save wrote"
        raise _refused(path, f"this is not a file of weights: {said}", way_out) from None


def _is_safetensors(path: Path) -> bool:
    """Return whether the file begins as safetensors do: a length, then a JSON object."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" or (path.suffix == ".safetensors" and head[:2] != b"PK")


def _unpickled(said: str) -> tuple[str, str]:
    """Return what is wrong with a pickle that holds more than tensors, and the way out."""
    if named := re.search(r"GLOBAL (\S+)", said):
        return (
            f"this holds more than tensors ({named[1]}), and code in a file is never run",
            "where you trust the file, load it and save its state dict alone",
        )
    return "this is not a file of weights", "give a .safetensors file, or a state dict"


def write_weights(model: nn.Module, path: Path, *, force: bool = False) -> None:
    """Write a model's weights as safetensors: beside the file first, then renamed.

    Raises:
        ComposerError: the file can't be written; an old one is as it was.
    """
    write_file(path, lambda place: save_weights(model, place), force=force)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights as safetensors; of tied tensors the first name alone.

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
    mode = path.stat().st_mode  # as the user's umask has it; safetensors would keep others out
    try:
        save_file(state, path, metadata={"format": "pt"})
    except SafetensorError as failure:
        raise OSError(str(failure)) from None
    path.chmod(mode)


def _ties(model: nn.Module) -> Iterator[list[str]]:
    """Yield the names of each tensor that has several."""
    names: dict[int, list[str]] = {}
    for name, tensor in chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    ):
        names.setdefault(id(tensor), []).append(name)
    yield from (several for several in names.values() if len(several) > 1)


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    for key in WRAPPERS:
        inner = loaded.get(key) if isinstance(loaded, Mapping) else None
        if isinstance(inner, Mapping):
            return _tensors(inner, path)
    if not isinstance(loaded, Mapping) or not loaded:
        raise _refused(
            path, f"this holds {_a(loaded)}, not a state dict", "save model.state_dict()"
        )
    strangers = [key for key, value in loaded.items() if not isinstance(value, Tensor)]
    if strangers:
        raise _refused(
            path,
            f"{strangers[0]!r} holds {_a(loaded[strangers[0]])}, not a tensor",
            f"save model.state_dict() alone, or under one of {', '.join(WRAPPERS)}",
        )
    return dict(loaded)


def without_prefixes(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Take off what data-parallel training or `torch.compile` put before every key."""
    own = model.state_dict().keys()
    for prefix in PREFIXES * 2:  # either may stand before the other
        everywhere = all(key.startswith(prefix) for key in state)
        if everywhere and not any(key.startswith(prefix) for key in own):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _check_fit(
    model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path, name: str
) -> None:
    spared = {key for key in own if key.endswith("num_batches_tracked")}
    spared.update(n for names in _ties(model) if not state.keys().isdisjoint(names) for n in names)
    missing = [key for key in own if key not in state and key not in spared]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} ({_size(state[key])} in the file, {_size(own[key])} in the model)"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = [
        f"{counted(len(keys), 'key')} {what}: {_some(keys)}"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if keys
    ]
    if problems:
        matching = len(own.keys() & state.keys()) - len(shapes)
        help_ = (
            f"{matching:,} of {len(own):,} keys fit; are these the weights of another model, or of "
            "one with another head (resnet50?num_classes=10)?"
        )
        raise _refused(path, f"does not fit {name}: {'; '.join(problems)}", help_)


def _some(keys: list[str], most: int = 3) -> str:
    more = f" and {len(keys) - most:,} more" if len(keys) > most else ""
    return f"{', '.join(keys[:most])}{more}"


def _a(thing: object) -> str:
    if isinstance(thing, (Mapping, list)) and not thing:
        return f"an empty {type(thing).__name__}"
    kind = type(thing).__name__
    return f"{'an' if kind[0].lower() in 'aeio' else 'a'} {kind}"


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _refused(path: Path, message: str, way_out: str | None) -> ComposerError:
    return ComposerError(Diagnostic("weights", message, way_out, file=str(path)))

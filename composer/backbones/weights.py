"""A weights file into a model: every tensor in its place, or a message that says which are not."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from composer.errors import ComposerError, Diagnostic, counted

#: What training scripts call the state dict inside a checkpoint.
WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")


def load_weights(model: nn.Module, path: Path, name: str) -> None:
    """Load a safetensors file, or a state dict that `torch.save` wrote, into the model.

    A state dict inside a training checkpoint is found, and a ``module.`` that data-parallel
    training put before every key is taken off.

    Args:
        model: what the weights are for.
        path: the file.
        name: what messages call the model.

    Raises:
        ComposerError: the file can't be read, or its keys or shapes are not the model's; the
            model is not changed then.
    """
    state = _without_prefix(read_weights(path))
    own = model.state_dict()
    _check_fit(own, state, path, name)
    model.load_state_dict({**own, **state})


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file, on the CPU.

    Raises:
        ComposerError: the file is missing, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            loaded: dict[str, Tensor] = load_file(path)
            return loaded
        return _tensors(torch.load(path, map_location="cpu", weights_only=True), path)
    except FileNotFoundError:
        raise _refused(path, "there is no such file", None) from None
    except IsADirectoryError:
        raise _refused(path, "this is a folder", "give a file of weights") from None
    except OSError as failure:
        raise _refused(path, f"cannot be read: {failure.strerror}", None) from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as failure:
        said = str(failure).strip().splitlines()[0]
        raise _refused(
            path,
            f"this is not a file of weights: {said[:160]}",
            "give a .safetensors file, or a state dict that torch.save wrote; "
            "files that hold code are not opened",
        ) from None


def check_file_free(path: Path, force: bool) -> None:
    """Refuse a weights file that exists, unless `force` is said, or whose folder is missing.

    Raises:
        ComposerError: with the way out.
    """
    if path.is_dir():
        raise _refused(path, "is a folder", "name a file with -o")
    if path.exists() and not force:
        raise _refused(path, "exists already", "replace it with --force, or name another with -o")
    if not path.absolute().parent.is_dir():
        raise _refused(path, "its folder does not exist", "make the folder, or name another file")


def write_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights as safetensors: to a temporary name first, then renamed.

    Raises:
        ComposerError: the file can't be written; an old one is as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        save_model(model, str(temporary), metadata={"format": "pt"})
        temporary.replace(path)
    except (OSError, SafetensorError) as failure:
        said = failure.strerror if isinstance(failure, OSError) else str(failure)
        raise _refused(path, f"cannot be written: {said}", "name another with -o") from None
    finally:
        temporary.unlink(missing_ok=True)


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    for key in WRAPPERS:
        inner = loaded.get(key) if isinstance(loaded, Mapping) else None
        if isinstance(inner, Mapping):
            return _tensors(inner, path)
    if not isinstance(loaded, Mapping) or not loaded:
        raise _refused(
            path, f"this holds a {type(loaded).__name__}, not a state dict", "save model.state_dict()"
        )
    strangers = [key for key, value in loaded.items() if not isinstance(value, Tensor)]
    if strangers:
        raise _refused(
            path,
            f"{strangers[0]!r} holds a {type(loaded[strangers[0]]).__name__}, not a tensor",
            "save model.state_dict()",
        )
    return dict(loaded)


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


def _check_fit(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path, name: str
) -> None:
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in counters]
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


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _refused(path: Path, message: str, way_out: str | None) -> ComposerError:
    return ComposerError(Diagnostic("weights", message, way_out, file=str(path)))

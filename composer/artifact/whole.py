"""What `save` writes of a trained model: no wrappers, only whole tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from composer.artifact.recipe import Recipe
from composer.artifact.replay import replay
from composer.errors import error
from composer.models.weights import PREFIXES, check_fit, fit_weights
from composer.surgery.composition import replaced_modules


def whole(model: nn.Module, made: Recipe, state: Mapping[str, Tensor] | None) -> nn.Module:
    """Return a model that holds every value to be written.

    Args:
        model: a composed model without wrappers.
        made: its recipe.
        state: a full state dict, whose tensors are used instead of the model's own.

    Raises:
        ComposerError: some tensors are shards or on the meta device, or the state dict does not
        fit.
    """
    if state is None:
        _check_numbers(model.state_dict())
        _check_numbers(replaced_modules(model).state_dict())
        return model
    for prefix in PREFIXES * 2:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    _check_numbers(state)
    kept = replaced_modules(model).state_dict()
    _check_numbers(kept)
    twin = replay(made, trust_code=True)  # its code made this model already
    load_each(twin, state, Path("state"), made.backbone)
    load_each(replaced_modules(twin), kept, Path("state"), f"what was replaced in {made.backbone}")
    return twin


def load_each(
    model: nn.Module, state: Mapping[str, Tensor], file: Path, name: str, finite: bool = False
) -> None:
    """Load a state dict into a model, each tensor in the dtype that it has there.

    Args:
        model: the model to load into.
        state: the tensors by name.
        file: their source.
        name: the model's name in messages.
        finite: whether NaN and infinity are refused.

    Raises:
        ComposerError: it does not fit.
    """
    check_fit(model, state, file, name)
    for key, tensor in model.state_dict(keep_vars=True).items():
        if key in state and tensor.dtype != state[key].dtype:  # such as a norm in float32
            tensor.data = tensor.data.to(state[key].dtype)
    fit_weights(model, state, file, name, finite)


def _check_numbers(state: Mapping[str, Tensor]) -> None:
    for key, tensor in state.items():
        if isinstance(tensor, DTensor):
            raise error(
                "sharded",
                f"{key} is sharded, and a composition holds whole tensors",
                "on every rank run state = get_model_state_dict(model, "
                "options=StateDictOptions(full_state_dict=True, cpu_offload=True)), and on the "
                "first one composer.save(model, folder, state=state)",
            )
        if isinstance(tensor, Tensor) and tensor.is_meta:
            raise error(
                "no-numbers",
                f"{key} is on the meta device, without numbers",
                "load the model's weights first, or pass them: "
                "composer.save(model, folder, state=state_dict)",
            )
        if not isinstance(tensor, torch.Tensor):
            raise error(
                "weights",
                f"{key} of the state dict is {type(tensor).__name__}, not a tensor",
                "pass what get_model_state_dict or state_dict() returns",
            )

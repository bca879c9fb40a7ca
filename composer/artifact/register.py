"""`register`: a composition as a model of timm's registry."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from composer.artifact import composed
from composer.artifact.folder import read_recipe
from composer.artifact.output import WEIGHTS
from composer.artifact.recipe_backbone import check_trusted
from composer.artifact.replay import repeat_edits
from composer.errors import error
from composer.models.inside import check_inside
from composer.models.library import library
from composer.models.model_string import Argument, ModelString
from composer.models.open import open_backbone
from composer.models.weights import check_finite
from composer.models.weights_file import read_safetensors

_PREFIX = "composed_"
#: Arguments that timm passes to every function of its registry, and no model takes.
_OF_THE_REGISTRY = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def register(folder: str | Path, name: str | None = None, *, trust_code: bool = False) -> str:
    """Let timm create the composed model of a folder, and return its name in timm.

    ::

        composer.register("se-resnet50")
        model = timm.create_model("composed_se_resnet50", pretrained=True, num_classes=10)

    timm's names have no ``/``, which is for paths and the Hub, and what follows a dot is a tag. So
    the name is ``composed_`` and the folder's name, with ``_`` for all but letters and digits.
    timm's ``train.py`` and ``validate.py`` take the model in a process that registered it first:
    ``python -c "import composer, runpy; composer.register('se-resnet50');
    runpy.run_path('train.py', run_name='__main__')" --model composed_se_resnet50``.

    Other arguments of `create_model` (``num_classes``, ``in_chans``, ``drop_path_rate``, …) go to
    the backbone, and the edits are repeated. With ``pretrained=True`` the folder's weights are
    loaded as timm loads its own: a head with another number of classes stays fresh, and the first
    convolution is summed or repeated over other channels.

    Args:
        folder: written by `save` or ``composer insert``, with a backbone of timm.
        name: the name after ``composed_``; the folder's by default.
        trust_code: whether the recipe may pass timm more than the safe arguments.

    Raises:
        ComposerError: it is not a composition, its backbone is not of timm or has unsafe
            arguments, or the name is taken.
        MissingPartError: timm is not installed.
    """
    timm_models = library("timm.models")
    folder = Path(folder).resolve()
    made = read_recipe(folder)
    source = ModelString.parse(made.backbone)
    if source.library != "timm":
        raise error(
            "not-of-timm",
            f"the backbone of {folder.name} is {made.backbone}, and timm's registry is for models "
            "of timm",
            f"open it with composer.load({folder.name!r})",
        )
    if not trust_code:
        check_trusted(made.backbone, made.origin)
    word = _PREFIX + re.sub(r"\W+", "_", folder.name if name is None else name).strip("_")
    if timm_models.is_model(word):
        there = inspect.getattr_static(timm_models.model_entrypoint(word), "folder", None)
        if there == folder:
            return word
        raise error(
            "name-taken",
            f"timm already has a model {word!r}{f', of {there}' if there else ''}",
            f"choose another name: register({folder.name!r}, name='…')",
        )
    entry = _entry_point(folder, word, trust_code)
    composed.default_cfgs[word] = _config(folder, source, word)
    timm_models.register_model(entry)
    return word


def _entry_point(folder: Path, word: str, trust_code: bool) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **arguments: Any) -> nn.Module:
        for key in _OF_THE_REGISTRY:
            arguments.pop(key, None)
        return _model(folder, word, pretrained, arguments, trust_code)

    create.__name__ = create.__qualname__ = word
    create.__module__ = composed.__name__
    create.__doc__ = f"Make the composed model of {folder}."
    create.folder = folder  # type: ignore[attr-defined]
    return create


def _model(
    folder: Path, word: str, pretrained: bool, arguments: Mapping[str, Any], trust_code: bool
) -> nn.Module:
    """Make a folder's composed model with other arguments for its backbone."""
    made = read_recipe(folder)  # it may have changed since
    if not trust_code:
        check_trusted(made.backbone, made.origin)
    source = ModelString.parse(made.backbone)
    given = {**dict(source.arguments), **arguments}
    changed = ModelString(
        source.library,
        source.name,
        tuple((k, cast("Argument", tuple(v) if isinstance(v, list) else v)) for k, v in
              given.items()),
    )  # fmt: skip
    model = open_backbone(changed)
    again = made.model_copy(update={"backbone": str(changed)})
    repeat_edits(model, again, as_recorded=not arguments)
    model.to(getattr(torch, made.dtype))
    config = {**_config(folder, source, word), "architecture": word}
    if pretrained:
        library("timm.models").load_pretrained(
            model,
            pretrained_cfg={**config, "state_dict": _whole_state(model, folder)},
            num_classes=getattr(model, "num_classes", config["num_classes"]),
            in_chans=getattr(model, "in_chans", given.get("in_chans", 3)),
        )
    own: Any = model
    own.pretrained_cfg = own.default_cfg = {**own.pretrained_cfg, **config}
    return model


def _config(folder: Path, source: ModelString, word: str) -> dict[str, Any]:
    """Return timm's configuration of the backbone, with the folder's weights."""
    known = library("timm.models").get_pretrained_cfg(source.name).to_dict()
    given = dict(source.arguments)
    channels, *places = known.get("input_size", (3, 224, 224))
    allowed = {one.name for one in fields(library("timm.models").PretrainedCfg)}
    config = {key: value for key, value in known.items() if key in allowed}
    config |= {
        "url": "",
        "hf_hub_id": None,
        "hf_hub_filename": None,
        "custom_load": False,
        "label_offset": 0,
        "tag": None,
        "file": str(folder / WEIGHTS),
        "num_classes": given.get("num_classes", known["num_classes"]),
        "input_size": (given.get("in_chans", channels), *places),
        "architecture": word,
    }
    return config


def _whole_state(model: nn.Module, folder: Path) -> dict[str, torch.Tensor]:
    """Return a folder's weights under every name that a tied tensor has in the model."""
    check_inside(folder / WEIGHTS, folder)
    state = read_safetensors(folder / WEIGHTS)
    check_finite(state, model.state_dict(), folder / WEIGHTS)
    names: dict[int, list[str]] = {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(key)
    for several in names.values():
        held = next((state[key] for key in several if key in state), None)
        if held is not None:
            state |= {key: held for key in several if key not in state}
    return state

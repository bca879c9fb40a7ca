"""``hf:PATH``: a vision model of Hugging Face's transformers, made from a config on this machine.

Nothing is downloaded, and neither code nor a pickle beside the config is read.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from composer.errors import (
    ComposerError,
    Diagnostic,
    counted,
    did_you_mean,
    error,
    suggestion,
)
from composer.models.hf_config import Data, read_config, refused, without_notes
from composer.models.inside import check_inside, is_inside
from composer.models.library import library
from composer.models.model_string import ModelString
from composer.models.trusted import odd_timm_arguments

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLE = "pytorch_model.bin"
#: What may be set in every config, in addition to the fields of its own class.
ALWAYS_SET = {"num_labels", "attn_implementation"}
#: Fields with the same meaning as another one, removed where that is set.
SAME = {
    "num_labels": {"id2label", "label2id"},
    "out_indices": {"out_features"},
    "out_features": {"out_indices"},
}
#: The fields that name a timm model, and those that are passed to it.
_NAMES_OF_TIMM = ("backbone", "architecture")
_GIVEN_TO_TIMM = ("backbone_kwargs", "model_args", "timm_kwargs")


def hugging_face_factory(source: ModelString, beside: Path | None) -> Callable[..., Any]:
    """Return the function that makes the model; it takes new values for fields of the config.

    Raises:
        ComposerError: there is no config.
        MissingPartError: transformers is not installed.
    """
    file, data = read_config(source.name, beside)
    transformers = library("transformers")

    def create(pretrained: bool = False, **fields: Any) -> Any:
        with _quiet(transformers):
            return _Maker(source, file, data, transformers).model(fields, pretrained)

    return create


class _Maker:
    """Makes the model of a config."""

    def __init__(self, source: ModelString, file: Path, data: Data, transformers: Any) -> None:
        self.source, self.file, self.transformers = source, file, transformers
        self.data: Data = without_notes(data)
        self.model_type: str = data["model_type"]

    def model(self, fields: Data, pretrained: bool) -> Any:
        """Return the model, with `fields` of its config replaced.

        Raises:
            ComposerError: it can't be made.
        """
        known = self.transformers.CONFIG_MAPPING
        if self.model_type not in known:
            near = did_you_mean(self.model_type, known.keys())
            way_out = near or "a newer transformers may have it: pip install -U transformers"
            raise self._refused(f"{self._library} has no model_type {self.model_type!r}", way_out)
        own = known[self.model_type]
        self._check_only_builds({**self.data, **fields})
        names = fields.pop("architectures", None) or self.data.get("architectures") or []
        names = names if isinstance(names, list) else [names]
        kind = self._named(str(names[0])) if names else self._usual(own)
        made_from, data = self._part(own, kind)
        self._check_takes_images(own, kind)
        given = self._config(made_from, data, {})
        config = self._config(made_from, data, fields) if fields else given
        if pretrained:
            return self._pretrained(kind, config, given.num_labels)
        return kind(config)

    def _named(self, name: str) -> Any:
        kind = getattr(self.transformers, name, None)
        models = self.transformers.PreTrainedModel
        if isinstance(kind, type) and issubclass(kind, models) and kind is not models:
            return kind
        near = did_you_mean(name, (n for n in dir(self.transformers) if n != name))
        raise self._refused(
            f"{self._library} has no model class {name!r}",
            f"{near + ' ' if near else ''}Code that comes with a config is never run; choose "
            f"another class with hf:{self.source.name}?architectures=NAME",
        )

    def _usual(self, own: Any) -> Any:
        """Return the classifier class of a config, or else that of a model without a head."""
        for mapping in ("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", "MODEL_MAPPING"):
            kind = getattr(self.transformers, mapping).get(own, None)
            if kind is not None:
                return kind[0] if isinstance(kind, (tuple, list)) else kind
        raise self._refused(
            f"{self._library} can't choose a model of model_type {self.model_type!r}: "
            "no class is given in architectures",
            f"name it: hf:{self.source.name}?architectures=NAME",
        )

    def _part(self, own: Any, kind: Any) -> tuple[Any, Data]:
        """Return the config class that a model is made from, and which part of this config that is.

        A vision tower is made from the `vision_config` of a model that also takes text.
        """
        if issubclass(own, kind.config_class):
            return own, self.data
        part = self.data.get(getattr(kind.config_class, "base_config_key", ""))
        if isinstance(part, dict):
            return kind.config_class, part
        usual = self._usual(own).__name__
        raise self._refused(
            f"{kind.__name__} is not made from a config of model_type {self.model_type!r}",
            f"use {usual}: hf:{self.source.name}?architectures={usual}",
        )

    def _check_only_builds(self, data: Data) -> None:
        """Refuse a config whose timm models would read files, wherever in it they are named."""
        for value in data.values():
            if isinstance(value, dict):
                self._check_only_builds(value)
            elif isinstance(value, list):
                for one in value:
                    if isinstance(one, dict):
                        self._check_only_builds(one)
        names = [data[key] for key in _NAMES_OF_TIMM if isinstance(data.get(key), str)]
        maps = [data[key] for key in _GIVEN_TO_TIMM if isinstance(data.get(key), dict)]
        given = {key: value for one in maps for key, value in one.items()}
        for name in names or [None]:
            if (why := odd_timm_arguments(name, given)) is not None:
                raise self._refused(
                    f"it names a timm model that reads more than the config: {why}",
                    "give a config with plain names, numbers, flags and words only",
                )

    def _check_takes_images(self, own: Any, kind: Any) -> None:
        takes = list(inspect.signature(kind.forward).parameters)[1]
        if takes == "pixel_values":
            return
        tower = None
        if isinstance(self.data.get("vision_config"), dict):
            part = type(self._config(own, self.data, {}).vision_config)
            if getattr(part, "base_config_key", None):
                tower = self.transformers.MODEL_MAPPING.get(part, None)
        raise self._refused(
            f"{kind.__name__} takes no images, but {takes}",
            f"its vision part alone is hf:{self.source.name}?architectures={tower.__name__}"
            if tower
            else "give the config of a vision model, such as ViT, ConvNeXt, Swin or SegFormer",
        )

    def _config(self, own: Any, data: Data, fields: Data) -> Any:
        """Return a config object; derived fields are computed again."""
        generic = self.transformers.PretrainedConfig
        known = _fields(own, generic)
        for key, value in fields.items():
            if key not in known:
                raise error(
                    "unknown-field",
                    f"{own.__name__} has no field {key!r} to set",
                    suggestion(key, sorted(known), "Fields"),
                )
            if key == "attn_implementation" and "/" in str(value):
                raise error(
                    "backbone-failed",
                    f"{self.source} cannot be made: {value} is Hub code, which is never run",
                    "write attn_implementation=sdpa or attn_implementation=eager",
                )
        if fields:
            follow = own().to_dict().keys() - generic().to_dict().keys() - known
            gone = follow.union(*(SAME.get(key, set()) for key in fields))
            data = {key: value for key, value in data.items() if key not in gone}
        try:
            return own.from_dict(copy.deepcopy({**data, **fields}))
        except Exception as failure:  # each config class has its own checks
            if type(failure).__name__ == "OfflineModeIsEnabled":
                raise self._refused(
                    "it needs another config from the Hub, and hf: reads only from this machine",
                    "write that config under backbone_config",
                ) from None
            said = " ".join(str(failure).split())[:200]
            if fields:
                raise error("backbone-failed", f"{self.source} cannot be made: {said}") from None
            raise self._refused(f"{own.__name__} refuses it: {said}", None) from None

    def _pretrained(self, kind: Any, config: Any, labels: int) -> Any:
        """Return the model with the weights beside its config.

        A head for another number of classes, if requested, starts with fresh weights.
        """
        folder = self.file.parent
        check_weights_alone(folder)
        file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
        if file is None:
            pickle = f"; {PICKLE} is a pickle, which is not read" * (folder / PICKLE).is_file()
            raise error(
                "no-pretrained",
                f"there are no weights beside {self.file}: no {WEIGHTS[0]}{pickle}",
                "give a weights file with --weights, or omit --pretrained",
            )
        try:
            model, told = kind.from_pretrained(
                str(folder),
                config=config,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as failure:  # OSError, SafetensorError, RuntimeError …
            said = " ".join(str(failure).split())[:200]
            raise ComposerError(
                Diagnostic("weights", f"cannot be read: {said}", None, file=str(file))
            ) from None
        state = model.state_dict()
        missing = [k for k in told["missing_keys"] if k in state and state[k].is_floating_point()]
        other = [
            key
            for key, theirs, ours in told["mismatched_keys"]
            if labels == config.num_labels or (theirs[0], ours[0]) != (labels, config.num_labels)
        ]
        self._check_whole(missing, other, file)
        return model.float().train()

    def _check_whole(self, missing: list[str], other: list[str], file: Path) -> None:
        """Refuse weights that leave a part of the model uninitialised."""
        problems = [
            f"{counted(len(keys), 'key')} {what}: {', '.join(sorted(keys)[:3])}"
            for what, keys in (("missing", missing), ("of different shape", other))
            if keys
        ]
        if problems:
            raise ComposerError(
                Diagnostic(
                    "weights",
                    f"does not fit {self.source}: {'; '.join(problems)}",
                    "are these the weights of another class (hf:PATH?architectures=NAME), or "
                    "of other fields?",
                    file=str(file),
                )
            )

    @property
    def _library(self) -> str:
        return f"transformers {self.transformers.__version__}"

    def _refused(self, message: str, way_out: str | None) -> ComposerError:
        return refused(self.file, message, way_out)


def _fields(own: Any, generic: Any) -> set[str]:
    """Return the names of a config's fields that may be set, without the generic ones."""
    stated = inspect.signature(own).parameters.keys() - inspect.signature(generic).parameters.keys()
    aliases = {alias for alias, name in own.attribute_map.items() if name in stated}
    outputs = {"out_features", "out_indices"} if hasattr(own, "out_features") else set()
    return {name.lstrip("_") for name in stated} | aliases | outputs | ALWAYS_SET


def config_of(model: Any, kind: type) -> str:
    """Return the text of the config.json that a model of transformers was made from.

    Args:
        model: it has the `config`.
        kind: its class, before anything was inserted.
    """
    data: Data = json.loads(model.config.to_json_string())
    data = {key: value for key, value in data.items() if not key.startswith("composer_")}
    return json.dumps(without_notes({**data, "architectures": [kind.__name__]}), indent=2) + "\n"


def check_weights_alone(folder: Path) -> None:
    """Refuse a folder whose weights transformers would load from elsewhere.

    Raises:
        ComposerError: it is an adapter, which names another model, or a shard is outside it.
    """
    if (adapter := folder / "adapter_config.json").is_file():
        raise refused(
            adapter,
            "this marks the folder as an adapter of another model, which is not read",
            "merge the adapter first (merge_and_unload), and save that",
        )
    index = folder / WEIGHTS[1]
    check_inside(folder / WEIGHTS[0], folder)
    check_inside(index, folder)
    if not index.is_file():
        return
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        files = {str(name) for name in named}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise refused(index, "this is not an index of weights", None) from None
    for name in sorted(files):
        if Path(name).name != name or not is_inside(folder / name, folder):
            raise refused(
                index, f"the shard {name!r} is outside the folder, and is not read",
                "put the shards next to their index",
            )  # fmt: skip


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence the library's progress bars and logs; errors are still raised."""
    log = transformers.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    if bars:
        log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()

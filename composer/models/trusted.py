"""What an untrusted MODEL string may name: models of libraries, with arguments that only build.

A recipe names its backbone this way, and recipes are shared. So there is an allow list: models
that a library has by name, and the arguments of their constructors, as plain numbers, flags and
words. No such argument reads a file, uses the network or runs code. Anything else is refused, with
a message that names what would run.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from composer.errors import Diagnostic, did_you_mean
from composer.models.library import folder_of, library
from composer.models.model_string import INPUT_SIZE, ModelString
from composer.models.torchvision_builder import TAKEN_INSIDE

#: Arguments that `timm.create_model` documents for every model, and its classes take.
OF_EVERY_TIMM_MODEL = {
    "num_classes", "in_chans", "drop_rate", "drop_path_rate", "drop_block_rate", "img_size",
    "global_pool", "output_stride", "scriptable", "exportable", "no_jit",
}  # fmt: skip
#: Constructor parameters that place tensors, or are other objects.
_NOT_PLAIN = {"self", "args", "kwargs", "device", "dtype", "cfg"}
_OF_ULTRALYTICS = {"ch", "nc"}
_OF_WEIGHTS = {"weights", "weights_backbone", "progress"}
#: Larger than any reasonable number of classes, channels, layers or pixels.
MOST = 1_000_000
_LONGEST = 64  # numbers in a list

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,199}")
_WORD = re.compile(r"[A-Za-z0-9_+\-]{1,60}")

CODE = "untrusted-code"
TRUST = "look at it first; if you trust it, use --trust-code, or trust_code=True in Python"


def refusal(source: ModelString, whose: str = "the recipe's backbone") -> Diagnostic | None:
    """Return why an untrusted MODEL string is not opened; None where it only builds a model.

    The location of the config of ``hf:PATH`` is not checked here.

    Args:
        source: the MODEL string.
        whose: its name in the message.

    Raises:
        MissingPartError: the library is not installed.
    """
    if source.library in ("file", "module"):
        where, _, name = source.name.rpartition(":")
        what = f"the file {where!r}" if source.library == "file" else f"the module {where!r}"
        return Diagnostic(CODE, f"{whose} would run code: {_call(name, source)} of {what}", TRUST)
    if source.library != "hf" and _NAME.fullmatch(source.name) is None:
        return Diagnostic(
            CODE,
            f"{whose} is {source.name!r}, which is not a plain name of {source.library}",
            TRUST,
        )
    if source.library == "ultralytics" and source.name not in (names := shipped_networks()):
        return Diagnostic(
            CODE,
            f"{whose} is made from {source.name!r}, which is not a configuration that Ultralytics "
            "ships, and one can hold code",
            " ".join(filter(None, (did_you_mean(source.name, names), TRUST))),
        )
    for key, value in source.arguments:
        if key == INPUT_SIZE and isinstance(value, tuple):
            continue
        if why := _odd_value(value):
            return Diagnostic(
                CODE,
                f"{whose} gives {key}={value!r}, and {why}",
                f"only plain numbers, flags and words are safe; {TRUST}",
            )
    if source.library == "hf":
        return None  # unknown fields of its config are refused where it is made
    given = [key for key, _ in source.arguments if key != INPUT_SIZE]
    return _refused_arguments(source, given, whose) if given else None


def _refused_arguments(source: ModelString, given: list[str], whose: str) -> Diagnostic | None:
    if source.library == "ultralytics":
        known: set[str] | None = _OF_ULTRALYTICS
    else:
        of = timm_arguments if source.library == "timm" else _torchvision_arguments
        known = of(source.name)
    for key in given:
        if known is not None and key not in known:
            near = did_you_mean(key, known)
            return Diagnostic(
                CODE,
                f"{whose} gives {key!r}, which is not an argument that only builds "
                f"{source.name}: it would run {_call(source.name, source)}",
                " ".join(filter(None, (near, TRUST))),
            )
    return None


def odd_timm_arguments(name: str | None, given: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a timm model that a config names; None where it only builds.

    Args:
        name: of the model; None where the config gives none.
        given: its arguments.
    """
    if name is not None and ":" in name:  # such as local-dir:PATH
        return f"{name!r} is not a plain name of timm"
    known = None if name is None or "/" in name else timm_arguments(name)
    known = (known or OF_EVERY_TIMM_MODEL) | {"out_indices", "features_only"}
    for key, value in given.items():
        if key not in known:
            return f"{key!r} is not an argument that only builds {name or 'a model'}"
        if why := _odd_value(tuple(value) if isinstance(value, list) else value):
            return f"{key}={value!r} is given, and {why}"
    return None


def timm_arguments(name: str) -> set[str] | None:
    """Return the arguments of a timm model that build it; None for an unknown name.

    They are those of its class, or where its function does not show the class, those of every
    class in its file.
    """
    timm = library("timm")
    if not timm.is_model(name):
        return None
    entry = timm.model_entrypoint(name)
    module = vars(sys.modules[entry.__module__])
    made: Any = inspect.signature(entry).return_annotation
    made = module.get(made) if isinstance(made, str) else made
    kinds: Iterable[Any] = [made]
    if not isinstance(made, type) or made is inspect.Signature.empty:
        kinds = [one for one in module.values() if isinstance(one, type)
                 and one.__module__ == entry.__module__]  # fmt: skip
    return OF_EVERY_TIMM_MODEL.union(*map(_parameters, kinds))


def _torchvision_arguments(name: str) -> set[str] | None:
    models = library("torchvision.models")
    if name not in models.list_models():
        return None
    signature = inspect.signature(models.get_model_builder(name))
    found = set(signature.parameters) - _NOT_PLAIN
    if isinstance(signature.return_annotation, type):
        found |= _parameters(signature.return_annotation)
    if name.startswith("mobilenet_v3"):
        found |= TAKEN_INSIDE
    return found - _OF_WEIGHTS


def _parameters(kind: type) -> set[str]:
    """Return the parameters of a class and of its base classes, except torch's."""
    found: set[str] = set()
    for base in kind.__mro__:
        own = vars(base).get("__init__")
        if own is not None and base.__module__.partition(".")[0] in ("timm", "torchvision"):
            found.update(inspect.signature(own).parameters)
    return found - _NOT_PLAIN


def shipped_networks() -> set[str]:
    """Return the configurations of networks that Ultralytics ships: a name for each scale.

    Raises:
        MissingPartError: Ultralytics is not installed.
    """
    return set(_shipped_files())


def shipped_network(name: str) -> str:
    """Return the path of a configuration that Ultralytics ships.

    A file of that name in the current folder would be read instead.
    """
    return _shipped_files()[name]


def _shipped_files() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((folder_of("ultralytics") / "cfg" / "models").rglob("*.yaml")):
        found[path.name] = str(path)
        for scale in "nsmlx":  # yolov8n.yaml is read from yolov8.yaml
            scaled = re.sub(r"(\d+)([^\d.]*\.yaml)$", rf"\g<1>{scale}\2", path.name)
            found.setdefault(scaled, str(path.with_name(scaled)))
    return found


def _odd_value(value: object) -> str | None:
    """Return why a value is not safe; None where it is."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        large = not math.isfinite(value) or abs(value) > MOST
        return f"a number here is at most {MOST:,}" if large else None
    if isinstance(value, tuple):
        if len(value) > _LONGEST:
            return f"a list here has at most {_LONGEST} numbers"
        return next((why for one in value if (why := _odd_value(one))), None)
    if not isinstance(value, str):
        return f"a {type(value).__name__} is not a plain value"
    if _WORD.fullmatch(value) is None:
        return "that is not a plain word, and could be a path"
    return None


def _call(name: str, source: ModelString) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in source.arguments)})"

"""The names of timm's and torchvision's models, read without importing either (nor torch)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from composer.errors import ComposerError, did_you_mean, error
from composer.models.hf_config import read_config
from composer.models.library import folder_of
from composer.models.model_string import FORMS, ModelString
from composer.models.ultralytics_name import check_ultralytics_name

_REGISTERED = re.compile(
    r"""^@register_model(?:\((?:name="(\w+)")?\))?[ \t]*$[\s\S]*?^def[ ](\w+)\(""", re.MULTILINE
)
_RENAMED = re.compile(r"^register_model_deprecations\(__name__, \{(.*?)\}\)", re.M | re.S)
_OLD_NAME = re.compile(r"""["'](\w+)["']\s*:""")


def check_name(source: ModelString) -> None:
    """Refuse a name that its library lacks, before the library is imported.

    Raises:
        ComposerError: there is no such model; it suggests similar names.
        MissingPartError: the library is not installed.
    """
    if source.library == "timm":
        name = source.name.partition(".")[0]  # resnet50.a1_in1k: the tag says which weights
        if name not in (names := timm_names()) and name not in _old_timm_names():
            raise unknown_name(source.name, names, "timm")
    elif source.library == "torchvision" and source.name not in (names := torchvision_names()):
        raise unknown_name(source.name, names, "torchvision")
    elif source.library == "ultralytics":
        check_ultralytics_name(source.name)
        folder_of("ultralytics")
    elif source.library == "hf":
        read_config(source.name)
        folder_of("transformers")


def unknown_name(name: str, names: list[str], library: str) -> ComposerError:
    """Return the error for a name that a library lacks."""
    if library == "timm" and name.endswith(".py"):
        way_out = f"also name the function that makes the model: {name}:factory"
        return error("unknown-backbone", f"{name!r} names a file without a function", way_out)
    if library == "timm" and ("/" in name or name.startswith(".") or Path(name).is_dir()):
        return error("unknown-backbone", f"there is no composition in {name!r}", FORMS)
    near = did_you_mean(name, names)
    listed = f"'composer list backbones' lists all {len(names):,} names of {library}"
    return error(
        "unknown-backbone",
        f"{library} has no model {name!r}",
        f"{near} {listed}" if near else f"{listed}; or {FORMS}",
    )


def timm_names() -> list[str]:
    """Return the names that `timm.create_model` takes, sorted."""
    return _names("timm", "models")


def torchvision_names() -> list[str]:
    """Return the names that `torchvision.models.get_model` takes, sorted."""
    return _names("torchvision", "models")


def timm_layers() -> list[str]:
    """Return where the classes of `timm.layers` are, as ``timm.layers:SEModule``, sorted."""
    text = (folder_of("timm") / "layers" / "__init__.py").read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    names = {alias.asname or alias.name for node in imports for alias in node.names}
    return sorted(f"timm.layers:{name}" for name in names if name[0].isupper())


def _names(package: str, folder: str) -> list[str]:
    names: set[str] = set()
    for text in _sources(package, folder):
        names.update(told or defined for told, defined in _REGISTERED.findall(text))
    return sorted(names)


def _old_timm_names() -> set[str]:
    """Return the deprecated names that timm still accepts."""
    tables = [table for text in _sources("timm", "models") for table in _RENAMED.findall(text)]
    return {name for table in tables for name in _OLD_NAME.findall(table)}


def _sources(package: str, folder: str) -> Iterator[str]:
    for path in (folder_of(package) / folder).rglob("*.py"):
        yield path.read_text(encoding="utf-8")

"""The names of timm's and torchvision's models, read without importing either (nor torch)."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from composer.errors import Diagnostic, MissingPartError

_REGISTERED = re.compile(
    r"""^@register_model(?:\((?:name="(\w+)")?\))?[ \t]*$[\s\S]*?^def[ ](\w+)\(""", re.MULTILINE
)


def timm_names() -> list[str]:
    """Return the names that `timm.create_model` takes, sorted."""
    return _names("timm", "models")


def torchvision_names() -> list[str]:
    """Return the names that `torchvision.models.get_model` takes, sorted."""
    return _names("torchvision", "models")


def _names(package: str, folder: str) -> list[str]:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingPartError(
            Diagnostic("missing-library", f"{package} is not installed", f"pip install {package}")
        )
    root = Path(next(iter(found.submodule_search_locations))) / folder
    names: set[str] = set()
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        names.update(told or defined for told, defined in _REGISTERED.findall(text))
    return sorted(names)

"""Find and read the config.json that ``hf:PATH`` names, without importing transformers or torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from composer.errors import ComposerError, Diagnostic, Location, error
from composer.language.budget import MAX_DEPTH
from composer.models.paths import look_for, looked

CONFIG = "config.json"
MAX_BYTES = 16_000_000  # with the names of 20,000 classes, twice

Data = dict[str, Any]


def read_config(name: str, beside: Path | None = None) -> tuple[Path, Data]:
    """Return a config's file and its contents, without importing transformers.

    Args:
        name: a config.json, or a folder that holds one.
        beside: see `open_backbone`.

    Raises:
        ComposerError: it does not exist, or is not a config of a transformers model.
    """
    path = look_for(name, beside, lambda p: p.is_file() or (p / CONFIG).is_file())
    if path is None:
        here = Path(name).is_dir()
        what = f"no {CONFIG} in {name!r}" if here else f"no file or folder {name!r}"
        raise error(
            "unknown-backbone",
            f"there is {what}{'' if here else looked(beside)}",
            "hf: reads only from this machine: download a config with "
            "'hf download ORG/NAME config.json --local-dir vit', then write hf:vit",
        )
    file = path if path.is_file() else path / CONFIG
    data = _json_of(file)
    if not isinstance(data, dict):
        kind = "list" if isinstance(data, list) else "single value"
        raise refused(file, f"it holds a {kind}, not a JSON object", f"give a {CONFIG}")
    if not isinstance(data.get("model_type"), str):
        timm = data.get("architecture")
        raise refused(
            file,
            "it names no model_type",
            f"this is a config of timm: write timm:{timm}"
            if isinstance(timm, str)
            else 'a config of transformers names its model: "model_type": "vit"',
        )
    names = data.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise refused(
            file,
            "architectures is not a list of class names",
            'write "architectures": ["ViTForImageClassification"]',
        )
    return file, data


def without_notes(value: Any) -> Any:
    """Omit what a config records of the run that wrote it: kernels, and the location of weights."""
    if isinstance(value, list):
        return [without_notes(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {k: without_notes(v) for k, v in value.items() if not k.startswith("_")}
    for note in ("attn_implementation", "quantization_config"):
        kept.pop(note, None)
    if not kept.keys().isdisjoint({"backbone", "use_pretrained_backbone"}):
        kept["use_pretrained_backbone"] = False
    return kept


def _json_of(file: Path) -> Any:
    way_out = f"give a {CONFIG}, as save_pretrained writes it, or the folder that holds one"
    if file.suffix != ".json":
        raise refused(file, "this is not a .json file", way_out)
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            message = f"the file has {size:,} bytes, and a config may have {MAX_BYTES:,}"
            raise refused(file, message, way_out)
        text = file.read_text(encoding="utf-8-sig")
        found = json.loads(text)
        if _is_deep(found):
            message = f"values are nested more than {MAX_DEPTH} deep"
            raise refused(file, message, way_out)
        return found
    except json.JSONDecodeError as failure:
        lines = [*text.splitlines(), ""]
        line = lines[min(failure.lineno, len(lines)) - 1]
        where = Location(str(file), failure.lineno, failure.colno, 1, line)
        said = f"{failure.msg[0].lower()}{failure.msg[1:]}"
        raise ComposerError(
            Diagnostic("bad-config", f"this is not JSON: {said}", way_out, where)
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise refused(file, "this is not JSON", way_out) from None
    except OSError as failure:
        raise refused(file, f"cannot be read: {failure.strerror or failure}", None) from None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [one.values() if isinstance(one, dict) else one for one in level
                 if isinstance(one, (dict, list))]  # fmt: skip
        level = [value for values in inner for value in values]
    return any(isinstance(one, (dict, list)) for one in level)


def refused(file: Path, message: str, way_out: str | None) -> ComposerError:
    """Return the error for a faulty config."""
    return ComposerError(Diagnostic("bad-config", message, way_out, file=str(file)))

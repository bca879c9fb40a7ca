"""A study file's text to a checked `Study`: every problem at once, each at its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from composer.errors import ComposerError, Diagnostic, did_you_mean, listing, suggestion
from composer.language.reworded import reworded
from composer.language.source import Source, YamlPath, kind_of, parse, read_text
from composer.study import study_file
from composer.study.study_file import Study

_START = "start with 'study: 1', 'name:', 'backbone:', 'data:' and 'mechanisms:'; see docs/study.md"
#: What the reader of specs says of a whole file, as it is for a study.
_OF_A_STUDY = {
    "empty-file": ("this study file is empty", _START),
    "not-a-mapping": (None, _START),
    "file-too-large": (None, "is this the right file?"),
    "unknown-tag": (None, "remove the tag"),
}
#: The models whose fields may stand under a key.
_INSIDE: dict[str, type[BaseModel]] = {
    "": Study,
    "training": study_file.Training,
    "augmentation": study_file.Augmentation,
    "mechanisms": study_file.Mechanism,
    "places": study_file.InsertAt,
    "budget": study_file.Budget,
    "halving": study_file.Halving,
}
_KINDS: dict[str, type[BaseModel]] = {
    "folder": study_file.Folder,
    "torchvision": study_file.Torchvision,
    "huggingface": study_file.HuggingFace,
    "idx": study_file.Idx,
    "digits": study_file.Digits,
}
_EXAMPLES = {
    "study": "study: 1", "name": "name: lite0-se", "backbone": "backbone: resnet18",
    "data": "data: {kind: folder, path: images, size: 224}", "kind": "kind: folder",
    "mechanisms": "mechanisms: [se, eca]", "seeds": "seeds: 5", "size": "size: 224",
    "training": "training: {epochs: 10}", "epochs": "epochs: 10", "path": "path: images",
    "spec": "spec: se", "worker_hours": "worker_hours: 8", "seed": "seed: 100",
}  # fmt: skip
_TYPES = {
    "int": "a whole number", "float": "a number", "string": "a text", "bool": "true or false",
    "list": "a list", "dict": "a mapping", "model": "a mapping",
}  # fmt: skip


def read_study(path: Path) -> tuple[Study, Source]:
    """Return the study in a file, and the place of each of its values.

    Raises:
        ComposerError: the file cannot be read, or it is no sound study; it carries every problem.
    """
    return study_of(read_text(path), str(path))


def study_of(text: str, file: str) -> tuple[Study, Source]:
    """Return the study that a text holds, as `read_study` does."""
    try:
        data, source = parse(text, file)
    except ComposerError as failure:
        raise ComposerError(
            reworded(one, "study", _OF_A_STUDY) for one in failure.diagnostics
        ) from None
    problems = [reworded(one, "study", _OF_A_STUDY) for one in source.problems]
    study = None
    try:
        study = Study.model_validate(data)
    except ValidationError as failure:
        found: dict[YamlPath, Diagnostic] = {}
        for detail in failure.errors(include_url=False):
            at = _yaml_path(detail, data)
            found.setdefault(at, _diagnostic(detail, at, data, source))
        problems += found.values()
    if problems or study is None:
        raise ComposerError(problems)
    return study, source


def _yaml_path(detail: ErrorDetails, data: Any) -> YamlPath:
    """Follow the error's `loc` through the data; skip the tags of unions, which pydantic adds."""
    path: list[str | int] = []
    value, loc = data, detail["loc"]
    for index, part in enumerate(loc):
        is_key = isinstance(value, dict) and part in value
        if is_key or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            path.append(part)
            value = value[part]
        elif index == len(loc) - 1 and detail["type"] == "missing":
            path.append(part)
    return tuple(path)


def _diagnostic(detail: ErrorDetails, path: YamlPath, data: Any, source: Source) -> Diagnostic:
    where, value = source.at(path), detail["input"]
    context: dict[str, Any] = detail.get("ctx") or {}
    kind, last = detail["type"], str(path[-1]) if path else ""

    def problem(code: str, message: str, way_out: str | None) -> Diagnostic:
        return Diagnostic(code, message, way_out, where, source.file)

    match kind:
        case "extra_forbidden":
            here, known = _surroundings(path[:-1], data)
            where = source.at_key(path)
            way_out = suggestion(last, known, "Fields")
            return problem("unknown-field", f"{here} has no field {last!r}", way_out)
        case "missing":
            here, _ = _surroundings(path[:-1], data)
            where = source.at(path[:-1])
            example = _EXAMPLES.get(last, f"{last}: …")
            return problem("missing-field", f"{here} needs the field {last!r}", f"add '{example}'")
        case "union_tag_not_found":
            message = "'data' needs the field 'kind'"
            return problem("missing-field", message, f"add one of {listing(_kinds(), 'or')}")
        case "union_tag_invalid":
            tag = str(value.get("kind"))
            where = source.at((*path, "kind"))
            way_out = suggestion(tag, list(_KINDS), "Kinds")
            return problem("invalid-value", f"no data of the kind {tag!r}", way_out)
        case "literal_error":
            expected = str(context["expected"])
            words = re.findall(r"'([^']*)'", expected)
            near = did_you_mean(value, words) if isinstance(value, str) else None
            choices = f"it may be {expected}"
            message = f"{kind_of(value)} is not a value of {_named(path)}"
            return problem("invalid-value", message, f"{near} {choices}" if near else choices)
        case "value_error":
            return problem("invalid-value", str(context["error"]), None)
        case "string_pattern_mismatch" | "string_too_long":
            way_out = "use letters, digits, '-' and '_', at most 60"
            return problem("bad-name", f"{value!r} is not a name of a study", way_out)
        case "too_short":
            least = context["min_length"]
            message = f"{_named(path)} needs at least {least}, and has {context['actual_length']}"
            few = "one seed shows no deviation; write 'seeds: 5'" if last == "seeds" else "add one"
            return problem("invalid-value", message, few)
    for word, (field, phrase) in _BOUNDS.items():
        if kind == word:
            message = f"{_named(path)} is {value}, and has to be {phrase} {context[field]:g}"
            return problem("invalid-value", message, None)
    stem = kind.partition("_")[0]
    if stem in _TYPES:
        message = f"{_named(path)} expects {_TYPES[stem]} but got {kind_of(value)}"
        example = _EXAMPLES.get(last, "")
        return problem("invalid-value", message, f"write '{example}'" if example else None)
    return problem("invalid-value", f"{_named(path)}: {detail['msg'].lower()}", None)


_BOUNDS = {
    "greater_than_equal": ("ge", "at least"), "greater_than": ("gt", "greater than"),
    "less_than_equal": ("le", "at most"), "less_than": ("lt", "less than"),
}  # fmt: skip


def _kinds() -> list[str]:
    return [f"'kind: {kind}'" for kind in _KINDS]


def _named(path: YamlPath) -> str:
    """Return the field that a path ends with: ``'lr'``, or ``value 2 of 'seeds'``."""
    if not path:
        return "the study"
    if isinstance(path[-1], int):
        return f"value {path[-1] + 1} of {_named(path[:-1])}"
    return repr(path[-1])


def _surroundings(path: YamlPath, data: Any) -> tuple[str, Sequence[str]]:
    """Return the mapping at `path` in words, and the fields that it may have."""
    words = [part for part in path if isinstance(part, str)]
    last = words[-1] if words else ""
    if last == "data":
        kind = str(data["data"].get("kind"))
        model = _KINDS.get(kind, study_file.Data)
        return f"data of the kind {kind!r}", list(model.model_fields)
    model = _INSIDE.get(last, Study)
    one = {"mechanisms": "a mechanism", "places": "a place", "": "a study"}
    return one.get(last, repr(last)), list(model.model_fields)

"""A recipe's text, read as strictly as a spec's: every problem at once, each with its line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pydantic_core import ErrorDetails

from composer.errors import ComposerError, Diagnostic, suggestion
from composer.language.position import Position, PositionError
from composer.language.reworded import reworded
from composer.language.source import Source, YamlPath, kind_of, parse
from composer.measure.inputs import DTYPES

#: The dtypes that a model may have.
MODEL_DTYPES = ("float32", "float64", "float16", "bfloat16")
MAX_ELEMENTS = 2**26  # of one example input; a video of 32 frames has 5 million
MAX_AXES = 8

_EDITED = "was the recipe edited?"
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: A module's path: only names, and no pattern, which would choose others.
_PATH = re.compile(r"(?!re:)[^\s*?\[\]\x00-\x1f]{0,400}")
#: The messages of the spec reader, reworded for a recipe.
_OF_A_RECIPE = {
    "empty-file": ("this recipe is empty", "give a recipe.yaml written by composer.save"),
    "not-a-mapping": (None, "give a recipe.yaml written by composer.save"),
    "file-too-large": (None, "is this the right file?"),
    "unknown-tag": (None, None),
    "bad-key": (None, "write the fields out"),
}


def parse_recipe(text: str, file: str) -> tuple[dict[str, Any], Source]:
    """Return the values of a recipe's text, with their positions.

    Raises:
        ComposerError: it is not YAML, or has a duplicate key or a tag.
    """
    try:
        data, source = parse(text, file)
    except ComposerError as failure:
        raise ComposerError(
            reworded(one, "recipe", _OF_A_RECIPE) for one in failure.diagnostics
        ) from None
    if source.problems:
        raise ComposerError(reworded(one, "recipe", _OF_A_RECIPE) for one in source.problems)
    return data, source


def wrong_field(
    detail: ErrorDetails, source: Source, file: str, fields: Mapping[str, Sequence[str]]
) -> Diagnostic:
    """Return the message for an invalid field of a recipe.

    Args:
        detail: what pydantic reports.
        source: the recipe's text.
        file: its name.
        fields: those of a recipe and of its parts, by the field that holds the part.
    """
    path: YamlPath = detail["loc"]
    said = f"{detail['msg'][0].lower()}{detail['msg'][1:]}"
    way_out, where = "was this written by another version of Composer?", source.at(path)
    match detail["type"]:
        case "extra_forbidden":
            above = next((str(part) for part in reversed(path[:-1]) if isinstance(part, str)), "")
            said = f"a recipe has no such field{f' under {above!r}' if above else ''}"
            way_out = suggestion(str(path[-1]), fields.get(above, ()), "Fields")
            where = source.at_key(path)
        case (
            "int_type"
            | "int_from_float"
            | "int_parsing"
            | "string_type"
            | "list_type"
            | ("tuple_type" | "dict_type" | "mapping_type" | "model_type" | "model_attributes_type")
        ):
            expected = {"int": "an integer", "str": "text", "lis": "a list", "tup": "a list"}
            kind = expected.get(detail["type"][:3], "a mapping")
            said = f"expected {kind} but got {kind_of(detail['input'])}"
            way_out = _EDITED
    return Diagnostic("bad-recipe", f"{'.'.join(map(str, path))}: {said}", way_out, where, file)


def problems_of(data: Mapping[str, Any], source: Source, file: str) -> Iterator[Diagnostic]:
    """Yield what is wrong with the values of a recipe whose fields have the right types."""

    def wrong(path: YamlPath, message: str, way_out: str = _EDITED) -> Diagnostic:
        return Diagnostic("bad-recipe", message, way_out, source.at(path), file)

    if data["dtype"] not in MODEL_DTYPES:
        known = suggestion(data["dtype"], MODEL_DTYPES, "Dtypes")
        yield wrong(("dtype",), f"{data['dtype']!r} is not a dtype of a model", known)
    if not data["edits"]:
        yield wrong(("edits",), "a recipe needs at least one edit")
    for number, edit in enumerate(data["edits"]):
        at: YamlPath = ("edits", number)
        if _SHA256.fullmatch(edit["sha256"]) is None:
            yield wrong((*at, "sha256"), "a hash is 64 digits of 0-9a-f")
        if why := _odd_position(edit["position"]):
            yield wrong((*at, "position"), why)
        if not edit["sites"]:
            yield wrong((*at, "sites"), "an edit needs at least one site")
        seen: set[tuple[str, str | None]] = set()
        for index, site in enumerate(edit["sites"]):
            here: YamlPath = (*at, "sites", index)
            for key in ("path", "name"):
                value = site.get(key)
                if value is not None and _PATH.fullmatch(value) is None:
                    yield wrong((*here, key), f"{_short(value)} is not a {key} of a module")
            if why := _odd_position(site["position"]):
                yield wrong((*here, "position"), why)
            one = (site["path"], site.get("name"))
            if one in seen:
                yield wrong((*here, "path"), f"duplicate site {_short(site['path'])}")
            seen.add(one)
    inputs = data.get("inputs") or {}
    for key, values in (("args", inputs.get("args", [])), ("kwargs", inputs.get("kwargs", {}))):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        for part, value in items:
            yield from _odd_inputs(value, ("inputs", key, part), source, file)


def _odd_position(text: str) -> str | None:
    if text != "replace":
        try:
            Position(text)
        except PositionError as failure:
            return str(failure)
    return None


def _odd_inputs(value: Any, path: YamlPath, source: Source, file: str) -> Iterator[Diagnostic]:
    """Yield what is wrong with an example input: a tensor, or plain values."""
    if isinstance(value, dict) and value.keys() == {"shape", "dtype"}:
        shape, dtype = value["shape"], value["dtype"]
        sound = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
        message = None
        if not sound or len(shape) > MAX_AXES or dtype not in DTYPES:
            message = f"there is no tensor of shape {_short(shape)} and dtype {_short(dtype)}"
        elif (elements := math.prod(shape)) > MAX_ELEMENTS:
            message = f"an example input of {elements:,} numbers is more than {MAX_ELEMENTS:,}"
        if message is not None:
            yield Diagnostic("bad-recipe", message, _EDITED, source.at(path), file)
    elif isinstance(value, (dict, list)):
        for part, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _odd_inputs(inner, (*path, part), source, file)


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:59]}…"


@contextmanager
def placed(source: Source, path: YamlPath) -> Iterator[None]:
    """Give problems in a part of a recipe that have no position that of the part."""
    try:
        yield
    except ComposerError as failure:
        where = source.at(path)
        raise type(failure)(
            [
                said if said.where or said.file or where is None else replace(said, where=where)
                for said in failure.diagnostics
            ]
        ) from None

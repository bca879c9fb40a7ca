"""The JSON Schema of a spec, for completion and checks in an editor (draft 7)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from composer.primitives import Spec, ops
from composer.primitives.found import ANY_OP

DRAFT = "http://json-schema.org/draft-07/schema#"


def json_schema() -> dict[str, Any]:
    """Return the schema of a spec file, in the vocabulary of draft 7.

    It includes all ops, also those of other distributions.
    """
    primitives = sorted(set(ops().values()), key=lambda primitive: primitive.__name__)
    models: list[type[BaseModel]] = [Spec, *primitives]
    mode: Literal["validation"] = "validation"
    schemas, shared = models_json_schema(
        [(model, mode) for model in models], ref_template="#/definitions/{model}"
    )
    refs = [schemas[primitive, mode] for primitive in primitives]
    definitions = _draft_7(_any_op(shared["$defs"], refs))
    schema = definitions.pop(_named(schemas[Spec, mode]["$ref"]))
    used = _references(schema, definitions)
    definitions = {name: one for name, one in definitions.items() if name in used}
    definitions["Param"] = _or_scalar(definitions["Param"])
    schema.pop("title", None)
    return {
        "$schema": DRAFT,
        "title": "Composer spec",
        **schema,
        "definitions": definitions,
    }


def _any_op(schema: Any, refs: list[dict[str, Any]]) -> Any:
    """Return a schema with each placeholder for an op replaced by all ops."""
    if isinstance(schema, list):
        return [_any_op(item, refs) for item in schema]
    if not isinstance(schema, dict):
        return schema
    held = {key: _any_op(value, refs) for key, value in schema.items() if key != ANY_OP}
    return {**held, "oneOf": refs} if ANY_OP in schema else held


def _references(schema: Any, definitions: dict[str, Any]) -> set[str]:
    """Return the definitions that a schema refers to."""
    found: set[str] = set()
    left = [schema]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
            name = _named(one["$ref"]) if isinstance(one.get("$ref"), str) else None
            if name is not None and name not in found:
                found.add(name)
                left.append(definitions[name])
        elif isinstance(one, list):
            left += one
    return found


def _named(reference: str) -> str:
    return reference.rpartition("/")[2]


def _draft_7(schema: Any) -> Any:
    """Drop what draft 7 does not have, and titles that only repeat a field's name."""
    if isinstance(schema, list):
        return [_draft_7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs"):
            kept[key] = {name: _said_once(_draft_7(inner)) for name, inner in value.items()}
            continue
        if key == "discriminator" or (key == "title" and isinstance(value, str)):
            continue
        if key == "default":
            if not isinstance(plain := _plain(value), dict):
                kept[key] = plain
            continue
        kept[key] = _draft_7(value)
    if "patternProperties" in kept:  # other names are invalid
        kept["additionalProperties"] = False
    if "$ref" in kept and len(kept) > 1:  # draft 7 ignores siblings of a $ref
        kept["allOf"] = [{"$ref": kept.pop("$ref")}]
    return kept


def _plain(default: Any) -> Any:
    """Return a default as it would be written, if it is an expression or a list of one."""
    if isinstance(default, list) and len(default) == 1 and isinstance(default[0], dict):
        default = default[0]
    if isinstance(default, dict) and default.get("kind") == "constant":
        return default["value"]
    return default


def _said_once(field: Any) -> Any:
    """Return a field for which editors show its own description.

    Otherwise they show that of one of its alternatives, such as an expression.
    """
    if not isinstance(field, dict) or "description" not in field or "anyOf" not in field:
        return field
    forms = [
        _said_once({k: v for k, v in form.items() if k != "description"}
                   if "anyOf" not in form else {**form, "description": field["description"]})
        for form in field["anyOf"]
    ]  # fmt: skip
    return {**field, "anyOf": forms}


def _or_scalar(param: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a param, which may be only its default."""
    return {"anyOf": [{"type": ["number", "boolean", "string"]}, param]}

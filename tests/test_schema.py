"""The JSON Schema: it is draft 7, takes every sound spec, and refuses what is plainly wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel
from shipped import EVERY, TYPICAL

from composer.graph.frontend import check_text, load_spec
from composer.language.library import shipped_folder, shipped_names
from composer.language.models import Insert, Param
from composer.language.source import parse
from composer.primitives import Spec, ops, own_primitives
from composer.primitives.schema import json_schema

SCHEMA = json_schema()
CHECK = jsonschema.Draft7Validator(SCHEMA)

SE: dict[str, Any] = {
    "name": "se",
    "params": {"reduction": 16},
    "input": ["b", "c", "h", "w"],
    "nodes": {
        "squeeze": {"op": "pool", "over": ["h", "w"]},
        "excite": {"op": "mlp", "over": "c", "hidden": "c // reduction"},
        "gate": {"op": "gate", "fn": "sigmoid"},
        "out": {"op": "reweight", "x": "input", "by": "gate"},
    },
    "insert": {"at": "block"},
}


def changed(*path_and_value: Any) -> dict[str, Any]:
    """Return SE with the value at a path replaced; ``...`` takes the key out."""
    *path, last, value = path_and_value
    spec = copy.deepcopy(SE)
    inner: Any = spec
    for part in path:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return spec


def test_it_is_draft_7():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    text = json.dumps(SCHEMA)
    assert json.loads(text) == SCHEMA
    for newer in ("$defs", "prefixItems", "discriminator", "unevaluated"):
        assert newer not in text


def test_every_reference_leads_somewhere():
    def references(value: Any):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
                assert set(value) == {"$ref"}, "draft 7 ignores what stands beside a $ref"
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in references(SCHEMA):
        assert reference.removeprefix("#/definitions/") in SCHEMA["definitions"]


@pytest.mark.parametrize("name", EVERY)
def test_a_shipped_spec_is_valid(name):
    text = (shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    assert list(CHECK.iter_errors(parse(text, name)[0])) == []


SOUND = {
    "as it is": SE,
    "one axis": changed("nodes", "squeeze", "over", "h"),
    "a number for a size": changed("nodes", "excite", "hidden", 4),
    "an expression for a flag": changed("nodes", "excite", "bias", "reduction > 4"),
    "an expression for a word": changed("nodes", "gate", "fn", "relu if reduction > 4 else tanh"),
    "a norm as a word": changed("nodes", "excite", "norm", "batch"),
    "a norm with settings": changed("nodes", "excite", "norm", {"fn": "batch", "eps": 1e-3}),
    "a param with help": changed("params", "reduction", {"default": 16, "help": "bottleneck"}),
    "a flag as a param": changed("params", "reduction", True),
    "an expression as a param": changed("params", "reduction", "c // 2"),
    "positions": changed("insert", "stages", "1..-2"),
    "position": changed("insert", "stages", -1),
    "list of positions": changed("insert", "blocks", [1, 3]),
    "positions of both kinds": changed("insert", "blocks", [1, "2..3"]),
    "no insert": changed("insert", ...),
    "no params": {**changed("nodes", "excite", "hidden", "c // 16"), "params": {}},
}

WRONG = {
    "no name": changed("name", ...),
    "no nodes": changed("nodes", ...),
    "empty nodes": changed("nodes", {}),
    "no input": changed("input", ...),
    "one axis of input": changed("input", ["b"]),
    "a text as input": changed("input", "b"),
    "bad name": changed("name", "se-net"),
    "bad node name": changed("nodes", "squeeze it", {"op": "pool", "over": "h"}),
    "unknown field": changed("nods", {}),
    "unknown op": changed("nodes", "gate", "op", "gat"),
    "no op": changed("nodes", "gate", "op", ...),
    "unknown field of an op": changed("nodes", "gate", "axes", "c"),
    "missing field of an op": changed("nodes", "excite", "hidden", ...),
    "a node that is a word": changed("nodes", "gate", "gate"),
    "a list for a size": changed("nodes", "excite", "hidden", [4]),
    "size zero": changed("nodes", "excite", "hidden", 0),
    "a number for a word": changed("nodes", "gate", "fn", 3),
    "a number for a flag": changed("nodes", "excite", "bias", 3),
    "a number for a node": changed("nodes", "out", "by", 3),
    "no axes": changed("nodes", "squeeze", "over", []),
    "a number for an axis": changed("nodes", "squeeze", "over", 3),
    "unknown setting of a norm": changed("nodes", "excite", "norm", {"mom": 3}),
    "a list as a param": changed("params", "reduction", [16]),
    "unknown field of a param": changed("params", "reduction", {"default": 1, "hlp": "x"}),
    "a param without default": changed("params", "reduction", {"help": "x"}),
    "unknown place": changed("insert", "at", "neck"),
    "no place": changed("insert", {}),
    "another version": changed("composer", 2),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound(name):
    assert [e.message for e in CHECK.iter_errors(SOUND[name])] == []
    spec, problems = check_text(json.dumps(SOUND[name]), "spec.yaml")
    assert spec is not None, problems


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name):
    assert list(CHECK.iter_errors(WRONG[name]))
    assert check_text(json.dumps(WRONG[name]), "spec.yaml")[0] is None


def properties(model: type[BaseModel]) -> dict[str, Any]:
    found = SCHEMA["definitions"][model.__name__]
    return (found if "properties" in found else found["anyOf"][1])["properties"]


@pytest.mark.parametrize("op", ops())
def test_an_op_is_in_the_schema_with_all_its_fields(op):
    primitive = ops()[op]
    shown = properties(primitive)
    assert list(shown) == list(primitive.model_fields)
    assert op in (shown["op"].get("enum") or [shown["op"]["const"]])
    assert SCHEMA["definitions"][primitive.__name__]["description"]


@pytest.mark.parametrize("model", [*own_primitives(), Param, Insert], ids=lambda m: m.__name__)
def test_each_field_says_what_it_is(model):
    shown = properties(model)
    for field, info in model.model_fields.items():
        if field != "op":
            assert info.description, f"{model.__name__}.{field} has no description"
            assert shown[field]["description"] == info.description


def test_the_top_level_says_what_it_is():
    for field, info in Spec.model_fields.items():
        assert SCHEMA["properties"][field]["description"] == info.description
    assert SCHEMA["required"] == ["name", "input", "nodes"]


def test_the_schema_beside_the_shipped_specs_is_current():
    """Made by ``composer schema > specs/composer.schema.json``; editors read it from there."""
    written = json.loads((shipped_folder() / "composer.schema.json").read_text(encoding="utf-8"))
    assert written == json_schema()


def ops_of(name: str) -> set[str]:
    found: set[str] = set()
    left = list(load_spec(name).nodes.values())
    while left:
        op = left.pop()
        found.add(op.op)
        left += [op.each] if hasattr(op, "each") else []
    return found


def test_the_typical_specs_use_every_op_that_a_spec_uses():
    assert set().union(*map(ops_of, TYPICAL)) == set().union(*map(ops_of, shipped_names()))

"""Text to a checked model: all problems of the file at once, each at its location."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from composer.errors import Diagnostic, Location, counted
from composer.language.budget import MAX_NODES, MAX_PARAMS, MAX_PROBLEMS, more_problems, over
from composer.language.models import Beginning, Identity, Insert, Match, Param, SpecOf
from composer.language.source import Source, YamlPath, kind_of
from composer.language.spacing import GLUED, no_space
from composer.language.words import FIELDS, advice, needless, suggested

S = TypeVar("S", bound=SpecOf[Any])


class Ops(Protocol):
    """The names and fields of the ops, needed only if something is wrong."""

    def names(self) -> list[str]:
        """Return the names of all ops."""

    def fields(self, op: str, inside: str | None = None) -> list[str]:
        """Return the fields of an op, or those inside one of its fields."""


@dataclass(frozen=True)
class Reading(Generic[S]):
    """The result of reading a text: the valid part as a spec, the problems, the faulty names."""

    spec: S | None
    source: Source
    problems: tuple[Diagnostic, ...] = ()
    node_names: tuple[str, ...] = ()
    broken_params: frozenset[str] = frozenset()


def read_spec(data: dict[str, Any], source: Source, model: type[S], ops: Ops) -> Reading[S]:
    """Read the spec in a mapping, as far as possible.

    Args:
        data: the fields, as plain values.
        source: the text, with the location of each value.
        model: the spec model over all primitives.
        ops: the names of ops and their fields, for suggestions.
    """
    nodes = data.get("nodes")
    names = tuple(n for n in nodes if n != "input") if isinstance(nodes, dict) else ()
    if excess := [*_too_many(data, source)]:
        return Reading(None, source, (*source.problems, *excess))
    try:
        spec: S | None = model.model_validate(data)
        problems = tuple(source.problems)
        broken: frozenset[str] = frozenset()
    except ValidationError as failure:
        details = _distinct(failure.errors(include_url=False), data)
        fields = list(model.model_fields)
        if len(details) > MAX_PROBLEMS:
            found = [_diagnostic(d, source, data, ops, fields) for d in details[:MAX_PROBLEMS]]
            last = more_problems(source.at(_yaml_path(details[MAX_PROBLEMS], data)))
            return Reading(None, source, (*source.problems, *found, last), names)
        found = [_diagnostic(d, source, data, ops, fields) for d in details]
        problems = (*source.problems, *found)
        paths = [_yaml_path(d, data) for d in details]
        spec = _sound_part(data, paths, model)
        broken = frozenset(str(p[1]) for p in paths if len(p) > 1 and p[0] == "params")
    if spec is not None:
        spec._source = source
    return Reading(spec, source, problems, names, broken)


def _too_many(data: dict[str, Any], source: Source) -> Iterator[Diagnostic]:
    """Yield the problem of a text with too many nodes or params."""
    way_out = "write repeated parts once, with 'repeat' or 'branch', or split the spec into several"
    for field, limit in (("nodes", MAX_NODES), ("params", MAX_PARAMS)):
        there = data.get(field)
        if isinstance(there, dict) and len(there) > limit:
            first = source.at_key((field, next(islice(there, limit, None))))
            yield over(field, len(there), limit, way_out, first)


def _distinct(details: list[ErrorDetails], data: dict[str, Any]) -> list[ErrorDetails]:
    """Return the first error at each location, preferring inner ones.

    A union reports an error for each of its members.
    """
    kept: dict[tuple[object, ...], ErrorDetails] = {}
    outer: set[tuple[object, ...]] = set()
    for detail in details:
        path: tuple[object, ...] = _yaml_path(detail, data)
        outer.update(path[:end] for end in range(len(path)))
        kept.setdefault((*path, "[key]") if detail["loc"][-1:] == ("[key]",) else path, detail)
    return [detail for path, detail in kept.items() if path not in outer]


def _sound_part(data: dict[str, Any], paths: list[YamlPath], model: type[S]) -> S | None:
    """Return the spec without its faulty nodes and fields, so that the rest can be checked.

    None if too little is left: nothing can be checked without the params or the axes.
    """
    if ("params",) in paths or ("input" in data and any(p[:1] == ("input",) for p in paths)):
        return None
    sound = {k: dict(v) if isinstance(v, dict) else v for k, v in data.items()}
    for path in paths:
        if len(path) > 1 and path[0] in ("nodes", "params") and isinstance(sound[path[0]], dict):
            sound[path[0]].pop(path[1], None)
        elif path and path[0] != "nodes":
            sound.pop(str(path[0]), None)
    sound.setdefault("name", "unnamed")
    sound.setdefault("input", ["b", "c", "h", "w"])
    try:
        return model.model_validate(sound)
    except ValidationError:
        return None


def _diagnostic(
    detail: ErrorDetails,
    source: Source,
    data: dict[str, Any],
    ops: Ops,
    fields: list[str],
) -> Diagnostic:
    path = _yaml_path(detail, data)
    context: dict[str, Any] = detail.get("ctx") or {}
    value = detail["input"]
    at_value = source.at_key(path) if detail["loc"][-1:] == ("[key]",) else source.at(path)

    def say(
        code: str, message: str, way_out: str | None, where: Location | None = at_value
    ) -> Diagnostic:
        return Diagnostic(code, message, way_out, where, source.file)

    match detail["type"]:
        case "extra_forbidden":
            here, known = _surroundings(path[:-1], data, ops, fields)
            word = str(path[-1])
            op = _at(data, path[:-1]).get("op") if path[0] == "nodes" else None
            unneeded = needless(op, word) if path[0] == "nodes" else None
            way_out = unneeded or suggested(word, known, "Fields", FIELDS)
            return say(
                "unknown-field", f"{here} has no field {word!r}", way_out, source.at_key(path)
            )
        case "missing":
            here, _ = _surroundings(path[:-1], data, ops, fields)
            message = f"{here} needs the field {str(path[-1])!r}"
            return say("missing-field", message, f"add '{_example(path)}'", source.at(path[:-1]))
        case "union_tag_invalid" | "union_tag_not_found":
            if (tag := value.get("op")) is None:
                node = "'each'" if path[-1] == "each" else f"the node {str(path[-1])!r}"
                message = f"{node} does not say its op"
                way_out = f"write {path[-1]}: {{op: …}}, with one of {', '.join(ops.names())}"
                return say("missing-op", message, way_out)
            message = f"no op named {tag!r}"
            if not isinstance(tag, str):
                message = f"an op must be a name, not {kind_of(tag)}"
            word = str(tag[0] if isinstance(tag, list) and len(tag) == 1 else tag)
            help_ = advice(word, str(path[-1])) or suggested(word, ops.names(), "Ops", {})
            return say("unknown-op", message, help_, source.at((*path, "op")))
        case "string_pattern_mismatch":
            way_out = "use letters, digits and _, starting with a letter"
            return say("bad-name", f"{value!r} is not a name", way_out)
        case "string_too_long":
            message = f"a name of {len(value)} characters is too long"
            return say("bad-name", message, f"use at most {context['max_length']}")
        case "literal_error":
            message = f"{kind_of(value)} is not allowed for {str(path[-1])!r}"
            return say("invalid-value", message, f"it may be {context['expected']}")
        case "dict_type" | "model_type" | "model_attributes_type" if (
            isinstance(value, str) and (glued := GLUED.match(value)) is not None
        ):
            return say("missing-space", *no_space(glued))
        case "dict_type" | "model_type" | "model_attributes_type":
            message = f"expected a mapping, but got {kind_of(value)}"
            return say("invalid-value", message, f"write it as '{_example(path)}'")
        case "tuple_type" | "list_type":
            message = f"expected a list, but got {kind_of(value)}"
            return say("invalid-value", message, f"write it as '{_example(path)}'")
        case "string_type":
            wanted = "a text" if path[-1] in ("title", "source", "help") else "a name"
            message = f"expected {wanted}, but got {kind_of(value)}"
            quotable = wanted == "a text" and isinstance(value, (bool, int, float))
            return say("invalid-value", message, "put it in quotes" if quotable else None)
        case "int_type" if path[0] != "params":
            message = f"expected a whole number, but got {kind_of(value)}"
            return say("invalid-value", message, f"write it as '{path[-1]}: 3'")
        case "int_type" | "float_type" | "bool_type":
            message = f"expected a number, true, false or text, but got {kind_of(value)}"
            return say("invalid-value", message, f"write it as '{path[1]}: 16'")
        case "too_short" | "too_long" as which:
            few = which == "too_short"
            limit = context["min_length" if few else "max_length"]
            wanted = f"at {'least' if few else 'most'} {counted(limit, 'value')}"
            message = f"expected {wanted}, but got {context['actual_length']}"
            return say("invalid-value", message, f"write it as '{_example(path)}'")
        case "greater_than_equal":
            return say("invalid-value", f"{value} is less than {context['ge']}", None)
        case "expression":
            where = source.within(path, int(context["start"]), int(context["length"]))
            return say(str(context["code"]), str(context["said"]), context["help"], where)
        case "bad-name":
            return say("bad-name", str(context["said"]), context["help"])
        case "broken-plugin":
            where = source.at((*path, "op"))
            return say("broken-plugin", str(context["said"]), context["help"], where)
        case "value_error":
            return say("invalid-value", str(context["error"]), None)
    return say("invalid-value", detail["msg"][0].lower() + detail["msg"][1:], context.get("help"))


_EXAMPLES = {
    "name": "name: my_attention", "input": "input: [b, c, h, w]", "at": "at: block",
    "params": "params: {reduction: 16}", "insert": "insert: {at: block}",
    "nodes": "nodes: {squeeze: {op: pool, over: [h, w]}}", "default": "default: 16",
    "over": "over: [h, w]", "of": "of: [first, second]", "axes": "axes: {c: c}",
    "norm": "norm: batch", "choices": "choices: [first, second]",
    "deviations": "deviations: [first, second]", "each": "each: {op: …}",
}  # fmt: skip


def _example(path: YamlPath) -> str:
    """Return an example of the field that `path` ends with."""
    if len(path) == 2 and path[0] == "nodes":
        return f"{path[1]}: {{op: …}}"
    return _EXAMPLES.get(str(path[-1]), f"{path[-1]}: …")


def _yaml_path(detail: ErrorDetails, data: Any) -> YamlPath:
    """Follow the error's `loc` through the data; skip the union tags that pydantic adds."""
    loc = detail["loc"]
    path: list[str | int] = []
    value = data
    for index, part in enumerate(loc):
        if part == "[key]":
            break
        inside = (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if inside:
            path.append(part)
            value = value[part]
        elif index == len(loc) - 1 and detail["type"] == "missing":
            path.append(part)  # a missing field has no location
    if len(path) == 2 and path[0] == "params" and detail["type"] != "extra_forbidden":
        default = isinstance(value, dict) and "default" in value and loc[-1] != "[key]"
        return (*path, "default") if default else tuple(path)
    return tuple(path)


def _at(data: Any, path: YamlPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _surroundings(
    path: YamlPath, data: dict[str, Any], ops: Ops, fields: list[str]
) -> tuple[str, list[str]]:
    """Return a description of the value at `path`, and the fields that it may have."""
    match path:
        case ():
            return "a spec", fields
        case ("nodes", node):
            op = str(data["nodes"][node]["op"])
            return f"the op {op!r}", ops.fields(op)
        case ("params", param):
            return f"the param {param!r}", list(Param.model_fields)
        case ("nodes", _, *_, "each"):
            value = _at(data, path)
            return f"the op {value['op']!r}", ops.fields(str(value["op"]))
        case ("nodes", *_, field):
            above = _at(data, path[:-1])
            return f"{field!r}", ops.fields(str(above["op"]), str(field))
        case ("insert",):
            return "'insert'", list(Insert.model_fields)
        case ("insert", "match"):
            return "'match'", list(Match.model_fields)
        case ("identity",):
            return "'identity'", list(Identity.model_fields)
        case ("identity", "nodes", _):
            return f"{str(path[-1])!r}", list(Beginning.model_fields)
    return f"{str(path[-1])!r}", []

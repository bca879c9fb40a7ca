"""Text to a checked model: every problem of the file in one go, each at its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from composer.errors import Diagnostic, Location, suggestion
from composer.spec.models import SpecOf
from composer.spec.source import Source, YamlPath, parse

S = TypeVar("S", bound=SpecOf[Any])


@dataclass(frozen=True)
class Reading(Generic[S]):
    """What could be read of a text: the sound part as a spec, the problems, the broken names."""

    spec: S | None
    source: Source
    problems: tuple[Diagnostic, ...] = ()
    node_names: tuple[str, ...] = ()
    broken_params: frozenset[str] = frozenset()


def read_spec(text: str, file: str, model: type[S], ops: dict[str, list[str]]) -> Reading[S]:
    """Read the spec that `text` holds, as far as it can be read.

    Args:
        text: the YAML.
        file: the name that messages show.
        model: the spec model over all primitives.
        ops: the fields of each op, for suggestions.

    Raises:
        ComposerError: the text is not YAML, or not one mapping.
    """
    data, source = parse(text, file)
    nodes = data.get("nodes")
    names = tuple(nodes) if isinstance(nodes, dict) else ()
    try:
        spec: S | None = model.model_validate(data)
        problems: tuple[Diagnostic, ...] = ()
        broken: frozenset[str] = frozenset()
    except ValidationError as failure:
        details = failure.errors(include_url=False)
        fields = list(model.model_fields)
        found = [_diagnostic(d, source, data, ops, fields) for d in details]
        problems = _one_for_each_place(found)
        paths = [_yaml_path(d, data) for d in details]
        spec = _sound_part(data, paths, model)
        broken = frozenset(str(p[1]) for p in paths if len(p) > 1 and p[0] == "params")
    if spec is not None:
        spec._source = source
    return Reading(spec, source, problems, names, broken)


def _one_for_each_place(found: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    """A union reports once for each of its members; keep the first at each place."""
    kept: dict[object, Diagnostic] = {}
    for problem in found:
        kept.setdefault((problem.where, problem.code if problem.where is None else ""), problem)
    return tuple(kept.values())


def _sound_part(data: dict[str, Any], paths: list[YamlPath], model: type[S]) -> S | None:
    """Return the spec without its faulty nodes and fields, so that the rest is checked too."""
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
    ops: dict[str, list[str]],
    fields: list[str],
) -> Diagnostic:
    path = _yaml_path(detail, data)
    context: dict[str, Any] = detail.get("ctx") or {}
    kind = detail["type"]
    op = _op_at(path, data)
    known = ops.get(op, []) if op else _fields_beside(path, fields)
    here = f"op '{op}'" if op else "this place"

    def say(
        code: str, message: str, way_out: str | None, where: Location | None
    ) -> Diagnostic:
        return Diagnostic(code, message, way_out, where, source.file)

    match kind:
        case "extra_forbidden":
            word = str(path[-1])
            message = f"{here} has no field {word!r}"
            return say(
                "unknown-field", message, suggestion(word, known, "Fields"), source.at_key(path)
            )
        case "union_tag_invalid":
            tag = str(context.get("tag"))
            way_out = suggestion(tag, sorted(ops), "Ops")
            return say("unknown-op", f"no op named {tag!r}", way_out, source.at((*path, "op")))
        case "union_tag_not_found":
            message = f"node {str(path[-1])!r} does not say its op"
            way_out = f"write {path[-1]}: {{op: …}}, with one of {', '.join(sorted(ops))}"
            return say("missing-op", message, way_out, source.at(path))
        case "missing":
            message = f"{here} needs the field {str(path[-1])!r}"
            return say("missing-field", message, f"add '{path[-1]}: …'", source.at(path[:-1]))
        case "string_pattern_mismatch":
            word = str(detail["input"])
            message = f"{word!r} is not a name"
            way_out = "a name is letters, digits and _, and begins with a letter"
            return say("bad-name", message, way_out, source.at_key(path))
        case "literal_error":
            message = f"{detail['input']!r} is not {context['expected']}"
            return say("invalid-value", message, None, source.at(path))
        case "expression":
            where = source.within(path, int(context["start"]), int(context["length"]))
            return say(str(context["code"]), str(context["said"]), context["help"], where)
        case "value_error":
            said = str(context["error"])
            return say("invalid-value", said, None, source.at(path))
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return say("invalid-value", message, context.get("help"), source.at(path))


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
            path.append(part)  # a missing field has no place of its own
    return tuple(path)


def _op_at(path: YamlPath, data: dict[str, Any]) -> str | None:
    if len(path) == 3 and path[0] == "nodes":
        node = data["nodes"].get(path[1])
        return str(node["op"]) if isinstance(node, dict) and "op" in node else None
    return None


def _fields_beside(path: YamlPath, fields: list[str]) -> list[str]:
    from composer.spec.models import Insert, Param

    if len(path) == 1:
        return fields
    inner = {"insert": Insert, "params": Param}.get(str(path[0]))
    return list(inner.model_fields) if inner else []

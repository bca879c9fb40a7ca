"""The laws of an op's texts: in the reference, in the schema, and in a picture."""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from composer.drawing.picture import render
from composer.drawing.text import in_font
from composer.graph.frontend import check_text
from composer.language.source import parse
from composer.primitives.reference import example_text, fields_of
from composer.primitives.schema import json_schema
from composer.testing.trial import Trial


def text(trial: Trial) -> None:
    """It has a docstring, a description for each field, and a valid example."""
    case, primitive = trial.case, trial.case.primitive
    assert (primitive.__doc__ or "").strip(), "its class has no docstring"
    for field in fields_of(primitive):
        if field.name != "op":
            assert field.description, f"its field {field.name} has no description"
            assert field.kind != "a value", f"the kind of its field {field.name} has no description"
    example = example_text(case.op)
    assert example is not None, "its class has no example"
    assert f"op: {case.op}" in example, f"its example has no {{op: {case.op}}}"
    problems = check_text(example, "example.yaml")[1]
    assert not problems, "its example has errors:\n" + "\n".join(p.render() for p in problems)
    op = trial.op
    assert op.label().strip(), "its label is empty"
    for what, said in (("label", op.label()), ("formula", op.formula())):
        says = f"its {what} {said!r} has characters that the fonts of figures lack"
        assert in_font(said) == said, says


def schema(trial: Trial) -> None:
    """The schema for editors has its fields, and accepts the case."""
    found = json_schema()
    name = trial.case.primitive.__name__
    own = next((d for key, d in found["definitions"].items() if key.endswith(name)), None)
    assert own is not None, f"the schema has no {name}"
    assert list(own["properties"]) == list(trial.case.primitive.model_fields)
    if find_spec("jsonschema") is None:
        return  # the schema validator is not installed
    import jsonschema

    faults = jsonschema.Draft7Validator(found).iter_errors(parse(trial.text, "probe.yaml")[0])
    said = [f"{'.'.join(map(str, fault.path))}: {fault.message}" for fault in faults]
    assert not said, "the schema refuses the case: " + "; ".join(said)


def drawing(trial: Trial) -> None:
    """It appears in a picture with its label."""
    with TemporaryDirectory() as folder:
        picture = render(trial.graph, Path(folder) / "probe.svg").read_text(encoding="utf-8")
    word = escape(trial.op.label().split()[0], quote=False)
    assert word in picture, f"{word!r} of its label is not in the picture"

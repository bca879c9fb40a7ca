"""`report.json` is as its published schema says: every kind of insertion, and what it records."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest
from command import NET, Command
from PIL import Image
from safetensors.torch import save_file

import composer

DOCS = Path(__file__).resolve().parents[1] / "docs"
SCHEMA = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
CHECK = jsonschema.Draft202012Validator(SCHEMA)
TINY = "net.py:tiny"
ON = {"shape": [3, 224, 224], "image": None}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Command:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    return Command(capsys)


def written(folder: str) -> dict[str, object]:
    found = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))
    CHECK.validate(found)
    return found


def test_the_schema_is_current(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    import report_schema

    sys.modules.pop("report_schema")
    CHECK.check_schema(SCHEMA)
    assert (DOCS / "report.schema.json").read_text(encoding="utf-8") == report_schema.text()


def test_an_insertion(run):
    run.fine("insert", "--spec", "se", "--into", TINY, "-o", "one", "--stages", "2")
    found = written("one")
    assert found["init"] == "paper" and {site["init"] for site in found["sites"]} == {"paper"}
    assert found["input"] == ON
    assert found["weights"] == {"source": "default", "path": None}
    assert found["notes"] == [
        "se: passed over by choice (2 places: stage1.0, stage1.1)",
        "the composition loads only with --trust-code (trust_code=True), since its backbone is "
        "net.py:tiny",
    ]


def test_weights_an_image_and_an_identity_start(run):
    namespace: dict[str, object] = {"__name__": "net"}
    exec(NET, namespace)
    save_file(namespace["tiny"]().state_dict(), "own.safetensors")
    Image.new("RGB", (90, 80), "red").save("red.png")
    run.fine("insert", "--spec", "se", "--into", TINY, "-o", "one", "--init", "identity",
             "--weights", "own.safetensors", "--input", "red.png")  # fmt: skip
    found = written("one")
    assert (found["init"], found["difference"]) == ("identity", 0)
    assert found["input"] == {"shape": [3, 224, 224], "image": "red.png"}
    assert found["weights"] == {"source": "file", "path": "own.safetensors"}


def test_two_insertions_that_begin_in_two_ways(run):
    run.fine("insert", "--spec", "se", "--into", TINY, "-o", "one")
    run.fine("insert", "--spec", "eca", "--into", "one", "-o", "two", "--init", "identity",
             "--trust-code")  # fmt: skip
    found = written("two")
    assert found["init"] is None
    assert [site["init"] for site in found["sites"]] == ["paper"] * 4 + ["identity"] * 4
    assert found["weights"] == {"source": "composition", "path": "one"}


def test_a_dry_run_was_verified_on_no_image(run):
    Image.new("RGB", (9, 8)).save("red.png")
    found = run.fine("insert", "--spec", "se", "--into", TINY, "--dry-run", "--input", "red.png",
                     "--json").json  # fmt: skip
    CHECK.validate(found)
    assert (found["input"], found["output"]) == (ON, None)


def test_a_model_that_was_saved_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    composer.save(composer.insert(TINY, "se"), "one")
    found = written("one")
    assert found["weights"] == {"source": "model", "path": None}
    assert (found["notes"], found["input"]) == ([], ON)


WRONG = [
    (lambda report: report.pop("init"), "'init' is a required property"),
    (lambda report: report["sites"][0].pop("size"), "'size' is a required property"),
    (lambda report: report.update(init="zero"), "'zero' is not valid under any of the given"),
    (lambda report: report["weights"].update(source="disk"), "'disk' is not one of"),
    (lambda report: report.update(version=2), "1 was expected"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_the_schema_refuses(change, message, run):
    found = run.fine("insert", "--spec", "se", "--into", TINY, "--dry-run", "--json").json
    change(found)
    with pytest.raises(jsonschema.ValidationError, match=message):
        CHECK.validate(found)


def test_the_schema_accepts_what_a_later_version_adds(run):
    found = run.fine("insert", "--spec", "se", "--into", TINY, "--dry-run", "--json").json
    CHECK.validate({**found, "later": 1})

"""`composer diff A B`: what differs, with the exit status of diff."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command import NET
from safetensors.torch import load_file, save_file

import composer
from composer.looking.weight_diff import weight_difference

pytestmark = pytest.mark.usefixtures("net_file")

GATE = """name: {name}
input: [b, c, h, w]
nodes:
  squeeze: {{op: pool, over: [h, w]}}
  gate:    {{op: gate, fn: {fn}}}
  out:     {{op: reweight, x: input, by: gate}}
"""


def made(folder: str, *edits: tuple[str, dict]) -> None:
    torch.manual_seed(0)
    model = "net.py:tiny"
    for spec, options in edits:
        model = composer.insert(model, spec, **options)
    composer.save(model, folder)


SE = ("se", {"params": {"min_width": 4}})


@pytest.mark.long
def test_a_composition_is_the_same_as_itself_and_as_a_copy(run):
    made("a", SE)
    made("b", SE)
    for other in ("a", "b"):
        told = run.fine("diff", "a", other)
        count = len(load_file("a/model.safetensors"))
        assert told.out == f"tensors: {count} equal\nnothing differs\n"
    found = run.fine("diff", "a", "b", "--json").json
    assert found["same"] is True and found["version"] == 1 and found["weights"]["equal"] == count


@pytest.mark.long
def test_what_differs_of_two_compositions_is_told(run):
    Path("gate.yaml").write_text(GATE.format(name="own", fn="sigmoid"))
    made("a", SE, ("gate.yaml", {"at": "block"}))
    Path("gate.yaml").write_text(GATE.format(name="own", fn="tanh"))
    wide = {"params": {"min_width": 8}, "stages": "2", "init": "identity"}
    made("b", ("se", wide), ("gate.yaml", {"at": "block"}), ("eca", {"stages": "1"}))
    told = run("diff", "a", "b")
    assert told.status == 1 and told.err == ""
    lines = told.out.splitlines()
    assert lines[:5] == [
        "edit 1, se:",
        "  init: paper → identity",
        "  param min_width: 4 → 8",
        "  2 sites only in A: stage1.0.se, stage1.1.se",
        "edit 2, own:",
    ]
    assert "  -  gate:    {op: gate, fn: sigmoid}" in lines
    assert "  +  gate:    {op: gate, fn: tanh}" in lines
    assert "edit 3 only in B, eca: 2 sites, stage1.0.eca, stage1.1.eca" in lines
    assert any(line.startswith("parameters: ") for line in lines)
    found = run("diff", "a", "b", "--json").json
    first, own, eca = found["edits"]
    assert first["fields"] == {"init": ["paper", "identity"]}
    assert first["params"] == {"min_width": [4, 8]}
    assert first["sites"]["only_a"] == ["stage1.0.se", "stage1.1.se"]
    assert list(own["texts"]) == [""] and eca["edits"] == [None, 3]
    assert set(found["weights"]["only_a"]) == {
        k for k in load_file("a/model.safetensors") if k not in load_file("b/model.safetensors")
    }
    turned = run("diff", "b", "a", "--json").json
    assert turned["weights"]["only_b"] == found["weights"]["only_a"]


def test_other_weights_are_told_by_how_far_they_are_apart(run):
    made("a", SE)
    made("b", SE)
    state = load_file("b/model.safetensors")
    key = "stage1.0.se.excite.fc1.weight"
    state[key] = state[key] + 0.25
    save_file(state, "b/model.safetensors")
    told = run("diff", "a", "b")
    assert told.status == 1
    count = len(state) - 1
    assert told.out == f"tensors: {count} equal, 1 changed\n  {key}: differs by up to 0.25\n"


def test_another_backbone_and_dtype(run):
    Path("net.py").write_text(NET + "\n\ndef other():\n    return tiny()\n")
    made("a", SE)
    torch.manual_seed(0)
    composer.save(composer.insert("net.py:other", *SE[:1], **SE[1]).double(), "b")
    told = run("diff", "a", "b").out.splitlines()
    assert told[:2] == ["backbone: net.py:tiny → net.py:other", "dtype: float32 → float64"]


def test_other_versions_alone_are_no_difference(run):
    made("a", SE)
    made("b", SE)
    file = Path("b/recipe.yaml")
    file.write_text(file.read_text().replace("  python: ", "  python: 3.99.1 # "))
    told = run.fine("diff", "a", "b")
    assert "note: made with other versions: python " in told.out and "→ 3.99.1" in told.out


@pytest.mark.parametrize(
    ("other", "status", "end"),
    [
        (GATE.format(name="own", fn="sigmoid"), 0, "the texts are the same\n"),
        (GATE.format(name="own", fn="tanh"), 1, " {op: reweight, x: input, by: gate}\n"),
        ("# a comment\n" + GATE.format(name="own", fn="sigmoid"), 1,
         "both mean the same: only comments or spacing differ\n"),
    ],
    ids=["same", "other", "comment"],
)  # fmt: skip
def test_two_specs(run, other, status, end):
    Path("a.yaml").write_text(GATE.format(name="own", fn="sigmoid"))
    Path("b.yaml").write_text(other)
    told = run("diff", "a.yaml", "b.yaml")
    assert (told.status, told.out[-len(end) :]) == (status, end)
    if status:
        assert told.out.startswith("--- a.yaml\n+++ b.yaml\n")
    assert run("diff", "a.yaml", "b.yaml", "--json").json["same"] is (status == 0)


def test_what_cannot_be_compared_ends_with_2(run):
    made("a", SE)
    told = run("diff", "a", "se")
    assert (told.status, told.err) == (2, (
        "error[usage]: 'a' is a composition, and 'se' is not\n"
        "  help: compare two folders written by insert, or two specs\n"
    ))  # fmt: skip
    told = run("diff", "se", "sse")
    assert told.status == 2 and told.err.startswith(
        "error[unknown-spec]: no file and no shipped spec named 'sse'\n  help: did you mean "
    )
    Path("a/model.safetensors").unlink()
    told = run("diff", "a", "a", "--json")
    assert told.status == 2 and json.loads(told.out)["errors"][0]["code"] == "weights"


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ([1.0, float("nan")], [1.0, float("nan")], None),
        ([1.0, float("nan")], [1.5, float("nan")], 0.5),
        ([1.0, float("nan")], [1.0, 2.0], float("inf")),
        ([0.0], [-0.0], None),
    ],
)
def test_numbers_that_are_none_are_equal_to_each_other_alone(one, other, apart):
    found = weight_difference({"x": torch.tensor(one)}, {"x": torch.tensor(other)})
    assert found.changed == ({} if apart is None else {"x": apart})
    assert found.is_same is (apart is None)

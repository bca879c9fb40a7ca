"""The study file: what it says wrong is shown at its place, with the way out, all at once."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from studies import TEXT, write_study

from composer.cli.study_command import command as study_group
from composer.errors import ComposerError
from composer.study.arms import arms
from composer.study.checked import checked_study
from composer.study.read import read_study, study_of
from composer.study.runs import Run, runs, screening
from composer.study.specs import read_spec

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "study"


def problems(text: str) -> str:
    with pytest.raises(ComposerError) as refused:
        study_of(text, "study.yaml")
    return str(refused.value)


def changed(field: str, line: str) -> str:
    """Return the text of the study with one line in place of that of a field."""
    return "".join(
        f"{line}\n" if known.startswith(f"{field}:") else f"{known}\n"
        for known in TEXT.splitlines()
    )


@pytest.mark.parametrize(
    ("field", "line", "says"),
    [
        ("seeds", "sedes: 2", """\
study.yaml:1:1: error[missing-field]: a study needs the field 'seeds'
    1 | study: 1
      | ^
  help: add 'seeds: 5'
study.yaml:6:1: error[unknown-field]: a study has no field 'sedes'
    6 | sedes: 2
      | ^^^^^
  help: did you mean 'seeds'? Fields: study, name, backbone, pretrained, weights, data, \
mechanisms, places, init, controls, matched_by, seeds, training, budget, halving"""),
        ("seeds", "seeds: 1", """\
study.yaml:6:8: error[invalid-value]: 'seeds' needs at least 2, and has 1
    6 | seeds: 1
      |        ^
  help: one seed shows no deviation; write 'seeds: 5'"""),
        ("seeds", "seeds: [3, 4, 3]", """\
study.yaml:6:8: error[invalid-value]: 3 is listed twice
    6 | seeds: [3, 4, 3]
      |        ^^^^^^^^^"""),
        ("seeds", "seeds: [1, two]", """\
study.yaml:6:12: error[invalid-value]: value 2 of 'seeds' expects a whole number but got the text \
'two'
    6 | seeds: [1, two]
      |            ^^^"""),
        ("data", "data: {kind: foldr, path: x, size: 32}", """\
study.yaml:4:14: error[invalid-value]: no data of the kind 'foldr'
    4 | data: {kind: foldr, path: x, size: 32}
      |              ^^^^^
  help: did you mean 'folder'? Kinds: folder, torchvision, huggingface, idx, digits"""),
        ("data", "data: {path: x, size: 32}", """\
study.yaml:4:7: error[missing-field]: 'data' needs the field 'kind'
    4 | data: {path: x, size: 32}
      |       ^^^^^^^^^^^^^^^^^^^
  help: add one of 'kind: folder', 'kind: torchvision', 'kind: huggingface', 'kind: idx' or \
'kind: digits'"""),
        ("data", "data: {kind: idx, path: x, size: 32, splits: 3}", """\
study.yaml:4:38: error[unknown-field]: data of the kind 'idx' has no field 'splits'
    4 | data: {kind: idx, path: x, size: 32, splits: 3}
      |                                      ^^^^^^
  help: Fields: size, train, test, kind, path"""),
        ("training", "training: {epochs: 2, lr: -1}", """\
study.yaml:7:27: error[invalid-value]: 'lr' is -1, and has to be greater than 0
    7 | training: {epochs: 2, lr: -1}
      |                           ^^"""),
        ("training", "training: {epochs: ten}", """\
study.yaml:7:20: error[invalid-value]: 'epochs' expects a whole number but got the text 'ten'
    7 | training: {epochs: ten}
      |                    ^^^
  help: write 'epochs: 10'"""),
        ("training", "training: {epochs: 2, batch: 7, augmentation: {mixup: 0.2}}", """\
study.yaml:7:11: error[invalid-value]: timm's Mixup needs an even batch
    7 | training: {epochs: 2, batch: 7, augmentation: {mixup: 0.2}}
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"""),
        ("training", "training: {epochs: 2, augmentation: {hflop: 0.5}}", """\
study.yaml:7:38: error[unknown-field]: 'augmentation' has no field 'hflop'
    7 | training: {epochs: 2, augmentation: {hflop: 0.5}}
      |                                      ^^^^^
  help: did you mean 'hflip'? Fields: scale, ratio, hflip, vflip, color_jitter, auto_augment, \
re_prob, mixup, cutmix, smoothing"""),
        ("training", "training: {epochs: 2, schedule: cosin}", """\
study.yaml:7:33: error[invalid-value]: the text 'cosin' is not a value of 'schedule'
    7 | training: {epochs: 2, schedule: cosin}
      |                                 ^^^^^
  help: did you mean 'cosine'? it may be 'cosine', 'tanh', 'poly' or 'constant'"""),
        ("mechanisms", "mechanisms: [{spc: se}]", """\
study.yaml:5:14: error[missing-field]: a mechanism needs the field 'spec'
    5 | mechanisms: [{spc: se}]
      |              ^^^^^^^^^
  help: add 'spec: se'
study.yaml:5:15: error[unknown-field]: a mechanism has no field 'spc'
    5 | mechanisms: [{spc: se}]
      |               ^^^
  help: did you mean 'spec'? Fields: spec, places, params, init"""),
        ("mechanisms", "mechanisms: [{spec: se, params: {reduction: []}}]", """\
study.yaml:5:33: error[invalid-value]: the param 'reduction' takes a value or a list of values
    5 | mechanisms: [{spec: se, params: {reduction: []}}]
      |                                 ^^^^^^^^^^^^^^^"""),
        ("name", "name: a/b", """\
study.yaml:2:7: error[bad-name]: 'a/b' is not a name of a study
    2 | name: a/b
      |       ^^^
  help: use letters, digits, '-' and '_', at most 60"""),
        ("seeds", "seeds: 3\nhalving: {seed: 1}", """\
study.yaml:1:1: error[invalid-value]: the seed 1 of 'halving' is one of 'seeds'; arms that are \
selected on a seed look better on it, so give another
    1 | study: 1
      | ^"""),
        ("seeds", "seeds: 3\nseeds: 4", """\
study.yaml:7:1: error[duplicate-key]: duplicate key 'seeds' in this mapping
    7 | seeds: 4
      | ^^^^^
  help: the first one is at line 6; rename or remove one"""),
    ],
)  # fmt: skip
def test_what_is_said(field, line, says):
    assert problems(changed(field, line)) == says


def test_a_file_that_is_none(tmp_path):
    assert problems("") == (
        "study.yaml: error[empty-file]: this study file is empty\n"
        "  help: start with 'study: 1', 'name:', 'backbone:', 'data:' and 'mechanisms:'; "
        "see docs/study.md"
    )
    assert "a study must be a mapping of fields, but this is a list" in problems("- a")


def refused(path):
    with pytest.raises(ComposerError) as failure:
        checked_study(path)
    return str(failure.value).replace(str(path.parent), "*")


def test_what_the_file_names_is_looked_for(tmp_path):
    """Every name that leads nowhere is shown in one go, at its place."""
    path = write_study(
        tmp_path, backbone="resnet19", mechanisms="[sse, {spec: eca, params: {kernl: 3}}]",
        weights="no.safetensors",
    )  # fmt: skip
    found = refused(path)
    assert "*/study.yaml:3:11: error[unknown-backbone]" in found
    assert (
        "*/study.yaml:5:14: error[unknown-spec]: no file and no shipped spec named 'sse'" in found
    )
    assert "*/study.yaml:5:40: error[unknown-param]: eca has no param 'kernl'" in found
    assert "*/study.yaml:8:10: error[weights]: there is no file 'no.safetensors'" in found


def test_a_spec_beside_the_study_is_found_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ninput: [b, c, h, w]\nnodes:\n  out: {op: gate}\ninsert: {at: block}\n"
    )
    monkeypatch.chdir("/")
    path = write_study(tmp_path, mechanisms="[mine.yaml]")
    assert [arm.spec for arm in arms(checked_study(path))][-1] == "mine.yaml"


def test_arms_are_the_product_with_their_controls():
    study, _ = study_of(
        changed(
            "mechanisms",
            "mechanisms: [se, {spec: eca, params: {kernel: [3, 5]}, places: [{at: stage}]}]\n"
            "init: [identity, paper]",
        ),
        "study.yaml",
    )
    names = [arm.name for arm in arms(study) if arm.kind in ("mechanism", "finetuned", "plain")]
    assert names == [
        "plain, head only", "plain, trained equally", "se, identity", "se, paper",
        "eca kernel=3, at stage, identity", "eca kernel=3, at stage, paper",
        "eca kernel=5, at stage, identity", "eca kernel=5, at stage, paper",
    ]  # fmt: skip
    held = [arm.of for arm in arms(study) if arm.kind == "held"]
    assert held == [arm.name for arm in arms(study) if arm.kind == "mechanism"]
    assert len(runs(study, arms(study))) == 2 * (2 + 6 * 3)


def test_the_plain_backbone_trained_equally_is_always_there():
    study, _ = study_of(TEXT + "controls: [held]\n", "study.yaml")
    assert [a.kind for a in arms(study)] == ["finetuned", "mechanism", "held"]


@pytest.mark.parametrize(
    ("field", "line", "same"),
    [
        ("data", "data: {kind: idx, path: elsewhere, size: 32}", True),
        ("seeds", "seeds: 5", True),
        ("mechanisms", "mechanisms: [se, eca]", True),
        ("name", "name: other", True),
        ("data", "data: {kind: idx, path: images, size: 48}", False),
        ("training", "training: {epochs: 2, batch: 8, lr: 2e-2}", False),
        ("backbone", "backbone: resnet18", False),
        ("mechanisms", "mechanisms: [{spec: se, params: {reduction: 8}}]", False),
    ],
)
def test_a_key_is_of_what_decides_the_result(field, line, same):
    def key(text):
        study, _ = study_of(text, "study.yaml")
        (arm,) = [a for a in arms(study) if a.kind == "mechanism" and a.spec == "se"]
        return Run(study, arm, 0).key

    assert (key(TEXT) == key(changed(field, line))) is same


def test_screening_is_of_mechanisms_on_a_seed_of_its_own():
    study, _ = study_of(TEXT + "halving: {seed: 9}\n", "study.yaml")
    assert [(r.arm.kind, r.seed) for r in screening(study, arms(study))] == [("mechanism", 9)]


@pytest.mark.parametrize("name", ["lite0", "resnet", "reduced"])
def test_the_studies_of_the_example_are_sound(name):
    study, _ = read_study(EXAMPLE / f"{name}.yaml")
    for mechanism in study.mechanisms:
        assert set(mechanism.params) <= set(read_spec(mechanism.spec, EXAMPLE).params)
    assert len({run.key for run in runs(study, arms(study))}) == {
        "lite0": 370, "resnet": 190, "reduced": 6}[name]  # fmt: skip


def test_the_example_is_sized_for_three_hours_of_two_cores():
    budgets = [read_study(EXAMPLE / f"{name}.yaml")[0].budget for name in ("lite0", "resnet")]
    assert sum(budget.worker_hours for budget in budgets) < 2 * 3


def test_the_study_and_the_commands_of_the_page():
    page = (EXAMPLE.parents[1] / "docs" / "study.md").read_text(encoding="utf-8")
    written, halving = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    study, _ = study_of(written + halving, "study.yaml")
    assert study.halving is not None and {arm.spec for arm in arms(study) if arm.spec} == {
        "se", "eca", "cbam",
    }  # fmt: skip
    (block,) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines():
        _, _, name, *rest = shlex.split(line, comments=True)
        command = study_group.commands[name]
        command.make_context(name, rest, resilient_parsing=True)

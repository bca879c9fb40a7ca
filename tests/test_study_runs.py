"""The runs of a study: paired, with controls that control, resumable, each counted once."""

from __future__ import annotations

import dataclasses
import io
import json
import sqlite3
import sys
from fnmatch import fnmatchcase
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command import Command
from studies import CLASSES, write_images, write_study

from composer.errors import ComposerError
from composer.study import halving as halving_file
from composer.study.arms import FINETUNED
from composer.study.batches import Batches
from composer.study.checkpoint import read, write
from composer.study.claims import claimed
from composer.study.driver import prepare, remaining, run_study
from composer.study.held import HeldGate
from composer.study.matched import Place, match
from composer.study.network import Facts
from composer.study.on_ray import work_on_ray
from composer.study.opened import Opened
from composer.study.outcome import Epoch, Outcome
from composer.study.runs import Run
from composer.study.study_file import Halving
from composer.study.worker import Progress

torch.set_num_threads(1)


@pytest.fixture
def run(capsys):
    return Command(capsys)


def opened(folder, **changed):
    """Open a study; the network is found from the folder of the study."""
    return Opened.of(write_study(folder, **changed), None)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return opened(tmp_path)


def arm(study, kind, init="identity"):
    return next(a for a in study.arms() if a.kind == kind and a.init == init)


def results(study):
    """Return what the final table depends on: not the seconds."""
    return {
        key: (r.arm, r.seed, r.status, r.accuracy, r.epochs)
        for key, r in study.store.results().items()
    }


# ------------------------------------------------------------------------------------- pairing


def test_all_arms_of_a_seed_see_the_same_batches(tiny):
    """Whatever the arm draws for its weights or at its steps."""
    seen = {}
    for kind in ("finetuned", "mechanism", "held", "matched"):
        _, batches, _ = tiny.trainer.prepared(Run(tiny.study, arm(tiny, kind), 3))
        torch.rand(len(kind))  # what an arm may draw
        seen[kind] = [(pixels, labels) for epoch in (0, 1) for pixels, labels in batches.of(epoch)]
    first = seen.pop("finetuned")
    assert len(first) == 6
    for other in seen.values():
        for (pixels, labels), (same, names) in zip(first, other, strict=True):
            assert torch.equal(pixels, same)
            assert torch.equal(labels, names)
    _, batches, _ = tiny.trainer.prepared(Run(tiny.study, arm(tiny, "finetuned"), 4))
    assert not torch.equal(next(batches.of(0))[0], first[0][0])
    assert not torch.equal(first[0][0], first[3][0])  # another epoch


@pytest.mark.slow
def test_all_arms_of_a_seed_have_the_same_backbone(tiny):
    plain, _ = tiny.builder.network(arm(tiny, "finetuned"), 3)
    for kind in ("mechanism", "held", "matched"):
        other, _ = tiny.builder.network(arm(tiny, kind), 3)
        state = other.state_dict()
        for name, tensor in plain.state_dict().items():
            assert torch.equal(tensor, state[name]), (kind, name)


def test_an_epoch_goes_on_in_its_middle():
    images = type("Images", (), {"labels": tuple(range(12)), "__len__": lambda self: 12})()
    batches = Batches(images, None, 4, 0)
    assert sorted(batches.order(0)) == list(range(12))
    assert batches.order(0) != batches.order(1)
    object.__setattr__(batches, "_seen", lambda epoch, index: torch.tensor(float(index)))
    whole = [labels.tolist() for _, labels in batches.of(2)]
    assert [labels.tolist() for _, labels in batches.of(2, 1)] == whole[1:]


# ------------------------------------------------------------------------------------ controls


def test_held_gates_are_constant_and_their_weights_do_not_learn(tiny):
    run = Run(tiny.study, arm(tiny, "held"), 0)
    model, batches, _ = tiny.trainer.prepared(run)
    held = [m for m in model.modules() if isinstance(m, HeldGate)]
    assert len(held) == 4  # a gate in each of four blocks
    for one in held:
        assert not one.measures
        first, second = one(torch.rand(2, 8)), one(torch.rand(2, 8))
        assert torch.equal(first, second)
        assert first.unique().numel() == 1
        assert 0 < float(first[0, 0]) < 1
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        pixels, labels = next(batches.of(0))
        torch.nn.functional.cross_entropy(model.train()(pixels), labels).backward()
        optimizer.step()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert not any(".excite." in name for name in changed)
    assert any(name.startswith("stage1.0.conv") for name in changed)
    assert any("se." in name for name in changed)  # the scalar that blends it in


@pytest.mark.slow
def test_the_mechanism_itself_learns_its_gates(tiny):
    model, batches, _ = tiny.trainer.prepared(Run(tiny.study, arm(tiny, "mechanism"), 0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {name: p.clone() for name, p in model.named_parameters()}
    for _ in range(2):
        pixels, labels = next(batches.of(0))
        torch.nn.functional.cross_entropy(model.train()(pixels), labels).backward()
        optimizer.step()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert any(".excite." in name for name in changed)


def test_matched_convolutions_cost_what_is_reported(tiny):
    def facts(kind):
        model, built = tiny.builder.network(arm(tiny, kind), 0)
        return Facts.of(model, built)

    plain, mechanism, matched = map(facts, ("finetuned", "mechanism", "matched"))
    assert matched.wanted == mechanism.parameters - plain.parameters
    assert matched.reached is not None
    assert matched.parameters - plain.parameters == matched.reached
    assert abs(matched.reached - matched.wanted) <= 0.2 * matched.wanted


PLACES = [Place("a", 16, 64), Place("b", 32, 16), Place("c", 32, 16)]


@pytest.mark.parametrize(
    ("wanted", "by", "sites", "reached"),
    [
        (2 * 16 * 4 + 20 + 2 * (2 * 32 * 8 + 40), "parameters", None, 1252),
        (5000, "parameters", None, 5061),
        (60, "parameters", ("a",), 49),
        (3, "parameters", ("a",), 49),
        (150, "parameters", ("a", "b"), 146),
        (200, "parameters", ("b", "c"), 194),
        (2 * 16 * 2 * 64 + 2 * (2 * 32 * 4 * 16), "multiply-adds", None, 12288),
        (10, "multiply-adds", ("b",), 1024),
    ],
)
def test_match(wanted, by, sites, reached):
    found = match(PLACES, wanted, by)
    assert (found.sites, found.reached) == (sites, reached)
    chosen = [p for p in PLACES if sites is None or p.path in sites]
    assert sum(place.cost(found.ratio, by) for place in chosen) == reached
    if sites is None:  # no other width is nearer
        others = [sum(p.cost(ratio, by) for p in PLACES) for ratio in np.linspace(0, 4, 4001)]
        assert abs(reached - wanted) == min(abs(other - wanted) for other in others)


def test_a_mechanism_without_a_gate_has_no_held_control(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = opened(tmp_path, mechanisms="[layer_scale]")
    facts = study.facts_of(arm(study, "held"))
    assert facts["reason"] == "layer_scale has no 'gate' node"
    facts = study.facts_of(arm(study, "plain"))  # a new head alone on random features
    assert facts["reason"] == "the backbone starts from random weights"


# --------------------------------------------------------------------------- a study, resumed


def stop_after(steps):
    """Return what raises at a step of a study, as a signal would."""
    taken = [0]

    def on_step(run):
        taken[0] += 1
        if taken[0] > steps:
            raise KeyboardInterrupt

    return Progress(on_step=on_step)


@pytest.mark.long
def done(study, progress=None):
    prepared = prepare(study)
    run_study(study, prepared, progress=progress)
    return prepared


def test_a_study_that_is_interrupted_gives_the_same_results(tmp_path, monkeypatch):
    """At any step, several times; each result is there once, and no checkpoint is left."""
    tables = []
    for folder, stops in ((tmp_path / "whole", ()), (tmp_path / "broken", (2, 6))):
        folder.mkdir()
        monkeypatch.chdir(folder)
        study = opened(folder, controls="[finetuned]")
        trainer = dataclasses.replace(study.trainer, checkpoint_every=0.0)
        study.__dict__["trainer"] = trainer
        for steps in stops:
            with pytest.raises(KeyboardInterrupt):
                done(study, stop_after(steps))
        prepared = done(study)
        assert remaining(study, prepared) == ([], [])
        tables.append(results(study))
        assert not study.checkpoints.exists()
    assert len(tables[0]) == 4
    assert tables[0] == tables[1]
    assert all(len(row[4]) == 2 for row in tables[0].values())


@pytest.mark.slow
def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = opened(tmp_path, controls="[finetuned]")
    done(study)
    before = study.store.results()
    done(study, stop_after(0))  # it would raise at a step
    assert study.store.results() == before
    more = opened(tmp_path, controls="[finetuned]", mechanisms="[se, eca]")
    ended = []
    done(more, Progress(on_end=lambda run, status: ended.append(run.arm.name)))
    assert ended == ["eca, identity"] * 2
    assert before.items() <= more.store.results().items()


def test_a_damaged_checkpoint_costs_only_time(tmp_path):
    path = tmp_path / "it.checkpoint"
    assert read(path) is None
    write(path, {"a": torch.ones(3)})
    assert torch.equal(read(path)["a"], torch.ones(3))
    path.write_bytes(path.read_bytes()[:100])
    assert read(path) is None


def test_a_claim_is_of_one(tmp_path):
    with claimed(tmp_path, "a") as first, claimed(tmp_path, "a") as second:
        assert (first, second) == (True, False)
    with claimed(tmp_path, "a") as again:
        assert again


def test_the_budget_ends_a_study_between_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = opened(tmp_path, budget="{worker_hours: 0.5}", controls="[finetuned]")
    prepared = prepare(study)
    _, todo = remaining(study, prepared)
    for run in todo[:2]:  # as if each had taken eleven minutes
        study.store.write_result(run, Outcome([Epoch(1, 1.0, 0.5, 1.0)], 660.0), study.machine)
    run_study(study, prepared)
    assert len(study.store.ended()) == 2


@pytest.mark.slow
def test_a_run_that_fails_is_noted_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = opened(tmp_path, controls="[finetuned]")
    prepared = prepare(study)
    builder = type(study.builder)
    network = builder.network

    def breaks(self, arm, seed, first=None):
        if arm.kind == "mechanism" and seed == 1:
            raise RuntimeError("out of memory\nmore")
        return network(self, arm, seed, first)

    monkeypatch.setattr(builder, "network", breaks)
    run_study(study, prepared)
    statuses = {(r.arm, r.seed): (r.status, r.message) for r in study.store.results().values()}
    assert statuses.pop(("se, identity", 1)) == ("failed", "RuntimeError: out of memory")
    assert set(statuses.values()) == {("done", None)}
    monkeypatch.setattr(builder, "network", network)
    assert study.store.forget_failed() == 1
    run_study(study, prepared)
    assert {r.status for r in study.store.results().values()} == {"done"}


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = opened(tmp_path, training="{epochs: 1, batch: 8, lr: 1e30, optimizer: sgd}",
                   controls="[finetuned]")  # fmt: skip
    done(study)
    assert {r.status for r in study.store.results().values()} == {"diverged"}
    assert {r.accuracy for r in study.store.results().values()} == {None}


# --------------------------------------------------------------------------------- what is refused


def refused(call):
    with pytest.raises(ComposerError) as failure:
        call()
    return str(failure.value)


@pytest.mark.slow
def test_other_data_is_not_mixed_in(tiny, tmp_path):
    prepare(tiny)
    write_images(tmp_path / "images", train=28)
    other = Opened.of(tmp_path / "study.yaml", None)
    assert "error[results]: the data changed since" in refused(lambda: prepare(other))


def test_a_spec_that_changed_is_not_mixed_in(tiny):
    tiny.store.create("tiny")
    tiny.store.check_fingerprints({"the data": "1", "the spec se": "2"})
    tiny.store.check_fingerprints({"the data": "1", "the spec eca": "3"})
    changed = {"the data": "1", "the spec se": "4"}
    assert refused(lambda: tiny.store.check_fingerprints(changed)) == (
        f"{tiny.store.path}: error[results]: the spec se changed since these results were made\n"
        "  help: put it back, or start again with --results FILE"
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"backbone": "net.py:tiny?width=16&classes=7"},
         "error[study]: the backbone gives 1×7 for one image, and the data has 4 classes\n"
         "  help: write its number of classes into 'backbone': NAME?num_classes=4"),
        ({"training": "{epochs: 1, batch: 32}"},
         "*/study.yaml: error[study]: the batch of 32 is larger than the 24 training images\n"
         "  help: lower 'batch' under 'training'"),
        ({"training": "{epochs: 1, batch: 8, optimizer: adamv}"},
         "error[study]: timm cannot make the optimizer 'adamv': *\n  help: did you mean 'adam*"),
        ({"training": "{epochs: 1, batch: 8, augmentation: {auto_augment: nonsense}}"},
         "error[study]: timm refuses the augmentation: *\n"
         "  help: correct 'augmentation' under 'training'"),
        ({"data": "{kind: idx, path: images, size: 32, train: 2}", "training":
          "{epochs: 1, batch: 2}"},
         "*/images: error[data]: no training image shows '*' and '*'\n  help: raise 'train'"),
        ({"data": "{kind: idx, path: ., size: 32}"},
         "*: error[data]: there is no train-images-idx3-ubyte or train-images-idx3-ubyte.gz in "
         "this folder\n  help: the files are named train-images-idx3-ubyte, "
         "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"),
        ({"data": "{kind: folder, path: images, size: 32}"},
         "*/images/train: error[data]: there is no such folder\n"
         "  help: it holds images/train/CLASS/*.png, one folder for each class"),
        ({"data": "{kind: torchvision, name: MNST, path: images, size: 32}"},
         "*/images: error[data]: torchvision has no data set 'MNST'\n  help: did you mean "
         "'MNIST'*"),
        ({"data": "{kind: torchvision, name: MNIST, path: images, size: 32}"},
         "*/images: error[data]: torchvision cannot read MNIST here: Dataset not found*"),
    ],
)  # fmt: skip
def test_what_cannot_be_run(tmp_path, monkeypatch, changed, says):
    monkeypatch.chdir(tmp_path)
    study = opened(tmp_path, **changed)
    found = refused(lambda: prepare(study)).replace(str(tmp_path), "*")
    assert fnmatchcase(found, says.replace("[", "[[]")), found


def test_a_cut_file_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = opened(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    write_images(tmp_path / "images", zipped=False)
    path = tmp_path / "images" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    assert refused(lambda: study.data) == (
        f"{path}: error[data]: says 768 bytes of data and has 763\n"
        "  help: the file was cut; copy it again"
    )


def test_a_full_disk(tiny, monkeypatch):
    """SQLite is given no more pages than it has: what it says then is what a full disk makes it."""
    tiny.store.create("tiny")
    connect = sqlite3.connect

    def full(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.execute("pragma max_page_count = 1")
        return connection

    monkeypatch.setattr(sqlite3, "connect", full)
    run = Run(tiny.study, tiny.arms()[0], 0)
    many = Outcome([Epoch(e, 1.0, 0.5, 1.0) for e in range(2000)], 1.0)
    assert refused(lambda: tiny.store.write_result(run, many, {})) == (
        f"{tiny.store.path}: error[results]: cannot be written: the disk is full\n"
        "  help: free some space and run again: finished runs are kept"
    )
    monkeypatch.undo()
    assert tiny.store.results() == {}  # no part of a result


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda path: path.write_text("no database at all, but some words"),
         "error[results]: is not a file of results: file is not a database"),
        (lambda path: sqlite3.connect(path).execute("create table a (b)").connection.commit(),
         "error[results]: is a database, and not of a study's results"),
    ],
)  # fmt: skip
def test_files_that_are_no_results(run, tmp_path, made, says):
    path = write_study(tmp_path)
    made(tmp_path / "study.results.sqlite")
    found = run("study", "report", path)
    assert found.status == 1
    assert says in found.err


@pytest.mark.slow
def test_results_of_another_study(tiny, tmp_path):
    prepare(tiny)
    other = Opened.of(write_study(tmp_path, name="other"), None)
    assert "holds the results of the study 'tiny', not of 'other'" in refused(
        lambda: prepare(other)
    )


# --------------------------------------------------------------------------------------- halving


def test_optuna_stops_the_worse_arms():
    pytest.importorskip("optuna")

    def curve(*values):
        return [Epoch(i, 1.0, value, 1.0) for i, value in enumerate(values, 1)]

    rule = Halving(seed=9, min_epochs=1, reduction=2)
    good, fair = curve(0.5, 0.6), curve(0.4, 0.5)
    assert not halving_file.stops(rule, [fair], good[:1])
    assert halving_file.stops(rule, [good, fair], curve(0.1))
    assert not halving_file.stops(rule, [], curve(0.1))  # the first has nothing to lose against


@pytest.mark.slow
def test_arms_that_are_stopped_do_not_run_on_the_other_seeds(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    study = opened(
        tmp_path, mechanisms="[se, eca]", halving="{seed: 9}", controls="[finetuned, held]"
    )
    monkeypatch.setattr("composer.study.worker.stops", lambda rule, others, so_far: bool(others))
    done(study)
    found = {(r.arm, r.seed): r.status for r in study.store.results().values()}
    assert found.pop(("eca, identity", 9)) == "stopped"
    assert found.pop(("se, identity", 9)) == "done"
    assert {name for name, _ in found} == {FINETUNED, "se, identity",
                                           "se, identity: gates held constant"}  # fmt: skip
    assert {seed for _, seed in found} == {0, 1}


@pytest.mark.long
# ------------------------------------------------------------------------------------ the command


def test_the_command_from_plan_to_report(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, controls="[finetuned]", training="{epochs: 1, batch: 8}")
    plan = run.fine("study", "plan", "study.yaml", "--json").json
    assert [(a["name"], a["total"]) for a in plan["arms"]] == [(FINETUNED, 2), ("se, identity", 2)]
    assert plan["runs"] == {"left": 4, "screened": 0}
    assert plan["seconds"] > 0
    assert not (tmp_path / "study.results.sqlite").exists()
    did = run.fine("study", "run", "study.yaml")
    assert did.out == (
        "4 runs ended, results in study.results.sqlite\nnext: composer study report study.yaml\n"
    )
    assert did.err.splitlines()[0].startswith("1 of 4 runs: plain, trained equally, seed 0: done; ")
    found = run.fine("study", "report", "study.yaml", "--json").json
    assert [len(a["accuracies"]) for a in found["arms"]] == [2, 2]
    assert "0 runs left: 0 s of one worker" in run.fine("study", "plan", "study.yaml").out


def test_what_the_command_refuses(run, tmp_path):
    path = write_study(tmp_path)
    assert run("study", "run", path, "--on", "slurm").err == (
        "error[usage]: --on 'slurm' is not a cluster\n"
        "  help: write --on ray, or --on ray:HOST:PORT\n"
    )
    assert run("study", "run", tmp_path / "no.yaml").status == 1
    assert "unreadable-file" in run("study", "plan", tmp_path / "no.yaml").err
    assert run("study", "report", path, "--json").json["errors"][0]["code"] == "results"
    assert run("study").status in (0, 2)


@pytest.mark.slow
def test_folders_of_images_and_saved_data_sets(tmp_path, monkeypatch):
    """The other kinds of data hold the same images."""
    from composer.study.data_sets import open_data
    from composer.study.study_file import Folder, HuggingFace, Idx, Torchvision

    datasets = pytest.importorskip("datasets")
    write_images(tmp_path / "idx")
    idx = open_data(Idx(kind="idx", path="idx", size=32), tmp_path)
    columns = {}
    for part, images in (("train", idx.train), ("val", idx.test)):
        for index, label in enumerate(images.labels):
            folder = tmp_path / "folder" / part / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            images.opened(index).save(folder / f"{index:03}.png")
        columns[part] = datasets.Dataset.from_dict(
            {"image": [images.opened(i) for i in range(len(images))], "label": list(images.labels)},
            features=datasets.Features(
                {"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=CLASSES)}
            ),
        )
    datasets.DatasetDict(train=columns["train"], test=columns["val"]).save_to_disk(tmp_path / "hf")
    folder = open_data(Folder(kind="folder", path="folder", size=32), tmp_path)
    saved = open_data(HuggingFace(kind="huggingface", path="hf", size=32), tmp_path)
    assert saved.fingerprint == idx.fingerprint
    assert folder.classes == ("class0", "class1", "class2", "class3")
    assert sorted(folder.train.labels) == sorted(idx.train.labels)
    assert np.array_equal(folder.train.opened(0).convert("L"), idx.train.opened(0))
    write_images(tmp_path / "tv" / "MNIST" / "raw", zipped=False)
    mnist = Torchvision(kind="torchvision", name="MNIST", path="tv", size=32)
    said = "no training image shows '4 - four', '5 - five' and '6 - six'"  # it is read
    assert said in refused(lambda: open_data(mnist, tmp_path))
    limited = open_data(Idx(kind="idx", path="idx", size=32, train=16), tmp_path)
    again = open_data(Idx(kind="idx", path="idx", size=32, train=16), tmp_path)
    assert len(limited.train) == 16
    assert limited.fingerprint == again.fingerprint != idx.fingerprint
    assert json.dumps(idx.classes)


@pytest.mark.parametrize(
    ("schedule", "warm", "rates"),
    [
        ("constant", 0, [1, 1, 1, 1, 1, 1]),
        ("constant", 1, [0, 0.5, 1, 1, 1, 1]),
        ("cosine", 0, [(1 + np.cos(np.pi * step / 6)) / 2 for step in range(6)]),
        ("poly", 0, [1 - step / 6 for step in range(6)]),
        ("tanh", 0, None),
    ],
)
def test_schedules_are_by_steps(schedule, warm, rates):
    """Of three epochs of two steps; what timm makes of a name falls to the end."""
    from composer.study.study_file import Training
    from composer.study.training import _optimizer

    training = Training(epochs=3, lr=1.0, schedule=schedule, warmup_epochs=warm)
    optimizer, scheduler = _optimizer(torch.nn.Linear(2, 2), training, 2)
    found = []
    for step in range(6):
        if scheduler is not None:
            scheduler.step_update(step)
        found.append(optimizer.param_groups[0]["lr"])
    if rates is not None:
        assert found == pytest.approx(rates)
    else:
        assert found == sorted(found, reverse=True)
        assert found[0] > 0.9 > 0.3 > found[-1]


# ------------------------------------------------------------------------------- optional parts


@pytest.mark.parametrize(
    ("module", "command", "changed", "says"),
    [
        ("ray", ["run", "--on", "ray"], {},
         "pip install ray, or pip install 'attention-composer[[]ray]'"),
        ("optuna", ["run"], {"halving": "{seed: 9}"}, "pip install optuna, or *"),
        ("datasets", ["run"], {"data": "{kind: huggingface, path: images, size: 32}"},
         "pip install datasets, or pip install 'attention-composer[[]study]'"),
        ("sklearn.datasets", ["run"], {"data": "{kind: digits, size: 32}"},
         "pip install scikit-learn, or *"),
    ],
)  # fmt: skip
def test_a_library_that_is_missing(run, tmp_path, monkeypatch, module, command, changed, says):
    """Exit status 3 with the command that installs it, before anything is trained."""
    monkeypatch.chdir(tmp_path)
    path = write_study(tmp_path, controls="[finetuned]", **changed)
    monkeypatch.setitem(sys.modules, module, None)
    found = run("study", command[0], path, *command[1:])
    assert found.status == 3
    last = found.err.splitlines()[-2:]
    name = {"sklearn.datasets": "scikit-learn"}.get(module, module)
    assert last[0] == f"error[missing-library]: {name} is not installed"
    assert fnmatchcase(last[1], f"  help: {says}")


def test_a_cluster_that_does_not_answer(tiny, monkeypatch):
    def init(**_):
        raise ConnectionError("Could not find any running Ray instance.\nmore")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    assert refused(lambda: work_on_ray(tiny, [], "auto", 1, Progress())) == (
        "error[study]: no Ray cluster answers at 'auto': Could not find any running Ray instance.\n"
        "  help: start one with 'ray start --head'"
    )


@pytest.mark.slow
def test_the_bar_of_a_terminal(tiny, monkeypatch):
    """It counts steps and runs, and is wiped away."""
    from composer.cli.study_progress import runs_bar

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    prepared = prepare(tiny)
    run = Run(tiny.study, prepared.arms[0], 0)
    with runs_bar(tiny, prepared) as progress:
        for _ in range(3):
            progress.on_step(run)
        progress.on_end(run, "done")
        monkeypatch.setattr(sys, "stderr", sys.__stderr__)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40, "40 s"), (89.4, "89 s"), (720, "12 min"), (7500, "2 h 05 min"), (5400, "1 h 30 min")],
)
def test_durations(seconds, words):
    from composer.cli.study_progress import duration

    assert duration(seconds) == words

"""The command line where all goes well: what is printed, and what is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command import NET, files, names, process
from PIL import Image
from safetensors.torch import load_file, save_file

import composer
from composer.models.model_string import ModelString
from composer.models.names import _old_timm_names, check_name, timm_names, torchvision_names
from composer.models.open import open_backbone

pytestmark = pytest.mark.usefixtures("net_file")

WRITTEN = ["model.safetensors", "recipe.yaml", "report.json", "report.md"]
TINY = "net.py:tiny"


@pytest.fixture(scope="module")
def weights():
    """A state dict of the tiny backbone in which no number is a default."""
    namespace: dict[str, object] = {"__name__": "net"}
    exec(NET, namespace)
    model = namespace["tiny"]()
    return {key: torch.rand_like(t) if t.is_floating_point() else t
            for key, t in model.state_dict().items()}  # fmt: skip


def test_insert_prints_the_plan_and_writes_four_files(run):
    result = run.fine("insert", "--spec", "se", "--into", TINY)
    assert files(Path("tiny-se")) == WRITTEN
    lines = result.out.splitlines()
    assert lines[0] == "se (shipped)  (Squeeze-and-Excitation)"
    assert lines[1] == "net.py:tiny on 3×224×224: 4 sites"
    assert [line.split()[:3] for line in lines[5:9]] == [
        ["stage1.0.se", "residual", "16"],
        ["stage1.1.se", "residual", "16"],
        ["stage2.0.se", "residual", "32"],
        ["stage2.1.se", "residual", "32"],
    ]
    said = next(line for line in lines if line.startswith("forward and backward: "))
    assert said.startswith("forward and backward: each of the 16 new parameter tensors has a grad")
    assert lines[-4:] == [
        "",
        "    import composer",
        "    model = composer.load('tiny-se', trust_code=True)",
        "    model.eval()",
    ]
    assert result.err == ""


def test_insert_json_is_one_object_with_the_keys_of_the_contract(run):
    found = run.fine("insert", "--spec", "se", "--into", TINY, "-o", "out/it", "--json").json
    assert list(found) == [
        "version", "backbone", "sites", "parameters", "flops", "difference", "output",
        "init", "input", "weights", "notes",
    ]  # fmt: skip
    assert found["version"] == 1
    assert found["backbone"] == TINY
    assert found["sites"][2] == {
        "path": "stage2.0",
        "position": "residual",
        "spec": "se",
        "channels": 32,
        "size": [28, 28],
        "parameters": 162,
        "init": "paper",
    }
    assert list(found["parameters"]) == list(found["flops"]) == ["before", "after"]
    added = found["parameters"]["after"] - found["parameters"]["before"]
    assert added == sum(site["parameters"] for site in found["sites"])
    assert found["flops"]["after"] > found["flops"]["before"]
    assert found["difference"] is None
    assert found["output"] == "out/it"
    assert json.loads(Path("out/it/report.json").read_text()) == found


@pytest.mark.long
def test_a_dry_run_writes_nothing(run):
    result = run.fine("insert", "--spec", "se", "--into", TINY, "--dry-run")
    assert result.out.endswith("dry run: nothing was verified, nothing was written\n")
    assert files(Path()) == ["net.py"]
    found = run.fine("insert", "--spec", "se", "--into", TINY, "--dry-run", "--json").json
    assert (found["output"], found["difference"], len(found["sites"])) == (None, None, 4)


CHOSEN = [
    ((), ["stage1.0", "stage1.1", "stage2.0", "stage2.1"]),
    (("--stages", "2"), ["stage2.0", "stage2.1"]),
    (("--stages", "1,2", "--blocks", "-1"), ["stage1.1", "stage2.1"]),
    (("--blocks", "1..1"), ["stage1.0", "stage2.0"]),
    (("--every", "2"), ["stage1.0", "stage2.0"]),
    (("--every", "3"), ["stage1.0", "stage2.1"]),
    (("--select", "stage1.*"), ["stage1.0", "stage1.1"]),
    (("--select", "*.1", "--select", "stage2.0"), ["stage1.1", "stage2.0", "stage2.1"]),
    (("--at", "stage"), ["stage1", "stage2"]),
    (("--at", "stage", "--stages", "-1"), ["stage2"]),
    (("--expect", "4"), ["stage1.0", "stage1.1", "stage2.0", "stage2.1"]),
]


@pytest.mark.parametrize(("options", "paths"), CHOSEN, ids=lambda v: " ".join(v))
def test_which_sites_are_chosen(run, options, paths):
    args = ("insert", "--spec", "se", "--into", TINY, "--dry-run", "--json", *options)
    assert [site["path"] for site in run.fine(*args).json["sites"]] == paths


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("position", ["residual", "output"])
def test_position(run, position):
    args = ("insert", "--spec", "se", "--into", TINY, "--dry-run", "--json")
    sites = run.fine(*args, "--position", position).json["sites"]
    assert {site["position"] for site in sites} == {position}


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ([], (49, 162)),  # c//16 = 1 and 2 hidden
        (["reduction=8"], (82, 292)),
        (["se.reduction=8"], (82, 292)),
        (["reduction=8", "bias=false"], (64, 256)),
    ],
)
def test_set(run, settings, parameters):
    options = [word for setting in settings for word in ("--set", setting)]
    args = ("insert", "--spec", "se", "--into", TINY, "--dry-run", "--json", *options)
    sites = run.fine(*args).json["sites"]
    assert (sites[0]["parameters"], sites[2]["parameters"]) == parameters


@pytest.mark.long
def test_specs_go_in_in_order_and_are_set_apart(run):
    args = ("insert", "--spec", "eca", "--spec", "se", "--into", TINY, "--set", "se.reduction=4")
    found = run.fine(*args, "--json").json
    assert [site["spec"] for site in found["sites"]] == ["eca"] * 4 + ["se"] * 4
    assert found["output"] == "tiny-eca-se"
    edits = composer.recipe(composer.load("tiny-eca-se", trust_code=True)).edits
    assert [(edit.spec, dict(edit.params)) for edit in edits] == [
        ("eca", {}),
        ("se", {"reduction": 4}),
    ]


def test_identity_prints_the_largest_difference(run, weights):
    save_file(weights, "w.safetensors")
    args = ("insert", "--spec", "se", "--into", TINY, "--weights", "w.safetensors")
    result = run.fine(*args, "--init", "identity")
    assert "largest difference from the original's output, on random numbers: 0\n" in result.out
    assert run.fine(*args, "--init", "identity", "--force", "--json").json["difference"] == 0


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_an_image_is_the_input(run, mode):
    Image.new(mode, (300, 200), 1).save("cat.png")
    args = ("insert", "--spec", "se", "--into", TINY, "--init", "identity")
    result = run.fine(*args, "--input", "cat.png")
    assert "largest difference from the original's output, on cat.png: 0\n" in result.out


@pytest.mark.long
def test_an_image_for_a_backbone_of_one_channel(run):
    Image.new("RGB", (40, 40)).save("cat.png")
    run.fine(
        "insert", "--spec", "eca", "--into", "resnet18?in_chans=1", "--stages", "1",
        "--input", "cat.png",
    )  # fmt: skip


FORMS = {
    "safetensors": lambda state, file: save_file(state, file),
    "state dict": lambda state, file: torch.save(state, file),
    "checkpoint of data-parallel training": lambda state, file: torch.save(
        {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file
    ),
    "checkpoint of a compiled model": lambda state, file: torch.save(
        {"model": {f"module._orig_mod.{key}": value for key, value in state.items()}}, file
    ),
    "checkpoint of timm's train.py": lambda state, file: torch.save(
        {"epoch": 3, "args": __import__("argparse").Namespace(lr=1), "state_dict": state}, file
    ),
    "batch norms without their counters": lambda state, file: save_file(
        {key: value for key, value in state.items() if "num_batches" not in key}, file
    ),
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("form", FORMS)
def test_weights(run, weights, form):
    file = "w.safetensors" if form == "safetensors" else "w.pth"  # the content counts
    FORMS[form](weights, file)
    run.fine("insert", "--spec", "se", "--into", TINY, "--weights", file)
    state = load_file("tiny-se/model.safetensors")
    assert all(torch.equal(state[key], tensor) for key, tensor in weights.items())


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_dtype(run, dtype):
    run.fine("insert", "--spec", "cbam", "--into", TINY, "--dtype", dtype)
    state = load_file("tiny-cbam/model.safetensors")
    kinds = {t.dtype for t in state.values() if t.is_floating_point()}
    assert kinds == {getattr(torch, dtype)}
    model = composer.load("tiny-cbam", trust_code=True)
    assert {p.dtype for p in model.parameters()} == kinds


@pytest.mark.slow
def test_compile(run):
    result = run.fine("insert", "--spec", "se", "--into", TINY, "--compile")
    assert "torch.compile(fullgraph=True): one graph, the same output\n" in result.out


def test_force_replaces_a_composition(run):
    run.fine("insert", "--spec", "se", "--into", TINY, "-o", "here")
    run.fine("insert", "--spec", "eca", "--into", TINY, "-o", "here", "--force")
    assert "spec: eca" in Path("here/recipe.yaml").read_text()
    assert files(Path("here")) == WRITTEN
    assert names(Path()) == ["here", "net.py"]


def test_an_empty_folder_is_filled(run):
    Path("here").mkdir()
    run.fine("insert", "--spec", "se", "--into", TINY, "-o", "here")
    assert files(Path("here")) == WRITTEN


@pytest.mark.long
def test_insertions_stack(run):
    run.fine("insert", "--spec", "se", "--into", TINY, "-o", "one")
    found = run.fine(
        "insert", "--spec", "eca", "--into", "one", "-o", "two", "--json", "--trust-code"
    ).json
    assert [site["spec"] for site in found["sites"]] == ["se"] * 4 + ["eca"] * 4
    assert found["backbone"] == TINY
    one, two = (load_file(f"{name}/model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(two[key], tensor) for key, tensor in one.items())
    report = json.loads(Path("one/report.json").read_text())
    assert found["parameters"]["before"] == report["parameters"]["before"]
    assert found["flops"]["before"] == report["flops"]["before"]
    found = run.fine("insert", "--spec", "eca", "--into", "one", "--json", "--trust-code").json
    assert found["output"] == "one-eca"


@pytest.mark.quick(5)
@pytest.mark.parametrize(
    ("word", "output"),
    [
        (TINY, "tiny-se"),
        ("./net.py:tiny", "tiny-se"),
        ("net.py:tiny?width=32&classes=3", "tiny-se"),
        ("lab.models.net:tiny", "tiny-se"),
        ("torchvision:resnet18", "resnet18-se"),
        ("resnet18?num_classes=10", "resnet18-se"),
        ("timm:resnet18", "resnet18-se"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k-se"),
    ],
)
def test_every_form_of_model(run, word, output):
    Path("lab/models").mkdir(parents=True)
    Path("lab/models/net.py").write_text(NET)
    args = ("insert", "--spec", "se", "--into", word, "--stages", "1", "--json")
    found = run.fine(*args).json
    assert found["output"] == output
    assert found["backbone"] == word.removeprefix("timm:")
    classes = composer.load(output, trust_code=True)(torch.zeros(2, 3, 224, 224)).shape[1]
    assert classes == {"net.py:tiny?width=32&classes=3": 3, "resnet18?num_classes=10": 10}.get(
        word, 5 if "tiny" in word else 1000
    )


def test_a_factory_may_import_what_stands_beside_it(run):
    Path("lab").mkdir()
    Path("lab/parts.py").write_text(NET)
    Path("lab/make.py").write_text("def make():\n    from parts import tiny\n    return tiny()\n")
    run.fine("insert", "--spec", "se", "--into", "lab/make.py:make", "--dry-run")


@pytest.mark.long
def test_what_a_factory_prints_is_no_data(run):
    text = NET.replace("    return Net", "    print('making it')\n    return Net")
    Path("net.py").write_text("print('hello')\n" + text)
    result = run.fine("insert", "--spec", "se", "--into", TINY, "--json")
    assert result.json["version"] == 1
    assert "hello" in result.err
    assert "making it" in result.err


def test_a_factory_named_as_a_module_that_is_loaded(run):
    Path("json.py").write_text(NET)
    run.fine("insert", "--spec", "se", "--into", "json.py:tiny")
    assert sys.modules["json"] is json


def test_the_users_own_line(run):
    Path("mine.yaml").write_text(
        "name: mine\ninput: [b, c, h, w]\nnodes:\n"
        "  pool: {op: pool, over: [h, w]}\n"
        "  gate: {op: gate, fn: sigmoid}\n"
        "  out: {op: reweight, x: input, by: gate}\n"
    )
    result = run.fine("insert", "--spec", "mine.yaml", "--into", TINY)
    assert result.out.startswith("mine from mine.yaml  (untitled)\n")


def test_check(run):
    result = run.fine("check", "se", "cbam")
    assert result.out == "se (shipped): ok\ncbam (shipped): ok\n"
    assert result.err == ""
    found = run.fine("check", "se", "--json").json
    assert found == {
        "version": 1,
        "files": [{"file": "se (shipped)", "ok": True, "problems": []}],
    }


def test_show(run):
    result = run.fine("show", "se", "--channels", "64", "--size", "7x5", "--set", "reduction=8")
    assert result.out.startswith("Squeeze-and-Excitation  (arXiv:1709.01507")
    assert "\n  reduction = 8  " in result.out
    assert "64×7×5" in result.out
    assert "1,096 parameters, " in result.out
    found = run.fine("show", "se", "--json").json
    assert (found["spec"], found["channels"], found["size"]) == ("se", 256, [14, 14])
    assert found["parameters"] == sum(node["parameters"] for node in found["nodes"]) == 8464
    assert "def forward(self" in run.fine("show", "se", "--code").out


def test_sites(run):
    result = run.fine("sites", TINY)
    assert result.out.startswith("net.py:tiny on 3×224×224\n")
    assert "  block 1..2     stage2.0 … stage2.1  ×2" in result.out
    found = run.fine("sites", TINY, "--json").json
    assert [stage["path"] for stage in found["stages"]] == ["stage1", "stage2"]
    assert found["stages"][1]["blocks"][0] == {
        "path": "stage2.0",
        "class": "Block",
        "channels": 32,
        "size": [28, 28],
        "layout": ["b", "c", "h", "w"],
        "prefix_tokens": 0,
        "positions": ["residual", "output", "input"],
        "branches": [],
        "note": None,
    }
    assert found["stem"]["path"] and found["head"]["path"] == "stage2"


def test_why(run):
    said = run.fine("sites", TINY, "--why", "stage2.1").out.splitlines()
    assert said == [
        "stage2.1",
        "  it outputs a map of 32 channels, 28×28, as [b, c, h, w]",
        "  it is block 2 of stage 2",
        "  its forward ends in a residual add",
    ]
    failed = run("sites", TINY, "--why", "stage2.l")
    assert failed.status == 1
    assert "error[unknown-module]: no module at 'stage2.l'" in failed.err
    assert "Modules in 'stage2': stage2.0, stage2.1" in failed.err


def test_sites_of_a_composition(run):
    run.fine("insert", "--spec", "se", "--into", TINY)
    assert "stage2.1" in run.fine("sites", "tiny-se", "--trust-code").out


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(("what", "key", "one"), [("specs", "name", "se"), ("ops", "op", "pool")])
def test_list(run, what, key, one):
    rows = run.fine("list", what, "--json").json[what]
    assert one in [row[key] for row in rows]
    printed = run.fine("list", what).out.splitlines()
    assert printed[0].split()[0] == key
    assert len(printed) == len(rows) + 2


def test_list_backbones_is_what_the_libraries_say(run):
    import timm
    import torchvision

    names = run.fine("list", "backbones").out.split()
    assert names == [*timm_names(), *(f"torchvision:{n}" for n in torchvision_names())]
    assert timm_names() == sorted(timm.list_models())
    assert torchvision_names() == sorted(torchvision.models.list_models())


def test_names_that_timm_takes_but_does_not_list_pass():
    from timm.models import _registry

    assert _old_timm_names() == set(_registry._deprecated_models)
    for name in ("tv_resnet50", "resnet50.a1_in1k"):
        check_name(ModelString.parse(name))


def test_schema(run):
    assert run.fine("schema").json["$schema"].startswith("http://json-schema.org/draft-07")


@pytest.mark.long
def test_eject(run, weights):
    save_file(weights, "w.safetensors")
    run.fine("insert", "--spec", "se", "--into", TINY, "--weights", "w.safetensors")
    result = run.fine("eject", "tiny-se", "--trust-code")
    assert result.out == (
        f"net.py:tiny without its insertions: {len(weights)} tensors, written to tiny.safetensors\n"
    )
    state = load_file("tiny.safetensors")
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in weights.items())
    open_backbone(ModelString.parse(TINY)).load_state_dict(state)
    found = run.fine("eject", "tiny-se", "-o", "x.safetensors", "--json", "--trust-code").json
    assert found == {
        "version": 1,
        "backbone": TINY,
        "tensors": len(weights),
        "output": "x.safetensors",
    }
    run.fine("eject", "tiny-se", "--force", "--trust-code")


def test_help_and_version(run):
    assert run.fine("--version").out == f"composer, version {composer.__version__}\n"
    for command in ("insert", "new", "check", "show", "sites", "list", "schema", "eject"):
        assert f"\n  {command} " in run.fine("--help").out
        assert run.fine(command, "-h").out.startswith(f"Usage: composer {command} ")


@pytest.mark.long
def test_a_process_of_its_own(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    done = process("insert", "--spec", "se", "--into", TINY, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["output"] == "tiny-se"
    assert files(tmp_path / "tiny-se") == WRITTEN


def test_the_reader_may_stop(tmp_path):
    line = f"{sys.executable} -m composer list backbones | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout == f"{timm_names()[0]}\n0\n"
    assert done.stderr == ""


@pytest.mark.long
def test_a_difference_is_from_what_was_given(run):
    """On a composition, identity begins from that composition, not from the bare backbone."""
    run("insert", "--spec", "se", "--into", TINY, "-o", "first", "--set", "min_width=1")
    result = run(
        "insert",
        "--spec",
        "eca",
        "--into",
        "first",
        "--init",
        "identity",
        "-o",
        "second",
        "--trust-code",
    )
    assert "4 sites, 4 from earlier insertions" in result.out
    assert "largest difference from first's output, on random numbers: 0\n" in result.out
    report = Path("second/report.md").read_text()
    assert "Largest difference from first's output: 0.\n" in report


def test_a_dry_run_needs_no_room_for_the_weights(run):
    """A thousand million parameters at a site are counted, not made."""
    result = run("insert", "--spec", "se", "--into", TINY, "--set", "reduction=1/1000000",
                 "--dry-run")  # fmt: skip
    assert result.status == 0
    assert "528,000,016" in result.out


def test_warnings_of_a_spec_are_shown(run):
    Path("idle.yaml").write_text(
        "name: idle\nparams: {eps: 1}\ninput: [b, c, h, w]\nnodes:\n"
        "  gate: {op: gate}\n  out: {op: reweight, x: input, by: gate}\n"
    )
    result = run("insert", "--spec", "idle.yaml", "--into", TINY, "--dry-run")
    assert result.status == 0
    assert "warning[unused-param]: no node reads the param 'eps'" in result.err

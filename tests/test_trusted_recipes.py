"""A composition of a stranger runs nothing, reads nothing outside, and says what it would run."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from command import NET, Command

import composer
from composer.artifact.carried import carried, read_recipe_at
from composer.errors import ComposerError
from composer.models.model_string import ModelString
from composer.models.names import timm_names
from composer.models.trusted import OF_EVERY_TIMM_MODEL, refusal, timm_arguments
from composer.plugins import additions

#: Code that leaves a mark wherever it is run.
EVIL = """
import pathlib
pathlib.Path(r"{mark}").touch()

def make(**_):
    pathlib.Path(r"{mark}").touch()
    return None
"""
TRUST = "look at it first; if you trust it, use --trust-code, or trust_code=True in Python"
SMALL = "resnet18?input_size=3,32,32"
VIT = {
    "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A composition as its author saved it."""
    folder = tmp_path_factory.mktemp("honest") / "it"
    composer.save(composer.insert(SMALL, "se", stages=1), folder)
    return folder


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What there must not be in the end; hostile files lie in the current folder and in `it`."""
    mark = tmp_path / "ran"
    here = tmp_path / "here"
    (here / "it").mkdir(parents=True)
    for folder in (here, here / "it"):
        (folder / "evil.py").write_text(EVIL.format(mark=mark))
        (folder / "yolov8n.yaml").write_text("nc: 80\nactivation: __import__('evil')\n")
        torch.save({"a": torch.zeros(1)}, folder / "evil.pth")
    monkeypatch.chdir(here)
    yield mark
    assert not mark.exists()
    assert "evil" not in sys.modules


def stolen(honest: Path, backbone: str) -> str:
    """Write the honest composition to `it` with another backbone, as a stranger may."""
    for file in honest.iterdir():
        shutil.copyfile(file, Path("it", file.name))
    recipe = Path("it/recipe.yaml")
    quoted = backbone.replace("'", "''")
    recipe.write_text(recipe.read_text().replace(SMALL, f"'{quoted}'", 1))
    return "it"


def said(call, *args: object, **wish: object) -> str:
    with pytest.raises(ComposerError) as refused:
        call(*args, **wish)
    assert refused.value.exit_code in (1, 3)
    return str(refused.value)


#: A backbone, and what is said of it; the place is that of its value in the recipe.
HOSTILE = {
    "evil.py:make": "the recipe's backbone would run code: make() of the file 'evil.py'",
    "it/evil.py:make?width=3": "make(width=3) of the file 'it/evil.py'",
    "../here/evil.py:make": "make() of the file '../here/evil.py'",
    "/tmp/evil.py:make": "make() of the file '/tmp/evil.py'",
    "evil:make": "make() of the module 'evil'",
    "os:system?command=touch%20ran": "system(command='touch ran') of the module 'os'",
    "builtins:exec?source=1": "exec(source=1) of the module 'builtins'",
    "subprocess:run?args=ls": "run(args='ls') of the module 'subprocess'",
    "importlib:import_module?name=evil": "import_module(name='evil') of the module 'importlib'",
    "runpy:run_path?path_name=evil.py": "run_path(path_name='evil.py') of the module 'runpy'",
    "torch:load?f=evil.pth": "load(f='evil.pth') of the module 'torch'",
    "torch.hub:load?repo_or_dir=it&model=make&source=local": "load(repo_or_dir='it'",
    "resnet18?checkpoint_path=evil.pth": "gives checkpoint_path='evil.pth', and that is not a "
    "plain word, and could be a path",
    "resnet18?checkpoint_path=evil": "gives 'checkpoint_path', which is not an argument that "
    "only builds resnet18: it would run resnet18(checkpoint_path='evil')",
    "resnet18?pretrained_cfg=evil": "gives 'pretrained_cfg', which is not an argument",
    "resnet18?pretrained_cfg_overlay=evil": "gives 'pretrained_cfg_overlay', which is not an "
    "argument",
    "resnet18?cache_dir=it": "gives 'cache_dir', which is not an argument",
    "resnet18?features_only=true": "gives 'features_only', which is not an argument",
    "resnet18?pruned=true": "gives 'pruned', which is not an argument",
    "resnet18?device=meta": "gives 'device', which is not an argument",
    "resnet18?act_layer=..%2Fevil": "gives act_layer='../evil', and that is not a plain word",
    "resnet18?act_layer=%1b[31m": "gives act_layer='\\x1b[31m', and that is not a plain word",
    "resnet18?num_classes=1000001": "gives num_classes=1000001, and a number here is at most",
    "resnet18?num_classes=1e400": "gives num_classes=inf, and a number here is at most 1,000,000",
    "resnet18?num_clases=10": "gives 'num_clases', which is not an argument",
    "torchvision:resnet18?progress=true": "gives 'progress', which is not an argument that only "
    "builds resnet18",
    "torchvision:resnet18?weights=DEFAULT": "would load weights again",
    "resnet18?pretrained=true": "would load weights again",
    "local-dir:it": "is not a backbone",
    "timm:local-dir:it": "is not a backbone",
    "hf-hub:a/b": "is not a backbone",
    "../it": "is '../it', which is not a plain name of timm",
    "torchvision:../it": "is '../it', which is not a plain name of torchvision",
    "hf:vit": "needs the config 'vit', which is not beside it as config.json, and no file "
    "outside is read",
    "hf:/etc/passwd": "needs the config '/etc/passwd'",
    "ultralytics:evil.yaml": "is made from 'evil.yaml', which is not a configuration that "
    "Ultralytics "
    "ships, and one can hold code",
    "ultralytics:it/yolov8n.yaml": "is 'it/yolov8n.yaml', which is not a plain name of ultralytics",
    "ultralytics:http%3A//x/a.yaml": "not a plain name",
    "ultralytics:yolov8n.pt": "is made from 'yolov8n.pt'",
    "ultralytics:yolov8n.yaml?cfg=evil": "gives 'cfg', which is not an argument",
}
#: What Ultralytics ships is known where it is installed: before that, it is asked for.
OF_SHIPPED_FILES = {
    "ultralytics:evil.yaml", "ultralytics:yolov8n.pt", "ultralytics:yolov8n.yaml?cfg=evil",
}  # fmt: skip


@pytest.mark.quick(12, then="long")
@pytest.mark.parametrize("backbone", HOSTILE)
def test_a_backbone_that_does_more_than_build_is_refused(honest, mark, backbone):
    folder = stolen(honest, backbone)
    told = said(composer.load, folder)
    if backbone in OF_SHIPPED_FILES and find_spec("ultralytics") is None:
        assert re.match(r"it/recipe\.yaml:2:11: error\[missing-library\]: ultralytics is not", told)
        return
    assert re.match(r"it/recipe\.yaml:2:1[12]: error\[(untrusted-code|unknown-backbone)\]: ", told)
    assert HOSTILE[backbone] in told
    lines = told.splitlines()
    assert lines[1].startswith("    2 | backbone: ") and set(lines[2]) <= set(" |^")
    assert lines[3].startswith("  help: ")
    if "[untrusted-code]" in told:
        assert told.endswith(TRUST)


def test_the_exact_words(honest, mark):
    assert said(composer.load, stolen(honest, "os:system?command=id")) == (
        "it/recipe.yaml:2:11: error[untrusted-code]: the recipe's backbone would run code: "
        "system(command='id') of the module 'os'\n"
        "    2 | backbone: 'os:system?command=id'\n"
        "      |           ^^^^^^^^^^^^^^^^^^^^^^\n"
        f"  help: {TRUST}"
    )


COMMANDS = (
    ("sites", "it"),
    ("render", "it", "-o", "x.svg"),
    ("render", "it", "--input", "cat.png", "-o", "x.svg"),
    ("eject", "it", "-o", "x.safetensors"),
    ("export", "it", "--to", "onnx", "-o", "x.onnx"),
    ("export", "it", "--to", "python", "-o", "x.py"),
    ("compare", "--into", "it", "--spec", "se"),
    ("compare", "--into", "resnet18", "--against", "it"),
    ("insert", "--spec", "eca", "--into", "it", "--dry-run"),
    ("insert", "--spec", "eca", "--into", "it", "-o", "x"),
    ("insert", "--recipe", "it", "--into", "resnet18", "--dry-run"),
    ("insert", "--recipe", "it/recipe.yaml", "--into", "resnet18", "-o", "x"),
)


@pytest.mark.parametrize("backbone", ["evil.py:make", "resnet18?checkpoint_path=evil"])
def test_every_command_refuses_it(honest, mark, backbone, capsys):
    stolen(honest, backbone)
    before = sorted(Path().rglob("*"))
    for command in COMMANDS:
        result = Command(capsys)(*command)
        assert (result.status, result.out) == (1, ""), command
        assert "error[untrusted-code]: the recipe's backbone " in result.err
        assert f"  help: {TRUST}\n" in result.err
    assert sorted(Path().rglob("*")) == before  # and nothing was written


def test_every_call_refuses_it(honest, mark):
    stolen(honest, "evil.py:make")
    calls = [
        lambda: composer.load("it"),
        lambda: composer.insert("it", "eca"),
        lambda: composer.plan("it", "eca"),
        lambda: composer.sites("it"),
        lambda: composer.render("it", "x.svg"),
        lambda: composer.export("it", "x.onnx"),
        lambda: carried(*read_recipe_at(Path("it"))),
    ]
    for call in calls:
        assert "error[untrusted-code]: the recipe's backbone would run code: make()" in said(call)


def test_diff_makes_no_model(honest, mark, capsys):
    stolen(honest, "evil.py:make")
    result = Command(capsys)("diff", "it", honest)
    assert result.status == 1
    assert f"backbone: evil.py:make → {SMALL}" in result.out


def test_register_refuses_what_does_more_than_build(honest, mark):
    stolen(honest, "resnet18?checkpoint_path=evil")
    told = said(composer.register, "it", name="stolen")
    assert "error[untrusted-code]: the recipe's backbone gives 'checkpoint_path'" in told
    assert not timm.is_model("composed_stolen")


def test_a_recipe_that_changes_after_it_was_registered(honest, mark):
    stolen(honest, "resnet18")
    name = composer.register("it", name="changed_later")
    stolen(honest, "resnet18?checkpoint_path=evil")
    assert "[untrusted-code]" in said(timm.create_model, name)


OWN = f"""{NET}
from pathlib import Path

def make():
    Path(__file__).with_name("count").open("a").write("x")
    return tiny(8), torch.zeros(1, 3, 32, 32)
"""


@pytest.mark.long
def test_with_trust_it_runs_and_insert_says_that_it_needs_it(mark, capsys):
    Path("own.py").write_text(OWN)
    run = Command(capsys)
    told = run.fine(
        "insert", "--spec", "se", "--into", "own.py:make", "--set", "reduction=4", "-o", "x"
    )
    note = (
        "note: the composition loads only with --trust-code (trust_code=True), since its "
        "backbone is own.py:make\n"
    )
    assert told.out.count(note) == 1
    assert "    model = composer.load('x', trust_code=True)\n" in told.out
    ran = len(Path("count").read_text())
    assert run("sites", "x").status == 1
    assert len(Path("count").read_text()) == ran
    assert run.fine("sites", "x", "--trust-code").out.startswith("x on 3×32×32\n")
    assert composer.plan("x", "eca", trust_code=True).sites
    assert len(Path("count").read_text()) > ran


@pytest.mark.slow
def test_every_command_takes_the_word_of_trust(mark, capsys):
    Path("own.py").write_text(OWN)
    run = Command(capsys)
    run.fine("insert", "--spec", "eca", "--into", "own.py:make", "-o", "x")
    run.fine("render", "x", "-o", "x.svg", "--trust-code")
    run.fine("eject", "x", "-o", "x.safetensors", "--trust-code")
    run.fine("insert", "--spec", "eca", "--into", "x", "--dry-run", "--trust-code")
    run.fine("insert", "--recipe", "x", "--into", "own.py:make", "--dry-run", "--trust-code")
    run.fine("compare", "--into", "x", "--spec", "eca", "--seconds", "0.01", "--trust-code")
    run.fine("export", "x", "--to", "pt2", "-o", "x.pt2", "--trust-code")
    assert composer.sites("x", trust_code=True).stages
    told = run.fine("insert", "--spec", "se", "--into", SMALL, "--stages", "1", "-o", "y")
    assert "trust" not in told.out


#: What only builds.
HONEST = (
    "resnet18?num_classes=10&in_chans=1&drop_rate=0.1&drop_path_rate=0.1",
    "resnet50.a1_in1k?output_stride=16&act_layer=gelu",
    "vit_tiny_patch16_224?img_size=64,32&global_pool=avg&depth=1&class_token=false&init_values=null",
    "swin_tiny_patch4_window7_224?window_size=8&img_size=256",
    "mobilenetv3_small_050?drop_path_rate=0.2", "convnext_tiny?head_init_scale=0.5",
    "fastvit_t8?num_classes=3", "timm:resnet18?input_size=3,64,64",
    "torchvision:resnet18?num_classes=7", "torchvision:mobilenet_v3_small?width_mult=0.5",
    "torchvision:fasterrcnn_resnet50_fpn?num_classes=3&min_size=300",
    "torchvision:swin_t?dropout=0.1",
)  # fmt: skip


@pytest.mark.parametrize("backbone", HONEST)
def test_what_only_builds_is_not_refused(backbone):
    assert refusal(ModelString.parse(backbone)) is None


def test_no_argument_of_any_model_of_timm_that_is_allowed_names_a_file():
    """The names of parameters are timm's: an oracle that knows nothing of the list."""
    odd = re.compile(r"file|path|dir|url|cache|checkpoint|pretrained|cfg|state|hub|fn$")
    known = {
        "drop_path_rate", "drop_path_rates", "drop_path", "transformer_drop_path", "use_checkpoint",
        "pretrained_window_sizes", "cfgs", "block_cfg", "state_dim", "bidirectional", "ffn",
        "block_fn", "head_fn", "round_chs_fn",
    }  # fmt: skip
    found = {}
    for name in timm_names():
        allowed = timm_arguments(name)
        assert allowed is not None and allowed >= OF_EVERY_TIMM_MODEL, name
        found |= {key: name for key in allowed if odd.search(key) and key not in known}
    assert found == {}


# ------------------------------------------------------------------------------ transformers


@pytest.fixture
def vit(mark) -> str:
    """A composition of a model of transformers, whose config it carries."""
    Path("vit").mkdir()
    Path("vit/config.json").write_text(json.dumps(VIT))
    model = composer.insert("hf:vit?num_labels=3", "se", params={"reduction": 4})
    composer.save(model, "it/vit-se")
    shutil.rmtree("vit")
    return "it/vit-se"


def changed(vit: str, **fields: object) -> None:
    file = Path(vit, "config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_a_composition_of_transformers_carries_its_config(vit):
    model = composer.load(vit)
    assert type(model).__name__ == "ViTForImageClassification"
    assert model.config.num_labels == 3 and model.config.hidden_size == 16
    Path(vit, "config.json").unlink()
    assert "[untrusted-code]: the recipe's backbone needs the config 'vit'" in said(
        composer.load, vit
    )


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize("notes", [
    {"auto_map": {"AutoModel": "evil.make", "AutoConfig": "evil.make"}, "trust_remote_code": True},
    {"_name_or_path": "/etc", "attn_implementation": "kernels-community/evil"},
    {"quantization_config": {"quant_method": "evil"}},
])  # fmt: skip
def test_what_a_config_says_of_code_is_not_followed(vit, notes):
    shutil.copyfile("evil.py", Path(vit, "evil.py"))
    changed(vit, **notes)
    assert type(composer.load(vit)).__name__ == "ViTForImageClassification"


TIMM = {"model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"],
        "architecture": "resnet18", "num_classes": 3, "label_names": ["a", "b", "c"]}  # fmt: skip


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize(("fields", "why"), [
    ({"architecture": "local-dir:it"}, "'local-dir:it' is not a plain name of timm"),
    ({"architecture": "hf-hub:a/b"}, "'hf-hub:a/b' is not a plain name of timm"),
    ({"model_args": {"checkpoint_path": "evil.pth"}},
     "'checkpoint_path' is not an argument that only builds resnet18"),
    ({"model_args": {"pretrained_cfg": {"file": "evil.pth"}}},
     "'pretrained_cfg' is not an argument that only builds resnet18"),
    ({"model_args": {"num_classes": 10**9}},
     "num_classes=1000000000 is given, and a number here is at most 1,000,000"),
    ({"model_args": {"act_layer": "/etc/passwd"}},
     "act_layer='/etc/passwd' is given, and that is not a plain word, and could be a path"),
    ({"backbone_kwargs": {"checkpoint_path": "evil.pth"}, "architecture": "resnet18"},
     "'checkpoint_path' is not an argument that only builds resnet18"),
    ({"vision_config": {"backbone": "local-dir:it"}}, "'local-dir:it' is not a plain name of timm"),
    ({"more": [{"backbone_kwargs": {"cache_dir": "it"}}]},
     "'cache_dir' is not an argument that only builds a model"),
])  # fmt: skip
def test_a_config_whose_model_of_timm_reads_files_is_refused(vit, fields, why):
    Path(vit, "config.json").write_text(json.dumps({**TIMM, **fields}))
    assert said(composer.load, vit).startswith(
        f"{vit}/config.json: error[bad-config]: it names a timm model that reads more than the "
        f"config: {why}\n  help: give a config with plain names, numbers, flags and words only"
    )


def test_a_config_of_deep_values_is_refused(vit):
    Path(vit, "config.json").write_text('{"model_type": "vit", "a": ' + "[" * 300 + "]" * 300 + "}")
    assert "error[bad-config]: values are nested more than 64 deep" in said(composer.load, vit)


@pytest.fixture
def trained(mark) -> str:
    """What `save_pretrained` of a composed model wrote."""
    Path("vit").mkdir()
    Path("vit/config.json").write_text(json.dumps(VIT))
    composer.insert("hf:vit", "se", params={"reduction": 4}).save_pretrained("it/trained")
    return "it/trained"


def test_a_recipe_in_a_config_names_no_other_backbone(trained):
    assert type(composer.load(trained)).__name__ == "ViTForImageClassification"
    file = Path(trained, "config.json")
    file.write_text(file.read_text().replace("backbone: hf:config.json", "backbone: evil.py:make"))
    assert said(composer.load, trained) == (
        f"{trained}/config.json: composer_recipe:2:11: error[bad-recipe]: the recipe in a "
        "config must be for that config, and not for 'evil.py:make'\n"
        "    2 | backbone: evil.py:make\n      |           ^^^^^^^^^^^^\n"
        "  help: it should have 'backbone: hf:config.json'; was it edited?"
    )


def test_weights_that_transformers_would_take_from_elsewhere(trained):
    Path(trained, "adapter_config.json").write_text('{"base_model_name_or_path": "/etc"}')
    assert said(composer.load, trained) == (
        f"{trained}/adapter_config.json: error[bad-config]: this marks the folder as an adapter "
        "of another model, which is not read\n"
        "  help: merge the adapter first (merge_and_unload), and save that"
    )
    Path(trained, "adapter_config.json").unlink()
    index = Path(trained, "model.safetensors.index.json")
    for shard in ("../../evil.pth", "/etc/passwd", "sub/x.safetensors"):
        index.write_text(json.dumps({"weight_map": {"a": shard}}))
        assert said(composer.load, trained) == (
            f"{index}: error[bad-config]: the shard {shard!r} is outside the folder, and is not "
            "read\n  help: put the shards next to their index"
        )


# ------------------------------------------------------------------------- files and packages


@pytest.mark.parametrize("name", ["recipe.yaml", "model.safetensors"])
def test_a_link_out_of_the_folder_is_not_read(honest, mark, name):
    stolen(honest, "resnet18")
    secret = Path("secret")
    secret.write_text("token: abc\n")
    Path("it", name).unlink()
    Path("it", name).symlink_to(secret.resolve())
    assert said(composer.load, "it") == (
        f"it/{name}: error[outside]: this is a link to a file outside the folder, which is not "
        "read\n  help: replace the link with the file itself"
    )


def test_links_into_the_cache_of_the_hub_are_inside(honest, mark):
    snapshot = Path("models--a--b/snapshots/0a1b")
    snapshot.mkdir(parents=True)
    Path("models--a--b/blobs").mkdir()
    for number, file in enumerate(honest.iterdir()):
        shutil.copyfile(file, f"models--a--b/blobs/{number}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    assert composer.recipe(composer.load(snapshot)).backbone == SMALL
    Path("models--a--b/blobs/0").unlink()
    Path("models--a--b/blobs/0").symlink_to("/etc/passwd")
    broken = next(file.name for number, file in enumerate(honest.iterdir()) if number == 0)
    if broken in ("recipe.yaml", "model.safetensors"):
        assert "error[outside]" in said(composer.load, snapshot)


def test_an_op_that_lies_beside_is_not_imported(honest, mark, monkeypatch):
    """As ``python -m`` and Jupyter have it, where the current folder comes first."""
    additions.cache_clear()
    monkeypatch.setattr(sys, "path", [str(Path.cwd()), *sys.path])
    stolen(honest, "resnet18")
    info = Path("evil_ops-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil-ops\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[composer.primitives]\nevil = evil:make\n")
    recipe = Path("it/recipe.yaml")
    recipe.write_text(recipe.read_text() + "ops: {evil: evil-ops 1.0}\n")
    assert (
        "error[missing-plugin]: the recipe's op 'evil' is from evil-ops 1.0, which is not installed"
    ) in said(composer.load, "it")
    additions.cache_clear()


@pytest.mark.slow
def test_a_network_of_ultralytics_is_the_shipped_one(mark):
    pytest.importorskip("ultralytics")
    source = ModelString.parse("ultralytics:yolov8n.yaml?nc=3")
    assert refusal(source) is None
    from composer.models.open import open_trusted

    assert open_trusted(source, None).yaml["nc"] == 3  # and not what lies here

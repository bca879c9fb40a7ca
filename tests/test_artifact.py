"""A composition on disk: what is written, and that the same model comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import MethodType

import pytest
import timm
import torch
import torchvision
import yaml
from command import NET, files
from hypothesis import given
from hypothesis import strategies as st
from probe import randomise
from safetensors.torch import load_file, save_file
from torch import nn

import composer
from composer.artifact import identify as identify_file
from composer.artifact.identify import identify
from composer.artifact.recipe import Recipe, RecipeEdit, RecipeSite, _sha256
from composer.artifact.report import change
from composer.errors import ComposerError
from composer.measure.numbers import giga
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.models.weights import fit_weights, save_weights

TINY = "net.py:tiny"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)


def composed(model: str | nn.Module = TINY, *specs: str, **wish: object) -> nn.Module:
    """Return a composition in which no weight is a default."""
    for spec in specs or ("se",):
        model = composer.insert(model, spec, **wish)
    return randomise(model)


def image(size: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))


def same(one: nn.Module, other: nn.Module, size: int = 64) -> None:
    """Assert equal keys, tensors, dtypes and outputs."""
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    for key, tensor in first.items():
        assert tensor.dtype == second[key].dtype, key
        assert torch.equal(tensor, second[key]), key
    x = image(size).to(next(one.parameters()).dtype)
    with torch.no_grad():
        assert torch.equal(one.eval()(x), other.eval()(x))


def load(folder: object) -> nn.Module:
    """Load a composition whose backbone is the code of these tests."""
    return composer.load(folder, trust_code=True)


def refusal(call, *args: object, **wish: object) -> str:
    with pytest.raises(ComposerError) as refused:
        call(*args, **wish)
    return str(refused.value)


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("backbone", "specs", "wish"),
    [
        (TINY, ("se",), {}),
        (TINY, ("se", "eca", "se"), {}),
        (TINY, ("cbam",), {"at": "stage"}),
        (TINY, ("cbam",), {"init": "identity", "params": {"reduction": 4}}),
        ("net.py:tiny?width=32&classes=2", ("bam",), {"stages": 2}),
        ("mobilenetv2_035", ("eca",), {"stages": "-1"}),
        ("torchvision:resnet18", ("se",), {"stages": "4"}),
        ("resnet18?num_classes=7&drop_path_rate=0.2", ("se",), {"every": 3}),
    ],
)
def test_the_same_comes_back(backbone, specs, wish):
    model = composed(backbone, *specs, **wish)
    assert composer.save(model, "it") == Path("it")
    again = composer.load("it", trust_code=True)
    same(model, again)
    assert composer.recipe(again) == composer.recipe(model)
    assert type(again).__name__ == type(model).__name__
    same(composer.eject(model), composer.eject(again))


def test_bfloat16_comes_back():
    model = composed().to(torch.bfloat16)
    composer.save(model, "it")
    same(model, composer.load("it", trust_code=True))


@pytest.mark.long
def test_mixed_precision_comes_back():
    model = composed().to(torch.bfloat16)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    model.stage1[0].norm.weight.data.fill_(1 + 2**-20)  # more than bfloat16 holds
    composer.save(model, "it")
    first, second = model.state_dict(), composer.load("it", trust_code=True).state_dict()
    for key, tensor in first.items():
        assert tensor.dtype == second[key].dtype
        assert torch.equal(tensor, second[key])


@pytest.mark.long
def test_channels_last_comes_back():
    model = composed().to(memory_format=torch.channels_last)
    composer.save(model, "it")
    first, second = model.state_dict(), composer.load("it", trust_code=True).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


TIED = (
    NET
    + """

def tied():
    net = tiny()
    net.stage1[1].conv1 = net.stage1[0].conv1
    net.stage1[1].conv2.weight = net.stage1[0].conv2.weight
    return net
"""
)


@pytest.mark.long
def test_tied_weights_come_back_tied():
    Path("net.py").write_text(TIED)
    model = composed("net.py:tied")
    composer.save(model, "it")
    keys = load_file("it/model.safetensors").keys()
    assert "stage1.0.conv1.weight" in keys
    assert "stage1.1.conv1.weight" not in keys
    again = composer.load("it", trust_code=True)
    same(model, again)
    assert again.stage1[1].conv1 is again.stage1[0].conv1
    assert again.stage1[1].conv2.weight is again.stage1[0].conv2.weight


def test_tensors_that_share_memory_are_written_whole():
    model = nn.Linear(4, 2)
    model.register_buffer("first", model.weight.data[0])
    model.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
    save_weights(model, Path("w.safetensors"))
    state = load_file("w.safetensors")
    assert torch.equal(state["first"], model.weight[0])
    assert torch.equal(state["turned"], model.turned)


@pytest.mark.long
def test_a_model_that_was_given_keeps_its_name():
    """timm's and torchvision's models are told by themselves."""
    for model, name in [
        (timm.create_model("resnet18"), "resnet18"),
        (timm.create_model("resnet18", num_classes=10), "resnet18?num_classes=10"),
        (timm.create_model("mobilenetv2_035"), "mobilenetv2_035"),
        (torchvision.models.resnet18(), "torchvision:resnet18"),
        (torchvision.models.resnet18(num_classes=5), "torchvision:resnet18?num_classes=5"),
    ]:
        assert identify(model) == name
        assert composer.recipe(composer.insert(model, "eca", stages=1)).backbone == name


def changed_stride(model: nn.Module) -> nn.Module:
    model.conv1.stride = (1, 1)
    return model


def changed_forward(model: nn.Module) -> nn.Module:
    model.forward = MethodType(lambda self, x: self.forward_features(x), model)
    return model


def changed_attribute(model: nn.Module) -> nn.Module:
    model.layer1[0].extra = 3
    return model


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "make",
    [
        lambda: timm.create_model("resnet18", act_layer=nn.SiLU),
        lambda: changed_stride(timm.create_model("resnet18")),
        lambda: changed_forward(timm.create_model("resnet18")),
        lambda: changed_attribute(timm.create_model("resnet18")),
    ],
)
def test_a_model_that_cannot_be_told_is_refused(make):
    model = make()
    assert identify(model) is None
    composition = composer.insert(model, "se", stages=1)
    assert refusal(composer.save, composition, "it") == (
        "error[unknown-origin]: it is not known how this ResNet was made, so a recipe could not "
        "make it again\n"
        "  help: name its MODEL: insert(model, spec, backbone='file.py:factory'), or with "
        "its arguments as in 'resnet18?drop_path_rate=0.1'"
    )
    assert files(Path()) == ["net.py"]


@pytest.mark.long
def test_a_model_of_ones_own_is_named_by_the_caller():
    model = randomise(open_backbone(ModelString.parse(TINY)))
    assert refusal(composer.save, composer.insert(model, "se"), "it") == (
        "error[unknown-origin]: it is not known how this Net was made, so a recipe could not make "
        "it again\n  help: name its MODEL: insert(model, spec, backbone='file.py:factory')"
    )
    composition = composer.insert(model, "se", backbone=TINY)
    composer.save(composition, "it")
    same(composition, composer.load("it", trust_code=True))


def test_nothing_but_compositions_are_saved():
    assert refusal(composer.save, nn.Linear(1, 1), "it") == (
        "error[not-composed]: nothing was inserted into this Linear\n"
        "  help: give a model returned by composer.insert or composer.load"
    )


@pytest.mark.long
def test_the_recipe_is_for_people():
    spec = "name: mine  \n# a remark\ninput: [b, c, h, w]\nnodes:\n  a: {op: gate, fn: relu}\n"
    Path("mine.yaml").write_text(spec)
    composer.save(composed(TINY, "mine.yaml"), "it")
    text = Path("it/recipe.yaml").read_text()
    assert text.startswith(
        "composer: 1\nbackbone: net.py:tiny\ndtype: float32\nedits:\n- spec: mine\n"
    )
    block = "".join(f"    {line}\n" for line in spec.splitlines())
    assert f"  text: |\n{block}" in text
    line = "path: stage2.1, name: mine, position: residual, channels: 32, size: [28, 28]"
    assert f"  - {{{line}}}\n" in text
    data = yaml.safe_load(text)
    assert list(data) == ["composer", "backbone", "dtype", "edits", "versions"]
    assert data["edits"][0]["text"] == spec
    assert data["edits"][0]["sites"][0] == {
        "path": "stage1.0", "name": "mine", "position": "residual", "channels": 16,
        "size": [56, 56],
    }  # fmt: skip
    assert list(data["versions"]) == [
        "python", "attention-composer", "torch", "torchvision", "timm",
    ]  # fmt: skip


TEXTS = st.text(
    st.one_of(st.sampled_from(" \n\t:#|-'\""), st.characters(codec="utf-8", exclude_characters="\r"
              "\x85\u2028\u2029\ufeff", exclude_categories=("Cc", "Cs", "Cn", "Co"))),
    max_size=40,
)  # fmt: skip


@given(text=TEXTS, word=st.one_of(TEXTS, st.from_regex(r"[0-9]{1,4}e[0-9]{1,3}", fullmatch=True)))
def test_any_text_survives_the_recipe(text, word):
    edit = RecipeEdit(
        spec="x", sha256=_sha256(text, {}), at="block", position="output", init="paper",
        params={"k": word, "n": 3, "f": 1e-5, "yes": True}, text=text,
        sites=(RecipeSite(path="a.0", name="1", position="output", channels=1, size=(1, 2)),),
    )  # fmt: skip
    made = Recipe(backbone="resnet18", dtype="float32", edits=(edit,), versions={"torch": word})
    assert Recipe.from_yaml(made.to_yaml(), "recipe.yaml") == made


def edited(before: str, after: str) -> None:
    path = Path("it/recipe.yaml")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


@pytest.mark.long
def test_a_changed_spec_is_refused():
    composer.save(composed(), "it")
    edited("fn: sigmoid", "fn: tanh")
    said = refusal(load, "it")
    assert said.startswith("it/recipe.yaml:")
    assert "[changed-spec]: the text of the spec 'se' is not the one that was inserted\n" in said
    assert said.endswith(
        "  help: insert the changed spec into the backbone again; a recipe is a record, not a "
        "file to edit"
    )


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    ("before", "after", "code", "message"),
    [
        ("at: block", "at: bloc", "bad-recipe",
         "edits.0.at: input should be 'block', 'stage', 'stem', 'head', 'module', "),
        ("dtype: float32", "dtype: float33", "bad-recipe", "'float33' is not a dtype of a model"),
        ("dtype: float32", "dtype: nn", "bad-recipe", "'nn' is not a dtype of a model"),
        ("backbone: net.py:tiny\n", "", "bad-recipe", "backbone: field required"),
        ("composer: 1", "composer: 2", "newer-recipe",
         "this recipe has version 2, and this Composer reads up to 1"),
        ("backbone: net", "backbone: nets", "unknown-backbone", "there is no file 'nets.py'"),
        ("path: stage2.1", "path: stage2.5", "changed-backbone",
         "net.py:tiny has different sites than the recipe: stage2.5"),
        ("net.py:tiny", "net.py:tiny?width=32", "changed-backbone",
         "stage1.0 has 16 channels in the recipe, and 32 channels in net.py:tiny?width=32"),
        ("net.py:tiny", "net.py:tiny?classes=3", "weights",
         "does not fit net.py:tiny?classes=3: "),
        ("edits:", "edits: [", "not-yaml", ""),
    ],
)  # fmt: skip
def test_an_edited_recipe_is_refused(before, after, code, message):
    composer.save(composed(), "it")
    edited(before, after)
    said = refusal(load, "it")
    assert f"error[{code}]: {message}" in said
    assert "  help: " in said or code == "not-yaml"


def test_a_folder_that_lacks_a_file():
    composer.save(composed(), "it")
    Path("it/model.safetensors").unlink()
    assert refusal(load, "it") == (
        "it/model.safetensors: error[weights]: there is no such file\n  help: check the path"
    )
    Path("it/recipe.yaml").unlink()
    assert "this is not a composition: it has no recipe.yaml" in refusal(load, "it")
    shutil.rmtree("it")
    assert "this is not a composition: there is no such folder" in refusal(load, "it")


def test_cut_weights_are_refused():
    composer.save(composed(), "it")
    path = Path("it/model.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert "error[weights]: this is not a weights file: " in refusal(load, "it")


def test_a_backbone_that_changed_is_refused():
    composer.save(composed(), "it")
    Path("net.py").write_text(NET.replace("Block(2 * width), Block(2", "Block(2"))
    said = refusal(load, "it")
    assert "[changed-backbone]: net.py:tiny has different sites than the recipe: stage2.1\n" in said
    assert "  help: it was made with python 3." in said


@pytest.mark.long
def test_a_relative_file_is_found_from_the_composition(tmp_path, monkeypatch):
    Path("models").mkdir()
    Path("net.py").rename("models/net.py")
    model = composed("models/net.py:tiny")
    composer.save(model, "runs/one/it")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    same(model, composer.load(tmp_path / "runs/one/it", trust_code=True))
    shutil.copytree(tmp_path / "models", tmp_path / "runs/one/it/models")
    (tmp_path / "models").rename(tmp_path / "gone")
    same(model, composer.load(tmp_path / "runs/one/it", trust_code=True))
    (elsewhere / "models").mkdir()
    (elsewhere / "models/net.py").write_text("def tiny():\n    raise ValueError('the nearest')\n")
    assert "ValueError: the nearest" in refusal(load, tmp_path / "runs/one/it")


def test_a_relative_file_that_is_nowhere(monkeypatch, tmp_path):
    composer.save(composed(), "it")
    Path("net.py").unlink()
    said = refusal(load, "it")
    assert "there is no file 'net.py', neither here nor from it upwards" in said


def test_no_pickle_anywhere():
    composer.save(composed(), "it")
    assert files(Path("it")) == ["model.safetensors", "recipe.yaml", "report.json", "report.md"]
    for path in Path("it").iterdir():
        head = path.read_bytes()[:2]
        assert head != b"PK"
        assert not head.startswith(b"\x80")
    package = Path(composer.__file__).parent
    for path in package.rglob("*.py"):
        if path.parent.name == "testing":  # the kit, which pickles what it has just built
            continue
        if path.name == "proof.py":  # tensors between two processes, in a folder of their own
            continue
        text = path.read_text()
        if path.parent.name == "study" and path.name == "checkpoint.py":  # of a run on this machine
            assert "weights_only=True" in text
            continue
        assert "pickle.load" not in text
        assert "torch.save(" not in text, path
        assert "weights_only=False" not in text


def test_saving_twice():
    model = composed()
    composer.save(model, "it")
    before = Path("it/model.safetensors").read_bytes()
    assert refusal(composer.save, model, "it") == (
        "it: error[output]: exists already\n"
        "  help: replace it with --force, or choose another with -o"
    )
    composer.save(model, "it", force=True)
    assert Path("it/model.safetensors").read_bytes() == before
    composer.save(composer.load("it", trust_code=True), "again")
    assert Path("again/recipe.yaml").read_text() == Path("it/recipe.yaml").read_text()
    assert Path("again/model.safetensors").read_bytes() == before


def test_a_link_to_a_folder_is_followed():
    Path("disk").mkdir()
    Path("it").symlink_to("disk")
    composer.save(composed(), "it")
    assert Path("it").is_symlink()
    composer.save(composed(), "it", force=True)
    assert Path("it").is_symlink()
    assert "recipe.yaml" in files(Path("disk"))


def test_something_else_is_never_replaced():
    Path("it").mkdir()
    Path("it/thesis.tex").touch()
    said = refusal(composer.save, composed(), "it", force=True)
    assert "exists and is not a composition, so it is not replaced" in said
    assert files(Path("it")) == ["thesis.tex"]


def test_loading_draws_no_conclusions_from_the_state_of_the_process():
    """An aborted load, a model in eval mode, a default dtype: each composition is its own."""
    composer.save(composed(), "it")
    torch.set_default_dtype(torch.float64)
    try:
        model = composer.load("it", trust_code=True)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.training


@pytest.mark.long
def test_the_three_lines_of_the_report_load_it():
    model = composed()
    composer.save(model, "it")
    text = Path("it/report.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    assert len(code.splitlines()) == 3
    torch.save(image(), "x.pt")
    code += "import torch\ntorch.save(model(torch.load('x.pt')), 'y.pt')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    torch.set_num_threads(1)
    assert torch.allclose(torch.load("y.pt"), model.eval()(image()), atol=1e-6)


REPORT = """\
# se in net.py:tiny

2 sites; an input of 3×224×224.

| module | position | channels | size | parameters |
| --- | --- | ---: | ---: | ---: |
| `stage2.0.se` | residual | 32 | 28×28 | 162 |
| `stage2.1.se` | residual | 32 | 28×28 | 162 |

| | before | after | change |
| --- | ---: | ---: | ---: |
| parameters | 49,493 | 49,817 | +0.65% |
| multiply-adds | {before} | {after} | +0.00% |

```python
import composer
model = composer.load('it', trust_code=True)
model.eval()
```
"""


def test_the_report():
    composer.save(composer.insert(TINY, "se", stages=2), "it")
    found = json.loads(Path("it/report.json").read_text())
    flops = found["flops"]
    assert flops["after"] - flops["before"] == 2 * 2 * 32 * 2
    assert Path("it/report.md").read_text() == REPORT.format(
        before=giga(flops["before"]), after=giga(flops["after"])
    )
    assert list(found) == [
        "version", "backbone", "sites", "parameters", "flops", "difference", "output",
        "init", "input", "weights", "notes",
    ]  # fmt: skip
    assert found["parameters"] == {"before": 49493, "after": 49817}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (4_111_514_624, "4.11 G"),
        (314_600_000, "314.6 M"),
        (52_400, "52.4 k"),
        (640, "640"),
        (0, "0"),
    ],
)
def test_multiply_adds_as_papers_print_them(number, text):
    assert giga(number) == text


@pytest.mark.parametrize(
    ("pair", "text"),
    [((100, 101), "+1.00%"), ((100, 95), "-5.00%"), ((100, 100), "+0.00%"), ((0, 1200), "+1,200")],
)
def test_change(pair, text):
    assert change(pair) == text


MODELS = [
    "resnet50", "torchvision:resnet50", "lab.models:make", "lab/models.py:make",
    "resnet50?num_classes=10&drop_path_rate=0.1&act_layer=gelu&global_pool=null&x=true",
]  # fmt: skip


@pytest.mark.parametrize("text", MODELS)
def test_a_model_string_reads_as_it_prints(text):
    assert str(ModelString.parse(text)) == text


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.from_regex(r"[a-z][a-z &=+%?#/,.éλ-]{0,12}", fullmatch=True).filter(
        lambda text: text not in ("null", "true", "false")),
    st.from_regex(r"[0-9.-]{1,3},[0-9,]{0,4}", fullmatch=True),
    st.lists(st.integers() | st.floats(-9, 9, exclude_min=True), min_size=1).map(tuple),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["width", "depth", "act"]), VALUES))
def test_arguments_read_as_they_print(arguments):
    made = ModelString("file", "a/b.py:make", tuple(arguments.items()))
    assert ModelString.parse(str(made)) == made


def test_two_files_of_one_name_are_two_modules():
    for folder, classes in (("one", 3), ("two", 4)):
        Path(folder).mkdir()
        Path(folder, "same.py").write_text(NET.replace("classes=5", f"classes={classes}"))
    made = [open_backbone(ModelString.parse(f"{f}/same.py:tiny")) for f in ("one", "two")]
    assert [m.head.out_features for m in made] == [3, 4]
    assert [sys.modules[type(m).__module__].__file__ for m in made] == [
        str(Path(f, "same.py").resolve()) for f in ("one", "two")
    ]


def test_weights_that_do_not_fit_change_nothing():
    model = randomise(open_backbone(ModelString.parse(TINY)))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    wrong = {**before, "head.bias": torch.zeros(3)}
    assert "does not fit" in refusal(fit_weights, model, wrong, Path("w"), TINY)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_identify_never_edits(monkeypatch):
    """The question asked of a composition leaves it as it was."""
    model = composed(timm.create_model("resnet18"), "se", stages=1)
    keys = list(model.state_dict())
    assert identify(model) == "resnet18"
    assert list(model.state_dict()) == keys
    monkeypatch.setattr(identify_file, "open_backbone", lambda source: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        identify(model)


def test_a_prefix_that_the_model_has_itself_stays():
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    model = Wrapper()
    state = {key: torch.ones_like(tensor) for key, tensor in model.state_dict().items()}
    save_file(state, "w.safetensors")
    from composer.models.weights import load_weights

    load_weights(model, Path("w.safetensors"), "Wrapper")
    assert torch.equal(model.module.weight, torch.ones(2, 2))


def test_the_current_folder_is_left_alone():
    before = Path.cwd()
    path = list(sys.path)
    composer.save(composed(), "it")
    composer.load("it", trust_code=True)
    assert Path.cwd() == before
    assert sys.path == path


CHOOSY = """
name: choosy
input: [b, c, h, w]
nodes:
  squeeze: {op: pool, over: [h, w]}
  gate: {op: gate}
  out: {op: reweight, x: input, by: gate}
insert: {at: block, stages: 1, blocks: 1}
"""


def test_sites_chosen_against_the_spec_come_back():
    """The recipe holds the sites; where the spec would go by itself has no say any more."""
    model = composer.insert(TINY, CHOOSY, stages="2", blocks="2")
    composer.save(model, "chosen")
    loaded = composer.load("chosen", trust_code=True)
    assert composer.recipe(loaded).edits == composer.recipe(model).edits
    assert [site.path for site in composer.recipe(loaded).edits[0].sites] == ["stage2.1"]


@pytest.mark.long
def test_a_head_changed_after_the_insertion_is_told_or_refused():
    model = composer.insert("resnet18", "eca", stages="4")
    model.reset_classifier(10)
    assert composer.recipe(model).backbone == "resnet18?num_classes=10"
    own = composer.insert(TINY, "eca")
    own.head = nn.Linear(32, 3)
    with pytest.raises(ComposerError) as caught:
        composer.save(own, "own")
    (problem,) = caught.value.diagnostics
    assert problem.code == "unknown-origin"
    assert problem.message == (
        "the model was changed after the insertion ('head.weight' is 3×32 here and 5×32 there), "
        "so a recipe could not make it again"
    )
    assert not Path("own").exists()


def test_a_wrong_origin_is_refused_at_once():
    with pytest.raises(ComposerError) as caught:
        composer.insert(timm.create_model("resnet18"), "eca", backbone="resnet34")
    assert caught.value.diagnostics[0].code == "another-backbone"


def test_what_is_written_is_readable_as_the_umask_says():
    model = composer.insert(TINY, "eca")
    composer.save(model, "shared")
    Path("plain").touch()
    Path("folder").mkdir()
    for path in Path("shared").iterdir():
        assert path.stat().st_mode == Path("plain").stat().st_mode, path
    assert Path("shared").stat().st_mode == Path("folder").stat().st_mode


HALF = """\
name: half
input: [b, c, h, w]
nodes:
  gate: {op: gate}
  out: {op: reweight, x: input, by: gate}
"""
USER = """\
name: user
input: [b, c, h, w]
nodes:
  out: {op: use, spec: half.yaml}
insert: {at: block}
"""


def test_a_recipe_holds_all_that_its_spec_is_made_of():
    Path("half.yaml").write_text(HALF)
    Path("user.yaml").write_text(USER)
    model = composed(TINY, "user.yaml")
    composer.save(model, "it")
    Path("half.yaml").unlink()
    Path("user.yaml").unlink()
    (edit,) = composer.recipe(model).edits
    assert list(edit.uses.values()) == [HALF]
    again = composer.load("it", trust_code=True)
    same(model, again)
    assert composer.recipe(again) == composer.recipe(model)
    assert "uses" not in composer.recipe(composed(TINY, "se")).to_yaml()


def test_a_changed_part_of_a_spec_is_refused():
    Path("half.yaml").write_text(HALF)
    Path("user.yaml").write_text(USER)
    composer.save(composed(TINY, "user.yaml"), "it")
    edited("gate: {op: gate}", "gate: {op: gate, fn: tanh}")
    assert "[changed-spec]: the text of the spec 'user' is not the one" in refusal(load, "it")


# ------------------------------------------------------------------- weights computed of others


@pytest.mark.long
def test_inserted_weights_that_are_parametrized_are_not_saved(tmp_path: Path) -> None:
    from torch.nn.utils import parametrizations, prune

    for make in (
        parametrizations.spectral_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ):
        model = composer.insert(open_backbone(ModelString.parse(TINY)), "se", backbone=TINY)
        make(model.stage1[0].se.excite.fc1)
        with pytest.raises(ComposerError) as caught:
            composer.save(model, tmp_path / "saved")
        assert str(caught.value) == (
            "error[parametrized]: the weights of stage1.0.se.excite.fc1 are computed from "
            "others, as by spectral_norm or pruning, and a recipe has no such keys\n  help: "
            "make them "
            "plain first with remove_parametrizations or prune.remove, or save the state_dict() "
            "yourself"
        )
        assert not (tmp_path / "saved").exists()


def test_a_model_with_spectral_norm_that_ran_is_copied_and_ejected() -> None:
    from torch.nn.utils import spectral_norm

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = spectral_norm(nn.Conv2d(32, 32, 3, padding=1))
            self.b = spectral_norm(nn.Conv2d(32, 32, 3, padding=1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.b(torch.relu(self.a(x)))

    model = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), Block(), Block())
    composed = composer.insert(model, "se")
    composed(torch.rand(1, 3, 32, 32)).sum().backward()
    again = composer.insert(composed, "eca")
    back = composer.eject(again)
    assert list(back.state_dict()) == list(model.state_dict())

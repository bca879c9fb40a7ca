"""Mechanisms and composed models as Python that imports nothing of Composer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch
from safetensors.torch import load_file
from shipped import EVERY, STANDS_FOR, TOKENS, TYPICAL, WIDE
from torch import Tensor, nn

import composer
from composer.errors import ComposerError
from composer.exporting.python.code import broken
from composer.exporting.python.mechanism import mechanism_class, python_source
from composer.exporting.python.model import model_source, write_python
from composer.graph.frontend import load_spec
from composer.lower.build import compiled, lower, settings_for
from composer.surgery.composition import own_shapes
from composer.surgery.own_modules import own_modules

GOLDENS = Path(__file__).parent / "goldens" / "python"
SIZE = (6, 6)
#: What is written anew at every size.
QUICK = ("cbam", "cond_conv", "eca", "mhsa", "se", "sk")
CASES = [
    pytest.param(case.values[0], marks=() if case.values[0] in QUICK else pytest.mark.slow)
    for case in EVERY
]
#: Ruff breaks a product in them at other signs; it finds nothing else.
NOT_FORMATTED = {"fca"}
assert set(QUICK) <= set(TYPICAL)


def imported(source: str) -> ModuleType:
    """Return a source as a module."""
    module = ModuleType("exported")
    exec(compile(source, "exported.py", "exec"), vars(module))
    return module


def given(name: str) -> dict[str, object]:
    """Return what a spec is built with."""
    channels = 512 if name in WIDE else 64
    if STANDS_FOR[name] == "conv2d":
        return {"like": nn.Conv2d(channels, channels, 3, padding=1, bias=False), "size": SIZE}
    return {"channels": channels, "size": SIZE}


def arguments(kind: type[nn.Module], channels: int) -> dict[str, int]:
    """Return the arguments that a class has to be given."""
    known = dict.fromkeys(("channels", "in_channels", "out_channels"), channels)
    known |= {"height": SIZE[0], "width": SIZE[1], "tokens": SIZE[0] * SIZE[1]}
    code, defaults = kind.__init__.__code__, kind.__init__.__defaults__ or ()
    names = code.co_varnames[1 : code.co_argcount - len(defaults)]
    return {} if kind.__init__ is nn.Module.__init__ else {name: known[name] for name in names}


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module


def tidy(source: str, tmp_path: Path) -> str:
    """Return what ruff says of a source under the project's settings."""
    file = tmp_path / "exported.py"
    file.write_text(source, encoding="utf-8")
    settings = Path(composer.__file__).parent.parent / "pyproject.toml"
    told = [
        subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--config", str(settings), str(file)],
            capture_output=True, text=True, check=False,
        )
        for command in (["check", "--no-cache"], ["format", "--diff", "--no-cache"])
    ]  # fmt: skip
    return "".join(done.stdout for done in told if done.returncode)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("name", CASES)
def test_a_mechanism_is_a_class_of_plain_torch(name, tmp_path):
    how = given(name)
    source = python_source(name, **how)
    assert "composer" not in source
    told = tidy(source, tmp_path)
    assert told == "" or (name in NOT_FORMATTED and told.startswith("---"))
    module = imported(source)
    (*_, kind) = (v for v in vars(module).values() if getattr(v, "__module__", "") == "exported")
    channels = 512 if name in WIDE else 64
    made = kind(**arguments(kind, channels)).double()
    ours = randomised(composer.build(name, **how, dtype=torch.float64))
    made.load_state_dict(ours.state_dict(), strict=True)
    torch.manual_seed(2)
    shape = (2, SIZE[0] * SIZE[1], channels) if name in TOKENS else (2, channels, *SIZE)
    x = torch.randn(shape, dtype=torch.float64)
    for training in (True, False):
        (y, *grads), (ours_y, *ours_grads) = (
            outputs(one.train(training), x) for one in (made, ours)
        )
        torch.testing.assert_close(y, ours_y, rtol=0, atol=1e-9)
        for one, other in zip(grads, ours_grads, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def outputs(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what a module gives, and its gradients by name."""
    module.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    y = module(x)
    y.mul(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
    named = sorted(module.named_parameters())
    assert x.grad is not None
    return [y.detach(), x.grad, *(p.grad for _, p in named if p.grad is not None)]


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("name", CASES)
def test_its_arguments_make_it_at_other_sizes(name):
    """Each class is made at every sample: the shapes are those of what Composer builds there."""
    spec = load_spec(name)
    kind = mechanism_class(spec, settings_for(spec, **given(name)))
    if not kind.samples.asked.settings.sizes:
        return
    made = getattr(imported(_file(kind)), kind.name)
    unknown = [e for e in kind.expressions if e is None]
    for sample in kind.samples.samples:
        told = {word: sample.known[n] for n, word in kind.arguments.items()}
        with torch.device("meta"):
            ours = lower(compiled(spec, sample.settings))
            theirs = made(**told)
        shapes = [{k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (ours, theirs)]
        assert shapes[0] == shapes[1] or unknown, told


def _file(kind) -> str:
    from composer.exporting.python.mechanism import file_of

    return file_of([kind], kind.name)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("name", ["se", "cbam"])
def test_goldens(name):
    """Read, and found to be what one would write."""
    golden = GOLDENS / f"{name}.py"
    assert python_source(name) == golden.read_text(encoding="utf-8")


def test_a_param_that_is_given_is_the_default():
    assert "reduction: int = 8" in python_source("se", 64, params={"reduction": 8})


def test_layers_begin_as_the_spec_says():
    kind = imported(python_source("cbam", 64)).CBAM
    assert kind(64).spatial.locate.norm.weight.item() == 0
    assert kind(64, spatial_scale=2).spatial.locate.norm.weight.item() == 2
    ours, theirs = composer.build("cond_conv", 64).kernels, imported(
        python_source("cond_conv", 64)
    ).CondConv(64, 64).kernels  # fmt: skip
    assert theirs.std().item() == pytest.approx(ours.std().item(), rel=0.05)


@pytest.mark.parametrize(
    ("line", "indent", "lines"),
    [
        ("x = f(a)", 8, ["        x = f(a)"]),
        (
            f"x = f({'a' * 50}, {'b' * 50})",
            4,
            ["    x = f(", f"        {'a' * 50},", f"        {'b' * 50},", "    )"],
        ),
        (f"f({'a' * 60}, {'b' * 26}, 3)", 8,
         ["        f(", f"            {'a' * 60},", f"            {'b' * 26},", "            3,",
          "        )"]),
        (f"y = {'a' * 40} + {'b' * 40} + {'c' * 40}", 0,
         ["y = (", f"    {'a' * 40}", f"    + {'b' * 40}", f"    + {'c' * 40}", ")"]),
    ],
)  # fmt: skip
def test_long_lines_are_broken(line, indent, lines):
    assert [*broken(line, indent)] == lines


# ------------------------------------------------------------------------------------ whole models

MODELS = [
    ("se", "resnet18?input_size=3,64,64", {}),
    ("cbam", "resnet18?input_size=3,64,64", {"init": "identity"}),
    ("eca", "vit_tiny_patch16_224", {}),
    ("cbam", "resnet50", {}),
    ("bam", "resnet18", {}),
    ("sk", "resnet50", {}),
    ("sk", "resnet18", {"init": "identity"}),
    ("se", "swin_tiny_patch4_window7_224", {"init": "identity"}),
    ("se", "torchvision:resnet18", {}),
    ("cond_conv", "mobilenetv2_050", {}),
    ("mhsa", "vit_tiny_patch16_224", {}),
    ("cbam", "vit_tiny_patch16_224", {"init": "identity"}),
    ("coordinate", "deit_tiny_distilled_patch16_224", {
        "at": "block", "position": "residual", "stages": 1}),
    ("coordinate", "swin_tiny_patch4_window7_224", {"at": "block", "position": "residual"}),
    ("lka", "pvt_v2_b0", {}),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(("spec", "backbone", "how"), MODELS)
def test_a_composed_model_runs_without_composer(spec, backbone, how, tmp_path):
    model = composer.insert(backbone, spec, **how)
    written = write_python(model, tmp_path / "composed.py")
    assert written.difference < 1e-6
    source = written.source.read_text(encoding="utf-8")
    assert "composer" not in source
    assert "Found" not in tidy(source, tmp_path)  # the authors' methods are formatted as they are
    assert set(load_file(written.weights)) <= set(model.state_dict())


def config_of(kind: str, folder: Path) -> str:
    """Write a small config of transformers, and return its MODEL string."""
    import transformers

    small = {
        "ResNet": {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]},
        "ViT": {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                "intermediate_size": 96, "image_size": 64},
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**small[kind], num_labels=5)
    config.architectures = [f"{kind}ForImageClassification"]
    config.to_json_file(folder / "config.json")
    return f"hf:{folder}"


@pytest.mark.long
@pytest.mark.parametrize(("kind", "spec"), [("ResNet", "se"), ("ViT", "cbam")])
@pytest.mark.quick(1)
def test_a_model_of_transformers_is_made_by_its_config(kind, spec, tmp_path):
    """The config stands in the file; the recipe that it carried does not."""
    model = composer.insert(config_of(kind, tmp_path), spec, params={"reduction": 4})
    written = write_python(model, tmp_path / "composed.py")
    assert written.difference < 1e-6
    source = written.source.read_text(encoding="utf-8")
    assert f"net = transformers.{kind}ForImageClassification(" in source
    assert "composer" not in source and str(tmp_path) not in source


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n.yaml", "yolov8n-cls.yaml"])
def test_a_model_of_ultralytics_is_made_by_its_configuration(name, tmp_path):
    pytest.importorskip("ultralytics")
    model = composer.insert(f"ultralytics:{name}", "eca")
    written = write_python(model, tmp_path / "composed.py")
    assert written.difference < 1e-6
    assert f'Model("{name}", verbose=False)' in written.source.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_comparison_sees_other_numbers(tmp_path, monkeypatch):
    model = composer.insert("resnet18?input_size=3,64,64", "se", stages=1)
    source = model_source(model).replace("torch.sigmoid(excite)", "torch.tanh(excite)")
    monkeypatch.setattr("composer.exporting.python.model.model_source", lambda model: source)
    with pytest.raises(ComposerError, match=r"differs by .* from the model"):
        write_python(model, tmp_path / "composed.py")
    assert [*tmp_path.iterdir()] == []


REFUSED = [
    ("named", "m.txt", "m.txt is not named .py", "name it m.py"),
    ("plain", "m.py", "nothing was inserted into this ResNet",
     "give a model returned by composer.insert or composer.load"),
    ("head", "m.py", "fc is Sequential, which differs from resnet18",
     "give the backbone with its arguments when inserting, or export to pt2 or onnx"),
]  # fmt: skip


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(("case", "file", "said", "way_out"), REFUSED)
def test_what_cannot_go_is_refused(case, file, said, way_out, tmp_path):
    model = timm.create_model("resnet18")
    if case != "plain":
        model = composer.insert("resnet18", "se", stages=1)
    if case == "head":
        model.fc = nn.Sequential(nn.Linear(512, 1000))
        model._composition = model._composition.__class__(
            "resnet18", model._composition.edits, own_shapes(model), own_modules(model)
        )
    with pytest.raises(ComposerError) as refused:
        write_python(model, tmp_path / file)
    (problem,) = refused.value.diagnostics
    assert (problem.message.rpartition("/")[2], problem.help) == (said, way_out)
    assert [*tmp_path.iterdir()] == []

"""A composition is a model of timm's registry."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from probe import randomise
from timm.models import is_model_pretrained
from torch import nn

import composer
from composer.errors import ComposerError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Iterator[nn.Module]:
    """A composition that was saved in a folder of this test's own name."""
    made = randomise(composer.insert("resnet18?drop_rate=0.1", "cbam", stages=4))
    composer.save(made, "cbam-r18")
    yield made


def name_of(tmp_path: Path) -> str:
    """Register under a name that no other test has."""
    return composer.register("cbam-r18", name=tmp_path.name)


def out(model: nn.Module, channels: int = 3) -> torch.Tensor:
    x = torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.eval()(x)


@pytest.mark.long
def test_timm_lists_it_and_makes_it(model: nn.Module, tmp_path: Path) -> None:
    name = name_of(tmp_path)
    assert name.startswith("composed_")
    assert name in timm.list_models()
    assert name in timm.list_models("composed_*", module="composed")
    assert name in timm.list_models(pretrained=True) and is_model_pretrained(name)
    made = timm.create_model(name, pretrained=True)
    assert type(made).__name__ == "ResNet"
    assert made.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(out(made), out(model))
    assert made.drop_rate == 0.1
    fresh = timm.create_model(name)
    assert not torch.equal(fresh.conv1.weight, model.conv1.weight)
    config = made.pretrained_cfg
    assert config["architecture"] == name
    assert config["file"] == str(Path("cbam-r18/model.safetensors").resolve())
    assert config["mean"] == timm.create_model("resnet18").pretrained_cfg["mean"]
    assert timm.data.resolve_model_data_config(made)["input_size"] == (3, 224, 224)


@pytest.mark.long
def test_its_name_is_the_folders(model: nn.Module) -> None:
    assert composer.register("cbam-r18") == "composed_cbam_r18"
    with warnings.catch_warnings(action="error"):
        assert composer.register(Path("cbam-r18").resolve()) == "composed_cbam_r18"  # once more
    assert torch.equal(out(timm.create_model("composed_cbam_r18", pretrained=True)), out(model))


@pytest.mark.long
def test_classes_channels_and_drop_path_are_honoured(model: nn.Module, tmp_path: Path) -> None:
    name = name_of(tmp_path)
    made = timm.create_model(
        name, pretrained=True, num_classes=7, in_chans=1, drop_path_rate=0.2, drop_rate=0.0
    )
    assert made.fc.weight.shape == (7, 512)
    assert made.num_classes == 7
    assert max(m.drop_prob for m in made.modules() if hasattr(m, "drop_prob")) == 0.2
    torch.testing.assert_close(made.conv1.weight, model.conv1.weight.sum(1, keepdim=True))
    kept = [key for key in model.state_dict() if not key.startswith(("fc.", "conv1."))]
    assert all(torch.equal(made.state_dict()[key], model.state_dict()[key]) for key in kept)
    assert out(made, 1).shape == (2, 7)
    composer.save(made, "again")
    assert composer.recipe(made).backbone == (
        "resnet18?drop_rate=0.0&num_classes=7&in_chans=1&drop_path_rate=0.2"
    )
    assert torch.equal(out(composer.load("again"), 1), out(made, 1))


@pytest.mark.long
def test_a_stand_in_and_another_dtype(tmp_path: Path) -> None:
    made = randomise(composer.insert("resnet18?num_classes=5&in_chans=1", "sk", stages=4))
    composer.save(made.bfloat16(), "sk")
    name = composer.register("sk", name=tmp_path.name)
    again = timm.create_model(name, pretrained=True)
    state = again.state_dict()
    assert {k: torch.equal(t, state[k]) for k, t in made.state_dict().items()} == dict.fromkeys(
        state, True
    )


@pytest.mark.long
def test_a_script_of_timm_takes_it(model: nn.Module) -> None:
    """As its train.py makes the model, in a process of its own."""
    Path("script.py").write_text(
        "import sys, timm\n"
        "model = timm.create_model(sys.argv[1], pretrained=True, in_chans=3, num_classes=4,\n"
        "    drop_rate=0.0, drop_path_rate=None, global_pool=None, scriptable=False)\n"
        "print(timm.data.resolve_data_config({}, model=model)['input_size'], model.fc)\n"
    )
    run = (
        "import composer, runpy; composer.register('cbam-r18'); "
        "runpy.run_path('script.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", run, "composed_cbam_r18"], capture_output=True, text=True, check=True
    )
    assert done.stdout == ("(3, 224, 224) Linear(in_features=512, out_features=4, bias=True)\n")


@pytest.mark.long
def test_what_is_refused(model: nn.Module, tmp_path: Path) -> None:
    name = name_of(tmp_path)
    composer.save(composer.insert("resnet18", "se", stages=4), "other")
    composer.save(composer.insert("torchvision:resnet18", "se", stages=4), "vision")
    for call, said in [
        (lambda: composer.register("nothing"),
         f"{Path('nothing').resolve()}: error[not-a-composition]: this is not a composition: "
         "there is no such folder\n"
         "  help: give a folder written by 'composer insert' or composer.save"),
        (lambda: composer.register("other", name=tmp_path.name),
         f"error[name-taken]: timm already has a model {name!r}, of "
         f"{Path('cbam-r18').resolve()}\n  help: choose another name: "
         "register('other', name='…')"),
        (lambda: composer.register("vision"),
         "error[not-of-timm]: the backbone of vision is torchvision:resnet18, and timm's registry "
         "is for models of timm\n  help: open it with composer.load('vision')"),
    ]:  # fmt: skip
        with pytest.raises(ComposerError) as refused:
            call()
        assert str(refused.value) == said

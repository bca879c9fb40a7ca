"""Checkpoints that hold a mechanism already, under the names of timm and of the authors' code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from command import Command
from probe import randomise
from torch import Tensor, nn

import composer
from composer.errors import ComposerError
from composer.models.mechanism_keys import FORMS

SK = {"sk_kwargs": {"split_input": False, "rd_divisor": 32}}
ONE_EACH = "layers=1,1,1,1"


def attended(attn_layer: Any) -> Callable[[], nn.Module]:
    """Return what makes a ResNet of timm with a module at the end of each branch."""
    if isinstance(attn_layer, type):
        kind = attn_layer
        attn_layer = lambda channels, **_: kind(channels)  # noqa: E731 - as timm asks for it
    return lambda: timm.create_model("resnet18", block_args={"attn_layer": attn_layer})


#: timm's own model with the mechanism, the plain one, the spec with its params, and what is said.
TIMM: dict[str, tuple[Callable[[], nn.Module], str, str, dict[str, Any], str]] = {
    "seresnet18": (lambda: timm.create_model("seresnet18"), "resnet18", "se", {"min_width": 8},
                   "154 tensors loaded, 32 renamed from the names of timm, 16 reshaped"),
    "eca": (attended("eca"), "resnet18", "eca", {},
            "130 tensors loaded, 8 renamed from the names of ECANet and timm"),
    "cbam": (attended("cbam"), "resnet18", "cbam", {"bias": False},
             "186 tensors loaded, 64 renamed from the names of timm, 16 reshaped"),
    "skresnet": (
        lambda: timm.create_model("skresnet50", layers=[1, 1, 1, 1], block_args=SK),
        f"resnet50?{ONE_EACH}", "sk", {},
        "156 tensors loaded, 124 renamed from the names of timm, 8 reshaped"),
    "resnest14d": (
        lambda: timm.create_model("resnest14d"), f"resnet50d?{ONE_EACH}", "split_attention", {},
        "152 tensors loaded, 60 renamed from the names of ResNeSt and timm, 8 reshaped"),
}  # fmt: skip


def same(model: nn.Module, wanted: nn.Module) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        out, right = model.double().eval()(x.double()), wanted.double().eval()(x.double())
    assert float((out - right).abs().max()) < 1e-5 * float(right.abs().max())


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("name", TIMM)
def test_timms_own_models(name: str, tmp_path: Path) -> None:
    make, backbone, spec, params, said = TIMM[name]
    wanted = randomise(make())
    torch.save(wanted.state_dict(), tmp_path / "it.pth")
    model = composer.insert(backbone, spec, params=params)
    assert str(composer.load_weights(model, tmp_path / "it.pth")) == said
    same(model, wanted)


class SELayer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 16, bias=False), nn.ReLU(),
            nn.Linear(channels // 16, channels, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[..., None, None]


class ChannelGate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, channels // 16), nn.ReLU(),
            nn.Linear(channels // 16, channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        gate = (self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))).sigmoid()
        return x * gate[..., None, None]


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1)


class SpatialGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spatial = Conv()

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * self.spatial.bn(self.spatial.conv(both)).sigmoid()


class CBAM(nn.Module):
    """With the names and the order of Jongchan/attention-module."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ChannelGate, self.SpatialGate = ChannelGate(channels), SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        return self.SpatialGate(self.ChannelGate(x))


class ECALayer(nn.Module):
    """With the names of BangguWu/ECANet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.mean((2, 3))[:, None])[:, 0].sigmoid()
        return x * y[..., None, None]


AUTHORS: dict[str, tuple[type[nn.Module], str, str, dict[str, Any]]] = {
    "senet.pytorch": (SELayer, "se", "se", {"bias": False}),
    "attention-module": (CBAM, "cbam", "cbam", {}),
    "ECANet": (ECALayer, "eca", "eca", {"kernel": 3}),
    "attention-module without places": (ChannelGate, "cbam.ChannelGate", "cbam_channel", {}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", AUTHORS)
def test_the_names_of_the_authors(name: str, tmp_path: Path) -> None:
    kind, child, spec, params = AUTHORS[name]
    wanted = randomise(attended(kind)())
    state = {
        re.sub(r"^(layer\d\.\d)\.se\.", rf"\1.{child}.", key): tensor
        for key, tensor in wanted.state_dict().items()
        if not key.endswith("num_batches_tracked")  # files older than that have none
    }
    torch.save({"state_dict": {f"module.{key}": t for key, t in state.items()}}, tmp_path / "a.pth")
    model = composer.insert("resnet18", spec, params=params)
    done = composer.load_weights(model, tmp_path / "a.pth")
    assert done.renamed == sum(".se." in key for key in wanted.state_dict()
                               if not key.endswith("num_batches_tracked"))  # fmt: skip
    same(model, wanted)


@pytest.mark.long
def test_a_plain_model_and_a_composed_ones_own_file_are_loaded_as_they_are(tmp_path: Path) -> None:
    for wanted in (timm.create_model("test_resnet"), composer.insert("test_resnet", "cbam")):
        randomise(wanted)
        torch.save(wanted.state_dict(), tmp_path / "own.pth")
        model = timm.create_model("test_resnet")
        if hasattr(wanted, "_composition"):
            model = composer.insert(model, "cbam")
        done = composer.load_weights(model, tmp_path / "own.pth")
        assert str(done) == f"{len(wanted.state_dict())} tensors loaded"
        same(model, wanted)


def without(*ends: str) -> Callable[[dict[str, Tensor]], None]:
    def change(state: dict[str, Tensor]) -> None:
        for key in [key for key in state if key.endswith(ends)]:
            del state[key]

    return change


def twice(state: dict[str, Tensor]) -> None:
    for key in [key for key in state if ".se." in key]:
        state[key.replace(".se.", ".gate.")] = state[key]


HELP = (
    "\n  help: insert at the places and with the params that the file was made with, such as "
    "bias=false"
)
#: What is done to seresnet18's state dict, how SE is inserted, and what is said.
REFUSED: dict[str, tuple[Callable[[dict[str, Tensor]], None], dict[str, Any], str]] = {
    "identity": (
        lambda state: None, {"min_width": 8, "init": "identity"},
        "it.pth: error[weights]: the file has no layer1.0.se_2.blend, with which layer1.0.se_2 "
        "(se) starts as identity\n  help: a file with a trained mechanism needs init=paper"),
    "twice": (twice, {"min_width": 8},
              "it.pth: error[weights]: layer1.0.se and layer1.0.gate in the file both fit "
              "layer1.0.se_2\n  help: remove the ones that are not meant from the file"),
    "without biases": (
        without("fc1.bias"), {"min_width": 8},
        "it.pth: error[weights]: the file lacks the tensors of layer1.0.se_2 (se): it has "
        "layer1.0.se.fc1.weight but not layer1.0.se.fc1.bias" + HELP),
    "nowhere": (
        without("fc1.weight", "fc2.weight", "fc1.bias", "fc2.bias"), {"min_width": 8},
        "it.pth: error[weights]: the file lacks the tensors of layer1.0.se_2 (se): it has "
        "none of them under the names of timm or senet.pytorch" + HELP),
    "another width": (
        lambda state: None, {},
        "it.pth: error[weights]: does not fit resnet18: 6 keys of different shape: "
        "layer1.0.se_2.excite.fc1.weight (8×64×1×1 in the file, 4×64 in the model), "
        "layer1.0.se_2.excite.fc1.bias (8 in the file, 4 in the model), "
        "layer1.0.se_2.excite.fc2.weight (64×8×1×1 in the file, 64×4 in the model) and 3 more\n"
        "  help: 148 of 154 keys match; are these the weights of another model, or of one with "
        "another head (resnet50?num_classes=10)?"),
    "biases too many": (
        lambda state: None, {"min_width": 8, "bias": False},
        "it.pth: error[weights]: does not fit resnet18: 16 keys unexpected: layer1.0.se.fc1.bias, "
        "layer1.0.se.fc2.bias, layer1.1.se.fc1.bias and 13 more\n"
        "  help: 138 of 138 keys match; are these the weights of another model, or of one with "
        "another head (resnet50?num_classes=10)?"),
}  # fmt: skip


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_clear_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, given, said = REFUSED[name]
    params = dict(given)
    init = params.pop("init", "paper")
    state = timm.create_model("seresnet18").state_dict()
    change(state)
    torch.save(state, "it.pth")
    model = composer.insert("resnet18", "se", params=params, init=init)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(ComposerError) as refused:
        composer.load_weights(model, "it.pth")
    assert str(refused.value) == said
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.long
def test_the_command_says_what_it_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Command(capsys)
    wanted = randomise(timm.create_model("seresnet18"))
    torch.save(wanted.state_dict(), "se.pth")
    line = ["insert", "--spec", "se", "--into", "resnet18", "--set", "min_width=8",
            "--weights", "se.pth", "-o", "it"]  # fmt: skip
    done = run.fine(*line)
    assert (
        "note: se.pth: 154 tensors loaded, 32 renamed from the names of timm, 16 reshaped\n"
        in done.out
    )
    same(composer.load("it"), wanted)
    done = run(*line[:-1], "other", "--init", "identity")
    assert done.status == 1
    assert done.err.endswith(
        "error[weights]: se.pth holds weights of se, so the mechanism would start from these "
        "and not as identity\n  help: omit --init identity\n"
    )
    assert not Path("other").exists()


def test_every_layer_of_a_form_is_one_of_its_spec() -> None:
    for spec, forms in FORMS.items():
        like = nn.Conv2d(64, 64, 3, padding=1) if spec in ("sk", "split_attention") else None
        module = composer.build(spec, None if like else 64, like=like)
        layers = {key.rpartition(".")[0] for key in module.state_dict()}
        for form in forms:
            mine = {layer.replace(".N.", ".0.") for layer in form.layers}
            assert mine <= layers
            assert layers - mine <= {layer.replace(".0.", ".1.") for layer in mine}

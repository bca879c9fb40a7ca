"""Models that take something else than one image of a size that Composer finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command
from torch import Tensor, nn
from torchvision.models import get_model

import composer
from composer.measure.inputs import Inputs, described, from_description, remembered_inputs
from composer.models.model_string import ModelString
from composer.models.open import open_backbone


class Block(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(torch.relu(self.conv1(x)))


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.blocks = nn.Sequential(Block(16), Block(16))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))


class Records(Trunk):
    """Takes a dictionary, as data loaders of medical images give it."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["image"])


class Captioned(Trunk):
    """Takes words and an image by name, as CLIP does."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 16)

    def forward(self, input_ids: Tensor, pixel_values: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        words = self.words(input_ids).mean(1)
        return {"score": (super().forward(pixel_values).mean((2, 3)) * words).sum(1)}


class Denoiser(Trunk):
    """Takes latents, a time and states of a text, as diffusion's networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 16, 3, 1, 1)
        self.time, self.text = nn.Linear(1, 16), nn.Linear(8, 16)

    def forward(self, sample: Tensor, timestep: Tensor | int, states: Tensor) -> Tensor:  # type: ignore[override]
        time = self.time(torch.as_tensor(timestep).reshape(-1, 1).float())
        return self.blocks(self.stem(sample) + (time + self.text(states.mean(1)))[..., None, None])


class Frames(Trunk):
    """Folds the frames of a video into the batch."""

    def forward(self, video: Tensor) -> Tensor:
        b, t = video.shape[:2]
        maps = super().forward(video.flatten(0, 1))
        return maps.mean((2, 3)).reshape(b, t, -1).mean(1)


class ReadsNumbers(Trunk):
    """Its forward reads a number from a tensor, which fake tensors have not."""

    def forward(self, x: Tensor) -> Tensor:
        scale = float(x.abs().amax())
        return super().forward(x / max(scale, 1.0))


X = torch.randn(3, 3, 32, 32)
IDS = torch.randint(0, 10, (3, 5))
GIVEN: dict[str, tuple[Callable[[], nn.Module], Any, tuple[int, ...]]] = {
    "a dictionary": (Records, ({"image": X},), (3, 32, 32)),
    "a dictionary that is no keywords": (Records, {"image": X}, (3, 32, 32)),
    "keywords": (Captioned, {"input_ids": IDS, "pixel_values": X}, (3, 32, 32)),
    "in order": (Captioned, (IDS, X), (3, 32, 32)),
    "both": (Captioned, ((IDS,), {"pixel_values": X}), (3, 32, 32)),
    "latents": (Denoiser, (torch.randn(2, 4, 24, 24), 3, torch.randn(2, 7, 8)), (4, 24, 24)),
    "frames": (Frames, torch.randn(1, 5, 3, 32, 32), (5, 3, 32, 32)),
    "numbers": (ReadsNumbers, X, (3, 32, 32)),
}  # fmt: skip


def called(model: nn.Module, given: Any) -> Any:
    """The model on what is given, as its user calls it."""
    match given:
        case Tensor():
            return model(given)
        case (tuple() as args, dict() as kwargs):
            return model(*args, **kwargs)
        case tuple():
            return model(*given)
        case _ if isinstance(model, Records):
            return model(given)
    return model(**given)


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", GIVEN)
def test_a_model_runs_on_its_own_inputs(name: str, tmp_path: Path) -> None:
    make, given, shape = GIVEN[name]
    torch.manual_seed(0)
    model = make().eval()
    found = composer.plan(model, "se", example_inputs=given)
    assert [site.module for site in found.sites] == ["blocks.0.se", "blocks.1.se"]
    assert [site.position for site in found.sites] == ["residual"] * 2
    assert found.input_shape == shape
    assert composer.sites(model, example_inputs=given).input_shape == shape
    composed = composer.insert(model, "se", init="identity", example_inputs=given)
    with torch.no_grad():
        want, got = called(model, given), called(composed, given)
    want, got = (v["score"] if isinstance(v, dict) else v for v in (want, got))
    assert torch.equal(want, got)
    assert remembered_inputs(model) is None  # the caller's model is left alone
    again = composer.insert(composed, "eca", at="block")  # what it takes is remembered
    assert len(composer.plan(again, "se").sites) == 2
    back = composer.eject(again)
    assert list(back.state_dict()) == list(model.state_dict())


def test_numbers_are_read_where_no_example_is_given() -> None:
    model = ReadsNumbers().train()
    statistics = {k: v.clone() for k, v in model.state_dict().items()}
    assert len(composer.plan(model, "se").sites) == 2
    assert model.training
    assert all(torch.equal(v, statistics[k]) for k, v in model.state_dict().items())


FACTORIES = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(torch.relu(self.conv1(x)))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 16, 3), nn.Sequential(Block(16), Block(16))

    def forward(self, a, b):
        return self.block(self.stem(a + b)).mean((2, 3))


class One(Two):
    def forward(self, a):
        return super().forward(a, a)


def two():
    return Two()


def two_with_inputs():
    return Two(), (torch.randn(1, 3, 24, 24), torch.randn(1, 3, 24, 24))


def one():
    return One()


def sized(input_size=7):
    assert input_size == 9
    return One()
"""


def net(folder: Path) -> str:
    (folder / "net.py").write_text(FACTORIES)
    return str(folder / "net.py")


def test_a_factory_may_say_what_its_model_takes(tmp_path: Path) -> None:
    model = composer.insert(f"{net(tmp_path)}:two_with_inputs", "se")
    given = remembered_inputs(model)
    assert given is not None and given.shape == (3, 24, 24)
    composer.save(model, tmp_path / "saved")
    loaded = composer.load(tmp_path / "saved", trust_code=True)
    assert len(composer.plan(loaded, "eca").sites) == 2


@pytest.mark.long
def test_a_recipe_says_what_a_model_takes(tmp_path: Path) -> None:
    backbone = f"{net(tmp_path)}:two"
    x = torch.randn(2, 3, 20, 20)
    plain = open_backbone(ModelString.parse(backbone))
    model = composer.insert(plain, "se", backbone=backbone, example_inputs=(x, x))
    recipe = composer.recipe(model)
    assert recipe.inputs is not None
    one = {"shape": [1, 3, 20, 20], "dtype": "float32"}
    assert (recipe.inputs.args, recipe.inputs.kwargs) == ([one, one], {})
    composer.save(model, tmp_path / "saved")
    loaded = composer.load(tmp_path / "saved", trust_code=True).eval()
    assert torch.equal(loaded(x, x), model.eval()(x, x))


@pytest.mark.long
@pytest.mark.parametrize("word", ["one?input_size=3,40,48", "one"])
def test_the_size_of_the_image_is_said(word: str, tmp_path: Path) -> None:
    shape = (3, 40, 48) if "?" in word else (3, 224, 224)
    model = composer.insert(f"{net(tmp_path)}:{word}", "se")
    assert composer.plan(composer.eject(model), "se").input_shape == shape
    composer.save(model, tmp_path / "saved")
    assert composer.sites(composer.load(tmp_path / "saved", trust_code=True)).input_shape == shape


def test_a_factory_keeps_an_argument_of_that_name(tmp_path: Path) -> None:
    model = open_backbone(ModelString.parse(f"{net(tmp_path)}:sized?input_size=9"))
    assert remembered_inputs(model) is None


@pytest.mark.long
def test_a_size_for_timm_and_torchvision() -> None:
    small = composer.plan("torchvision:resnet18?input_size=3,32,32", "se")
    assert small.input_shape == (3, 32, 32)
    plain = get_model("resnet18", weights=None)
    assert small.flops_before * 49 == pytest.approx(
        composer.plan(plain, "se").flops_before, rel=0.2
    )
    assert composer.plan("resnet18?input_size=3,64,96", "se").input_shape == (3, 64, 96)


WRONG: list[tuple[Callable[[Path], Any], str]] = [
    (lambda _: composer.plan(Trunk(), "se", example_inputs={}),
     "error[invalid-inputs]: there is no tensor in example_inputs\n  help: pass the inputs of "
     "the model's forward: a tensor, (image, text), or {'pixel_values': image}"),
    (lambda _: composer.plan(Trunk(), "se", example_inputs=torch.randn(1, 4, 8, 8)),
     "error[forward-failed]: the forward pass of Trunk fails on the inputs given: "),
    (lambda folder: composer.plan(f"{net(folder)}:two", "se"),
     "error[forward-failed]: the forward pass of Two fails on a batch of 3-channel images "
     "(224x224: Two.forward() missing 1 required positional argument: 'b')\n  help: sizes tried: "
     "224, 256, 32, 64, 28, 96, 128, 192, 299, 384, 512; give another with --input-size or, for "
     "a model that takes more than images, example_inputs="),
    (lambda folder: composer.plan(f"{net(folder)}:one?input_size=64", "se"), "error[unknown-backb"),
    (lambda folder: composer.plan(f"{net(folder)}:one?input_size=3,0,4", "se"),
     "is not the channels, height and width of an image\n  help: write input_size=3,64,64"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_inputs_that_are_wrong(number: int, tmp_path: Path) -> None:
    call, said = WRONG[number]
    with pytest.raises(composer.ComposerError) as caught:
        call(tmp_path)
    assert said in str(caught.value)


def test_what_a_recipe_cannot_say() -> None:
    given = Inputs.examples(Records(), ({"image": X, "meta": object()},))
    with pytest.raises(composer.ComposerError, match="the example inputs hold object, which a"):
        described(given)
    plain = Inputs.examples(Records(), ({"image": X, "n": [1, 2.5, None, "a"]},))
    args, kwargs = described(plain)
    again = from_description(args, kwargs)
    assert again.args[0]["n"] == [1, 2.5, None, "a"] and again.shape == plain.shape
    with pytest.raises(composer.ComposerError, match="there is no tensor of shape"):
        from_description([{"shape": ["x"], "dtype": "float32"}], {})


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    net(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


@pytest.mark.long
def test_input_size_on_the_command_line(run: Command) -> None:
    out = run.fine("sites", "net.py:one", "--input-size", "3,40,48").out
    assert "3×40×48" in out.splitlines()[0]
    out = run.fine("insert", "--spec", "se", "--into", "net.py:one", "--input-size", "3,40,48").out
    assert out.splitlines()[1] == "net.py:one?input_size=3,40,48 on 3×40×48: 2 sites"
    assert "backbone: net.py:one?input_size=3,40,48\n" in Path("one-se/recipe.yaml").read_text()
    assert "on 3×40×48" in run.fine("sites", "one-se", "--trust-code").out


SIZES = {
    "64": "--input-size '64' is not the channels, height and width of an image\n"
          "  help: write --input-size 3,64,64\n",
    "3,x,4": "--input-size '3,x,4' is not the channels, height and width of an image\n"
             "  help: write --input-size 3,64,64\n",
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_a_size_that_is_none(run: Command, size: str) -> None:
    failed = run("sites", "net.py:one", "--input-size", size)
    assert failed.status == 2 and failed.err.endswith(SIZES[size])


@pytest.mark.long
def test_a_size_that_is_said_twice(run: Command) -> None:
    failed = run("sites", "net.py:one?input_size=3,9,9", "--input-size", "3,8,8")
    assert failed.status == 2 and "omit one of them" in failed.err
    run.fine("insert", "--spec", "se", "--into", "net.py:one")
    failed = run("sites", "one-se", "--input-size", "3,8,8")
    assert failed.status == 2 and "one-se is a composition, which records its input" in failed.err

"""Ultralytics' networks, with the real package: placed, trained, saved, fused, exported."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils._pytree import tree_leaves

import composer

pytest.importorskip(
    "ultralytics", reason="the extra 'zoo' brings Ultralytics", exc_type=ImportError
)

from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.surgery.rebuilt import ComposedYaml

EXAMPLES = Path(__file__).parents[1] / "examples"

#: Blocks, and the stages as their authors count them.
NETWORKS = {
    "yolov5n": (11, ["model.2", "model.4", "model.6", "model.8", "model.13", "model.17",
                     "model.20", "model.23"]),
    "yolov8n": (10, ["model.2", "model.4", "model.6", "model.8", "model.12", "model.15",
                     "model.18", "model.21"]),
    "yolo11n": (12, ["model.2", "model.4", "model.6", "model.8", "model.10", "model.13",
                     "model.16", "model.19", "model.22"]),
}  # fmt: skip


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return open_backbone(ModelString.parse(f"ultralytics:{name}.yaml?input_size=3,64,64")).eval()


def difference(one: Any, other: Any) -> float:
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs if isinstance(a, torch.Tensor))


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize("name", NETWORKS)
def test_places(name: str) -> None:
    blocks, stages = NETWORKS[name]
    model = network(name)
    plan = composer.plan(model, "se", params={"min_width": 1})
    assert len(plan.sites) == blocks
    assert [s.path for s in composer.plan(model, "se", at="stage").sites] == stages
    composed = composer.insert(model, "se", at="stage", init="identity")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, after = model(x), composed(x)
        assert difference(before, after) == 0
        fused = copy.deepcopy(composed).fuse(verbose=False)
        assert sum(n.endswith(".se") for n, _ in fused.named_modules()) == len(stages)
        assert difference(before, fused(x)) < 1e-3
    back = composer.eject(composed)
    assert type(back.yaml) is dict
    assert all(torch.equal(v, back.state_dict()[k]) for k, v in model.state_dict().items())


@pytest.mark.long
def test_after_the_pyramid_and_before_the_head() -> None:
    model = network("yolov8n")
    (pool,) = composer.plan(model, "se", at="module", select="model.9").sites
    (head,) = composer.plan(model, "se", at="head").sites
    assert (pool.module, head.module) == ("model.9.se", "model.21.se")


@pytest.mark.slow
def test_a_recipe_names_the_configuration(tmp_path: Path) -> None:
    model = composer.insert("ultralytics:yolov8n.yaml?nc=3", "se", at="stage").eval()
    composer.save(model, tmp_path / "saved")
    assert composer.sites(model).input_shape == (3, 640, 640)
    loaded = composer.load(tmp_path / "saved").eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert difference(model(x), loaded(x)) == 0


REFUSED = {
    "ultralytics:yolov8n.pt": "ultralytics:yolov8n.pt is a pickle, and code in a file is never run",
    "ultralytics:yolov8n": "ultralytics:yolov8n is not a configuration\n  help: write "
    "ultralytics:yolov8n.yaml",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_is_no_configuration(word: str) -> None:
    with pytest.raises(composer.ComposerError) as caught:
        composer.plan(word, "se")
    assert REFUSED[word] in str(caught.value)


def test_the_runner_is_no_network() -> None:
    from ultralytics import YOLO

    with pytest.raises(composer.ComposerError) as caught:
        composer.plan(YOLO("yolov8n.yaml", verbose=False), "se")
    assert str(caught.value) == (
        "error[not-a-model]: YOLO runs a network but is not a module: its train() starts a "
        "training\n"
        "  help: give the network inside it: yolo.model = composer.insert(yolo.model, …)"
    )


@pytest.mark.long
def test_who_inserts_into_a_runner_is_told_how_to_train() -> None:
    from ultralytics import YOLO

    yolo = YOLO("yolov8n.yaml", verbose=False)
    with pytest.warns(UserWarning, match="YOLO.train rebuilds the network, without the insertions"):
        composed = composer.insert(yolo.model, "se", at="stage")
    assert isinstance(composed.yaml, ComposedYaml) and composed.yaml["nc"] == 80
    assert isinstance(copy.deepcopy(composed).yaml, ComposedYaml)
    with pytest.raises(composer.ComposerError) as caught:
        type(yolo.model)(composed.yaml, verbose=False)
    assert str(caught.value) == (
        "error[rebuilt]: a network built from the yaml of a composed one would lack the insertions"
        "\n  help: use a trainer whose get_model inserts it: docs/recipes.md, 'In Ultralytics', "
        "has one of ten lines"
    )


def test_the_page_shows_the_example() -> None:
    page = (EXAMPLES.parent / "docs" / "recipes.md").read_text()
    shown = page.split("```py\n")[1].split("```")[0]
    assert (EXAMPLES / "yolo_trainer.py").read_text().endswith(shown)
    assert len(shown.splitlines()) <= 10


@pytest.fixture
def data(tmp_path: Path) -> Iterator[str]:
    """Sixteen images with one white square each."""
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        images, labels = tmp_path / "images" / split, tmp_path / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(8):
            pixels = (draw.random((64, 64, 3)) * 80).astype("uint8")
            x, y = draw.integers(0, 32, 2)
            pixels[y : y + 32, x : x + 32] = 255
            Image.fromarray(pixels).save(images / f"{number}.png")
            label = f"0 {(x + 16) / 64} {(y + 16) / 64} 0.5 0.5\n"
            (labels / f"{number}.txt").write_text(label)
    file = tmp_path / "data.yaml"
    file.write_text(f"path: {tmp_path}\ntrain: images/train\nval: images/val\n"
                    "names: {0: square}\n")  # fmt: skip
    sys.path.insert(0, str(EXAMPLES))
    yield str(file)
    sys.path.remove(str(EXAMPLES))


def inserted(model: nn.Module) -> int:
    return sum(name.endswith(".cbam") for name, _ in model.named_modules())


@pytest.mark.slow
def test_a_composed_detector_is_trained_and_served(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics import YOLO

    monkeypatch.setenv("YOLO_OFFLINE", "true")
    monkeypatch.chdir(tmp_path)
    trainer = __import__("yolo_trainer").ComposedTrainer
    settings = {
        "data": data, "imgsz": 64, "batch": 4, "workers": 0, "plots": False, "device": "cpu",
        "verbose": False, "exist_ok": True, "project": str(tmp_path / "runs"),
    }  # fmt: skip
    yolo = YOLO("yolov8n.yaml", verbose=False)
    yolo.train(trainer=trainer, epochs=2, name="first", **settings)
    last = str(tmp_path / "runs/first/weights/last.pt")
    trained = YOLO(last)
    assert inserted(trained.model) == inserted(yolo.model) == 8
    trained.val(name="val", **settings)
    assert len(trained.predict(str(tmp_path / "images/val/0.png"), imgsz=64, verbose=False)) == 1
    with pytest.raises(composer.ComposerError, match="would lack the insertions"):
        YOLO(last).train(epochs=1, name="lost", **settings)
    again = YOLO(last)
    again.train(trainer=trainer, epochs=1, name="again", **settings)
    assert inserted(again.model) == 8
    model = YOLO(last).model.float().eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        want = model(x)[0]
        assert difference(want, copy.deepcopy(model).fuse(verbose=False)(x)[0]) < 1e-2
    runtime = pytest.importorskip("onnxruntime", reason="the extra 'zoo' brings onnxruntime")
    file = YOLO(last).export(format="onnx", imgsz=64, verbose=False, simplify=False)
    session = runtime.InferenceSession(file)
    (got, *_) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert float((torch.from_numpy(got) - want).abs().max()) < 1e-2

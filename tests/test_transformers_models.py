"""Composed models of transformers: in its trainer, saved by its own means, and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import composer

transformers = pytest.importorskip("transformers", reason="the extra 'hf' brings transformers")


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=32, patch_size=8, num_labels=3,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def swin() -> nn.Module:
    config = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=16, depths=[1, 1], num_heads=[2, 2],
        window_size=4, num_labels=3,
    )  # fmt: skip
    return transformers.SwinForImageClassification(config)


def dinov2() -> nn.Module:
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7,
        num_labels=3,
    )  # fmt: skip
    return transformers.Dinov2ForImageClassification(config)


def convnextv2() -> nn.Module:
    config = transformers.ConvNextV2Config(
        hidden_sizes=[16, 32], depths=[1, 1], num_stages=2, image_size=32, num_labels=3
    )
    return transformers.ConvNextV2ForImageClassification(config)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "vit": vit, "swin": swin, "dinov2": dinov2, "convnextv2": convnextv2,
}  # fmt: skip


def composed(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = composer.insert(MODELS[name](), "se", params={"min_width": 2})
    return composer.insert(model, "eca", at="block", stages=1, blocks=1)


def images(model: Any) -> Tensor:
    size = model.config.image_size
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


class Images(Dataset[dict[str, Tensor]]):
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(index)
        pixels = torch.randn(3, self.size, self.size, generator=draw)
        return {"pixel_values": pixels, "labels": torch.tensor(index % 3)}


@torch.no_grad()
def same(one: Any, other: Any) -> bool:
    x = images(one)
    return torch.equal(one.eval()(x).logits, other.eval()(x).logits)


@pytest.mark.parametrize("name", MODELS)
def test_its_trainer_trains_and_its_checkpoint_loads(name: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="the trainer wants accelerate")
    model = composed(name)
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=2, per_device_train_batch_size=4,
        report_to=[], save_strategy="epoch", use_cpu=True, learning_rate=0.05, disable_tqdm=True,
    )  # fmt: skip
    data = Images(model.config.image_size)
    transformers.Trainer(model, arguments, train_dataset=data).train()
    moved = {k for k, p in model.named_parameters() if not torch.equal(p, before[k])}
    places = {k.partition(".excite")[0] for k in before if ".excite." in k}
    unread = {"vit.layers.1.se"} if name == "vit" else set()  # the class token alone is read
    assert {k.partition(".excite")[0] for k in moved if ".excite." in k} == places - unread
    loaded = composer.load(tmp_path / "checkpoint-4")
    assert type(loaded) is type(model)
    assert same(model, loaded)


@pytest.mark.parametrize("shards", ["50GB", "20KB"])
def test_save_pretrained_carries_the_recipe(shards: str, tmp_path: Path) -> None:
    model = composed("vit")
    model.save_pretrained(tmp_path, max_shard_size=shards)
    assert (tmp_path / "model.safetensors.index.json").exists() is (shards == "20KB")
    loaded = composer.load(tmp_path)
    assert same(model, loaded)
    assert [edit.spec for edit in composer.recipe(loaded).edits] == ["se", "eca"]
    plain = composer.eject(loaded)
    assert not hasattr(plain.config, "composer_recipe")
    assert list(plain.state_dict()) == list(vit().state_dict())


def test_nothing_of_a_given_model_is_changed() -> None:
    model = vit()
    composer.insert(model, "se", params={"min_width": 2})
    assert not hasattr(model.config, "composer_recipe")


def test_a_folder_whose_weights_are_others(tmp_path: Path) -> None:
    model = composed("vit")
    model.save_pretrained(tmp_path)
    plain = vit()
    plain.config.composer_recipe = model.config.composer_recipe
    plain.save_pretrained(tmp_path)
    with pytest.raises(composer.ComposerError, match="its weights are not those of its recipe"):
        composer.load(tmp_path)


def test_its_attention_is_found_and_the_reason_is_said() -> None:
    with pytest.raises(composer.ComposerError) as caught:
        composer.plan(vit(), "mhsa")
    assert str(caught.value) == (
        "error[no-sites]: none of the 2 attention modules matches: it does not give one tensor of "
        "the shape that it takes\n  help: there are 2 of class ViTAttention"
    )

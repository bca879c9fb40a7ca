"""Composed models of transformers: in its trainer, saved by its own means, and loaded."""

from __future__ import annotations

import pickle
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


@pytest.mark.long
@pytest.mark.quick(1)
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


@pytest.mark.quick(1, then="long")
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
    with pytest.raises(composer.ComposerError, match="its weights don't match its recipe"):
        composer.load(tmp_path)


def of_family(family: str, **more: Any) -> Any:
    """A plain transformer of two layers, of 32×32 pixels in patches of 8×8."""
    config = getattr(transformers, f"{family}Config")(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        image_size=32, patch_size=8, **more,
    )  # fmt: skip
    return getattr(transformers, f"{family}ForImageClassification")(config)


@pytest.mark.quick(1)
@pytest.mark.parametrize("family", ["ViT", "Dinov2", "Beit", "DeiT"])
def test_at_its_attention(family: str) -> None:
    model = of_family(family)
    plan = composer.plan(model, "mhsa")
    assert (plan.at, len(plan.sites)) == ("attention", 2)
    assert {site.note for site in plan.sites} == {"gives no attention weights"}
    composed = composer.insert(model, "mhsa").eval()
    x = torch.randn(2, 3, 32, 32)
    out = composed(x).logits
    assert torch.equal(pickle.loads(pickle.dumps(composed))(x).logits, out)
    assert torch.equal(torch.compile(composed, backend="eager")(x).logits, out)
    ejected = composer.eject(composed)
    assert torch.equal(ejected(x).logits, model.eval()(x).logits)


def test_a_stand_in_computes_what_their_attention_does() -> None:
    """With the weights of the module that it stands for, projected as one."""
    theirs = of_family("ViT").vit.layers[0].attention.eval()
    model = of_family("ViT").eval()
    ours = composer.insert(model, "mhsa").vit.layers[0].attention
    projections = [theirs.q_proj, theirs.k_proj, theirs.v_proj]
    with torch.no_grad():
        ours.qkv.linear.weight.copy_(torch.cat([p.weight for p in projections]))
        ours.qkv.linear.bias.copy_(torch.cat([p.bias for p in projections]))
        ours.out.linear.load_state_dict(theirs.o_proj.state_dict())
    x = torch.randn(2, 5, 64)
    given, weights = ours(x, None, num_items_in_batch=3)
    assert weights is None
    assert torch.allclose(given, theirs(x)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("args", "named", "message"),
    [
        ((torch.ones(1),), {}, "composed for attention_mask=None but got a Tensor"),
        ((), {"mask": torch.ones(1)}, "composed without mask= but got a Tensor"),
    ],
)  # fmt: skip
def test_what_a_stand_in_can_not_take(args: Any, named: Any, message: str) -> None:
    ours = composer.insert(of_family("ViT"), "mhsa").vit.layers[0].attention
    with pytest.raises(ValueError) as caught:
        ours(torch.randn(1, 5, 64), *args, **named)
    assert str(caught.value) == f"this layer was {message}"


def test_attention_that_gives_its_weights_is_refused() -> None:
    with pytest.raises(composer.ComposerError) as caught:
        composer.plan(of_family("ViT", attn_implementation="eager"), "mhsa")
    assert str(caught.value) == (
        "error[no-sites]: none of the 2 attention modules matches: it also returns its "
        "attention weights, which a stand-in does not have\n  help: there are 2 of class "
        "ViTAttention"
    )

"""What was inserted begins anew after `to_empty`, as it did when it was fresh."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from probe import randomise
from torch import nn

import composer
from composer.errors import ComposerError
from composer.surgery.composition import inserted_prefixes

Wish = dict[str, Any]

CASES: list[tuple[str, str, Wish]] = [
    ("test_resnet", "cbam", {}),
    ("test_resnet", "se", {"init": "identity", "params": {"reduction": 4}}),
    ("test_resnet", "fca", {}),  # a table that no state dict holds
    ("resnet18", "dynamic_conv", {"stages": 4}),  # a schedule
    ("resnet18", "bot_mhsa", {"stages": 4}),
    ("test_vit", "layer_scale", {}),
]


def spoiled(model: nn.Module) -> nn.Module:
    """Return a model whose every number is lost."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.fill_(7 if not tensor.is_floating_point() else float("nan"))
    return model


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return what was inserted, with buffers that no state dict holds."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    found = {key: own[key] for key in own if key.startswith(inserted_prefixes(model))}
    assert found
    return found


def image(model: nn.Module) -> torch.Tensor:
    size = model.pretrained_cfg["input_size"]
    return torch.randn(2, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.long
@pytest.mark.parametrize(("backbone", "spec", "wish"), CASES)
def test_a_model_from_the_meta_device_is_the_one_built_directly(
    backbone: str, spec: str, wish: Wish
) -> None:
    torch.manual_seed(5)
    plain = randomise(timm.create_model(backbone))
    torch.manual_seed(6)
    wanted = composer.insert(plain, spec, **wish)
    with torch.device("meta"):
        model = timm.create_model(backbone)
    model = spoiled(composer.insert(model, spec, **wish).to_empty(device="cpu"))
    torch.manual_seed(6)
    composer.reset(model)
    model.load_state_dict(plain.state_dict(), strict=False)
    for key, tensor in tensors(wanted).items():
        assert torch.equal(tensors(model)[key], tensor), key
    x = image(plain)
    with torch.no_grad():
        out = model.eval()(x)
        assert out.isfinite().all()
        assert torch.equal(out, wanted.eval()(x))


def test_other_numbers_are_drawn_without_the_seed_and_a_dtype_is_kept() -> None:
    model = composer.insert("test_resnet", "cbam").bfloat16()
    before = {key: tensor.clone() for key, tensor in tensors(model).items()}
    composer.reset(model)
    after = tensors(model)
    weight = next(key for key in before if key.endswith("fc1.weight"))
    scale = next(key for key in before if key.endswith("norm.weight"))
    assert not torch.equal(before[weight], after[weight])
    assert torch.equal(before[scale], after[scale])
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16, torch.int64}


@pytest.mark.long
def test_stand_ins_begin_as_what_they_stand_for_once_more() -> None:
    plain = randomise(timm.create_model("resnet18"))
    torch.manual_seed(3)
    model = composer.insert(plain, "cond_conv", stages=4, init="identity")
    wanted = {key: tensor.clone() for key, tensor in tensors(model).items()}
    x = torch.randn(2, 3, 64, 64)
    for tensor in tensors(model).values():
        tensor.data.fill_(1)
    torch.manual_seed(3)
    composer.reset(model)
    assert all(torch.equal(tensors(model)[key], tensor) for key, tensor in wanted.items())
    with torch.no_grad():
        out, before = model.eval()(x), plain.eval()(x)
    assert float((out - before).abs().max()) < 1e-5 * float(before.abs().max())


def test_the_backbone_is_left_and_reported_where_it_has_no_numbers() -> None:
    with torch.device("meta"):
        model = composer.insert(timm.create_model("test_resnet"), "se")
    for site in composer.recipe(model).edits[0].sites:
        model.get_submodule(f"{site.path}.{site.name}").to_empty(device="cpu")
    with pytest.warns(UserWarning) as caught:
        composer.reset(model)
    assert [str(one.message) for one in caught] == [
        "92 tensors of the backbone, conv1.0.weight the first, are on the meta device and need "
        "weights of their own: load_state_dict(…, assign=True)"
    ]
    assert model.conv1[0].weight.is_meta


def meta(spec: str, **wish: Any) -> nn.Module:
    with torch.device("meta"):
        return composer.insert(timm.create_model("resnet18"), spec, stages=4, **wish)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Linear(1, 1),
         "error[not-composed]: nothing was inserted into this Linear\n"
         "  help: give a model returned by composer.insert or composer.load"),
        (lambda: meta("se"),
         "error[no-numbers]: layer4.0.se_2.excite.fc1.weight is on the meta device, without "
         "memory\n  help: call model.to_empty(device='cpu') first"),
        (lambda: meta("cond_conv", init="identity").to_empty(device="cpu"),
         "error[no-numbers]: the stand-in for layer4.0.conv1 starts from its weights, and these "
         "are missing\n"
         "  help: insert into the model after its weights are loaded, or start as in the paper: "
         "init='paper'"),
    ],
)  # fmt: skip
def test_what_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ComposerError) as refused:
        composer.reset(make())
    assert str(refused.value) == said

"""What a trainer asks of a composed model: what was inserted, and groups for an optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

import composer
from composer.errors import ComposerError

Wish = dict[str, Any]

#: A backbone, a spec, how it is inserted.
CASES: dict[str, tuple[str, str, Wish]] = {
    "blocks": ("test_resnet", "se", {}),
    "stages": ("resnet18", "cbam", {"at": "stage", "init": "identity"}),
    "stem": ("resnet18", "eca", {"at": "stem"}),
    "before the head": ("test_vit", "se", {"at": "head"}),
    "stand-ins": ("resnet18", "sk", {"stages": "3..4"}),
    "position tables": ("resnet18", "bot_mhsa", {"stages": 4}),
    "tokens": ("test_vit", "se", {"position": "input"}),
    "stages of ConvNeXt": ("test_convnext", "se", {"at": "stage", "params": {"min_width": 1}}),
}


def composed(name: str) -> tuple[nn.Module, nn.Module]:
    """Return the plain model and the composed one."""
    backbone, spec, wish = CASES[name]
    plain = timm.create_model(backbone)
    return plain, composer.insert(plain, spec, **wish)


def settings(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what each parameter is learned with, by name; none is in two groups."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, dict[str, Any]] = {}
    for group in groups:
        for parameter in group["params"]:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = {k: v for k, v in group.items() if k != "params"}
    return found


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize("name", CASES)
def test_what_was_inserted_is_what_the_plain_model_has_not(name: str) -> None:
    plain, model = composed(name)
    before = dict(plain.named_parameters())
    new = [n for n, _ in model.named_parameters() if n not in before]
    found = composer.inserted_parameters(model)
    assert isinstance(found, Iterator)
    pairs = list(found)
    assert [n for n, _ in pairs] == new
    assert all(model.get_parameter(n) is p for n, p in pairs)


@pytest.mark.long
@pytest.mark.parametrize(
    "wrap",
    [nn.DataParallel, torch.compile, lambda m: nn.DataParallel(torch.compile(m))],
    ids=["DataParallel", "compiled", "both"],
)
def test_the_names_are_those_of_the_wrapped_model(wrap: Any) -> None:
    _, model = composed("blocks")
    wrapped = wrap(model)
    own = dict(wrapped.named_parameters())
    pairs = list(composer.inserted_parameters(wrapped))
    assert len(pairs) == len(list(composer.inserted_parameters(model))) > 0
    assert all(own[name] is parameter for name, parameter in pairs)
    assert len(composer.parameter_groups(wrapped, lr=1, weight_decay=1)) == 4


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("layer_decay", [None, 0.7])
def test_the_original_parameters_are_in_timms_groups(name: str, layer_decay: float | None) -> None:
    plain, model = composed(name)
    spared = plain.no_weight_decay() if hasattr(plain, "no_weight_decay") else ()
    if layer_decay is None:
        theirs = param_groups_weight_decay(plain, 0.05, no_weight_decay_list=spared)
    else:
        theirs = param_groups_layer_decay(
            plain, 0.05, no_weight_decay_list=spared, layer_decay=layer_decay
        )
    wanted = {
        key: (pytest.approx(0.1 * one.get("lr_scale", 1)), one["weight_decay"])
        for key, one in settings(plain, theirs).items()
    }
    groups = composer.parameter_groups(model, lr=0.1, weight_decay=0.05, layer_decay=layer_decay)
    ours = settings(model, groups)
    assert ours.keys() == {n for n, _ in model.named_parameters()}
    kept = {key: (one["lr"], one["weight_decay"]) for key, one in ours.items() if key in wanted}
    replaced = wanted.keys() - kept.keys()
    assert bool(replaced) == (name in ("stand-ins", "position tables"))
    assert kept == {key: one for key, one in wanted.items() if key not in replaced}
    plain_groups = composer.parameter_groups(
        plain, lr=0.1, weight_decay=0.05, layer_decay=layer_decay
    )
    assert {
        key: (one["lr"], one["weight_decay"]) for key, one in settings(plain, plain_groups).items()
    } == wanted


#: Of what was inserted, which original parameter it shares its layer with.
LAYERS = [
    ("blocks", "layer2.0.se_2.excite.fc1.weight", "layer2.0.conv1.weight"),
    ("stages", "layer1.cbam.channel.excite.fc1.weight", "layer1.1.conv2.weight"),
    ("stages", "layer4.cbam.blend", "layer4.1.conv2.weight"),
    ("stem", "maxpool.eca.interact.conv.weight", "conv1.weight"),
    ("before the head", "norm.se.excite.fc1.weight", "norm.weight"),
    ("stand-ins", "layer3.1.conv1.split.0.conv.weight", "layer3.1.bn2.weight"),
    ("tokens", "blocks.3.se.excite.fc2.weight", "blocks.3.mlp.fc1.weight"),
    ("stages of ConvNeXt", "stages.2.se.excite.fc1.weight",
     "stages.2.blocks.3.mlp.fc1.weight"),
]  # fmt: skip


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize(("name", "new", "old"), LAYERS)
def test_what_was_inserted_is_of_the_layer_that_it_serves(name: str, new: str, old: str) -> None:
    _, model = composed(name)
    groups = composer.parameter_groups(
        model, lr=0.1, weight_decay=0, layer_decay=0.5, inserted_lr=0.3
    )
    found = settings(model, groups)
    assert found[new]["inserted"] is True
    assert found[old]["inserted"] is False
    assert found[new]["layer"] == found[old]["layer"]
    assert found[new]["lr"] == pytest.approx(3 * found[old]["lr"])
    assert found[new]["lr"] < 0.3


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    ("backbone", "spec", "wish", "without", "of_all"),
    [
        ("resnet18", "bot_mhsa", {"stages": 4},
         {"attend.height", "attend.width", "norm.weight"}, {"qkv.linear.weight"}),
        ("resnet18", "axial", {"stages": 4},
         {"height.table", "width.table"}, {"height.qkv.linear.weight"}),
        ("test_vit", "aft", {}, {"u", "w", "out.linear.bias"}, {"out.linear.weight"}),
        ("test_vit", "layer_scale", {}, {"scale"}, set()),
        ("resnet18", "se", {"init": "identity", "stages": 4},
         {"blend", "excite.fc1.bias"}, {"excite.fc1.weight"}),
        ("resnet18", "cond_conv", {"stages": 4}, set(), {"kernels"}),
        ("resnet18", "ge_theta", {"stages": 4}, {"norm.bias"}, {"filter"}),
    ],
)  # fmt: skip
def test_what_takes_no_weight_decay(
    backbone: str, spec: str, wish: Wish, without: set[str], of_all: set[str]
) -> None:
    model = composer.insert(backbone, spec, **wish)
    path = composer.recipe(model).edits[-1].sites[-1]
    prefix = ".".join(filter(None, (path.path, path.name)))
    found = settings(model, composer.parameter_groups(model, lr=1, weight_decay=0.1))
    own = {key.removeprefix(f"{prefix}."): one for key, one in found.items()}
    for name in without:
        if name in own or not name.startswith("norm"):
            assert own[name]["weight_decay"] == 0, name
    for name in of_all:
        assert own[name]["weight_decay"] == 0.1, name


def test_layers_of_a_model_that_does_not_say_them_are_its_blocks() -> None:
    plain = torchvision.models.resnet18(num_classes=10)
    twin = timm.create_model("resnet18")
    model = composer.insert(plain, "se", at="stage")
    wanted = settings(twin, composer.parameter_groups(twin, lr=1, weight_decay=0, layer_decay=0.5))
    found = settings(model, composer.parameter_groups(model, lr=1, weight_decay=0, layer_decay=0.5))
    assert {k: v["layer"] for k, v in found.items() if ".se." not in k} == {
        k: v["layer"] for k, v in wanted.items()
    }
    assert found["layer2.se.excite.fc1.weight"]["layer"] == found["layer2.1.conv2.weight"]["layer"]


def test_what_does_not_learn_is_left_out_and_an_optimizer_takes_the_groups() -> None:
    _, model = composed("stages")
    model.requires_grad_(False)
    for _, parameter in composer.inserted_parameters(model):
        parameter.requires_grad_(True)
    groups = composer.parameter_groups(model, lr=0.1, weight_decay=0.2, inserted_lr=0.3)
    assert {group["lr"] for group in groups} == {0.3}
    optimizer = torch.optim.AdamW(groups)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(composer.inserted_parameters(model))
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: composer.inserted_parameters(nn.Linear(1, 1)),
         "error[not-composed]: nothing was inserted into this Linear\n"
         "  help: give a model returned by composer.insert or composer.load"),
        (lambda: composer.parameter_groups(nn.Linear(1, 1), lr=-1, weight_decay=0),
         "error[invalid-value]: lr is -1, not a number from 0\n  help: for example lr=0.05"),
        (lambda: composer.parameter_groups(nn.Linear(1, 1), lr=1, weight_decay=0, layer_decay=2),
         "error[invalid-value]: layer_decay is 2, not a number from 0 to 1\n"
         "  help: for example layer_decay=0.05"),
    ],
)  # fmt: skip
def test_what_is_refused(call: Any, said: str) -> None:
    with pytest.raises(ComposerError) as refused:
        call()
    assert str(refused.value) == said

"""A mechanism in the place of modules that are there, such as ECA for the SE of an EfficientNet."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from backbones import enlivened
from command import Command
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.ops.misc import SqueezeExcitation

import composer
from composer.analysis.anatomy import anatomy
from composer.errors import ComposerError
from composer.surgery.layers import convolutions

#: A MODEL, the class of its SE, how many there are, the first, and how its keys end.
BACKBONES = [
    ("mobilenetv3_small_050", "SqueezeExcite", 9, "blocks.0.0.se", "conv_reduce.weight"),
    ("test_efficientnet", "SqueezeExcite", 2, "blocks.3.0.se", "conv_expand.bias"),
    ("regnety_002", "SEModule", 13, "s1.b1.se", "fc1.weight"),
    ("torchvision:mobilenet_v3_small", "SqueezeExcitation", 9, "features.1.block.1", "fc1.weight"),
    ("torchvision:regnet_y_400mf", "SqueezeExcitation", 16,
     "trunk_output.block1.block1-0.f.se", "fc2.bias"),
]  # fmt: skip
REPLACE: dict[str, Any] = {"at": "module", "replace": True}
IMAGE = (2, 3, 64, 64)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    library, _, rest = name.rpartition(":")
    return enlivened(get_model(rest) if library else timm.create_model(rest))


def image(shape: tuple[int, ...] = IMAGE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def output(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(image())


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(("name", "kind", "count", "first", "key"), BACKBONES, ids=lambda v: str(v))
def test_the_promises(
    name: str, kind: str, count: int, first: str, key: str, tmp_path: Path
) -> None:
    model = make(name)
    before = copy.deepcopy(model.state_dict())
    plan = composer.plan(model, "eca", type=kind, expect=count, **REPLACE)
    assert [(s.position, s.name, s.note) for s in plan.sites] == [
        ("replace", None, f"in place of {kind}")
    ] * count
    assert plan.sites[0].path == first
    gone = sum(sum(p.numel() for p in m.parameters()) for m in model.modules()
               if type(m).__name__ == kind)  # fmt: skip
    assert sum(site.replaced for site in plan.sites) == gone
    edited = composer.insert(model, "eca", type=kind, backbone=name, **REPLACE)
    assert plan.parameters_after == sum(p.numel() for p in edited.parameters())
    assert plan.parameters_before == sum(p.numel() for p in model.parameters())
    # keys: those of the replaced go, all others stay, the new ones stand under the same path
    now, sites = edited.state_dict(), tuple(f"{site.path}." for site in plan.sites)
    assert f"{first}.{key}" in before and f"{first}.{key}" not in now
    assert {k for k in before if k not in now} == {k for k in before if k.startswith(sites)}
    assert {k for k in now if k not in before} == {k for k in now if k.startswith(sites)}
    assert all(torch.equal(now[k], before[k]) for k in now if not k.startswith(sites))
    # it learns
    edited.train()(image()).sum().backward()
    new = [p for k, p in edited.named_parameters() if k.startswith(sites)]
    assert len(new) == count and all(p.grad is not None and p.grad.any() for p in new)
    # it is copied, pickled and kept
    wanted = output(edited)
    assert not torch.equal(wanted, output(model))
    for other in (copy.deepcopy(edited), pickle.loads(pickle.dumps(edited))):
        assert type(other) is type(edited) and torch.equal(output(other), wanted)
    composer.save(edited, tmp_path / "out")
    loaded = composer.load(tmp_path / "out")
    assert torch.equal(output(loaded), wanted)
    # and it comes back
    for other in (edited, loaded):
        statistics = ("running_mean", "running_var", "num_batches_tracked")  # it was trained
        back = composer.eject(other).state_dict()
        assert back.keys() == before.keys()
        assert all(torch.equal(back[k], before[k]) for k in back if not k.endswith(statistics))


@pytest.mark.slow
def test_efficientnet_b0() -> None:
    with torch.device("meta"):
        model = timm.create_model("efficientnet_b0")
    plan = composer.plan(model, "eca", type="SqueezeExcite", **REPLACE)
    assert len(plan.sites) == 16
    edited = composer.insert(model, "eca", type="SqueezeExcite", **REPLACE)
    assert sum(p.numel() for p in edited.parameters()) == plan.parameters_after < 4_700_000


def test_what_it_computes() -> None:
    """The block with ECA in place of SE is what its own code computes around ECA."""
    model = make("test_efficientnet").eval()
    edited = composer.insert(model, "eca", select="blocks.3.0.se", **REPLACE)
    by_hand = copy.deepcopy(model)
    by_hand.blocks[3][0].se = composer.build("eca", channels=128)
    by_hand.blocks[3][0].se.load_state_dict(edited.blocks[3][0].se.state_dict())
    assert torch.equal(output(edited), output(by_hand))


@pytest.mark.long
def test_the_anatomy_is_what_it_was() -> None:
    model = make("test_efficientnet")
    edited = composer.insert(model, "eca", type="SqueezeExcite", **REPLACE)
    assert str(composer.sites(edited)) != ""
    found = [anatomy(one) for one in (model, edited)]
    paths = [[block.path for block in known.blocks] for known in found]
    assert paths[0] == paths[1]
    layers = [convolutions(one, known) for one, known in zip((model, edited), found, strict=True)]
    free = [[layer.path for layer in one if layer.refusal is None] for one in layers]
    assert free[0] == free[1]
    numbers = [{x.path: x.number for x in one if x.number} for one in layers]
    assert numbers[0] == numbers[1]


@pytest.mark.long
def test_edits_stack() -> None:
    model = make("test_efficientnet")
    before = copy.deepcopy(model.state_dict())
    edited = composer.insert(model, "eca", type="SqueezeExcite", **REPLACE)
    edited = composer.insert(edited, "cbam", at="block", stages="4..-1")
    edited = composer.insert(edited, "se", at="module", select="blocks.3.0.bn2", replace=False)
    again = composer.plan(edited, "se", **REPLACE, select=["blocks.3.0.se", "blocks.0.0.bn1"])
    assert [site.path for site in again.sites] == ["blocks.0.0.bn1"]
    reasons = {miss.path: miss.reason for miss in again.near_misses}
    assert reasons["blocks.3.0.se"] == "it is already replaced"
    back = composer.eject(edited).state_dict()
    assert back.keys() == before.keys()
    assert all(torch.equal(back[key], before[key]) for key in back)


def test_base_classes_globs_and_every() -> None:
    class Gate(SqueezeExcitation):
        pass

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Conv2d(16 if n else 3, 16, 3) for n in range(4))
            self.gates = nn.ModuleList(
                kind(16, 4) for kind in (Gate, SqueezeExcitation, Gate, SqueezeExcitation)
            )

        def forward(self, x: Tensor) -> Tensor:
            for block, gate in zip(self.blocks, self.gates, strict=True):
                x = gate(block(x))
            return x

    def found(**options: Any) -> list[str]:
        return [site.path for site in composer.plan(Net(), "se", **REPLACE, **options).sites]

    assert found(type="Gate") == ["gates.0", "gates.2"]
    assert found(type="SqueezeExcitation") == [f"gates.{n}" for n in range(4)]
    assert found(type=["Gate", "Conv2d"], select="gates.*") == ["gates.0", "gates.2"]
    assert found(select=["gates.1", "re:gates.[23]"]) == ["gates.1", "gates.2", "gates.3"]
    assert found(type="SqueezeExcitation", every=2) == ["gates.0", "gates.2"]


# ------------------------------------------------------------------------------ near misses


class Scale(nn.Module):
    """A map, times a number for each channel; called as a case asks."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, other: Any = None) -> Any:
        y = x * self.weight[:, None, None]
        if isinstance(other, str):
            return (y, y) if other == "two" else y.mean((2, 3))
        return y if other is None else y + other


def _twice(self: Any, x: Tensor) -> Tensor:
    return self.scale(self.scale(x))


def _two_inputs(self: Any, x: Tensor) -> Tensor:
    return self.scale(x, x)


def _two_outputs(self: Any, x: Tensor) -> Tensor:
    return self.scale(x, "two")[0]


def _vector(self: Any, x: Tensor) -> Tensor:
    return x * self.scale(x, "mean")[:, :, None, None]


def _by_name(self: Any, x: Tensor) -> Tensor:
    return self.scale(other=None, x=x)


def _reads(self: Any, x: Tensor) -> Tensor:
    return self.scale(x).to(self.scale.weight.dtype)


def _by_method(self: Any, x: Tensor) -> Tensor:
    y = self.scale(x)
    return y if torch.is_grad_enabled() else self.scale.forward(x)


def _asks(self: Any, x: Tensor) -> Tensor:
    return self.scale(x) if isinstance(self.scale, Scale) else x


def _plain(self: Any, x: Tensor) -> Tensor:
    return self.scale(x)


def _fuse(self: Any) -> None:
    self.conv.weight.data *= self.scale.weight[:, None, None, None]
    self.scale = nn.Identity()


@pytest.mark.parametrize(
    ("forward", "methods", "reason"),
    [
        (_twice, {}, "it runs 2 times in one pass"),
        (_two_inputs, {}, "it takes 2 tensors, not one map"),
        (_two_outputs, {}, "it returns a tuple, not one map"),
        (_vector, {}, "its output is not a map: "),
        (_by_name, {}, "it is called by keyword"),
        (_reads, {}, "its weight is read by other modules"),
        (_asks, {}, "in evaluation Net calls its replacement 0 times"),
        (_plain, {"fuse": _fuse}, "fuse() of Net fails then: "),
        (_plain, {"alias": True}, "it is one module under 2 names: scale, alias"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "".join(value),
)
def test_a_module_that_can_not_be_replaced(forward: Any, methods: Any, reason: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)
            self.scale = Scale()
            if "alias" in methods:
                self.alias = self.scale
            self.last = nn.Conv2d(16, 16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(forward(self, self.conv(x)))

    if "fuse" in methods:
        Net.fuse = methods["fuse"]  # type: ignore[attr-defined]
    with pytest.raises(ComposerError) as caught:
        composer.plan(Net(), "se", type="Scale", **REPLACE)
    assert f"the module chosen cannot be replaced: {reason}" in str(caught.value)


def test_another_shape_is_refused_by_its_sizes() -> None:
    plan = composer.plan(make("test_efficientnet"), "se", select="blocks.1.0.*", **REPLACE)
    reasons = {miss.path: miss.reason for miss in plan.near_misses}
    assert reasons["blocks.1.0.conv_exp"] == "its input is 16×80×80 and its output 64×40×40"


def test_none_of_several_can_go() -> None:
    with pytest.raises(ComposerError) as caught:
        composer.plan(make("test_efficientnet"), "se", select=["conv_stem", "blocks.?.0.conv_exp"],
                      type="Conv2d", **REPLACE)  # fmt: skip
    assert str(caught.value) == (
        "error[no-sites]: none of the 3 modules chosen can be replaced: "
        "its input is 3×160×160 and its output 24×80×80 (1 of them)\n"
        "  help: there are modules of class BatchNormAct2d, SqueezeExcite"
    )


def test_what_is_inside_another_stays() -> None:
    plan = composer.plan(make("test_efficientnet"), "se", select="blocks.3.0.se*", **REPLACE)
    assert [site.path for site in plan.sites] == ["blocks.3.0.se"]
    inside = [m.reason for m in plan.near_misses if m.path.startswith("blocks.3.0.se.conv")]
    assert inside == ["it is inside blocks.3.0.se, which is replaced"] * 2


@pytest.mark.long
def test_an_attention_module_of_tokens() -> None:
    model = make("vit_tiny_patch16_224")
    plan = composer.plan(model, "se", type="Attention", select="blocks.0.*", **REPLACE)
    (site,) = plan.sites
    assert (site.path, site.channels, site.size) == ("blocks.0.attn", 192, (14, 14))
    edited = composer.insert(model, "se", type="Attention", select="blocks.0.*", **REPLACE)
    assert edited.eval()(image((1, 3, 224, 224))).shape == (1, 1000)


def test_a_failure_changes_nothing() -> None:
    model = make("test_efficientnet")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ComposerError, match="param"):
        composer.insert(model, "se", type="SqueezeExcite", params={"wrong": 1}, inplace=True,
                        **REPLACE)  # fmt: skip
    now = model.state_dict()
    assert all(torch.equal(now[key], before[key]) for key in before) and now.keys() == before.keys()


def test_a_picture_names_what_was_there(tmp_path: Path) -> None:
    edited = composer.insert(make("test_efficientnet"), "eca", type="SqueezeExcite", **REPLACE)
    composer.render(edited, tmp_path / "one.svg", expand="blocks.3.0")
    drawn = (tmp_path / "one.svg").read_text("utf-8")
    assert "eca" in drawn and ">for se<" in drawn


# ------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"replace": True},
         "error[invalid-value]: replace is for at='module', and at is not given\n"
         "  help: use at='module', and select=… or type=…"),
        ({"replace": True, "at": "block", "select": "*"},
         "error[invalid-value]: replace is for at='module', and at is 'block'\n"
         "  help: use at='module', and select=… or type=…"),
        ({"replace": True, "at": "conv"},
         "error[invalid-value]: replace is for at='module', and at is 'conv'\n"
         "  help: omit replace: at='conv' replaces already; or use at='module', and select=… or "
         "type=…"),
        (REPLACE,
         "error[invalid-selection]: at='module' needs a choice of modules, and none is given\n"
         "  help: select some: 'layer3.*.conv2', or 're:layer[34].*'; or give their class: "
         "type='SqueezeExcite'"),
        ({"at": "module", "type": "SqueezeExcite"},
         "error[invalid-value]: type is 'SqueezeExcite', which chooses modules to replace\n"
         "  help: add replace=True, or choose with select"),
        ({**REPLACE, "type": "SqueezeExcite", "position": "output"},
         "error[invalid-value]: position is 'output', and a replaced module has none\n"
         "  help: omit the position"),
        ({**REPLACE, "type": "SqueezeExcite", "match": {"kernel": 3}},
         "error[invalid-match]: match chooses convolutions, and the sites are modules\n"
         "  help: choose with stages, blocks or select"),
        ({**REPLACE, "type": "SqueezeExcite", "init": "identity"},
         "error[no-identity]: 'eca' replaces modules that compute something else, so the model "
         "can't start as identity\n"
         "  help: start as in the paper (init='paper'), or insert it after them: omit replace"),
        ({**REPLACE, "type": "SqueezeExcit"},
         "error[unknown-class]: no module here is of class 'SqueezeExcit'\n"
         "  help: did you mean 'SqueezeExcite'? Replaceable classes: BatchNormAct2d, "
         "SqueezeExcite"),
    ],
)  # fmt: skip
def test_messages(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ComposerError) as caught:
        composer.plan("test_efficientnet", "eca", **options)
    assert str(caught.value) == said


@pytest.mark.parametrize("command", ["insert", "compare"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--replace", "--replace is for --at module\n  help: use --at module --replace"),
        ("--replace --at block --select x",
         "--replace is for --at module\n  help: use --at module --replace"),
        ("--replace --at conv",
         "--at conv replaces already\n  help: omit --replace, or use --at module --replace"),
        ("--replace --at module",
         "--replace is given without what to replace\n"
         "  help: use --type SqueezeExcite, or --select 'blocks.*.se'"),
        ("--at module --type SqueezeExcite",
         "--type chooses modules to replace\n  help: add --replace, or choose with --select"),
    ],
)  # fmt: skip
def test_usage(run: Command, command: str, options: str, said: str) -> None:
    result = run(command, "--spec", "eca", "--into", "test_efficientnet", *options.split())
    assert (result.status, result.out, result.err) == (2, "", f"error[usage]: {said}\n")


def test_identity_is_a_usage_error(run: Command) -> None:
    words = ["--at", "module", "--replace", "--type", "SqueezeExcite", "--init", "identity"]
    result = run("insert", "--spec", "eca", "--into", "test_efficientnet", *words)
    assert result.status == 2
    assert result.err == (
        "error[usage]: --replace puts something else in place of a module, so it can't start as "
        "identity\n"
        "  help: use --init paper; or omit --replace, to insert after the module\n"
    )


def test_the_command(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--at", "module", "--replace", "--type", "SqueezeExcite", "-o", "out", "--json"]
    result = run("insert", "--spec", "eca", "--into", "test_efficientnet", *words)
    assert result.status == 0
    said = json.loads(result.out)
    assert [(s["path"], s["position"], s["parameters"]) for s in said["sites"]] == [
        ("blocks.3.0.se", "replace", 5), ("blocks.4.0.se", "replace", 5)
    ]  # fmt: skip
    assert said["parameters"]["before"] - said["parameters"]["after"] == 2184 + 4812 - 10
    assert said["flops"]["after"] < said["flops"]["before"]
    recipe = (tmp_path / "out" / "recipe.yaml").read_text("utf-8")
    assert "  at: module\n  position: replace\n" in recipe
    assert (tmp_path / "out" / "replaced.safetensors").exists()
    result = run("eject", "out", "-o", "back.safetensors")
    assert result.status == 0


def test_a_recipe_finds_its_modules_or_says_so(tmp_path: Path) -> None:
    edited = composer.insert("test_efficientnet", "eca", type="SqueezeExcite", **REPLACE)
    composer.save(edited, tmp_path / "out")
    file = tmp_path / "out" / "recipe.yaml"
    text = file.read_text("utf-8")
    file.write_text(text.replace("path: blocks.4.0.se", "path: blocks.4.0.conv_dw"), "utf-8")
    with pytest.raises(ComposerError, match="has different sites than the recipe"):
        composer.load(tmp_path / "out")

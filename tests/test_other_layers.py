"""In place of norms, MLPs and the global pool: where, what is computed, what is refused."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from probe import randomise
from timm import create_model
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import composer

POOL = """\
composer: 1
name: attention_pool
stands_for: pool
input: [b, c, h, w]
nodes:
  logits: {op: conv2d, kernel: 1, out: {}}
  where:  {op: gate, fn: softmax, over: [h, w]}
  out:    {op: product, of: [input, where], sum: [h, w]}
"""
RMS = """\
composer: 1
name: rms
stands_for: norm
input: [b, n, c]
nodes:
  out: {op: norm, fn: rms, over: c}
"""
RMS_OF_MAPS = RMS.replace("[b, n, c]", "[b, c, h, w]")
GLU = """\
composer: 1
name: glu
stands_for: mlp
input: [b, n, c]
nodes:
  wide:        {op: linear, over: c, out: {part: 2, d: 2 * c}}
  value, gate: {op: unstack, axis: part}
  open:        {op: gate, x: gate, fn: silu}
  both:        {op: mul, of: [value, open]}
  out:         {op: linear, over: d, out: {c: c}}
"""

#: A spec, a backbone, how many sites, and the paths they match.
PLACES = [
    (POOL, "test_resnet", 1, r"global_pool\.pool"),
    (POOL, "torchvision:resnet18", 1, "avgpool"),
    (POOL, "torchvision:mobilenet_v3_small", 1, "avgpool"),  # and not those of its SE gates
    (POOL, "test_convnext", 1, r"head\.global_pool\.pool"),
    (RMS, "test_vit", 13, r"blocks\.\d\.norm[12]|norm"),
    (RMS_OF_MAPS, "torchvision:resnet18", 20, r".*(bn\d|downsample\.1)"),
    (GLU, "test_vit", 6, r"blocks\.\d\.mlp"),
    (GLU, "test_convnext", 9, r"stages\.\d\.blocks\.\d\.mlp"),
    (GLU, "torchvision:swin_t", 12, r"features\.\d\.\d\.mlp"),
]  # fmt: skip


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    ("spec", "backbone", "count", "paths"),
    [pytest.param(*one, id=f"{one[0].split()[3]} in {one[1]}") for one in PLACES],
)
def test_places(spec: str, backbone: str, count: int, paths: str) -> None:
    plan = composer.plan(backbone, spec, select=f"re:{paths}", expect=count)
    assert [site.path for site in plan.sites] == [
        site.path for site in composer.plan(backbone, spec).sites
    ]
    assert {site.position for site in plan.sites} == {"replace"}


@pytest.mark.long
def test_attention_pool_is_that_of_plain_torch(tmp_path: Path) -> None:
    """timm's pool gives [b, c], and torchvision's [b, c, 1, 1]."""
    x = torch.randn(2, 3, 96, 64)
    timm_model, torch_model = create_model("test_resnet"), torchvision.models.resnet18()
    for base, path, map_of in (
        (timm_model, "global_pool.pool", timm_model.forward_features),
        (torch_model, "avgpool", nn.Sequential(*list(torch_model.children())[:-2])),
    ):
        base.eval()
        model = composer.insert(copy.deepcopy(base), POOL)
        pool = randomise(model.get_submodule(path))
        features = map_of(x)
        p = dict(pool.named_parameters())
        logits = F.conv2d(features, p["logits.conv.weight"], p["logits.conv.bias"])
        weights = logits.flatten(2).softmax(-1)
        pooled = (features.flatten(2) * weights).sum(-1)
        torch.testing.assert_close(model.eval()(x), base.fc(pooled))
        again = pickle.loads(pickle.dumps(model))
        torch.testing.assert_close(again(x), model(x))


def tokens_at(model: nn.Module, path: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a module takes and what it gives."""
    seen: list[tuple[Tensor, Tensor]] = []
    layer = model.get_submodule(path)
    hook = layer.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    model(x)
    hook.remove()
    return seen[0]


@pytest.mark.long
def test_a_norm_and_an_mlp_of_tokens_take_the_class_token_too() -> None:
    x = torch.randn(2, 3, 160, 160)
    model = composer.insert(create_model("test_vit").eval(), RMS)
    model = composer.insert(model, GLU).eval()
    randomise(model)
    given, out = tokens_at(model, "blocks.1.norm1", x)
    weight = model.get_parameter("blocks.1.norm1.out.norm.weight")
    torch.testing.assert_close(out, F.rms_norm(given, weight.shape, weight, 1e-5))
    given, out = tokens_at(model, "blocks.1.mlp", x)
    p = dict(model.get_submodule("blocks.1.mlp").named_parameters())
    value, gate = F.linear(given, p["wide.linear.weight"], p["wide.linear.bias"]).chunk(2, -1)
    both = value * F.silu(gate)
    torch.testing.assert_close(out, F.linear(both, p["out.linear.weight"], p["out.linear.bias"]))


@pytest.mark.long
def test_a_norm_of_maps_reads_tokens_with_their_prefix() -> None:
    x = torch.randn(2, 3, 160, 160)
    model = randomise(composer.insert(create_model("test_vit").eval(), RMS_OF_MAPS)).eval()
    given, out = tokens_at(model, "blocks.1.norm1", x)
    weight = model.get_parameter("blocks.1.norm1.out.norm.weight")
    torch.testing.assert_close(out, F.rms_norm(given, weight.shape, weight, 1e-5))


@pytest.mark.long
@pytest.mark.parametrize("spec", [POOL, RMS_OF_MAPS], ids=["pool", "norm"])
def test_saved_loaded_and_ejected(tmp_path: Path, spec: str) -> None:
    base = create_model("test_resnet")
    state = {key: value.clone() for key, value in base.state_dict().items()}
    model = randomise(composer.insert(base, spec)).eval()
    composer.save(model, tmp_path / "made")
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(composer.load(tmp_path / "made").eval()(x), model(x))
    back = composer.eject(model)
    assert set(back.state_dict()) == set(state)
    assert type(back.global_pool.pool) is type(create_model("test_resnet").global_pool.pool)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "backbone"),
    [(POOL, "test_resnet"), (RMS_OF_MAPS, "test_resnet"), (RMS, "test_vit"), (GLU, "test_vit")],
)
def test_compiled(spec: str, backbone: str) -> None:
    model = randomise(composer.insert(create_model(backbone), spec)).eval().double()
    x = torch.randn(2, 3, 160, 160, dtype=torch.float64)
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-8, atol=1e-8)


def said(*args: object, **options: object) -> str:
    with pytest.raises(composer.ComposerError) as refused:
        composer.plan(*args, **options)  # type: ignore[arg-type]
    return str(refused.value)


REFUSED = {
    "no module pools": (
        POOL, "test_vit", {},
        "error[no-sites]: this backbone has no global pool that could be found; none of 137 "
        "modules is one\n  help: its forward may pool itself; use at='head' for a mechanism "
        "that keeps the map",
    ),
    "no module is an MLP": (
        GLU, "test_resnet", {},
        "error[no-sites]: this backbone has no MLP that could be found; none of 70 modules is "
        "one\n  help: choose what it replaces: at='module', replace=True, with select or type",
    ),
    "a pool has no block": (
        POOL, "test_resnet", {"at": "block"},
        "error[stand-in]: 'attention_pool' stands for a global pool, so it can't go to a "
        "block\n  help: use at='pool'",
    ),
    "a norm is no MLP": (
        RMS, "test_vit", {"at": "mlp"},
        "error[not-a-stand-in]: 'rms' does not stand for an MLP, so it can't replace one\n  "
        "help: use at='norm', or write 'stands_for: mlp' in the spec",
    ),
    "it computes something else": (
        RMS, "test_vit", {"init": "identity"},
        "error[no-identity]: 'rms' replaces modules that compute something else, so the model "
        "can't start as identity\n  help: start as in the paper (init='paper')",
    ),
    "it has no kernel": (
        RMS, "test_vit", {"match": {"kernel": 3}},
        "error[invalid-match]: match chooses convolutions, and the sites are norms\n"
        "  help: choose with stages, blocks or select",
    ),
    "an activation would go": (
        RMS_OF_MAPS, "efficientnet_b0", {"select": "*.bn1"},
        "error[no-sites]: none of the 16 modules chosen can be replaced: its activation SiLU would "
        "be removed with it\n  help: there are modules of class",
    ),
    "its output is a map": (
        POOL.replace(", sum: [h, w]}", ", sum: h}"), "test_resnet", {},
        "<spec>:8:11: error[output-differs]: the output 'out' is [b, c, w], but the pooled input "
        "is [b, c]\n    8 |   out:    {op: product, of: [input, where], sum: h}\n      |           "
        f"{'^' * 41}\n  help: a global pool returns one value per channel",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    spec, backbone, options, expected = REFUSED[name]
    assert said(backbone, spec, **options).startswith(expected)


def test_an_identity_is_of_layers_with_weights() -> None:
    text = RMS + "identity: {nodes: {out: {weight: 0}}}\n"
    assert "a stand-in for a norm takes no weights from it" in said("test_vit", text)
    with pytest.raises(composer.ComposerError, match="'rms' stands for a norm, from which it"):
        composer.build(RMS, like=nn.LayerNorm(8))

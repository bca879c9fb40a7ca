"""The promises of an edit, on every backbone."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist
from backbones import BACKBONES, Backbone, backbone, enlivened, images, make
from timm import create_model
from torch import Tensor, nn

import composer
from composer.analysis.edited import MARK, is_inserted

HEAVY = [pytest.mark.slow]
ROWS = [pytest.param(row, marks=HEAVY if row.heavy else [], id=str(row)) for row in BACKBONES]


class Pair(NamedTuple):
    """A model, and the same with attention that starts as nothing, both in evaluation mode."""

    row: Backbone
    model: nn.Module
    edited: nn.Module


@pytest.fixture(scope="module", params=ROWS)
def pair(request: pytest.FixtureRequest) -> Pair:
    row = request.param
    model, at = make(row), "block" if row.blocks else "stage"
    params = {"min_width": 1}
    return Pair(row, model, composer.insert(model, "cbam", at=at, params=params, init="identity"))  # type: ignore[arg-type]


def sites(model: nn.Module) -> list[str]:
    """Return the paths of what was inserted."""
    return [path for path, module in model.named_modules() if is_inserted(module)]


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)


def run(model: nn.Module, x: Tensor, seed: int = 3) -> Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        return model(x)


# -------------------------------------------------------------------------- keys and tensors


@pytest.mark.quick(3)
def test_every_key_and_tensor_stays(pair: Pair) -> None:
    row, model, edited = pair
    before, after = model.state_dict(), edited.state_dict()
    assert [key for key in after if key in before] == list(before)
    assert all(same_bits(tensor, after[key]) for key, tensor in before.items())
    new = [key for key in after if key not in before]
    assert len(sites(edited)) == (sum(row.blocks) or len(row.stages))
    for site in sites(edited):
        assert site.rpartition(".")[2].startswith("cbam")
        assert any(key.startswith(f"{site}.") for key in new)
    assert all(any(key.startswith(f"{site}.") for site in sites(edited)) for key in new)
    found = edited.load_state_dict(before, strict=False)
    counters = ".num_batches_tracked"  # torch fills in those that are missing
    assert set(found.missing_keys) == {key for key in new if not key.endswith(counters)}
    assert found.unexpected_keys == []


@pytest.mark.quick(4)
def test_the_class_and_its_methods_stay(pair: Pair) -> None:
    row, model, edited = pair
    assert type(edited) is type(model)
    modules = dict(edited.named_modules())
    for path, module in model.named_modules():
        assert isinstance(modules[path], type(module))
        assert type(modules[path]).__name__ == type(module).__name__
    x = images(row)
    if hasattr(model, "forward_features"):
        assert torch.equal(run(edited.forward_features, x), run(model.forward_features, x))
    if hasattr(model, "get_classifier"):
        assert type(edited.get_classifier()) is type(model.get_classifier())


@pytest.mark.quick(4)
def test_identity_is_the_original_in_both_modes(pair: Pair) -> None:
    model, edited = copy.deepcopy(pair.model), copy.deepcopy(pair.edited)
    x = images(pair.row)
    for mode in (False, True):
        assert torch.equal(run(edited.train(mode), x), run(model.train(mode), x))
        assert all(m.training is mode for m in edited.modules())
    before, after = model.state_dict(), edited.state_dict()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())  # statistics


@pytest.mark.quick(1)
@pytest.mark.parametrize("row", [p for p in ROWS if p.values[0].drop])
def test_identity_with_drop_path(row: Backbone) -> None:
    model = make(row, drop=0.2).train()
    edited = composer.insert(model, "eca", at="block", init="identity")
    x = images(row)
    other = run(copy.deepcopy(model), x, seed=4)
    expected = run(model, x)
    assert torch.equal(run(edited, x), expected)
    assert not torch.equal(other, expected)  # it does drop
    assert torch.equal(run(edited.eval(), x), run(model.eval(), x))


@pytest.mark.quick(4)
def test_eject_gives_the_original_back(pair: Pair) -> None:
    row, model, edited = pair
    ejected = composer.eject(edited)
    assert sites(edited) and not sites(ejected)
    assert list(ejected.state_dict()) == list(model.state_dict())
    assert all(same_bits(a, ejected.state_dict()[k]) for k, a in model.state_dict().items())
    for ours, theirs in zip(ejected.modules(), model.modules(), strict=True):
        assert type(ours) is type(theirs)
        assert list(vars(ours)) == list(vars(theirs))
        assert list(ours._modules) == list(theirs._modules)
    x = images(row)
    assert torch.equal(run(ejected, x), run(model, x))
    with pytest.raises(composer.ComposerError, match="nothing was inserted"):
        composer.eject(ejected)


@pytest.mark.quick(4)
def test_a_gradient_reaches_every_new_parameter(pair: Pair) -> None:
    edited = copy.deepcopy(pair.edited).train()
    edited(images(pair.row)).square().sum().backward()
    for site in sites(edited):
        for key, parameter in edited.get_submodule(site).named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), (site, key)
        blend = edited.get_submodule(site).get_parameter("blend")
        assert blend.grad is not None and blend.grad.any(), site


@pytest.mark.quick(2)
def test_blocks_of_equal_structure_share_a_class(pair: Pair) -> None:
    row, model, edited = pair
    if not row.blocks:
        pytest.skip("a network without blocks")
    owners = {type(edited.get_submodule(s.rpartition(".")[0])) for s in sites(edited)}
    kinds = {type(model.get_submodule(s.rpartition(".")[0])) for s in sites(edited)}
    if "densenet" in row.model:  # a layer's forward lists the tensors that it takes
        assert len(owners) <= max(row.blocks)
    else:  # with and without a skip, an expansion or a downsampling of its own
        assert len(owners) <= 3 * len(kinds)
    if "resnet" in row.model or "resnext" in row.model:
        assert len(owners) <= 3 and len(kinds) == 1


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "at"),
    [("resnet18", "block"), ("resnet18", "stage"), ("user:network", "block"),
     *(pytest.param(name, at, marks=HEAVY)
       for name in ("torchvision:mobilenet_v2", "torchvision:densenet121", "convnext_tiny",
                    "regnety_002", "efficientnet_b0")
       for at in ("block", "stage"))],
)  # fmt: skip
def test_compiles_as_one_graph(name: str, at: str) -> None:
    row = backbone(name)
    edited = composer.insert(make(row), "eca", at=at)  # type: ignore[arg-type]
    torch._dynamo.reset()
    compiled = torch.compile(edited, fullgraph=True, backend="eager")
    x = images(row)
    for mode in (False, True):
        if mode and name == "user:network":
            continue  # its own drop path draws numbers, which eager draws in another order
        edited.train(mode)
        expected = run(copy.deepcopy(edited), x)
        torch.testing.assert_close(run(compiled, x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("at", ["block", "stage"])
def test_compiles_by_inductor(at: str) -> None:
    row = backbone("resnet18")
    edited = composer.insert(make(row), "cbam", at=at)  # type: ignore[arg-type]
    torch._dynamo.reset()
    compiled = torch.compile(edited, fullgraph=True)
    x = images(row)
    torch.testing.assert_close(run(compiled, x), run(edited, x), rtol=1e-3, atol=1e-3)


@pytest.mark.quick(1)
@pytest.mark.parametrize(("name", "at"), [("resnet18", "block"), ("user:network", "stage")])
def test_exports(name: str, at: str) -> None:
    row = backbone(name)
    edited = composer.insert(make(row), "cbam", at=at, params={"min_width": 1})  # type: ignore[arg-type]
    x = images(row)
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    program = torch.export.export(edited, (x,), dynamic_shapes=(batch,))
    torch.testing.assert_close(run(program.module(), x), run(edited, x))
    assert set(program.state_dict) >= {k for k, _ in edited.named_parameters()}


# ------------------------------------------------------------------------ copies and files


def test_a_copy_is_independent_and_equal() -> None:
    row = backbone("resnet18")
    edited = enlivened(composer.insert(make(row), "cbam", at="block"))
    other = copy.deepcopy(edited)
    x = images(row)
    assert torch.equal(run(other, x), run(edited, x))
    pointers = {p.data_ptr() for p in edited.parameters()}
    assert not pointers & {p.data_ptr() for p in other.parameters()}
    assert [type(m) for m in other.modules() if not is_inserted(m)] == [
        type(m) for m in edited.modules() if not is_inserted(m)
    ]
    composer.eject(other, inplace=True)
    assert len(sites(edited)) == 8 and not sites(other)


def test_saved_and_loaded_again_by_weights_only(tmp_path: Path) -> None:
    row = backbone("resnet18")
    edited = enlivened(composer.insert(make(row), "cbam", at="block"))
    torch.save(edited.state_dict(), tmp_path / "weights.pt")
    other = composer.insert(make(row), "cbam", at="block")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    x = images(row)
    assert torch.equal(run(other, x), run(edited, x))


def test_the_callers_model_is_left_alone() -> None:
    model = make(backbone("resnet18"))
    keys = list(model.state_dict())
    attributes = {path: dict(vars(m)) for path, m in model.named_modules()}
    composer.plan(model, "se", at="block")
    edited = composer.insert(model, "se", at="block")
    assert edited is not model and list(model.state_dict()) == keys
    assert {path: dict(vars(m)) for path, m in model.named_modules()} == attributes
    assert not sites(model)
    assert composer.insert(model, "se", at="block", inplace=True) is model
    assert sites(model) == sites(edited)
    assert composer.eject(model, inplace=True) is model and not sites(model)


# ------------------------------------------------------------------------------ many edits


def order_of(model: nn.Module, x: Tensor) -> list[str]:
    """Return the inserted modules in the order they run."""
    order: list[str] = []
    handles = [
        model.get_submodule(path).register_forward_hook(lambda *_, path=path: order.append(path))
        for path in sites(model)
    ]
    run(model, x)
    for handle in handles:
        handle.remove()
    return order


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "drop"),
    [("resnet18", 0.3), ("user:network", 0.0),
     pytest.param("torchvision:mobilenet_v2", 0.0, marks=HEAVY),
     pytest.param("convnext_tiny", 0.3, marks=HEAVY), pytest.param("regnety_002", 0.3, marks=HEAVY),
     pytest.param("efficientnet_b0", 0.3, marks=HEAVY)],
)  # fmt: skip
def test_edits_stack_in_order(name: str, drop: float) -> None:
    row = backbone(name)
    model = make(row, drop=drop)
    edited = composer.insert(model, "cbam", at="block", params={"min_width": 1}, init="identity")
    edited = composer.insert(edited, "eca", at="block", init="identity")
    edited = composer.insert(edited, "eca", at="block", position="output", init="identity")
    edited = composer.insert(edited, "bam", at="stage", params={"min_width": 1}, init="identity")
    edited = composer.insert(edited, "eca", at="block", init="identity", stages=1)
    x = images(row)
    all_branch = "mobilenet" in name or "efficientnet" in name  # there the last edit comes last
    expected = ["cbam", "eca", "eca_2"] if all_branch else ["cbam", "eca", "eca_3", "eca_2"]
    for mode in (False, True):
        order = order_of(edited.train(mode), x)
        names = [path.rpartition(".")[2] for path in order if path.startswith(f"{row.first}.")]
        assert names[: len(expected)] == expected
        assert len(order) == len(sites(edited)) == len(set(order))
        assert torch.equal(run(edited, x), run(model.train(mode), x))
        model.train(mode)
    ejected = composer.eject(edited)
    assert list(ejected.state_dict()) == list(model.state_dict())
    assert [type(m) for m in ejected.modules()] == [type(m) for m in model.modules()]


def test_the_same_spec_twice_at_one_place() -> None:
    row = backbone("resnet18")
    once = composer.insert(make(row), "se", at="block")
    twice = composer.insert(once, "se", at="block")
    assert "layer1.0.se_2" in sites(twice)  # timm's blocks have `se = None`
    x = torch.randn(2, 64, 8, 8)
    block, before = twice.layer1[0], once.layer1[0]
    branch = before.bn2(before.conv2(before.act1(before.bn1(before.conv1(x)))))
    expected = block.act2(block.se_3(block.se_2(branch)) + x)
    torch.testing.assert_close(block(x), expected)
    assert composer.eject(twice).layer1[0].se is None


def test_each_site_has_its_own_weights() -> None:
    edited = composer.insert(make(backbone("resnet18")), "se", at="block")
    weights = [edited.get_submodule(s).get_parameter("excite.fc1.weight") for s in sites(edited)]
    assert len({w.data_ptr() for w in weights}) == 8
    alike = [w for w in weights if w.shape == weights[0].shape]
    assert len(alike) == 2 and not torch.equal(alike[0], alike[1])


# ------------------------------------------------------------------- device, dtype, memory


@pytest.mark.parametrize("at", ["block", "stage"])
def test_dtype_and_memory_format_follow(at: str) -> None:
    row = backbone("resnet18")
    model = make(row).to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    edited = composer.insert(model, "bam", at=at, init="identity")  # type: ignore[arg-type]
    x = images(row).to(torch.bfloat16, memory_format=torch.channels_last)
    for site in sites(edited):
        module = edited.get_submodule(site)
        assert all(p.dtype is torch.bfloat16 for p in module.parameters())
        kernel = module.get_parameter("context1.conv.weight")
        assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(run(edited, x), run(model, x))


def test_each_block_has_its_own_dtype() -> None:
    model = make(backbone("resnet18"))
    model.layer4.double()
    edited = composer.insert(model, "eca", at="block")
    kinds = [next(edited.get_submodule(site).parameters()).dtype for site in sites(edited)]
    assert kinds == [torch.float32] * 6 + [torch.float64] * 2


def test_mode_follows_each_block() -> None:
    model = make(backbone("resnet18")).train()
    model.layer1.eval()
    edited = composer.insert(model, "cbam", at="block")
    assert [edited.get_submodule(s).training for s in sites(edited)] == [False] * 2 + [True] * 6


def test_a_frozen_backbone_stays_frozen() -> None:
    model = make(backbone("resnet18")).requires_grad_(False)
    edited = composer.insert(model, "se", at="block").train()
    trainable = [k for k, p in edited.named_parameters() if p.requires_grad]
    assert trainable and all(".se_2." in key for key in trainable)
    edited(images(backbone("resnet18"))).sum().backward()


# --------------------------------------------------------------------------------- training


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "at"),
    [("resnet18", "block"), ("regnety_002", "stage"),
     *(pytest.param(name, "block", marks=HEAVY) for name in ("mobilenetv2_100", "convnext_tiny"))],
)  # fmt: skip
def test_gradient_checkpointing(name: str, at: str) -> None:
    row = backbone(name)
    model = make(row)
    edited = composer.insert(model, "eca", at=at).train()  # type: ignore[arg-type]
    for module in edited.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    x = images(row)
    grads = []
    for on in (False, True):
        edited.set_grad_checkpointing(on)
        edited.zero_grad()
        edited(x).square().mean().backward()
        grads.append([p.grad.clone() for p in edited.parameters()])
    for off, on_ in zip(*grads, strict=True):
        torch.testing.assert_close(on_, off, rtol=1e-4, atol=1e-6)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/init", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def a_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x = images(backbone("resnet18"))
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_an_optimizer_moves_what_was_inserted(kind: type[torch.optim.Optimizer]) -> None:
    model = make(backbone("resnet18"))
    edited = composer.insert(model, "cbam", at="block", init="identity").train()
    before = {k: p.detach().clone() for k, p in edited.named_parameters() if ".cbam." in k}
    optimizer = kind(edited.parameters(), lr=0.1)  # type: ignore[call-arg]
    for _ in range(2):  # at first only the blend has a gradient
        a_step(edited, optimizer)
    now = dict(edited.named_parameters())
    moved = {key for key, tensor in before.items() if not torch.equal(now[key], tensor)}
    assert {key for key in before if key.endswith("blend")} <= moved
    assert any(key.endswith("fc1.weight") for key in moved)


def test_ddp(one_process: None) -> None:
    model = make(backbone("resnet18"))
    edited = composer.insert(model, "cbam", at="block", init="identity").train()
    wrapped = nn.parallel.DistributedDataParallel(edited)
    a_step(wrapped, torch.optim.SGD(wrapped.parameters(), lr=0.1))


def test_fsdp2(one_process: None) -> None:
    from torch.distributed.fsdp import fully_shard

    row = backbone("resnet18")
    model, edited = make(row), composer.insert(make(row), "cbam", at="block", init="identity")
    for stage in (edited.layer1, edited.layer2, edited.layer3, edited.layer4):
        for block in stage:
            fully_shard(block)
    fully_shard(edited)
    x = images(row)
    assert torch.equal(run(edited, x), run(model, x))
    a_step(edited.train(), torch.optim.SGD(edited.parameters(), lr=0.1))


# ------------------------------------------------------------------------------- counts


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("spec", "params", "expected"),
    [
        ("se", {}, 28_088_024),
        ("se", {"bias": False}, 28_071_976),
        ("eca", {}, 25_557_118),
        ("cbam", {}, 28_089_624),
        ("bam", {}, 25_915_099),
    ],
)
def test_parameters_of_resnet50(spec: str, params: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        model = create_model("resnet50")
    plan = composer.plan(model, spec, params=params, expect=3 if spec == "bam" else 16)
    assert plan.parameters_before == 25_557_032
    assert plan.parameters_before + sum(site.parameters for site in plan.sites) == expected
    edited = composer.insert(model, spec, params=params, inplace=True)
    assert sum(p.numel() for p in edited.parameters()) == expected
    if spec == "bam":
        assert sites(edited) == ["layer1.bam", "layer2.bam", "layer3.bam"]


# ----------------------------------------------------------------------------------- marks


def test_a_module_of_the_users_own_is_not_taken_for_ours() -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 3, 1)))
    assert MARK not in traced.meta and not is_inserted(traced)


def test_the_state_dict_is_plain() -> None:
    edited = composer.insert(make(backbone("resnet18")), "se", at="block")
    buffer = io.BytesIO()
    torch.save(edited.state_dict(), buffer)
    buffer.seek(0)
    assert list(torch.load(buffer, weights_only=True)) == list(edited.state_dict())

"""Parameters and multiply-adds against the published ones, and of a whole against its parts."""

from __future__ import annotations

import pytest
import torch
from backbones import backbone, make
from timm import create_model
from torch import nn

import composer
from composer.measure.cost import FakeRun, FlopCounter, floating_dtype, flops, parameters, untouched

IMAGE = (1, 3, 224, 224)


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("name", "giga", "millions"),
    [
        ("resnet18", 1.82, 11.69),
        ("resnet50", 4.11, 25.557),
        ("mobilenetv2_100", 0.30, 3.505),
        ("efficientnet_b0", 0.39, 5.289),
        ("densenet121", 2.87, 7.979),
        ("vgg16", 15.5, 138.36),
        ("convnext_tiny", 4.5, 28.59),
    ],
)
def test_as_published(name: str, giga: float, millions: float) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert flops(model, IMAGE) / 1e9 == pytest.approx(giga, rel=0.05)
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=1e-3)


def test_resnet50_to_three_digits() -> None:
    with torch.device("meta"):
        model = create_model("resnet50")
    assert round(flops(model, IMAGE) / 1e9, 2) == 4.11


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv2d(4, 8, 3, padding=1), (1, 4, 5, 6), 5 * 6 * 4 * 8 * 9),
        (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 5, 6), 2 * 3 * 4 * 8 * 9),
        (nn.Conv1d(1, 1, 3, padding=1), (1, 1, 16), 16 * 3),
        (nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
        (nn.BatchNorm2d(4), (1, 4, 5, 6), 2 * 4 * 5 * 6),
        (nn.LayerNorm(4), (3, 4), 2 * 3 * 4),
        (nn.ReLU(), (3, 4), 0),
        (nn.AdaptiveAvgPool2d(1), (1, 4, 5, 6), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_by_hand(module: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    module.train()
    assert flops(module, shape) == expected
    assert module.training


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "spec"),
    [("resnet18", "se"), ("resnet18", "bam"), ("torchvision:mobilenet_v2", "cbam"),
     ("regnety_002", "eca"), ("user:network", "se_var3")],
)  # fmt: skip
def test_a_whole_is_the_sum_of_its_parts(name: str, spec: str) -> None:
    model = make(backbone(name))
    params = {} if spec in ("eca", "se_var3") else {"min_width": 1}
    plan = composer.plan(model, spec, params=params)
    edited = composer.insert(model, spec, params=params)
    shape = (1, *plan.input_shape)
    assert plan.flops_before == flops(model, shape)
    assert plan.parameters_before == parameters(model)
    assert flops(edited, shape) == plan.flops_before + sum(s.flops for s in plan.sites)
    assert parameters(edited) == plan.parameters_before + sum(s.parameters for s in plan.sites)


def test_a_shared_parameter_counts_once() -> None:
    layer = nn.Linear(4, 4, bias=False)
    assert parameters(nn.Sequential(layer, layer)) == 16


def test_the_dtype_of_a_model() -> None:
    assert floating_dtype(nn.Linear(2, 2).to(torch.bfloat16)) is torch.bfloat16
    assert floating_dtype(nn.ReLU()) is torch.float32


def test_what_a_forward_leaves_behind_is_undone() -> None:
    class Keeps(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.calls, self.seen, self.table = 0, [0], {"a": None}
            self.none = 1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.seen.append(1)
            self.table["b"] = x
            self.made = None
            del self.none
            return super().forward(x)

    model = Keeps()
    before, seen = dict(vars(model)), model.seen
    with untouched(model) as changed:
        model(torch.ones(1, 2))
    assert vars(model) == before and model.seen is seen
    assert (model.seen, model.table) == ([0], {"a": None})
    assert set(changed) == {"calls", "seen", "table", "made", "none"}
    assert flops(model, (1, 2)) == 4
    assert vars(model) == before


def test_a_fake_run_leaves_no_fake_tensor_and_no_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    FakeRun.of(model)(model, lambda: (torch.empty(2, 3, 8, 8),), torch.no_grad())
    assert all(type(p) is nn.Parameter for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("width", [8, 6])  # of another width than the queries it runs otherwise
def test_attention_counts_both_of_its_products(device: str, masked: bool, width: int) -> None:
    from torch.nn import functional

    class Attend(nn.Module):
        def forward(self, q: torch.Tensor, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
            return functional.scaled_dot_product_attention(q, q, v, m if masked else None)

    shapes = (2, 4, 10, 8), (2, 4, 10, width), (2, 4, 10, 10)
    model = Attend()
    model.weight = nn.Parameter(torch.empty(1, device=device))
    assert flops(model, *shapes) == 2 * 4 * 10 * 10 * (8 + width)


def test_a_matrix_by_a_vector_counts() -> None:
    with FlopCounter() as counter:
        torch.ones(3, 4) @ torch.ones(4)
    assert counter.total == 12

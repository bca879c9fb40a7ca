"""Multiply-adds against a second counter, whichever way torch takes through a model.

The second counter is torch's own, halved, with its fast paths off and attention written out in
products; norms, which that leaves out, are counted by hooks on them, two for each element.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from sweep import torchvision_builders
from timm import create_model
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model
from torchvision.ops import DeformConv2d

import composer
from composer.analysis.probe import probe
from composer.measure.cost import FakeRun, FlopCounter, flops

NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.LayerNorm,
         nn.GroupNorm)  # fmt: skip
DEFAULT = ("vit_b_16", "regnet_y_400mf", "lraspp_mobilenet_v3_large")

#: Hugging Face's models, small: class, configuration, and what it is changed by.
_FOUR = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}
_TOKENS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
           "intermediate_size": 64, "image_size": 32, "patch_size": 8}  # fmt: skip
HUGGING_FACE: dict[str, dict[str, Any]] = {
    "ViTForImageClassification": _TOKENS,
    "DeiTForImageClassification": _TOKENS,
    "BeitForImageClassification": _TOKENS,
    "Dinov2Model": {**_TOKENS, "image_size": 28, "patch_size": 14},
    "SiglipVisionModel": _TOKENS,
    "CLIPVisionModel": _TOKENS,
    "ConvNextForImageClassification": _FOUR,
    "ResNetForImageClassification": {"embedding_size": 8, "hidden_sizes": [8, 16],
                                     "depths": [1, 1]},
    "SwinForImageClassification": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
                                   "window_size": 4, "image_size": 32, "patch_size": 2},
    "SegformerForSemanticSegmentation": {"decoder_hidden_size": 16,
                                         "num_attention_heads": [1, 1, 1, 1], **_FOUR},
    "MobileViTForImageClassification": {"hidden_sizes": [16, 24, 32],
                                        "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 48],
                                        "image_size": 64},
    "PoolFormerForImageClassification": _FOUR,
}  # fmt: skip


@contextmanager
def written_out() -> Iterator[None]:
    """Let torch take no fast path."""
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def counted_again(model: nn.Module, *shapes: tuple[int, ...]) -> int:
    """Return what the second counter finds."""
    norms: list[int] = []
    handles = [
        module.register_forward_hook(lambda _, args, __: norms.append(2 * args[0].numel()))
        for module in model.modules()
        if isinstance(module, NORMS)
    ]
    training = model.training
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, written_out(), torch.no_grad():
        tensors = dict([*model.named_parameters(), *model.named_buffers()])
        state = {name: mode.from_tensor(tensor.detach()) for name, tensor in tensors.items()}
        inputs = tuple(torch.empty(shape, device=_device(model)) for shape in shapes)
        with FlopCounterMode(display=False) as counter:
            torch.func.functional_call(model.eval(), state, inputs)
    model.train(training)
    for handle in handles:
        handle.remove()
    return counter.get_total_flops() // 2 + sum(norms)


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def agree(model: nn.Module) -> int:
    """Compare the counts of a model; of a detector, of its backbone."""
    seen = probe(model)
    entry = model.get_submodule(seen.entry)
    assert seen.flops == counted_again(entry, (1, *seen.input_shape))
    return seen.flops


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in DEFAULT else pytest.mark.slow)
     for name in torchvision_builders()],
)  # fmt: skip
def test_torchvision(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert agree(get_model(name, weights=None, **_no_weights(name))) > 10**7


def _no_weights(name: str) -> dict[str, Any]:
    whole = ("rcnn", "retinanet", "fcos", "ssd", "deeplab", "fcn", "lraspp")
    return {"weights_backbone": None} if any(word in name for word in whole) else {}


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_hugging_face(name: str) -> None:
    kind = getattr(transformers, name)
    assert agree(kind(kind.config_class(**HUGGING_FACE[name]))) > 10**5


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "cait_xxs24_224", "halonet26t",
     "coatnet_nano_rw_224", "lambda_resnet26t", "convnext_atto", "levit_128s"],
)  # fmt: skip
def test_timm(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    agree(model)


def test_vit_as_torchvision_publishes_it() -> None:
    with torch.device("meta"):
        model = get_model("vit_b_16")
    assert round(flops(model, (1, 3, 224, 224)) / 1e9, 2) == 17.57  # with attention's products


# --------------------------------------------------------------------------- layer by layer

_LAYER: dict[str, Any] = {"d_model": 16, "nhead": 4, "dim_feedforward": 48, "batch_first": True}
_OF_LAYER = 2 * 5 * (4 * 16 * 16 + 2 * 5 * 16 + 2 * 16 * 48 + 2 * 2 * 16)


class SelfAttention(nn.MultiheadAttention):
    """Attends to what it is given."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, x, x, need_weights=False)[0]


@pytest.mark.quick(27, then="long")
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (lambda: SelfAttention(16, 4, batch_first=True), 2 * 5 * (4 * 16 * 16 + 2 * 5 * 16)),
        (lambda: nn.TransformerEncoderLayer(**_LAYER), _OF_LAYER),
        (
            lambda: nn.TransformerEncoderLayer(**_LAYER, norm_first=True, activation="gelu"),
            _OF_LAYER,
        ),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(**_LAYER), 3), 3 * _OF_LAYER),
    ],
    ids=["attention", "layer", "norm first", "encoder"],
)
def test_every_way_through_attention(
    module: Any, expected: int, device: str, inference: bool, training: bool, gradients: bool
) -> None:
    model, counter = module().to(device), FlopCounter()
    with torch.inference_mode(inference):
        FakeRun.of(model)(
            model, lambda: (torch.empty(2, 5, 16, device=device),), counter,
            training=training, gradients=gradients,
        )  # fmt: skip
    assert counter.total == expected


class Computes(nn.Module):
    """Computes a function of its inputs."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def _convolved_rows(x: Tensor, weight: Tensor) -> Tensor:
    return torch.conv_tbc(x, weight, x.new_zeros(weight.shape[-1]), 1)


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.mv, [(3, 4), (4,)], 12),
        (torch.addmv, [(3,), (3, 4), (4,)], 12),
        (torch.dot, [(7,), (7,)], 7),
        (torch.vdot, [(7,), (7,)], 7),
        (torch.addmm, [(3, 5), (3, 4), (4, 5)], 60),
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (torch._addmm_activation, [(5,), (3, 4), (4, 5)], 60),
        (torch.inner, [(2, 3), (4, 3)], 24),
        (lambda a, b: torch.tensordot(a, b, 1), [(2, 3), (3, 4)], 24),
        (lambda a, b: torch.einsum("bij,bjk->bik", a, b), [(2, 3, 4), (2, 4, 5)], 120),
        (lambda a, b: torch.einsum("ij,j->i", a, b), [(3, 4), (4,)], 12),
        (lambda a, b: torch.einsum("bnd,nde->bne", a, b), [(2, 3, 4), (3, 4, 5)], 120),
        (lambda a, b: torch.einsum("bhqd,bhkd->bhqk", a, b), [(2, 3, 4, 5), (2, 3, 6, 5)], 720),
        (functional.bilinear, [(3, 4), (3, 5), (6, 4, 5)], 3 * 6 * 4 * 5),
        (_convolved_rows, [(5, 2, 4), (3, 4, 6)], 5 * 2 * 6 * 3 * 4),
        (torch.outer, [(3,), (4,)], 0),
    ],
)
def test_products(function: Any, shapes: list[tuple[int, ...]], expected: int) -> None:
    assert flops(Computes(function), *shapes) == expected


def test_products_of_groups() -> None:
    def grouped(a: Tensor, b: Tensor) -> Tensor:
        ends = torch.tensor([3, 8], dtype=torch.int32)
        return torch._grouped_mm(a.bfloat16(), b.bfloat16(), offs=ends)

    assert flops(Computes(grouped), (8, 16), (2, 16, 32)) == 8 * 16 * 32


_ONE_DIRECTION = 4 * 6 * (8 + 6)  # four gates


@pytest.mark.parametrize(
    ("module", "shapes", "expected"),
    [
        (nn.ConvTranspose2d(4, 8, 3, stride=2, groups=2), [(2, 4, 5, 5)], 2 * 25 * 4 * 4 * 9),
        (nn.Conv3d(4, 8, 3, groups=2), [(1, 4, 5, 5, 5)], 27 * 8 * 2 * 27),
        (nn.Conv2d(4, 8, (1, 3), dilation=2), [(2, 4, 5, 5)], 2 * 5 * 8 * 4 * 3),
        (nn.Bilinear(4, 5, 6), [(3, 4), (3, 5)], 3 * 6 * 4 * 5),
        (DeformConv2d(4, 6, 3, groups=2), [(1, 4, 7, 7), (1, 18, 5, 5)], 25 * 6 * 2 * 9),
        (nn.LSTM(8, 6), [(5, 2, 8)], 5 * 2 * _ONE_DIRECTION),
        (nn.LSTM(8, 6, bidirectional=True, batch_first=True), [(2, 5, 8)],
         2 * 5 * 2 * _ONE_DIRECTION),
        (nn.GRU(8, 6), [(5, 2, 8)], 5 * 2 * 3 * 6 * (8 + 6)),
        (nn.RNN(8, 6), [(5, 2, 8)], 5 * 2 * 6 * (8 + 6)),
        (nn.InstanceNorm2d(4, affine=True), [(2, 4, 5, 5)], 2 * 200),
        (nn.GroupNorm(2, 4), [(2, 4, 5, 5)], 2 * 200),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)  # fmt: skip
def test_layers(module: nn.Module, shapes: list[tuple[int, ...]], expected: int) -> None:
    assert flops(module, *shapes) == expected


@pytest.mark.parametrize("attention", ["_native_multi_head_attention", "mkldnn_rnn_layer"])
def test_the_fast_paths_are_taken(attention: str) -> None:
    """Without these operators the tests above would compare one way with itself."""
    seen: set[str] = set()

    class Names(FlopCounter):
        def __torch_dispatch__(self, func: Any, *rest: Any) -> Any:
            seen.add(func._overloadpacket.__name__)
            return super().__torch_dispatch__(func, *rest)

    fast = {"_native_multi_head_attention": SelfAttention(16, 4, batch_first=True),
            "mkldnn_rnn_layer": nn.LSTM(16, 6)}[attention]  # fmt: skip
    FakeRun.of(fast)(fast, lambda: (torch.empty(2, 5, 16),), Names())
    assert attention in seen


def test_one_word_for_the_unit() -> None:
    """Only JSON keys and names in code say flops; what people read says multiply-adds."""
    root = Path(composer.__file__).parent
    read = [
        *root.rglob("*.py"), root.parent / "README.md", *(root.parent / "docs").glob("*.md"),
        *(root.parent / "specs").glob("*.*"),
    ]  # fmt: skip
    pictures = (root.parent / "specs" / "pictures").glob("*.svg")
    others = re.compile(r"\b(?:G?FLOPs?|G?MACs|MAdds?)\b")
    found = [file for file in (*read, *pictures) if others.search(file.read_text("utf-8"))]
    assert found == []

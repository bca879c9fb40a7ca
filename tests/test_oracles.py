"""Every shipped spec against the paper as plain torch, and against what timm and torch have."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from probe import random
from timm.layers import EcaModule, EffectiveSEModule, SelectiveKernel, SEModule, SplitAttn
from timm.layers.bottleneck_attn import BottleneckAttn
from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from composer.certificate import oracles
from composer.certificate.agreement import input_shape, module_of, pair_of, size_of
from composer.certificate.claim import Case, Conv
from composer.certificate.claims import CLAIMS
from composer.certificate.claims.keys import BIASED, NORM, renamed
from composer.certificate.draw import randomise
from composer.certificate.trace import first_difference
from composer.graph.frontend import load_spec
from composer.language.library import shipped_names
from composer.lower.build import build

CASES = [
    pytest.param(name, case, id=f"{name} {case}".strip())
    for name, claim in CLAIMS.items()
    for case in claim.cases
]
MAPS = [param for param in CASES if len(param.values[1].shapes[0]) == 3]
#: Batches of one, and maps of one pixel, beside those of the certificate.
ODD = [(1, 5, 3), (3, 1, 1), (1, 1, 1)]


def test_every_shipped_spec_has_an_oracle() -> None:
    assert set(CLAIMS) == set(shipped_names())
    assert all(claim.cases for claim in CLAIMS.values())


@pytest.mark.parametrize(
    "file", sorted(Path(oracles.__file__).parent.glob("*.py")), ids=lambda file: file.name
)
def test_an_oracle_knows_nothing_of_what_it_judges(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= {"math", "torch"}
        elif isinstance(node, ast.ImportFrom):
            beside = node.level == 1 and file.name == "__init__.py"
            assert beside or node.module in ("__future__", "torch", "torch.nn")


def close(ours: Tensor, theirs: Tensor, what: str) -> None:
    torch.testing.assert_close(
        ours, theirs.reshape(ours.shape), rtol=1e-10, atol=1e-10, msg=lambda m: f"{what}: {m}"
    )


@pytest.mark.quick(100)
@pytest.mark.parametrize("shape", ODD, ids=str)
@pytest.mark.parametrize(("name", "case"), MAPS)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_odd_sizes_agree(
    name: str, case: Case, shape: tuple[int, int, int], training: bool
) -> None:
    if name == "swin_window" and "shift" in case.params:
        pytest.skip("the authors do not shift a map of one window; the spec masks it")
    if name == "srm" and shape[1:] == (1, 1):
        pytest.skip("the deviation of one value has the gradient 0/0 in the oracle, 0 in the spec")
    pair = pair_of(load_spec(name), case, shape[1:]).train(training)
    x = random(*input_shape(case, shape))
    try:
        with torch.no_grad():
            pair.theirs(x)
    except (ValueError, RuntimeError) as refusal:  # a batch norm of one value, a pool of no pixel
        with pytest.raises(type(refusal)):
            pair.ours(x)
        return
    wide = [gap for gap in pair_of(load_spec(name), case, shape[1:]).train(training).gaps(x)
            if gap.wide]  # fmt: skip
    assert wide == []


@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_value_that_the_oracle_names_is_ours_too(name: str, case: Case) -> None:
    shape = case.shapes[0]
    pair = pair_of(load_spec(name), case, size_of(shape))
    assert first_difference(pair.written, pair.theirs, random(*input_shape(case, shape))) is None


@pytest.mark.quick(34, then="long")
@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_parameter_is_put_to_the_test(name: str, case: Case) -> None:
    shape = case.shapes[0]
    ours = pair_of(load_spec(name), case, size_of(shape)).ours.eval()
    if not list(ours.parameters()):
        return
    (ours(random(*input_shape(case, shape))) * random(1, seed=2)).sum().backward()
    silent = [k for k, p in ours.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


@pytest.mark.quick(34)
@pytest.mark.parametrize(("name", "case"), MAPS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_another_layout_gives_the_same_numbers(name: str, case: Case, mode: str) -> None:
    size = case.shapes[0][1:]
    ours = module_of(load_spec(name), case, case.width, size).double().train(mode == "train")
    randomise(ours)
    at, told = case.setting(case.width, size), size if case.sized else None
    layout = ("b", "h", "w", "c")
    if case.conv is None:
        other = build(name, case.width, size=told, params=case.params, layout=layout)
    else:
        other = build(name, like=at.conv, size=told, params=case.params, layout=layout)
    other.double().load_state_dict(ours.state_dict())
    other.train(ours.training)
    x = random(*input_shape(case, case.shapes[0]))
    close(other(x.permute(0, 2, 3, 1)), ours(x).permute(0, 2, 3, 1), "the output")


@pytest.mark.parametrize("channels", [16, 24, 40, 64, 96, 100, 128, 255, 256, 512, 960, 2048, 4096])
def test_eca_kernel(channels: int) -> None:
    weight = build("eca", channels).get_submodule("interact.conv").weight
    assert weight.shape == (1, 1, oracles.eca_kernel(channels))


#  c: the kernel, worked out by hand from the formula
@pytest.mark.parametrize(
    ("channels", "kernel"),
    [(16, 3), (31, 3), (32, 3), (127, 3), (128, 5), (256, 5), (512, 5), (2048, 7), (4096, 7)],
)
def test_eca_kernel_by_hand(channels: int, kernel: int) -> None:
    assert oracles.eca_kernel(channels) == kernel
    module = build("eca", channels)
    assert module.get_submodule("interact.conv").kernel_size == (kernel,)


def test_cbam_begins_as_the_authors_do() -> None:
    norm = build("cbam", 32).get_submodule("spatial.locate.norm")
    assert norm.weight.item() == 0 and norm.bias.item() == 0
    assert (norm.momentum, norm.eps) == (0.01, 1e-5)


def test_bam_context_layers_do_not_share_weights() -> None:
    module = build("bam", 32)
    assert module.get_parameter("context1.conv.weight") is not module.get_parameter(
        "context2.conv.weight"
    )
    assert module.get_submodule("context1.conv").dilation == (4, 4)


@dataclass(frozen=True)
class Known:
    """A module of another library: who makes it, and its key of each of our tensors."""

    spec: str
    make: Callable[[], nn.Module]
    keys: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    conv: Conv | None = None
    tokens: bool = False
    sized: bool = False

    def __str__(self) -> str:
        return "-".join([self.spec, *(f"{k}={v}" for k, v in self.params.items())])


def cbam() -> nn.Module:
    module = CbamModule(48)
    module.get_submodule("spatial.conv.bn").momentum = 0.01
    return module


class Alone(nn.Module):
    """torch's attention as self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(48, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.attend(x, x, x)[0]
        return mixed


SK = {
    **{f"split.{k}.conv.weight": f"paths.{k}.conv.weight" for k in range(2)},
    **renamed({f"split.{k}.norm": f"paths.{k}.bn" for k in range(2)}, NORM),
    "z.linear.weight": "attn.fc_reduce.weight",
    **renamed({"z.norm": "attn.bn"}, NORM),
    "logits.linear.weight": "attn.fc_select.weight",
}
SPLIT = {
    "splits.conv.weight": "conv.weight",
    **renamed({"splits.norm": "bn0", "z.norm": "bn1"}, NORM),
    **renamed({"z.linear": "fc1", "logits.linear": "fc2"}, BIASED),
}
BOT = {
    "qkv.linear.weight": "qkv.weight",
    "attend.height": "pos_embed.height_rel",
    "attend.width": "pos_embed.width_rel",
}
LAYER = {
    "attend.qkv.linear.weight": "self_attn.in_proj_weight",
    "attend.qkv.linear.bias": "self_attn.in_proj_bias",
    **renamed(
        {
            "norm1.norm": "norm1", "attend.out.linear": "self_attn.out_proj",
            "norm2.norm": "norm2", "mlp.fc1": "linear1", "mlp.fc2": "linear2",
        },
        BIASED,
    ),
}  # fmt: skip
KNOWN = [
    Known("se", lambda: SEModule(48, rd_channels=3),
          renamed({"excite.fc1": "fc1", "excite.fc2": "fc2"}, BIASED)),
    Known("eca", lambda: EcaModule(48), {"interact.conv.weight": "conv.weight"}),
    Known("ese", lambda: EffectiveSEModule(48), renamed({"excite.linear": "fc"}, BIASED)),
    Known("cbam", cbam, {
        "channel.excite.fc1.weight": "channel.fc1.weight",
        "channel.excite.fc2.weight": "channel.fc2.weight",
        "spatial.locate.conv.weight": "spatial.conv.conv.weight",
        **renamed({"spatial.locate.norm": "spatial.conv.bn"}, NORM)}, {"bias": False}),
    Known("sk", lambda: SelectiveKernel(48, groups=4, stride=2, rd_channels=32, split_input=False),
          SK, conv=Conv(groups=4, stride=2)),
    Known("split_attention", lambda: SplitAttn(48, groups=2, norm_layer=nn.BatchNorm2d), SPLIT,
          conv=Conv(groups=2)),
    Known("split_attention", lambda: SplitAttn(48, radix=1, norm_layer=nn.BatchNorm2d), SPLIT,
          {"radix": 1}, Conv()),
    Known("bot_mhsa", lambda: BottleneckAttn(48, feat_size=(6, 8), stride=2, scale_pos_embed=True),
          BOT, conv=Conv(stride=2), sized=True),
    Known("bot_mhsa", lambda: BottleneckAttn(48, feat_size=(6, 8)), BOT, {"scale_position": False},
          Conv(), sized=True),
    Known("mhsa", Alone, {
        "qkv.linear.weight": "attend.in_proj_weight", "qkv.linear.bias": "attend.in_proj_bias",
        **renamed({"out.linear": "attend.out_proj"}, BIASED)}, tokens=True),
    Known("transformer_layer", lambda: nn.TransformerEncoderLayer(
        48, 8, 192, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True), LAYER, tokens=True),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("known", KNOWN, ids=str)
def test_other_libraries_give_the_same_numbers(known: Known, mode: str) -> None:
    size = (6, 8) if known.sized else None
    if known.conv is None:
        ours = build(known.spec, 48, params=known.params).double()
    else:
        layer = known.conv.layer(48)
        ours = build(known.spec, like=layer, size=size, params=known.params).double()
    randomise(ours)
    theirs, state = known.make().double(), ours.state_dict()
    assert set(state) == set(known.keys)
    shapes = {k: v.shape for k, v in theirs.state_dict().items()}
    theirs.load_state_dict({b: state[a].reshape(shapes[b]) for a, b in known.keys.items()})
    if known.spec == "cbam":  # timm stacks [mean, max]
        weight = theirs.get_parameter("spatial.conv.conv.weight")
        weight.data = weight.data.flip(1)
    for module in (ours, theirs):
        module.train(mode == "train")
    x = random(3, 10, 48) if known.tokens else random(3, 48, 6, 8)
    close(ours(x), theirs(x), "the output")

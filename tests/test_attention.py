"""Attention against torch's own and timm's, and what torch makes of it."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from probe import lowered, random, randomise, spec_text
from timm.layers.bottleneck_attn import PosEmbedRel
from torch import Tensor, fx
from torch.nn import functional as F  # noqa: N812

from composer.errors import ComposerError
from composer.lower.build import build

HEADS, D = 2, 3


def text(over: str, more: str = "") -> str:
    return spec_text(f"""qkv: {{op: linear, over: c, out: {{part: 3, g: {HEADS}, d: {D}}}}}
        q: {{op: pick, x: qkv, axis: part, index: 0}}
        k: {{op: pick, x: qkv, axis: part, index: 1}}
        v: {{op: pick, x: qkv, axis: part, index: 2}}
        attend: {{op: attention, q: q, k: k, v: v, over: {over}, along: d{more}}}
        out: {{op: merge, axes: [g, d], into: c}}""")


def parts(module: fx.GraphModule, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values as [b·heads, height·width, features]."""
    p = dict(module.named_parameters())
    y = torch.einsum("bchw,oc->bohw", x, p["qkv.linear.weight"])
    y = y + p["qkv.linear.bias"][:, None, None]
    q, k, v = y.unflatten(1, (3, HEADS, D)).flatten(4).mT.unbind(1)
    return q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)


@pytest.mark.parametrize("scaled", [True, False])
def test_relative_position_is_that_of_timm(scaled: bool) -> None:
    height, width = 4, 5
    more = f", position: relative, scale_position: {str(scaled).lower()}"
    module = randomise(lowered(text("[h, w]", more), {"c": 6, "h": height, "w": width}))
    theirs = PosEmbedRel((height, width), D, D**-0.5).double()
    with torch.no_grad():
        theirs.height_rel.copy_(module.get_parameter("attend.height"))
        theirs.width_rel.copy_(module.get_parameter("attend.width"))
    x = random(2, 6, height, width)
    q, k, v = parts(module, x)
    logits = q @ k.mT * D**-0.5 + theirs(q) * (D**-0.5 if scaled else 1)
    want = (logits.softmax(-1) @ v).unflatten(0, (2, HEADS)).mT.flatten(1, 2)
    torch.testing.assert_close(module(x), want.unflatten(2, (height, width)), rtol=0, atol=1e-10)


def test_positions_begin_as_the_paper_has_them() -> None:
    wide = spec_text(
        """out: {op: attention, q: input, k: input, v: input, over: [h, w], along: c,
        position: relative}""".replace("\n", " ")
    )
    torch.manual_seed(0)
    module = build(wide, 64, size=(32, 16))
    assert list(module.state_dict()) == ["out.height", "out.width"]
    for key, size in (("out.height", 32), ("out.width", 16)):
        table = module.get_parameter(key)
        assert table.shape == (2 * size - 1, 64)
        assert abs(table.std().item() * 8 - 1) < 0.1 and abs(table.mean().item()) < 0.02


def test_positions_need_the_size() -> None:
    with pytest.raises(ComposerError) as failure:
        build(text("[h, w]", ", position: relative"), 6)
    assert [p.code for p in failure.value.diagnostics] == ["open-size"]


@pytest.mark.parametrize("over", ["h", "[h, w]"])
def test_any_batch_and_size(over: str) -> None:
    module = randomise(lowered(text(over), {"c": 6}))
    dim = torch.export.Dim
    shapes = {"x": {0: dim("batch"), 2: dim("height"), 3: dim("width")}}
    program = torch.export.export(module, (random(2, 6, 4, 5),), dynamic_shapes=shapes).module()
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager", dynamic=True)
    for shape in ((3, 6, 2, 7), (5, 6, 6, 3)):
        x = random(*shape)
        torch.testing.assert_close(program(x), module(x), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_positions_in_other_number_types(dtype: torch.dtype) -> None:
    module = randomise(lowered(text("[h, w]", ", position: relative"), {"c": 6, "h": 4, "w": 5}))
    x = random(2, 6, 4, 5)
    want = module(x)
    narrow = copy.deepcopy(module).to(dtype)
    y = narrow(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), want, rtol=0.1, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module.float()(x.float()).double(), want, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("layout", list(itertools.permutations("chw")))
def test_positions_in_any_layout(layout: tuple[str, ...]) -> None:
    sizes = {"c": 6, "h": 4, "w": 5}
    words = text("[h, w]", ", position: relative")
    module = randomise(lowered(words, sizes))
    other = lowered(words, sizes, layout=("b", *layout))
    other.load_state_dict(module.state_dict())
    x = random(2, 6, 4, 5)
    moved = other(x.permute(0, *(1 + "chw".index(axis) for axis in layout)))
    back = moved.permute(0, *(1 + layout.index(axis) for axis in "chw"))
    torch.testing.assert_close(back, module(x), rtol=1e-10, atol=1e-10)


def test_the_scale_is_that_of_the_features() -> None:
    """A merged or padded axis of another size must not be what √d is taken of."""
    module = lowered(spec_text(
        "out: {op: attention, q: input, k: input, v: input, over: w, along: h}"), {})  # fmt: skip
    x = random(2, 3, 4, 5)
    logits = torch.einsum("bchq,bchk->bcqk", x, x) / 2
    want = torch.einsum("bcqk,bchk->bchq", logits.softmax(-1), x)
    torch.testing.assert_close(module(x), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", ["bchw", "bhwc"])
def test_tokens_of_a_map_of_any_size(layout: str) -> None:
    """What is planned for one size runs on another, as the backbone does."""
    module = randomise(build("mhsa", 16, size=(7, 7), layout=tuple(layout)))
    for size in ((7, 7), (5, 9)):
        x = torch.randn(2, 16, *size)
        tokens = build("mhsa", 16)
        tokens.load_state_dict(module.state_dict())
        expected = tokens(x.flatten(2).mT).mT.unflatten(2, size)
        given = x if layout == "bchw" else x.permute(0, 2, 3, 1)
        got = module(given) if layout == "bchw" else module(given).permute(0, 3, 1, 2)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_talking_heads_are_written_in_parts() -> None:
    """Logits and weights that are mixed across heads (arXiv:2003.02436) are no one call."""
    module = randomise(lowered(spec_text("""qkv: {op: linear, over: c, out: {part: 3, g: 2, d: 3}}
        q, k, v: {op: unstack, axis: part}
        keys: {op: merge, x: k, axes: n, into: m}
        values: {op: merge, x: v, axes: n, into: m}
        logits: {op: product, of: [q, keys], sum: d}
        scaled: {op: scale, by: 3 ** -0.5}
        talk: {op: linear, over: g, bias: false}
        weights: {op: gate, fn: softmax, over: m}
        again: {op: linear, over: g, bias: false}
        mixed: {op: product, of: [again, values], sum: m}
        out: {op: merge, axes: [g, d], into: c}""", "b, n, c"), {"c": 6}))  # fmt: skip
    p, x = dict(module.named_parameters()), random(2, 5, 6)
    y = torch.einsum("bnc,oc->bno", x, p["qkv.linear.weight"]) + p["qkv.linear.bias"]
    q, k, v = y.unflatten(2, (3, HEADS, D)).unbind(2)
    logits = torch.einsum("bngd,bmgd->bgnm", q, k) * D**-0.5
    logits = torch.einsum("bgnm,fg->bfnm", logits, p["talk.linear.weight"])
    weights = torch.einsum("bgnm,fg->bfnm", logits.softmax(-1), p["again.linear.weight"])
    want = torch.einsum("bgnm,bmgd->bngd", weights, v).flatten(2)
    torch.testing.assert_close(module(x), want, rtol=1e-10, atol=1e-10)


KEYS = """rows: {op: pool, over: h}
    keys: {op: merge, axes: w, into: m}
    bias: {op: linear, x: keys, over: c, out: {h: h}}
    seen: {op: gate, x: bias, fn: relu}
    out: {op: attention, q: input, k: keys, v: keys, over: [h, w], keys: m, along: c, bias: bias,
    mask: seen, scale: 1 / c}""".replace("bias,\n    ", "bias, ")


def test_keys_of_their_own_with_bias_mask_and_scale_of_any_batch_and_width() -> None:
    module = randomise(lowered(spec_text(KEYS), {"c": 6, "h": 4}))
    torch.compiler.reset()
    program = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager", dynamic=True)
    for shape in ((3, 6, 4, 7), (1, 6, 4, 3)):
        x = random(*shape)
        bias = F.linear(
            x.mean(2).mT, module.get_parameter("bias.linear.weight"),
            module.get_parameter("bias.linear.bias"),
        )  # fmt: skip
        logits = torch.einsum("bchw,bcm->bhwm", x, x.mean(2)) / 6 + bias.mT[:, :, None]
        weights = logits.masked_fill((bias.mT <= 0)[:, :, None], -torch.inf).softmax(-1)
        want = torch.einsum("bhwm,bcm->bchw", weights.nan_to_num(), x.mean(2))
        torch.testing.assert_close(module(x), want, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(program(x), want, rtol=1e-10, atol=1e-10)


def test_keys_of_their_own_in_other_number_types() -> None:
    module = randomise(lowered(spec_text(KEYS), {"c": 6, "h": 4})).float()
    x = torch.randn(2, 6, 4, 5)
    want = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert (module(x).float() - want).abs().mean() < 0.1
    narrow = copy.deepcopy(module).bfloat16()(x.bfloat16())
    assert narrow.dtype == torch.bfloat16 and (narrow.float() - want).abs().mean() < 0.1

"""Ops that arrange values, in mechanisms of papers; what is random; sizes that come at run time."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from probe import random, spec_text
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import composer
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import compile_graph
from composer.kernels.windows import unfold

LAYOUTS = [("b", "c", "h", "w"), ("b", "h", "w", "c")]


def built(nodes: str, channels: int = 8, **settings: object) -> nn.Module:
    return composer.build(spec_text(nodes), channels, **settings).double()  # type: ignore[arg-type]


def in_layout(x: Tensor, layout: tuple[str, ...]) -> Tensor:
    return x.permute([LAYOUTS[0].index(axis) for axis in layout])


# ---------------------------------------------------------------------- mechanisms of papers

SHUFFLE = """parts: {op: split, axis: c, into: {g: 4, d: c / 4}}
    out: {op: merge, axes: [d, g], into: c}"""
PIXELS = """parts: {op: split, axis: c, into: {d: c / 4, i: 2, j: 2}}
    rows: {op: merge, axes: [h, i], into: h}
    out: {op: merge, axes: [w, j], into: w}"""
SHIFTED = """moved: {op: roll, over: [h, w], by: -2}
    rows: {op: split, axis: h, into: {m: h / 4, y: 4}}
    windows: {op: split, axis: w, into: {n: w / 4, x: 4}}
    mixed: {op: attention, q: windows, k: windows, v: windows, over: [y, x], along: c}
    back: {op: merge, axes: [m, y], into: h}
    again: {op: merge, axes: [n, x], into: w}
    out: {op: roll, over: [h, w], by: 2}"""
PADDED = """more: {op: pad, to: {h: 4 * ceil(h / 4), w: 4 * ceil(w / 4)}}
    rows: {op: split, axis: h, into: {m: ceil(h / 4), y: 4}}
    windows: {op: split, axis: w, into: {n: ceil(w / 4), x: 4}}
    most: {op: pool, over: [y, x], reduce: max}
    each: {op: mul, of: [most, windows]}
    back: {op: merge, axes: [m, y], into: h}
    again: {op: merge, axes: [n, x], into: w}
    out: {op: crop, to: {h: h, w: w}}"""
OUTLOOK = """logits: {op: linear, over: c, out: {p: 9, y: 3, x: 3}}
    flat: {op: merge, axes: [y, x], into: q}
    gate: {op: gate, fn: softmax, over: q}
    near: {op: unfold, x: input, over: [h, w], kernel: 3, into: [y, x]}
    values: {op: merge, axes: [y, x], into: q}
    pairs: {op: mul, of: [values, gate]}
    mixed: {op: pool, over: q, reduce: sum}
    apart: {op: split, axis: p, into: {y: 3, x: 3}}
    out: {op: fold, axes: [y, x], over: [h, w], like: input}"""


def shifted(x: Tensor) -> Tensor:
    """Return Swin's attention in shifted windows of 4×4, without a mask."""
    b, c, h, w = x.shape
    x = x.roll((-2, -2), (2, 3)).reshape(b, c, h // 4, 4, w // 4, 4)
    q = x.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)
    y = (q @ q.mT / c**0.5).softmax(-1) @ q
    y = y.unflatten(3, (4, 4)).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
    return y.roll((2, 2), (2, 3))


def padded(x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    x = F.pad(x, (0, -w % 4, 0, -h % 4))
    most = F.max_pool2d(x, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return (x * most)[:, :, :h, :w]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("nodes", "wanted", "sizes"), [
    (SHUFFLE, lambda x: F.channel_shuffle(x, 4), [(3, 3), (1, 5)]),
    (SHIFTED, shifted, [(8, 8), (12, 4)]),
    (PADDED, padded, [(8, 8), (5, 10), (1, 3)]),
], ids=["channel shuffle", "shifted windows", "padded windows"])  # fmt: skip
def test_a_mechanism(nodes, wanted, sizes, layout) -> None:
    module = built(nodes, layout=layout)
    for size in sizes:
        x = random(2, 8, *size)
        y = module(in_layout(x, layout))
        torch.testing.assert_close(y, in_layout(wanted(x), layout), rtol=1e-9, atol=1e-9)


def test_pixel_shuffle() -> None:
    spec = load_spec(spec_text(PIXELS))
    x = random(2, 8, 3, 5)
    torch.testing.assert_close(composer.build(spec, 8).double()(x), F.pixel_shuffle(x, 2))


@pytest.mark.parametrize("size", [(5, 6), (9, 4)])
def test_outlook_attention(size: tuple[int, int]) -> None:
    module, x = built(OUTLOOK), random(2, 8, *size).requires_grad_()
    y = module(x)
    logits = F.linear(x.permute(0, 2, 3, 1), *module.logits.linear.parameters())
    gate = logits.unflatten(-1, (9, 9)).softmax(-1)  # [b, h, w, p, q]
    near = F.unfold(x, 3, padding=1).unflatten(2, size).unflatten(1, (8, 9))  # [b, c, q, h, w]
    mixed = torch.einsum("bhwpq,bcqhw->bcphw", gate, near)
    wanted = F.fold(mixed.flatten(1, 2).flatten(2), size, 3, padding=1)
    torch.testing.assert_close(y, wanted, rtol=1e-9, atol=1e-9)
    one, other = (torch.autograd.grad(z.square().sum(), x)[0] for z in (y, wanted))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_windows_learn_as_they_are_read(dimensions: int) -> None:
    """Without a gradient they are a view, copied; with one, torch's own."""
    x = random(2, 3, *(7, 6, 5)[:dimensions])
    given = ([3] * dimensions, [2] * dimensions, [2] * dimensions, [2] * dimensions)
    seen = unfold(x, *given)
    learned = unfold(x.clone().requires_grad_(), *given)
    assert torch.equal(seen, learned) and seen.is_contiguous()
    assert torch.autograd.gradcheck(lambda one: unfold(one, *given), x.clone().requires_grad_())


ALL = """q, k: {op: chunk, axis: c}
    rolled: {op: roll, x: q, over: [h, w], by: [1, -1]}
    both: {op: concat, of: [rolled, k], axis: c}
    more: {op: pad, to: {h: h + -h % 4}}
    near: {op: unfold, over: [h, w], kernel: 3, stride: 2, into: [y, x]}
    back: {op: fold, axes: [y, x], over: [h, w], like: more, stride: 2}
    less: {op: crop, to: {h: h}}
    other: {op: rename, axes: {h: w, w: h}}
    there: {op: flip, over: h}
    out: {op: rename, axes: {h: w, w: h}}"""


@pytest.mark.long
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_of_open_sizes_compiled_and_exported(layout: tuple[str, ...]) -> None:
    """No size is frozen: one graph serves all."""
    module = built(ALL, layout=layout).eval()
    sizes = [(6, 5), (7, 10), (3, 4)]
    inputs = [in_layout(random(2, 8, *size), layout).contiguous() for size in sizes]
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    where = {layout.index(axis): torch.export.Dim(axis, min=3, max=64) for axis in ("h", "w")}
    exported = torch.export.export(module, (inputs[0],), dynamic_shapes=(where,)).module()
    for x in inputs:
        wanted = module(x)
        for one in (compiled, exported):
            torch.testing.assert_close(one(x), wanted)
        x = x.clone().requires_grad_()
        (one,) = torch.autograd.grad(module(x).square().sum(), x)
        (other,) = torch.autograd.grad(compiled(x).square().sum(), x)
        torch.testing.assert_close(one, other)


def test_windows_that_do_not_fit_are_refused_when_they_come() -> None:
    with pytest.raises(RuntimeError, match=r"\[-1, 4\] don't multiply up to the size .* \(6\)"):
        built(SHIFTED)(random(1, 8, 6, 8))


def test_parts_share_one_split() -> None:
    """So that the gradient of the whole is one concatenation."""
    nodes = """q, k, v: {op: chunk, axis: c, sizes: [c / 4, c / 4, c / 2]}
        out: {op: concat, of: [v, k, q], axis: c}"""
    module = built(nodes)
    calls = [str(n.target) for n in module.graph.nodes if n.op == "call_method"]
    assert calls == ["split_with_sizes"]
    x = random(1, 8, 2, 2)
    assert torch.equal(module(x), torch.cat([x[:, 4:], x[:, 2:4], x[:, :2]], 1))


def test_a_rename_is_free() -> None:
    nodes = """one: {op: rename, axes: {h: w, w: h}}
        two: {op: rename, axes: {h: w, w: h}}
        out: {op: gate}"""
    graph = compile_graph(graph_of(load_spec(spec_text(nodes)), Settings({"c": 2})))
    assert len(graph.nodes) == 3
    x = random(1, 2, 2, 3)
    module = built("out: {op: rename, axes: {h: w, w: h}}", 2)
    assert module(x).data_ptr() == x.data_ptr()


# -------------------------------------------------------------------------- what is random


@pytest.mark.quick(6, then="long")
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("share", "alone"), [
    ("", (64, 20, 6, 5)), (", share: [h, w]", (64, 20, 1, 1)),
    (", share: [c, w, h]", (64, 1, 1, 1)), (", share: c", (64, 1, 6, 5)),
])  # fmt: skip
def test_dropout(share: str, alone: tuple[int, ...], layout: tuple[str, ...]) -> None:
    module = built(f"out: {{op: dropout, p: 0.25{share}}}", 20, layout=layout)
    x = torch.ones(64, 20, 6, 5, dtype=torch.float64)
    torch.manual_seed(0)
    y = module(in_layout(x, layout))
    y = y.permute([layout.index(axis) for axis in LAYOUTS[0]])
    first = y[tuple(slice(size) for size in alone)]
    assert torch.equal(y, first.expand_as(y))  # one draw where it is shared
    assert set(y.unique().tolist()) == {0.0, 1 / 0.75}
    draws = first.numel()
    assert abs(float((first == 0).double().mean()) - 0.25) < 4 * (0.25 * 0.75 / draws) ** 0.5
    if draws > 64:  # those of one sample differ
        assert (first[0] != first[0].flatten()[0]).any()
    torch.manual_seed(0)
    assert torch.equal(
        module(in_layout(x, layout)).permute([layout.index(axis) for axis in LAYOUTS[0]]), y
    )
    assert not torch.equal(
        module(in_layout(x, layout)).permute([layout.index(axis) for axis in LAYOUTS[0]]), y
    )
    assert torch.equal(module.eval()(in_layout(x, layout)), in_layout(x, layout))


def test_two_dropouts_of_one_value_are_two() -> None:
    nodes = """one: {op: dropout, p: 0.5}
        two: {op: dropout, x: input, p: 0.5}
        out: {op: sub, of: [one, two]}"""
    module = built(nodes)
    assert module(torch.ones(2, 8, 4, 4, dtype=torch.float64)).abs().max() == 2
    assert module.eval()(random(2, 8, 4, 4)).abs().max() == 0


@pytest.mark.parametrize("share", ["", ", share: [h, w]"])
def test_dropout_lasts(share: str) -> None:
    """It is copied, saved and compiled, has no weights, and lets gradients through what it kept."""
    module = built(f"out: {{op: dropout, p: 0.5{share}}}", 4)
    assert not module.state_dict()
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    x = torch.ones(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    drawn = []
    for one in (
        module,
        copy.deepcopy(module),
        loaded,
        torch.compile(module, backend="aot_eager", fullgraph=True),
    ):
        torch.manual_seed(3)
        y = one(x)
        drawn.append(y.detach())
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(gradient, y)
    assert all(torch.equal(y, drawn[0]) for y in drawn)


def test_a_stand_in_with_dropout_begins_as_what_it_stands_for() -> None:
    """What dropout draws is no difference: both are compared without it."""
    text = """name: it
stands_for: conv2d
input: [b, c, h, w]
nodes:
  conv: {op: conv2d, kernel: kernel, out: out, stride: stride, padding: padding,
         dilation: dilation, groups: groups, bias: bias}
  out: {op: dropout, p: 0.5}
identity: {nodes: {conv: {copies: kernel}}}
"""
    conv = nn.Conv2d(4, 6, 3, padding=1, bias=False)
    model = nn.Sequential(conv, nn.ReLU())
    made = composer.insert(model, text, at="conv", init="identity")
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(made.eval()(x), model.eval()(x))
    assert not torch.equal(made.train()(x), model.train()(x))

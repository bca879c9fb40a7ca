"""A spec used on other axes: what it does to the channels of a map it does to rows or columns."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from probe import analysed, lowered, random, randomise
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812

import composer
from composer.graph.frontend import check_text, load_spec

PLANE = """\
name: plane
params: {kernel: 7}
input: [b, c, h, w]
nodes:
  most: {op: pool, over: c, reduce: max}
  mean: {op: pool, x: input, over: c}
  both: {op: stack, of: [most, mean], axis: c}
  conv: {op: conv2d, kernel: kernel, out: {}, norm: batch, bias: false}
  gate: {op: gate}
  out:  {op: reweight, x: input, by: gate}
"""
TRIPLET = """\
name: triplet
source: arXiv:2010.03045
input: [b, c, h, w]
nodes:
  hw:  {op: use, spec: plane.yaml}
  cw:  {op: use, x: input, spec: plane.yaml, axes: {c: h, h: c}}
  hc:  {op: use, x: input, spec: plane.yaml, axes: {c: w, w: c}}
  sum: {op: add, of: [hw, cw, hc]}
  out: {op: scale, by: 1 / 3}
insert: {at: block}
"""


@pytest.fixture
def triplet(tmp_path: Path) -> str:
    (tmp_path / "plane.yaml").write_text(PLANE, encoding="utf-8")
    (tmp_path / "triplet.yaml").write_text(TRIPLET, encoding="utf-8")
    return str(tmp_path / "triplet.yaml")


def gated(module: nn.Module, branch: str, x: Tensor) -> Tensor:
    """Return x gated in the plane of its last two axes, with the weights of a branch."""
    p = dict(module.named_parameters())
    z = torch.stack([x.amax(1), x.mean(1)], 1)
    z = F.conv2d(z, p[f"{branch}.conv.conv.weight"], padding=3)
    mean, var = z.mean((0, 2, 3), keepdim=True), z.var((0, 2, 3), unbiased=False, keepdim=True)
    z = (z - mean) / (var + 1e-5).sqrt()
    z = z * p[f"{branch}.conv.norm.weight"] + p[f"{branch}.conv.norm.bias"]
    return x / (1 + (-z).exp())


def by_hand(module: nn.Module, x: Tensor) -> Tensor:
    rows, columns = x.permute(0, 2, 1, 3), x.permute(0, 3, 2, 1)
    cw = gated(module, "cw", rows).permute(0, 2, 1, 3)
    hc = gated(module, "hc", columns).permute(0, 3, 2, 1)
    return (gated(module, "hw", x) + cw + hc) / 3


@pytest.mark.parametrize("size", [None, (5, 7)])
def test_triplet_attention_is_that_of_plain_torch(
    triplet: str, size: tuple[int, int] | None
) -> None:
    module = randomise(composer.build(triplet, channels=6, size=size).double())
    x = random(3, 6, 5, 7).requires_grad_()
    y, want = module(x), by_hand(module, x)
    torch.testing.assert_close(y, want, rtol=1e-10, atol=1e-10)
    wanted = [x, *module.parameters()]
    mine, theirs = (torch.autograd.grad(one.square().sum(), wanted) for one in (y, want))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layout", list(itertools.permutations("chw")))
def test_triplet_attention_in_any_layout(triplet: str, layout: tuple[str, ...]) -> None:
    module = randomise(lowered(triplet, {"c": 6}))
    other = lowered(triplet, {"c": 6}, layout=("b", *layout))
    other.load_state_dict(module.state_dict())
    x = random(2, 6, 5, 7)
    moved = other(x.permute(0, *(1 + "chw".index(axis) for axis in layout)))
    back = moved.permute(0, *(1 + layout.index(axis) for axis in "chw"))
    torch.testing.assert_close(back, by_hand(module, x), rtol=1e-10, atol=1e-10)


@pytest.mark.long
def test_triplet_attention_goes_into_a_network(triplet: str) -> None:
    for backbone in ("resnet18", "convnext_atto"):
        model = composer.insert(backbone, triplet, at="stage", init="identity")
        assert model.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 1000)


def used(tmp_path: Path, nodes: str, inner: str) -> fx.GraphModule:
    (tmp_path / "inner.yaml").write_text(inner, encoding="utf-8")
    text = f"name: outer\ninput: [b, c, h, w]\nnodes:\n  {nodes}\n"
    (tmp_path / "outer.yaml").write_text(text, encoding="utf-8")
    module = composer.build(str(tmp_path / "outer.yaml"), channels=4, size=(5, 6)).double()
    return randomise(module)  # type: ignore[return-value]


def test_an_axis_whose_name_is_taken_rides_along(tmp_path: Path) -> None:
    inner = "name: mix\ninput: [b, c]\nnodes:\n  out: {op: linear, over: c, out: 2 * c}\n"
    once = used(tmp_path, "out: {op: use, spec: inner.yaml, axes: {c: w}}", inner)
    x = random(2, 4, 5, 6)
    weights = [once.get_parameter(f"out.out.linear.{one}") for one in ("weight", "bias")]
    torch.testing.assert_close(once(x), F.linear(x, *weights))
    inside = "name: mix\ninput: [b, c]\nnodes:\n" \
        "  twice: {op: use, spec: deep.yaml, axes: {c: c}}\n" \
        "  out: {op: use, spec: deep.yaml}\n"  # fmt: skip
    (tmp_path / "deep.yaml").write_text(inner, encoding="utf-8")
    twice = used(tmp_path, "out: {op: use, spec: inner.yaml, axes: {c: h}}", inside)
    p = dict(twice.named_parameters())
    want = x.mT
    for name in ("out.twice.out", "out.out.out"):
        want = F.linear(want, p[f"{name}.linear.weight"], p[f"{name}.linear.bias"])
    torch.testing.assert_close(twice(x), want.mT)


def test_a_param_over_the_sizes_of_here_is_theirs_of_here(tmp_path: Path) -> None:
    inner = """name: mix
params: {wide: c}
input: [b, c]
nodes:
  out: {op: linear, over: c, out: wide + c}
"""
    node = "out: {op: use, spec: inner.yaml, axes: {c: w}"
    own = used(tmp_path, f"{node}}}", inner)
    told = used(tmp_path, f"{node}, params: {{wide: c}}}}", inner)
    x = random(2, 4, 5, 6)
    assert own(x).shape == (2, 4, 5, 12) and told(x).shape == (2, 4, 5, 10)


STAND_IN = """name: inner
stands_for: conv2d
input: [b, c, h, w]
nodes:
  out: {op: conv2d, out: out, kernel: kernel, stride: stride, padding: padding, groups: groups,
        dilation: dilation, bias: bias}
"""


@pytest.mark.parametrize(("params", "groups"), [("", 2), (", params: {groups: 1}", 1)])
def test_a_stand_in_knows_the_layer_of_the_one_that_uses_it(
    tmp_path: Path, params: str, groups: int
) -> None:
    (tmp_path / "inner.yaml").write_text(STAND_IN, encoding="utf-8")
    text = f"""name: outer
stands_for: conv2d
input: [b, c, h, w]
nodes:
  conv: {{op: use, spec: inner.yaml{params}}}
  squeeze: {{op: pool, over: [h, w]}}
  out: {{op: reweight, x: conv, by: squeeze}}
"""
    (tmp_path / "outer.yaml").write_text(text, encoding="utf-8")
    conv = nn.Conv2d(4, 6, 5, stride=2, padding=2, groups=2)
    module = composer.build(str(tmp_path / "outer.yaml"), like=conv)
    weight = module.get_parameter("conv.out.conv.weight")
    assert weight.shape == (6, 4 // groups, 5, 5)
    x = torch.randn(2, 4, 9, 8)
    y = F.conv2d(x, weight, module.get_parameter("conv.out.conv.bias"), 2, 2, groups=groups)
    torch.testing.assert_close(module(x), y * y.mean((2, 3), keepdim=True))


def test_what_a_stand_in_is_told_is_said_of_here(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(STAND_IN, encoding="utf-8")
    file = tmp_path / "outer.yaml"
    node = "out: {op: use, spec: inner.yaml, axes: {c: w, w: c}, params: {out: c}}"
    file.write_text(f"name: outer\ninput: [b, c, h, w]\nnodes:\n  {node}\n", encoding="utf-8")
    axes = analysed(str(file)).axes_of("out")
    assert axes is not None and str(axes["w"]) == "c"


WRONG = {
    "no axis of the spec": ("{q: h}", """\
outer.yaml:4:46: error[unknown-axis]: the input of the spec 'plane' has no axis 'q'
    4 |   out: {op: use, spec: plane.yaml, axes: {q: h}}
      |                                              ^
  help: it takes [b, c, h, w]; write 'its axis: the axis here'
"""),
    "no axis of here": ("{c: q}", """\
outer.yaml:4:46: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: use, spec: plane.yaml, axes: {c: q}}
      |                                              ^
  help: its axes are [b, c, h, w]
"""),
    "one axis for two": ("{c: h, h: h}", """\
outer.yaml:4:52: error[duplicate-axis]: the axis 'h' is named twice
    4 |   out: {op: use, spec: plane.yaml, axes: {c: h, h: h}}
      |                                                    ^
  help: map each axis of the spec to a different axis
"""),
    "another batch": ("{b: h, h: b}", """\
outer.yaml:4:46: error[invalid-value]: the batch 'b' of the spec 'plane' can't be 'h'
    4 |   out: {op: use, spec: plane.yaml, axes: {b: h, h: b}}
      |                                              ^
  help: the batch axis can't be mapped
"""),
    "an axis that went to another": ("{c: h}", """\
outer.yaml:4:8: error[unknown-axis]: the spec 'plane' takes [b, c, h, w], and 'input' is [b, c, h, w]
    4 |   out: {op: use, spec: plane.yaml, axes: {c: h}}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: 'h' is 'c' in the spec; say which axis is its 'h', such as 'axes: {c: h, h: c}'
"""),  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_axes(tmp_path: Path, name: str) -> None:
    axes, expected = WRONG[name]
    (tmp_path / "plane.yaml").write_text(PLANE, encoding="utf-8")
    node = f"out: {{op: use, spec: plane.yaml, axes: {axes}}}"
    text = f"name: outer\ninput: [b, c, h, w]\nnodes:\n  {node}\n"
    file = tmp_path / "outer.yaml"
    file.write_text(text, encoding="utf-8")
    _, problems = check_text(text, str(file))
    said = "\n".join(p.render() for p in problems).replace(str(file), "outer.yaml")
    assert said == expected.rstrip("\n")


def test_an_axis_that_the_spec_makes_anew_must_be_free(tmp_path: Path) -> None:
    inner = "name: mix\ninput: [b, c]\nnodes:\n  out: {op: linear, over: c, out: {w: 2, c: c}}\n"
    with pytest.raises(composer.ComposerError) as failure:
        used(tmp_path, "out: {op: use, spec: inner.yaml, axes: {c: w}}", inner)
    (problem,) = failure.value.diagnostics
    assert problem.code == "axis-exists" and problem.message == "two axes would have the name 'w'"


def test_a_map_of_other_places_refuses_height_alone(triplet: str) -> None:
    assert load_spec(triplet)
    with pytest.raises(composer.ComposerError) as failure:
        composer.build(triplet, channels=4, layout=("b", "c", "t"))
    messages = [problem.message for problem in failure.value.diagnostics]
    assert messages[0] == (
        "'cw' names only 'h', so 'triplet' is for maps [h, w], but this one is [t]"
    )


def test_a_spec_with_a_warning_is_used_all_the_same(tmp_path: Path) -> None:
    inner = """\
name: half
params: {spare: 2}
input: [b, c, h, w]
nodes:
  out: {op: scale, by: 0.5}
"""
    module = used(tmp_path, "out: {op: use, spec: inner.yaml}", inner)
    x = random(2, 4, 3, 5)
    torch.testing.assert_close(module(x), x / 2)


@pytest.mark.parametrize("order", ["learned sum", "sum learned"])
def test_axes_that_a_spec_adds_keep_one_order(tmp_path: Path, order: str) -> None:
    lines = {
        "learned": "learned: {op: parameter, axes: {q: 2, r: 3}, init: 1}",
        "sum": "sum: {op: add, of: [input, learned]}",
    }
    nodes = "".join(f"  {lines[name]}\n" for name in order.split())
    inner = f"name: more\ninput: [b, n, c]\nnodes:\n{nodes}output: sum\n"
    nodes = """\
tall: {op: merge, axes: c, into: e}
  wide: {op: stack, of: [tall, tall], axis: c}
  out: {op: use, spec: inner.yaml, axes: {n: c, c: e}}"""
    module = used(tmp_path, nodes, inner)
    x = random(2, 4, 3, 5)
    learned = module.get_parameter("out.learned")[:, :, None, None, None]
    want = x[:, :, None, None, None] + learned  # [b, e, q, r, c, h, w]
    torch.testing.assert_close(module(x), want.expand(-1, -1, -1, -1, 2, -1, -1))


@pytest.mark.parametrize("size", [None, (5, 6)])
def test_the_sizes_of_parts_are_those_of_the_axes_they_are_used_on(
    tmp_path: Path, size: tuple[int, int] | None
) -> None:
    inner = """\
name: tail
input: [b, h, w]
nodes:
  head, rest: {op: chunk, axis: h, sizes: [2, h - 2]}
  out: {op: flip, x: rest, over: h}
"""
    (tmp_path / "inner.yaml").write_text(inner, encoding="utf-8")
    node = "out: {op: use, spec: inner.yaml, axes: {h: w, w: h}}"
    file = tmp_path / "outer.yaml"
    file.write_text(f"name: outer\ninput: [b, c, h, w]\nnodes:\n  {node}\n", encoding="utf-8")
    module = composer.build(str(file), channels=4, size=size).double()
    x = random(2, 4, 5, 6)
    torch.testing.assert_close(module(x), x[..., 2:].flip(-1))


def test_steps_share_the_weights_of_a_spec_whose_own_steps_share_theirs(tmp_path: Path) -> None:
    inner = """\
name: twice
input: [b, c, h, w]
nodes:
  out: {op: repeat, times: 2, shared: true, each: {op: linear, over: c}}
"""
    node = "out: {op: repeat, times: 2, shared: true, each: {op: use, spec: inner.yaml}}"
    module = used(tmp_path, node, inner)
    assert list(module.state_dict()) == [f"out.0.out.0.linear.{it}" for it in ("weight", "bias")]
    x = random(2, 4, 3, 5)
    want, layer = x.movedim(1, -1), module.get_submodule("out.0.out.0.linear")
    for _ in range(4):
        want = F.linear(want, layer.weight, layer.bias)  # type: ignore[arg-type]
    torch.testing.assert_close(module(x), want.movedim(-1, 1))

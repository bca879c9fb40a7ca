"""A spec used with values of here in place of some of its nodes: attention to something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from probe import random, randomise
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import composer
from composer.graph.frontend import check_text

CROSS = """\
name: cross
params: {width: c}
input: [b, n, c]
nodes:
  q:      {op: linear, x: input, over: c, out: {d: width}}
  memory: {op: rename, x: input, axes: {n: m}}
  kv:     {op: linear, x: memory, over: c, out: {part: 2, d: width}}
  k, v:   {op: unstack, axis: part}
  attend: {op: attention, q: q, k: k, v: v, over: n, keys: m, along: d}
  out:    {op: linear, over: d, out: {c: c}}
"""
OUTER = """\
name: outer
input: [b, c, h, w]
nodes:
  tokens: {op: merge, axes: [h, w], into: n}
  few:    {op: pool, x: input, over: [h, w], to: 2}
  grid:   {op: merge, axes: [h, w], into: m}
  seen:   {op: use, spec: cross.yaml, x: tokens, inputs: %s}
  out:    {op: split, axis: n, into: {h: h, w: w}}
"""


def outer(folder: Path, inputs: str, inner: str = CROSS) -> str:
    (folder / "cross.yaml").write_text(inner, encoding="utf-8")
    file = folder / "outer.yaml"
    file.write_text(OUTER % inputs, encoding="utf-8")
    return str(file)


def layer(module: nn.Module, name: str, x: Tensor) -> Tensor:
    p = dict(module.named_parameters())
    return F.linear(x, p[f"seen.{name}.linear.weight"], p[f"seen.{name}.linear.bias"])


def by_hand(module: nn.Module, x: Tensor, learned_keys: bool) -> Tensor:
    tokens = x.flatten(2).mT
    memory = F.adaptive_avg_pool2d(x, 2).flatten(2).mT
    k, v = layer(module, "kv", memory).chunk(2, -1) if learned_keys else (memory, memory)
    q = layer(module, "q", tokens)
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return layer(module, "out", weights @ v).mT.reshape(x.shape)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("inputs", ["{memory: grid}", "{k: grid_d, v: grid_d}"])
def test_attention_to_something_else_is_that_of_plain_torch(tmp_path: Path, inputs: str) -> None:
    file = outer(tmp_path, inputs)
    if "grid_d" in inputs:
        text = Path(file).read_text()
        renamed = "grid_d: {op: rename, x: grid, axes: {c: d}}\n  seen:"
        Path(file).write_text(text.replace("seen:", renamed))
    module = randomise(composer.build(file, channels=6).double())
    learned = "memory" in inputs
    assert ("seen.kv.linear.weight" in module.state_dict()) == learned
    x = random(2, 6, 3, 5).requires_grad_()
    y, want = module(x), by_hand(module, x, learned)
    torch.testing.assert_close(y, want, rtol=1e-10, atol=1e-10)
    wanted = [x, *module.parameters()]
    mine, theirs = (torch.autograd.grad(one.square().sum(), wanted) for one in (y, want))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), y)


def test_without_inputs_it_attends_to_itself(tmp_path: Path) -> None:
    (tmp_path / "cross.yaml").write_text(CROSS, encoding="utf-8")
    module = randomise(composer.build(str(tmp_path / "cross.yaml"), channels=6).double())
    p = dict(module.named_parameters())
    x = random(2, 5, 6)
    q = F.linear(x, p["q.linear.weight"], p["q.linear.bias"])
    k, v = F.linear(x, p["kv.linear.weight"], p["kv.linear.bias"]).chunk(2, -1)
    seen = (q @ k.mT / 6**0.5).softmax(-1) @ v
    torch.testing.assert_close(module(x), F.linear(seen, p["out.linear.weight"],
                                                   p["out.linear.bias"]))  # fmt: skip


def test_inputs_with_axes_of_another_name(tmp_path: Path) -> None:
    """The spec's tokens are the columns of a map, of one row after another."""
    file = outer(tmp_path, "{}")
    Path(file).write_text(
        "name: outer\ninput: [b, c, h, w]\nnodes:\n"
        "  mean: {op: pool, over: h, to: 2}\n"
        "  keys: {op: rename, x: mean, axes: {h: y, w: m}}\n"
        "  key:  {op: pool, over: y}\n"
        "  seen: {op: use, spec: cross.yaml, x: input, axes: {n: w}, inputs: {memory: key}}\n",
        encoding="utf-8",
    )
    module = randomise(composer.build(file, channels=6).double())
    x = random(2, 6, 3, 5)
    memory = F.adaptive_avg_pool2d(x, (2, 5)).mean(2).mT
    k, v = layer(module, "kv", memory).chunk(2, -1)
    rows = [
        layer(module, "out", (layer(module, "q", row.mT) @ k.mT / 6**0.5).softmax(-1) @ v).mT
        for row in x.unbind(2)
    ]
    torch.testing.assert_close(module(x), torch.stack(rows, 2), rtol=1e-10, atol=1e-10)


def test_only_what_is_built_is_counted(tmp_path: Path) -> None:
    file = outer(tmp_path, "{k: few_d, v: few_d}")
    few = "few_d: {op: rename, x: grid, axes: {c: d}}\n  seen:"
    Path(file).write_text(Path(file).read_text().replace("seen:", few))
    drawn = composer.render(file, tmp_path / "outer.mmd").read_text(encoding="utf-8")
    assert "kv" not in drawn and "memory" not in drawn and "attend" in drawn
    built = sum(p.numel() for p in composer.build(file, channels=256).parameters())
    assert f"{built:,} parameters" in drawn


WRONG = {
    "no node of the spec": ("{memori: grid}", """\
outer.yaml:7:67: error[unknown-node]: the spec 'cross' has no node 'memori'
    7 |   seen:   {op: use, spec: cross.yaml, x: tokens, inputs: {memori: grid}}
      |                                                                   ^^^^
  help: did you mean 'memory'? Nodes of cross: q, memory, kv, k, v, attend, out
"""),
    "no node of here": ("{memory: gird}", """\
outer.yaml:7:67: error[unknown-node]: no node named 'gird'
    7 |   seen:   {op: use, spec: cross.yaml, x: tokens, inputs: {memory: gird}}
      |                                                                   ^^^^
  help: did you mean 'grid'? Defined so far: input, tokens, few, grid
"""),
    "the input": ("{input: grid}", """\
outer.yaml:7:66: error[unknown-node]: the spec 'cross' has no node 'input'
    7 |   seen:   {op: use, spec: cross.yaml, x: tokens, inputs: {input: grid}}
      |                                                                  ^^^^
  help: to set its input, use the field x
"""),
    "axes that do not suit": ("{memory: few}", """\
cross.yaml:9:36: error[unknown-axis]: 'k' has no axis 'n'
    9 |   attend: {op: attention, q: q, k: k, v: v, over: n, keys: m, along: d}
      |                                    ^
  help: it is [b, d, h, w]
"""),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs(tmp_path: Path, name: str) -> None:
    inputs, expected = WRONG[name]
    file = outer(tmp_path, inputs)
    _, problems = check_text(Path(file).read_text(), file)
    said = "\n".join(p.render() for p in problems).replace(f"{tmp_path}/", "")
    assert said == expected.rstrip("\n")


def test_what_read_only_what_is_given_goes_too(tmp_path: Path) -> None:
    """Of the used spec a node that nothing reads stood on what is not needed any more."""
    (tmp_path / "inner.yaml").write_text(
        """\
name: inner
input: [b, c, h, w]
nodes:
  layer: {op: conv2d, kernel: 1}
  aside: {op: pool, over: [h, w]}
  mixed: {op: norm, x: layer, over: c}
  out:   {op: apply, x: mixed, fn: relu}
""",
        encoding="utf-8",
    )
    file = tmp_path / "outer.yaml"
    file.write_text(
        """\
name: outer
input: [b, c, h, w]
nodes:
  bounded: {op: apply, fn: tanh}
  used:    {op: use, spec: inner.yaml, x: input, inputs: {mixed: bounded}}
""",
        encoding="utf-8",
    )
    module = composer.build(str(file), channels=3).double()
    x = random(2, 3, 4, 5)
    torch.testing.assert_close(module(x), x.tanh().relu())
    assert not list(module.parameters())

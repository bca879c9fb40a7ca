"""Attention over one axis of a map beside the other: what is compiled gives the same numbers.

Inductor (torch 2.14) takes queries, keys and values that are each permuted for those of heads and
tokens, and then gives another shape or wrong numbers.
"""

from __future__ import annotations

import pytest
import torch
from probe import randomise, spec_text
from torch import Tensor, nn

import composer
from composer.kernels.features import features_last

ONE = "{op: conv2d, x: input, kernel: 1, out: {d: 8}}"
HEADS = "{op: conv2d, x: input, kernel: 1, out: {g: 2, d: 4}}"
QKV = "".join(f"{name}: ONE\n    " for name in "qkv")
ATTEND = "{op: attention, q: q, k: k, v: v, over: AXIS, along: d}"
SPECS = {
    "one head": QKV + f"out: {ATTEND}",
    "heads": QKV.replace("ONE", HEADS) + f"out: {ATTEND}",
    "its own input": "out: {op: attention, q: input, k: input, v: input, over: AXIS, along: c}",
    "a learned bias": "near: {op: parameter, axes: {AXIS: AXIS, m: AXIS}, init: 0}\n    "
    + QKV + f"out: {ATTEND[:-1]}, keys: m, bias: near}}",
    "in its parts": QKV + """keys: {op: merge, x: k, axes: AXIS, into: m}
    values: {op: merge, x: v, axes: AXIS, into: m}
    met: {op: product, of: [q, keys], sum: d}
    weights: {op: gate, fn: softmax, over: m}
    out: {op: product, of: [weights, values], sum: m}""",
    "criss-cross": QKV + """row: {op: attention, q: q, k: k, v: v, over: w, along: d}
    column: {op: attention, q: q, k: k, v: v, over: h, along: d}
    out: {op: add, of: [row, column]}""",
}  # fmt: skip


def built(name: str, axis: str, size: tuple[int, int]) -> nn.Module:
    nodes = SPECS[name].replace("ONE", ONE).replace("AXIS", axis)
    return randomise(composer.build(spec_text(nodes), 8, size=size))


def gradients(module: nn.Module, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return what a module gives, and the gradients of its input and its weights."""
    x = x.clone().requires_grad_()
    y = module(x)
    weight = torch.linspace(-1, 1, y.numel()).view_as(y)
    return y, torch.autograd.grad((y * weight).sum(), [x, *module.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["h", "w"])
@pytest.mark.parametrize("name", SPECS)
def test_compiled_as_eager(name: str, axis: str) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    size = (4, 6)
    module = built(name, axis, size)
    compiled = torch.compile(module, fullgraph=True, dynamic=False)
    for batch in (1, 2, 3):
        x = torch.randn(batch, 8, *size)
        torch.testing.assert_close(
            gradients(compiled, x), gradients(module, x), rtol=1e-4, atol=1e-4
        )
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-4)


def test_only_scattered_features_are_copied() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert features_last(x) is x
    tokens = x.permute(0, 2, 1, 3)
    assert features_last(tokens) is tokens
    scattered = x.permute(0, 3, 2, 1)
    near = features_last(scattered)
    assert near.stride(-1) == 1 and torch.equal(near, scattered)

"""Windows and resizing: what torch makes of them, and the memory formats they keep."""

from __future__ import annotations

import copy

import pytest
import torch
from probe import lowered, random, randomise, spec_text

NODES = {
    "odd": "out: {op: pool, over: [h, w], kernel: 3, stride: 2}",
    "tiles": "out: {op: pool, over: [h, w], kernel: 2, stride: 2}",
    "tiles of three": "out: {op: pool, over: [h, w], kernel: 3, stride: 3, reduce: max}",
    "gather and spread": """near: {op: pool, over: [h, w], kernel: 7, stride: 4}
        out: {op: resize, over: [h, w], like: input}""",
    "learned gather": """near: {op: conv2d, kernel: 3, stride: 2, groups: c, norm: batch}
        out: {op: resize, over: [h, w], like: input}""",
    "taken apart": """heads: {op: split, axis: c, into: {g: 2, d: c / 2}}
        mean: {op: pool, over: [h, w], kernel: 3}
        out: {op: merge, axes: [d, g], into: c}""",
    "all places": """tokens: {op: merge, axes: [h, w], into: n}
        normal: {op: norm, over: c, fn: layer}
        out: {op: split, axis: n, into: {h: h, w: w}}""",
    "normal": "out: {op: norm, over: c, act: relu}",
    "grouped": "out: {op: linear, over: c, groups: 2, norm: batch}",
}


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", NODES)
def test_any_batch_and_size(name: str) -> None:
    module = randomise(lowered(spec_text(NODES[name]), {"c": 4})).eval()
    dim = torch.export.Dim
    shapes = {0: dim("batch")}
    if name != "tiles":  # what torch's pooling does at the edge differs for odd and even sizes
        shapes |= {2: dim("height", min=5), 3: dim("width", min=5)}
    x = random(2, 4, 6, 5)
    program = torch.export.export(module, (x,), dynamic_shapes={"x": shapes}).module()
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager", dynamic=True)
    for shape in ((5, 4, 6, 5), (3, 4, 7, 9), (3, 4, 8, 8)):
        x = random(*shape)
        if 2 in shapes or shape[2:] == (6, 5):
            torch.testing.assert_close(program(x), module(x), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["odd", "tiles", "gather and spread", "learned gather", "normal"])
def test_channels_last_stays_so(name: str) -> None:
    module = randomise(lowered(spec_text(NODES[name]), {"c": 4})).eval()
    x = random(2, 4, 8, 6)
    y = module(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, module(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("nodes", [
    "out: {op: pool, over: [h, w], kernel: 1}",
    "out: {op: resize, over: [h, w], like: input}",
    "out: {op: merge, axes: h, into: h}",
    "out: {op: split, axis: c, into: {c: c}}",
])  # fmt: skip
def test_what_changes_nothing_is_not_written(nodes: str) -> None:
    module = lowered(spec_text(nodes), {"c": 4})
    assert [n.op for n in module.graph.nodes] == ["placeholder", "output"]


def test_half_a_number_type_is_kept() -> None:
    for name, nodes in NODES.items():
        module = randomise(lowered(spec_text(nodes), {"c": 4})).eval().bfloat16()
        assert module(random(2, 4, 6, 5).bfloat16()).dtype == torch.bfloat16, name

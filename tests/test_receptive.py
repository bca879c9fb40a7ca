# ruff: noqa: E501 - one node a line
"""The receptive field through each op, beside what gradients reach."""

from __future__ import annotations

import random
import re

import pytest
from test_explained import IT, graph_at, measured

from composer.graph.frontend import load_spec
from composer.graph.receptive import receptive_field
from composer.lower.build import build

SIZE = 32

#: Nodes of a map, where @ is the value above, and what one place of the last sees of h and of w.
NODES = {
    "conv2d": ("{op: conv2d, kernel: 3, groups: 2, act: silu}", (3, 3)),
    "a kernel for each axis": ("{op: conv2d, kernel: [1, 5]}", (1, 5)),
    "a dilation for each axis": ("{op: conv2d, kernel: 3, dilation: [2, 1]}", (5, 3)),
    "a stride for each axis": ("{op: conv2d, kernel: 3, stride: [1, 2]}", (3, 3)),
    "windows inside the map": ("{op: conv2d, kernel: [3, 2], padding: 0}", (3, 2)),
    "a norm after a layer": ("{op: conv2d, kernel: 1, norm: {fn: group, groups: 2}}", (None, None)),
    "conv1d": ("{op: conv1d, along: h, kernel: 5}", (5, 1)),
    "windows of pool": ("{op: pool, over: [h, w], kernel: 3}", (3, 3)),
    "windows of pool, one number for each axis": ("{op: pool, over: [w, h], kernel: [3, 1]}", (1, 3)),
    "tiles": ("{op: pool, over: [h, w], kernel: 2, stride: 2}", (2, 2)),
    "pool to sizes": ("{op: pool, over: [h, w], to: [h / 2, w]}", (2, 1)),
    "pool to one row": ("{op: pool, over: [h, w], to: [1, w]}\nB: {op: pool, over: h}\nZ: {op: mul, of: [@, B]}", (None, 1)),
    "pool by a power": ("{op: gate}\nB: {op: pool, over: w, reduce: power, exponent: 3}\nZ: {op: mul, of: [@, B]}", (1, None)),
    "resize": ("{op: pool, over: [h, w], kernel: 2, stride: 2}\nB: {op: resize, over: [h, w], like: @}\nZ: {op: mul, of: [@, B]}", (2, 2)),
    "unfold and a mean": ("{op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}\nZ: {op: pool, over: [kh, kw]}", (3, 3)),
    "unfold and a product": ("{op: unfold, over: [h, w], kernel: [1, 3], stride: [2, 1], into: [kh, kw]}\nS: {op: gate, fn: softmax, over: [kh, kw]}\nZ: {op: product, of: [A, S], sum: [kh, kw]}", (1, 3)),
    "one place of a window": ("{op: unfold, over: w, kernel: 3, into: kw, dilation: 2}\nZ: {op: pick, axis: kw, index: 2}", (1, 1)),
    "one place of a window, beside the map": ("{op: unfold, over: w, kernel: 3, into: kw, dilation: 2}\nB: {op: pick, axis: kw, index: 2}\nZ: {op: add, of: [@, B]}", (1, 3)),
    "unfold and fold": ("{op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}\nB: {op: gate, fn: tanh}\nZ: {op: fold, axes: [kh, kw], over: [h, w], like: @}", (1, 1)),
    "unfold, a mix and fold": ("{op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}\nB: {op: linear, over: kw}\nZ: {op: fold, axes: [kh, kw], over: [h, w], like: @}", (1, 5)),
    "roll": ("{op: roll, over: [h, w], by: [2, -1]}", (1, 1)),
    "roll, beside the map": ("{op: roll, over: [h, w], by: [2, -1]}\nZ: {op: add, of: [@, A]}", (3, 2)),
    "roll, then all": ("{op: roll, over: h, by: 3}\nB: {op: pool, over: h}\nZ: {op: mul, of: [@, B]}", (None, 1)),
    "one axis of the spectrum": ("{op: rfft, over: w, parts: z}\nB: {op: complex_mul, of: [A, A], parts: z}\nZ: {op: irfft, over: w, parts: z, size: w}", (1, None)),
    "the spectrum": ("{op: rfft, over: [h, w], parts: z}\nB: {op: complex_mul, of: [A, A], parts: z}\nZ: {op: irfft, over: [h, w], parts: z, size: w}", (None, None)),
    "flip": ("{op: flip, over: h}\nZ: {op: conv2d, kernel: 3}", (3, 3)),
    "chunk and concat": ("{op: gate}\nP, Q: {op: chunk, axis: c}\nR: {op: conv2d, x: P, kernel: 3}\nZ: {op: concat, of: [R, Q], axis: c}", (3, 3)),
    "a part of the rows": ("{op: gate}\nP, Q: {op: chunk, axis: h}\nZ: {op: conv2d, x: Q, kernel: 3}", (3, 3)),
    "rename": ("{op: rename, axes: {h: y}}\nB: {op: conv2d, over: [y, w], kernel: 3}\nZ: {op: rename, axes: {y: h}}", (3, 3)),
    "h and w change places": ("{op: conv2d, kernel: [1, 5]}\nZ: {op: rename, axes: {h: w, w: h}}", (1, 5)),
    "pairs of places": ("{op: rename, axes: {h: y}}\nB: {op: product, of: [@, A], sum: c}\nZ: {op: rename, axes: {y: c}}", (None, 1)),
    "a softmax": ("{op: gate, fn: softmax, over: h}", (None, 1)),
    "a norm of each place": ("{op: norm, fn: layer, over: c}", (1, 1)),
    "a norm of each row": ("{op: norm, fn: layer, over: w}", (1, None)),
    "attention along rows": ("{op: attention, q: @, k: @, v: @, over: w, along: c}", (1, None)),
    "keys of their own": ("{op: rename, axes: {h: y}}\nZ: {op: attention, q: @, k: A, v: A, over: h, along: c, keys: y}", (None, 1)),
    "a bias along the keys": ("{op: conv2d, kernel: 3, out: {}}\nB: {op: rename, axes: {w: v}}\nZ: {op: attention, q: @, k: @, v: @, over: w, along: c, keys: v, bias: B}", (3, None)),
    "windows side by side": ("{op: split, axis: w, into: {j: w / 4, x: 4}}\nB: {op: pool, over: x}\nC: {op: mul, of: [A, B]}\nZ: {op: merge, axes: [j, x], into: w}", (1, 4)),
    "a grid": ("{op: split, axis: w, into: {j: w / 4, x: 4}}\nB: {op: pool, over: j}\nC: {op: mul, of: [A, B]}\nZ: {op: merge, axes: [j, x], into: w}", (1, 29)),
    "columns as channels": ("{op: split, axis: w, into: {w: w / 2, x: 2}}\nZ: {op: merge, axes: [c, x], into: c}", (1, 2)),
    "merge and split": ("{op: merge, axes: [h, w], into: n}\nZ: {op: split, axis: n, into: {h: h, w: w}}", (1, 1)),
    "pad and crop": ("{op: pad, to: {h: h + -h % 7}}\nB: {op: conv2d, kernel: 3}\nZ: {op: crop, to: {h: h}}", (3, 3)),
    "a part that is cropped": ("{op: crop, to: {w: \"min(w, 20)\"}}\nB: {op: pool, over: w}\nZ: {op: linear, over: c}", (1, 20)),
    "a table": ("{op: constant, axes: {h: h}, value: cos(h) + 2}\nZ: {op: mul, of: [@, A]}", (1, 1)),
    "a table over all": ("{op: constant, axes: {h: h, y: h}, value: cos(h * y) + 2}\nB: {op: product, of: [@, A], sum: h}\nZ: {op: rename, axes: {y: h}}", (None, 1)),
    "a function": ("{op: apply, fn: exp}", (1, 1)),
    "dropout": ("{op: dropout, p: 0.3}", (1, 1)),
}  # fmt: skip

#: What is not followed, for its answer would differ from place to place, or with what a table says.
UNKNOWN = {
    "a map and its mirror": "{op: flip, over: h}\nZ: {op: add, of: [@, A]}",
    "shares of two widths": "{op: pool, over: [h, w], to: [5, w]}",
    "a window over what is resized": "{op: pool, over: [h, w], kernel: 2, stride: 2}\nB: {op: resize, over: [h, w], like: @}\nZ: {op: conv2d, kernel: 3}",
    "rows after rows": "{op: concat, of: [@, @], axis: h}",
    "a mask": "{op: constant, axes: {w: w, v: w}, value: v <= w}\nZ: {op: attention, q: @, k: @, v: @, over: w, along: c, keys: v, mask: A}",
    "a table that leaves places out": "{op: constant, axes: {h: h, y: h}, value: 1 if y == h else 0}\nB: {op: product, of: [@, A], sum: h}\nZ: {op: rename, axes: {y: h}}",
}  # fmt: skip


def written(nodes: str, above: str = "input") -> str:
    return IT + "".join(f"  {line}\n" for line in f"A: {nodes}".replace("@", above).splitlines())


@pytest.mark.parametrize("name", NODES)
def test_through_an_op(name: str) -> None:
    nodes, (rows, columns) = NODES[name]
    spec = load_spec(written(nodes))
    expected = {"h": rows, "w": columns}
    assert receptive_field(graph_at(spec, 4, (SIZE, SIZE))) == expected
    module = build(spec, channels=4, size=(SIZE, SIZE))
    assert measured(module, (1, 4, SIZE, SIZE), ["h", "w"]) == expected


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_followed(name: str) -> None:
    assert receptive_field(graph_at(load_spec(written(UNKNOWN[name])), 4, (SIZE, SIZE))) is None


#: Ops after which the next one sees the middle of the map in the middle, and all that it may see.
CHAINED = [
    name for name, (nodes, _) in NODES.items()
    if not any(word in nodes for word in ("stride", "padding", "crop, to: {w", "w: h", "/ 2", "attention", "axis: h"))
]  # fmt: skip


@pytest.mark.quick(39, then="long")
@pytest.mark.parametrize("seed", range(40))
def test_through_three_ops(seed: int) -> None:
    lines, above = "", "input"
    for number, name in enumerate(random.Random(seed).choices(CHAINED, k=3)):
        nodes = re.sub(r"\b([A-Z])\b", rf"\g<1>{number}", f"A: {NODES[name][0]}")
        lines += "".join(f"  {line}\n" for line in nodes.replace("@", above).splitlines())
        above = lines.rstrip().rpartition("\n")[2].strip().partition(":")[0]
    spec = load_spec(IT + lines)
    claimed = receptive_field(graph_at(spec, 4, (SIZE, SIZE)))
    if claimed is None:
        pytest.skip("not followed")
    module = build(spec, channels=4, size=(SIZE, SIZE))
    found = measured(module, (1, 4, SIZE, SIZE), ["h", "w"])
    assert {p: found[p] for p, n in claimed.items() if n is None or n < SIZE // 2} == {
        p: n for p, n in claimed.items() if n is None or n < SIZE // 2
    }

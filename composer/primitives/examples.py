"""One example of each op: nodes that check, on the input ``[b, c, h, w]`` of 64 channels."""

from __future__ import annotations

from collections.abc import Mapping

#: The nodes of a spec; the last of them shows the op, where more than one are needed.
EXAMPLES: Mapping[str, str] = {
    "add": "out: {op: add, of: [input, input]}",
    "apply": """\
spread: {op: pool, over: [h, w], reduce: var}
sum: {op: add, of: [spread, 1e-5]}
out: {op: apply, fn: sqrt}""",
    "attention": """\
qkv: {op: linear, over: c, out: {part: 3, head: 4, d: c / 4}}
q, k, v: {op: unstack, axis: part}
out: {op: attention, q: q, k: k, v: v, over: [h, w], along: d}""",
    "branch": """\
out: {op: branch, axis: k, times: 2, each: {op: conv2d, kernel: 3, dilation: k + 1}}""",
    "chunk": """\
value, gate: {op: chunk, axis: c}
open: {op: gate, x: gate}
out: {op: mul, of: [value, open]}""",
    "concat": """\
most: {op: pool, over: [h, w], reduce: max}
mean: {op: pool, x: input, over: [h, w]}
out: {op: concat, of: [most, mean], axis: c}""",
    "constant": """\
waves: {op: constant, axes: {c: c, h: h}, value: cos(pi * c * (h + 0.5) / 64)}
out: {op: product, of: [input, waves], sum: h}""",
    "conv1d": """\
squeeze: {op: pool, over: [h, w]}
out: {op: conv1d, along: c, kernel: 3}""",
    "conv2d": "out: {op: conv2d, kernel: 3, groups: c, norm: batch, act: relu}",
    "crop": """\
fit: {op: pad, to: {h: h + -h % 7, w: w + -w % 7}}
mix: {op: conv2d, kernel: 7, groups: c}
out: {op: crop, to: {h: h, w: w}}""",
    "div": "out: {op: div, of: [input, sqrt(c)]}",
    "dropout": """\
branch: {op: linear, over: c}
drop: {op: dropout, p: 0.1, share: [c, h, w]}
out: {op: add, of: [input, drop]}""",
    "flip": """\
back: {op: flip, over: w}
out: {op: add, of: [input, back]}""",
    "fold": """\
windows: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}
gate: {op: gate}
out: {op: fold, axes: [kh, kw], over: [h, w], like: input}""",
    "gate": """\
squeeze: {op: pool, over: [h, w]}
out: {op: gate, fn: softmax, over: c}""",
    "linear": "out: {op: linear, over: c, out: c // 4, act: relu}",
    "merge": "out: {op: merge, axes: [h, w], into: n}",
    "mlp": """\
squeeze: {op: pool, over: [h, w]}
out: {op: mlp, over: c, hidden: c // 16}""",
    "mul": """\
channel: {op: pool, over: [h, w]}
spatial: {op: pool, x: input, over: c}
out: {op: mul, of: [channel, spatial]}""",
    "norm": "out: {op: norm, over: c, act: relu}",
    "pad": """\
fit: {op: pad, to: {h: h + -h % 7, w: w + -w % 7}}
rows: {op: split, axis: h, into: {i: (h + -h % 7) / 7, y: 7}}
windows: {op: split, axis: w, into: {j: (w + -w % 7) / 7, x: 7}}
out: {op: norm, fn: layer, over: [y, x]}""",
    "parameter": """\
weight: {op: parameter, axes: {c: c}, init: 1}
out: {op: mul, of: [input, weight]}""",
    "pick": """\
parts: {op: split, axis: c, into: {part: 2, c: c / 2}}
out: {op: pick, axis: part, index: 0}""",
    "pool": "out: {op: pool, over: [h, w], reduce: max}",
    "product": """\
n: {op: merge, axes: [h, w], into: n}
m: {op: rename, axes: {n: m}}
out: {op: product, of: [n, m], sum: c}""",
    "rename": """\
columns: {op: rename, axes: {h: y}}
logits: {op: product, of: [input, columns], sum: c}
out: {op: gate, fn: softmax, over: y}""",
    "repeat": "out: {op: repeat, times: 2, each: {op: conv2d, kernel: 3, act: relu}}",
    "resize": """\
small: {op: pool, over: [h, w], kernel: 2, stride: 2}
out: {op: resize, over: [h, w], like: input}""",
    "reweight": """\
squeeze: {op: pool, over: [h, w]}
gate: {op: gate, fn: sigmoid}
out: {op: reweight, x: input, by: gate}""",
    "roll": """\
shift: {op: roll, over: [h, w], by: -3}
mix: {op: conv2d, kernel: 3}
out: {op: roll, over: [h, w], by: 3}""",
    "scale": "out: {op: scale, by: c ** -0.5}",
    "schedule": """\
warm: {op: schedule, begin: 30, end: 1, steps: 1000}
out: {op: div, of: [input, warm]}""",
    "split": "out: {op: split, axis: c, into: {head: 4, d: c / 4}}",
    "stack": """\
mean: {op: pool, over: c}
max: {op: pool, x: input, over: c, reduce: max}
out: {op: stack, of: [mean, max], axis: c}""",
    "sub": """\
mean: {op: pool, over: [h, w]}
out: {op: sub, of: [input, mean]}""",
    "unfold": """\
windows: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}
out: {op: pool, over: [kh, kw], reduce: max}""",
    "unstack": """\
parts: {op: split, axis: c, into: {part: 2, c: c / 2}}
first, second: {op: unstack, axis: part}
out: {op: add, of: [first, second]}""",
    "use": "out: {op: use, spec: eca, params: {kernel: 3}}",
}


def example_text(op: str) -> str | None:
    """Return the example of an op as a whole spec; None where there is none."""
    if (nodes := EXAMPLES.get(op)) is None:
        return None
    lines = "".join(f"  {line}\n" for line in nodes.splitlines())
    return f"name: example\ninput: [b, c, h, w]\nnodes:\n{lines}"

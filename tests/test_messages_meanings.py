# ruff: noqa: E501 - messages as they are printed
"""What is suggested for other libraries' words, and that nothing wrong is."""

from __future__ import annotations

import pytest
from test_messages import LISTS

from composer.errors import did_you_mean, listing
from composer.graph.frontend import check_text
from composer.language import words
from composer.language.library import find_spec
from composer.primitives import ops
from composer.primitives.activations import FUNCTIONS, OF_NUMBERS

IT = "name: it\ninput: [b, c, h, w]\nnodes:\n"


def said(text: str) -> str:
    return "\n".join(p.render() for p in check_text(text, "it.yaml")[1])


def help_of(node: str) -> str | None:
    (problem,) = check_text(f"{IT}  q: {{op: gate}}\n  z: {node}\n", "it.yaml")[1]
    return problem.help


#: A node with another library's word, and the way out in its exact words.
MEANT = {
    "{op: softmax}": "write z: {op: gate, fn: softmax, over: c}; 'over' is the axis along which it sums to one",
    "{op: nn.Softmax}": "write z: {op: gate, fn: softmax, over: c}; 'over' is the axis along which it sums to one",
    "{op: permute}": "axes have names here, so nothing is moved, added or broadcast by hand: remove this node",
    "{op: transpose}": "axes have names here, so nothing is moved, added or broadcast by hand: remove this node",
    "{op: interpolate}": "write z: {op: resize, over: [h, w], like: input}; 'like' is the value whose sizes it takes; nearest-neighbour by default",
    "{op: nn.Upsample}": "write z: {op: resize, over: [h, w], like: input}; 'like' is the value whose sizes it takes; nearest-neighbour by default",
    "{op: view}": "write z: {op: split, axis: c, into: {head: 4, d: c / 4}}; and back {op: merge, axes: [head, d], into: c}",
    "{op: rearrange}": "write z: {op: split, axis: c, into: {head: 4, d: c / 4}}; and back {op: merge, axes: [head, d], into: c}",
    "{op: flatten}": "write z: {op: merge, axes: [h, w], into: n}",
    "{op: relu}": "write z: {op: gate, fn: relu}; or 'act: relu' in the layer before it",
    "{op: swish}": "write z: {op: gate, fn: silu}; or 'act: silu' in the layer before it",
    "{op: dense}": "write z: {op: linear, over: c, out: c}; it mixes one axis, and all others are unchanged",
    "{op: gap}": "write z: {op: pool, over: [h, w]}; that is the mean; windows have a 'kernel'",
    "{op: mean}": "write z: {op: pool, over: [h, w]}; that is the mean; windows have a 'kernel'",
    "{op: AdaptiveAvgPool2d}": "write z: {op: pool, over: [h, w]}; that is the global mean; 'to: 7' gives a 7 by 7 grid",
    "{op: max}": "write z: {op: pool, over: [h, w], reduce: max}; windows have a 'kernel'",
    "{op: bn}": "write z: {op: norm, over: c}",
    "{op: layer_norm}": "write z: {op: norm, fn: layer, over: c}",
    "{op: conv3d}": "write z: {op: conv2d, kernel: 3}; on a volume [b, c, d, h, w] it is three-dimensional",
    "{op: multiply}": "write z: {op: mul, of: [q, k]}; axes are matched by name",
    "{op: relative_bias}": "write z: {op: attention, q: q, k: k, v: v, over: [h, w], along: d, keys: [y, x], bias: bias}; the bias has axes of queries and keys, such as [head, h, w, y, x]",
    "{op: relative_position}": "write z: {op: attention, q: q, k: k, v: v, over: [h, w], along: d, position: relative}",
    "{op: cat}": "write z: {op: concat, of: [q, k], axis: c}",
    "{op: tensor_split}": "write z: {op: chunk, axis: c}; give the node one name per part: 'q, k, v:'",
    "{op: split, axis: c, into: {c: c}, sizes: [4, 4]}": "to split an axis into several nodes, write 'q, k: {op: chunk, axis: c}'",
    "{op: chunk, axis: c, chunks: 2}": "give the node one name per part: 'q, k, v: {op: chunk, axis: c}'",
    "{op: nn.Unfold}": "write z: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}",
    "{op: windows}": "write z: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}",
    "{op: unfold, over: [h, w], into: [kh, kw], kernel: 3, kernel_size: 3}": "did you mean 'kernel'? Fields: <unfold fields>",
    "{op: DropPath}": "write z: {op: dropout, p: 0.1, share: [c, h, w]}; whole samples are dropped",
    "{op: dropout2d}": "write z: {op: dropout, p: 0.1, share: [h, w]}; whole channels are dropped",
    "{op: dropout, p: 0.1, drop_prob: 0.1}": "did you mean 'p'? Fields: <dropout fields>",
    "{op: matmul}": "write z: {op: product, of: [q, k], sum: d}; axes of q and k are matched by name, and d is summed",
    "{op: product, of: [q, q], sum: c, dim: c}": "did you mean 'sum'? Fields: <product fields>",
    "{op: sqrt}": "write z: {op: apply, fn: sqrt}",
    "{op: apply, fn: inverse}": "did you mean 'reciprocal'? it may be <functions of numbers>",
    "{op: median}": "write z: {op: pool, over: [h, w], reduce: median}",
    "{op: arange}": "write z: {op: constant, axes: {h: h}, value: h}; in 'value' the name of an axis is the index along it",
    "{op: InstanceNorm2d}": "write z: {op: norm, fn: instance, over: [h, w]}",
    "{op: roll, over: h, by: 1, shifts: 1}": "did you mean 'by'? Fields: <roll fields>",
    "{op: pad, to: {h: h}, padding: 1}": "did you mean 'to'? Fields: <pad fields>",
    "{op: Pool}": "did you mean 'pool'? Ops: <ops>",
    "{op: covn2d}": "did you mean 'conv2d'? Ops: <ops>",
    "{op: frobnicate}": "Ops: <ops>",
    "{op: pool, over: [h, w], keepdim: true}": "axes are matched by name, so no axis of size 1 is kept: remove it",
    "{op: gate, inplace: true}": "Composer decides what may overwrite its input: remove it",
    "{op: linear, over: c, out_features: 8}": "did you mean 'out'? Fields: <linear fields>",
    "{op: linear, over: c, activation: relu}": "did you mean 'act'? Fields: <linear fields>",
    "{op: conv2d, kernel: 3, kernel_size: 3}": "did you mean 'kernel'? Fields: <conv2d fields>",
    "{op: linear, over: c, out: in_channels // 2}": "did you mean 'c'? Known here: c, h, w",
    "{op: gate, x: x}": "did you mean 'input'? Defined so far: input, q",
    "{op: linear, over: c, out: q}": "write a size such as 64 or c // 4",
    "{op: linear, over: c, out: {op: gate}}": "write a size such as 64 or c // 4",
    "{op: mlp, over: c, hidden: {op: gate}}": "define the node on its own line, and write a size such as 64 or c // 4 here",
    "{op: scale, by: q}": "write a number such as 0.5 or c ** -0.5",
    "{op: gate, x: {op: gate}}": "define the node on its own line, and write its name here",
}  # fmt: skip


@pytest.mark.parametrize("node", MEANT)
def test_what_is_meant(node):
    expected = MEANT[node]
    for mark, listed in {
        **LISTS,
        "<functions of numbers>": listing([*FUNCTIONS, *OF_NUMBERS], last="or"),
    }.items():
        expected = expected.replace(mark, listed)
    assert help_of(node) == expected


#: Words that once brought a wrong suggestion, and what they are compared with.
FAR = {
    "median": ["mean", "max"], "matmul": ["mul", "add"], "relative_bias": ["relative"],
    "conv2d": ["concat"], "z": ["y"], "high": ["hi"], "men": ["sum"], "vit_base": ["davit_base"],
    "mode": ["nodes"], "softmax": ["max"], "sqrt": ["sum"],
}  # fmt: skip
NEAR = {
    "excit": "excite", "covn2d": "conv2d", "Pool": "pool", "layernorm": "layer_norm",
    "reductoin": "reduction", "reductions": "reduction", "kernl": "kernel", "resnet19": "resnet18",
}  # fmt: skip


@pytest.mark.parametrize("word", FAR)
def test_a_wrong_suggestion_is_worse_than_none(word):
    assert did_you_mean(word, FAR[word]) is None


@pytest.mark.parametrize("word", NEAR)
def test_a_slip_of_the_fingers(word):
    assert did_you_mean(word, [NEAR[word], "attention"]) == f"did you mean {NEAR[word]!r}?"


def test_of_near_words_the_nearest_are_named():
    assert did_you_mean("covn2d", ["conv1d", "conv2d"]) == "did you mean 'conv2d'?"
    assert did_you_mean("sse", ["se", "ese", "eca"]) == "did you mean 'se' or 'ese'?"


ROWS = [row for row in words.OPS if row.line]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.line)
def test_the_line_to_write_is_sound(row):
    """Each suggestion checks among nodes with the axes it names, but for what the text supplies."""
    in_parts = "axis: part, index" in row.line or "op: unstack" in row.line
    several = "op: unstack" in row.line or "op: chunk" in row.line
    resized = any(f"op: {op}," in row.line for op in ("chunk", "crop", "pad", "split", "rfft"))
    above = (
        BEFORE.get(row.line)
        or f"{{op: linear, x: input, over: c, out: {'{part: 2, c: c}' if in_parts else 'c'}}}"
    )
    text = IT + "".join(f"  {line}\n" for line in (
        "gate: {op: gate, x: input}",
        "qkv: {op: linear, x: input, over: c, out: {part: 3, d: c}}",
        "q: {op: pick, axis: part, index: 0}",
        "k: {op: pick, x: qkv, axis: part, index: 1}",
        "v: {op: pick, x: qkv, axis: part, index: 2}",
        "bias: {op: parameter, axes: {h: h, w: w, y: h, x: w}, init: 0}",
        f"above: {above}",
        f"{'y, z' if several else 'z'}: {line_of(row)}",
        "out: {op: gate, x: z}" if resized else "out: {op: add, of: [z, input]}",
    ))  # fmt: skip
    assert [p.render() for p in check_text(text, "it.yaml")[1] if p.severity == "error"] == []


#: What stands above a line, where that is no map.
BEFORE = {
    "{op: irfft, over: [h, w], parts: z, size: w}":
        "{op: rfft, x: input, over: [h, w], parts: z}",
    "{op: fold, axes: [kh, kw], over: [h, w], like: input}":
        "{op: unfold, x: input, over: [h, w], kernel: 3, into: [kh, kw]}",
}  # fmt: skip


def line_of(row: words.Meaning) -> str:
    return row.line.replace("axis: c}", "axis: d}") if "op: concat" in row.line else row.line


def test_no_row_has_the_name_of_an_op_alone():
    """What is an op is not unknown, so a row for it would never be read."""
    for row in words.OPS:
        assert not row.line or set(row.words.split()) - set(ops()), row


def test_no_word_has_two_meanings():
    found = [words.plain(word) for row in words.OPS for word in row.words.split()]
    assert sorted(found) == sorted(set(found))


#: A text, and all that is said of it.
TEXTS = {
    "a key that runs into its value": (
        IT + "  z: {op:mlp, over: c, hidden: 4}\n", """\
it.yaml:4:7: error[missing-space]: there is no space after the ':' of 'op'
    4 |   z: {op:mlp, over: c, hidden: 4}
      |       ^^^^^^
  help: write 'op: mlp'"""),
    "two of them": (
        IT + "  y: {op: gate}\n  z: {op: reweight, x:input, by:y}\n", """\
it.yaml:5:21: error[missing-space]: there is no space after the ':' of 'x'
    5 |   z: {op: reweight, x:input, by:y}
      |                     ^^^^^^^
  help: write 'x: input'
it.yaml:5:30: error[missing-space]: there is no space after the ':' of 'by'
    5 |   z: {op: reweight, x:input, by:y}
      |                              ^^^^
  help: write 'by: y'"""),
    "a line that runs together": (
        IT + "  z:\n    op:mlp\n", """\
it.yaml:5:5: error[missing-space]: there is no space after the ':' of 'op'
    5 |     op:mlp
      |     ^^^^^^
  help: write 'op: mlp'"""),
    "a line that runs together above another": (
        IT + "  z:\n    op:mlp\n    over: c\n", """\
it.yaml:5:5: error[missing-space]: there is no space after the ':' of 'op'
    5 |     op:mlp
      |     ^^^
  help: write 'op: mlp'"""),
    "a node that runs together": (
        IT + "  z:{op: mlp, over: c}\n", """\
it.yaml:4:3: error[missing-space]: there is no space after the ':' of 'z'
    4 |   z:{op: mlp, over: c}
      |   ^^
  help: write 'z: {…}'"""),
    "a node where a size belongs": (
        IT + "  y: {op: gate}\n  z: {op: linear, over: c, out: y}\n", """\
it.yaml:5:33: error[unknown-name]: expected a size, but 'y' is a node
    5 |   z: {op: linear, over: c, out: y}
      |                                 ^
  help: write a size such as 64 or c // 4"""),
    "a node where a flag belongs": (
        IT + "  y: {op: gate}\n  z: {op: linear, over: c, bias: y}\n", """\
it.yaml:5:34: error[unknown-name]: expected true or false, but 'y' is a node
    5 |   z: {op: linear, over: c, bias: y}
      |                                  ^
  help: write true or false"""),
    "a node written where a size belongs": (
        IT + "  z: {op: mlp, over: c, hidden: {op: gate}}\n", """\
it.yaml:4:33: error[invalid-value]: expected a size, but got a node
    4 |   z: {op: mlp, over: c, hidden: {op: gate}}
      |                                 ^^^^^^^^^^
  help: define the node on its own line, and write a size such as 64 or c // 4 here"""),
    "a function of Python": (
        IT + "  z: {op: linear, over: c, out: int(c / 2)}\n", """\
it.yaml:4:33: error[forbidden-call]: an expression cannot call 'int'
    4 |   z: {op: linear, over: c, out: int(c / 2)}
      |                                 ^^^^^^^^^^
  help: write // for a whole quotient, or floor(…); it can call <calls>"""),
    "a function of a library": (
        IT + "  z: {op: linear, over: c, out: math.sqrt(c)}\n", """\
it.yaml:4:33: error[forbidden-call]: an expression cannot call 'math.sqrt(c)'
    4 |   z: {op: linear, over: c, out: math.sqrt(c)}
      |                                 ^^^^^^^^^^^^
  help: write sqrt(…); it can call <calls>"""),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_text(name):
    from composer.language.operations import FUNCTIONS

    text, expected = TEXTS[name]
    assert said(text) == expected.replace("<calls>", ", ".join(FUNCTIONS))


def test_a_name_is_that_of_a_file_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stda.yaml").write_text("mine")
    (tmp_path / "se.yaml").write_text("mine too")
    (tmp_path / "short.yml").write_text("short")
    assert find_spec("stda") == ("mine", "stda.yaml")
    assert find_spec("short") == ("short", "short.yml")
    assert find_spec("se")[1] == "se (shipped)"  # whose name it is
    assert find_spec("se.yaml") == ("mine too", "se.yaml")

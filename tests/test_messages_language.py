# ruff: noqa: E501 - messages as they are printed
"""What is said of specs made of specs, of repeated ops, of several values and of stand-ins."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_messages import LISTS

from composer.errors import ComposerError
from composer.graph.frontend import check_text, load_spec
from composer.language.expressions import Value
from composer.language.library import find_spec
from composer.language.models import Beginning, Match
from composer.lower.build import build

MARKS = {
    **LISTS,
    "<match fields>": ", ".join(Match.model_fields),
    "<beginning fields>": ", ".join(Beginning.model_fields),
}
IT = "name: it\ninput: [b, c, h, w]\nnodes:\n"


def written(expected: str) -> str:
    """Return what is expected with the lists that its marks stand for."""
    for mark, words in MARKS.items():
        expected = expected.replace(mark, words)
    return expected


#: A text, and all that is said of it.
TEXTS: dict[str, tuple[str, str]] = {
    "each uses an unknown axis": (
        IT
        + """\
  z: {op: branch, axis: k, times: 2, each: {op: pool, over: [h, q]}}
""",
        """\
it.yaml:4:65: error[unknown-axis]: 'input' has no axis 'q'
    4 |   z: {op: branch, axis: k, times: 2, each: {op: pool, over: [h, q]}}
      |                                                                 ^
  help: its axes are [b, c, h, w]
""",
    ),
    "each uses an unknown name": (
        IT
        + """\
  z: {op: branch, axis: k, times: 2, each: {op: conv2d, kernel: 3, dilation: j + 1}}
""",
        """\
it.yaml:4:78: error[unknown-name]: no size or param named 'j'
    4 |   z: {op: branch, axis: k, times: 2, each: {op: conv2d, kernel: 3, dilation: j + 1}}
      |                                                                              ^
  help: Known here: c, h, w, k
""",
    ),
    "each says what it reads": (
        IT
        + """\
  z: {op: branch, axis: k, times: 2, each: {op: gate, x: input}}
""",
        """\
it.yaml:4:44: error[invalid-value]: give x on the node itself, not inside 'each'
    4 |   z: {op: branch, axis: k, times: 2, each: {op: gate, x: input}}
      |                                            ^^^^^^^^^^^^^^^^^^^^
""",
    ),
    "each reads no one value": (
        IT
        + """\
  z: {op: repeat, times: 2, each: {op: add, of: [input, input]}}
""",
        """\
it.yaml:4:35: error[invalid-value]: add does not read exactly one value x, so it can't be repeated
    4 |   z: {op: repeat, times: 2, each: {op: add, of: [input, input]}}
      |                                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",
    ),
    "each has an unknown op": (
        IT
        + """\
  z: {op: branch, axis: k, times: 2, each: {op: covn2d, kernel: 3}}
""",
        """\
it.yaml:4:49: error[unknown-op]: no op named 'covn2d'
    4 |   z: {op: branch, axis: k, times: 2, each: {op: covn2d, kernel: 3}}
      |                                                 ^^^^^^
  help: did you mean 'conv2d'? Ops: <ops>
""",
    ),
    "each has an unknown field": (
        IT
        + """\
  z: {op: branch, axis: k, times: 2, each: {op: conv2d, kernl: 3, kernel: 3}}
""",
        """\
it.yaml:4:57: error[unknown-field]: the op 'conv2d' has no field 'kernl'
    4 |   z: {op: branch, axis: k, times: 2, each: {op: conv2d, kernl: 3, kernel: 3}}
      |                                                         ^^^^^
  help: did you mean 'kernel'? Fields: <conv2d fields>
""",
    ),
    "each has no op": (
        IT
        + """\
  z: {op: branch, axis: k, times: 2, each: {kernel: 3}}
""",
        """\
it.yaml:4:44: error[missing-op]: 'each' does not say its op
    4 |   z: {op: branch, axis: k, times: 2, each: {kernel: 3}}
      |                                            ^^^^^^^^^^^
  help: write each: {op: …}, with one of <ops>
""",
    ),
    "branches of different sizes": (
        IT
        + """\
  z: {op: branch, axis: k, times: 2, each: {op: linear, over: c, out: k + 1}}
""",
        """\
it.yaml:4:6: error[size-conflict]: axis 'c' has two sizes: 1 in 'z.0' and 2 in 'z.1'
    4 |   z: {op: branch, axis: k, times: 2, each: {op: linear, over: c, out: k + 1}}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: make the sizes equal, or rename one of the axes 'c'
""",
    ),
    "no branches": (
        IT
        + """\
  z: {op: branch, axis: k, times: 0, each: {op: gate}}
""",
        """\
it.yaml:4:35: error[invalid-value]: a size must be at least 1, and this is 0
    4 |   z: {op: branch, axis: k, times: 0, each: {op: gate}}
      |                                   ^
""",
    ),
    "branches by a size": (
        IT
        + """\
  z: {op: branch, axis: k, times: c, each: {op: gate}}
""",
        """\
it.yaml:4:35: error[open-choice]: the number of parts c depends on c, not known before the module is built
    4 |   z: {op: branch, axis: k, times: c, each: {op: gate}}
      |                                   ^
  help: the number of parts may depend only on params
""",
    ),
    "an axis that is there": (
        IT
        + """\
  z: {op: branch, axis: c, times: 2, each: {op: gate}}
""",
        """\
it.yaml:4:25: error[name-clash]: axis 'c' numbers each branch, but is also the name of a size
    4 |   z: {op: branch, axis: c, times: 2, each: {op: gate}}
      |                         ^
  help: choose another name: 'axis: …'
""",
    ),
    "one name for several values": (
        IT
        + """\
  z: {op: linear, over: c, out: {p: 3, d: 4}}
  q: {op: unstack, axis: p}
""",
        """\
it.yaml:5:6: error[size-conflict]: axis 'p' of 'z' has 3 values, and 1 name is given
    5 |   q: {op: unstack, axis: p}
      |      ^^^^^^^^^^^^^^^^^^^^^^
  help: give one name for each value
""",
    ),
    "too few names": (
        IT
        + """\
  z: {op: linear, over: c, out: {p: 3, d: 4}}
  q, v: {op: unstack, axis: p}
  out: {op: add, of: [q, v]}
""",
        """\
it.yaml:5:9: error[size-conflict]: axis 'p' of 'z' has 3 values, and 2 names are given
    5 |   q, v: {op: unstack, axis: p}
      |         ^^^^^^^^^^^^^^^^^^^^^^
  help: give one name for each value
""",
    ),
    "several names for one value": (
        IT
        + """\
  q, v: {op: gate}
  out: {op: add, of: [q, v]}
""",
        """\
it.yaml:4:3: error[bad-name]: the op 'gate' returns one value, and 'q, v' names several
    4 |   q, v: {op: gate}
      |   ^^^^
  help: only unstack and chunk return several; give the node one name
""",
    ),
    "several values last": (
        IT
        + """\
  a, b: {op: chunk, axis: c}
""",
        """\
it.yaml:4:3: error[unknown-node]: the last node returns several values, and a spec has one output: a, b
    4 |   a, b: {op: chunk, axis: c}
      |   ^^^^
  help: name the output: 'output: a'
""",
    ),
    "several values last, of one that gives one": (
        IT
        + """\
  a, b: {op: gate}
""",
        """\
it.yaml:4:3: error[bad-name]: the op 'gate' returns one value, and 'a, b' names several
    4 |   a, b: {op: gate}
      |   ^^^^
  help: only unstack and chunk return several; give the node one name
""",
    ),
    "several values above": (
        IT
        + """\
  z: {op: linear, over: c, out: {p: 2, d: 4}}
  q, v: {op: unstack, axis: p}
  out: {op: gate}
""",
        """\
it.yaml:6:8: error[unknown-node]: the node above returns several values: q, v
    6 |   out: {op: gate}
      |        ^^^^^^^^^^
  help: name the one that it reads: x: …
""",
    ),
    "one name twice": (
        IT
        + """\
  q: {op: linear, over: c, out: {p: 2, d: 4}}
  q, v: {op: unstack, axis: p}
  out: {op: add, of: [q, v]}
""",
        """\
it.yaml:5:3: error[bad-name]: 'q' is the name of two nodes
    5 |   q, v: {op: unstack, axis: p}
      |   ^^^^
  help: rename one of them
""",
    ),
    "unstack of an unknown axis": (
        IT
        + """\
  q, v: {op: unstack, axis: p}
  out: {op: add, of: [q, v]}
""",
        """\
it.yaml:4:29: error[unknown-axis]: 'input' has no axis 'p'
    4 |   q, v: {op: unstack, axis: p}
      |                             ^
  help: its axes are [b, c, h, w]
""",
    ),
    "use of nothing": (
        IT
        + """\
  z: {op: use, spec: sse}
""",
        """\
it.yaml:4:22: error[unknown-spec]: no file and no shipped spec named 'sse'
    4 |   z: {op: use, spec: sse}
      |                      ^^^
  help: did you mean 'ese', 'scse' or 'se'? Shipped specs: <specs>
""",
    ),
    "use with a wrong param": (
        IT
        + """\
  z: {op: use, spec: se, params: {reducton: 4}}
""",
        """\
it.yaml:4:45: error[unknown-param]: the spec 'se' has no param 'reducton'
    4 |   z: {op: use, spec: se, params: {reducton: 4}}
      |                                             ^
  help: did you mean 'reduction'? Params of se: reduction, min_width, bias
""",
    ),
    "use with a wrong word": (
        IT
        + """\
  z: {op: use, spec: bam, params: {combine: sum}}
""",
        """\
it.yaml:4:45: error[invalid-value]: the param 'combine' cannot be 'sum': 'sum' is not one of product, total
    4 |   z: {op: use, spec: bam, params: {combine: sum}}
      |                                             ^^^
  help: its default is product
""",
    ),
    "use of a value without its axes": (
        IT
        + """\
  z: {op: pool, over: [h, w]}
  y: {op: use, spec: se}
""",
        """\
it.yaml:5:6: error[unknown-axis]: the spec 'se' takes [b, c, h, w], and 'z' is [b, c]
    5 |   y: {op: use, spec: se}
      |      ^^^^^^^^^^^^^^^^^^^
  help: use a value that has h, w
""",
    ),
    "use with an expression of unknown names": (
        IT
        + """\
  z: {op: use, spec: se, params: {reduction: c // r}}
""",
        """\
it.yaml:4:51: error[unknown-name]: no size or param named 'r'
    4 |   z: {op: use, spec: se, params: {reduction: c // r}}
      |                                                   ^
  help: Known here: c, h, w
""",
    ),
    "extends nothing": (
        """\
name: v
extends: sse
""",
        """\
it.yaml:2:10: error[unknown-spec]: no file and no shipped spec named 'sse'
    2 | extends: sse
      |          ^^^
  help: did you mean 'ese', 'scse' or 'se'? Shipped specs: <specs>
""",
    ),
    "extends a missing node": (
        """\
name: v
extends: se
nodes:
  excit: {op: linear, over: c}
""",
        """\
it.yaml:4:3: error[missing-node]: the spec 'se' has no node 'excit' to change
    4 |   excit: {op: linear, over: c}
      |   ^^^^^
  help: did you mean 'excite'? Nodes of se: squeeze, excite, gate, out
""",
    ),
    "extends with an unknown field": (
        """\
name: v
extends: se
nodes:
  gate: {fun: tanh}
""",
        """\
it.yaml:4:10: error[unknown-field]: the op 'gate' has no field 'fun'
    4 |   gate: {fun: tanh}
      |          ^^^
  help: did you mean 'fn'? Fields: <gate fields>
""",
    ),
    "extends with a wrong axis": (
        """\
name: v
extends: se
nodes:
  squeeze: {over: [h, q]}
""",
        """\
it.yaml:4:23: error[unknown-axis]: 'input' has no axis 'q'
    4 |   squeeze: {over: [h, q]}
      |                       ^
  help: its axes are [b, c, h, w]
""",
    ),
    "too many branches": (
        IT
        + """\
  z: {op: branch, axis: k, times: 200000, each: {op: pool, over: h}}
  y: {op: reweight, x: input, by: z}
""",
        """\
it.yaml:4:35: error[over-budget]: this comes to 200,002 nodes, and the limit is 1,502
    4 |   z: {op: branch, axis: k, times: 200000, each: {op: pool, over: h}}
      |                                   ^^^^^^
  help: use fewer repeats or specs: the limit is 1,500 more nodes than are written
""",
    ),
    "use of an empty name": (
        IT
        + """\
  z: {op: use, spec: ''}
""",
        """\
it.yaml:4:22: error[unknown-spec]: no file and no shipped spec named ''
    4 |   z: {op: use, spec: ''}
      |                      ^^
  help: Shipped specs: <specs>
""",
    ),
    "use of a folder": (
        IT
        + """\
  z: {op: use, spec: .}
""",
        """\
it.yaml:4:22: error[not-a-file]: '.' is a folder, not a spec
    4 |   z: {op: use, spec: .}
      |                      ^
  help: Shipped specs: <specs>
""",
    ),
    "extends an empty name": (
        """\
name: v
extends: ''
""",
        """\
it.yaml:2:10: error[unknown-spec]: no file and no shipped spec named ''
    2 | extends: ''
      |          ^^
  help: Shipped specs: <specs>
""",
    ),
    "extends without a value": (
        """\
name: v
extends:
""",
        """\
it.yaml:2:9: error[invalid-value]: expected the name of a spec, but got nothing
    2 | extends:
      |         ^
  help: write it like 'extends: se'
""",
    ),
    "extends a number": (
        """\
name: v
extends: 3
""",
        """\
it.yaml:2:10: error[invalid-value]: expected the name of a spec, but got the number 3
    2 | extends: 3
      |          ^
  help: write it like 'extends: se'
""",
    ),
    "an output that is the input by no repeat": (
        IT
        + """\
  z: {op: repeat, times: 0, each: {op: gate}}
""",
        """\
it.yaml:4:6: error[invalid-value]: the output 'z' is the input itself, so the spec does nothing
    4 |   z: {op: repeat, times: 0, each: {op: gate}}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: choose other params, or another output
""",
    ),
    "an output that is the input": (
        IT
        + """\
  z: {op: gate}
output: input
""",
        """\
it.yaml:5:9: error[invalid-value]: the output is the input itself, so the spec does nothing
    5 | output: input
      |         ^^^^^
  help: name the node that is the output. Nodes: z
""",
    ),
    "identity copies what no convolution has": (
        """\
name: v
extends: cond_conv
identity: {nodes: {kernels: {copies: kernl}}}
""",
        """\
it.yaml:3:38: error[invalid-value]: a convolution has no weights named 'kernl'
    3 | identity: {nodes: {kernels: {copies: kernl}}}
      |                                      ^^^^^
  help: did you mean 'kernel'? Known: kernel, bias
""",
    ),
    "a norm's eps below zero": (
        IT
        + """\
  z: {op: norm, over: c, eps: -1}
""",
        """\
it.yaml:4:31: error[invalid-value]: -1 is not between 1e-12 and 1
    4 |   z: {op: norm, over: c, eps: -1}
      |                               ^^
""",
    ),
    "a norm's momentum above one": (
        IT
        + """\
  z: {op: norm, over: c, momentum: 7}
""",
        """\
it.yaml:4:36: error[invalid-value]: 7 is not between 0 and 1
    4 |   z: {op: norm, over: c, momentum: 7}
      |                                    ^
""",
    ),
    "a variant with a list of nodes": (
        """\
name: v
extends: se
nodes: [gate]
""",
        """\
it.yaml:3:8: error[invalid-value]: expected a mapping, but got a list
    3 | nodes: [gate]
      |        ^^^^^^
  help: write it as 'nodes: {squeeze: {op: pool, over: [h, w]}}'
""",
    ),
    "a variant with a list of params": (
        """\
name: v
extends: se
params: [reduction]
""",
        """\
it.yaml:3:9: error[invalid-value]: expected a mapping, but got a list
    3 | params: [reduction]
      |         ^^^^^^^^^^^
  help: write it as 'params: {reduction: 16}'
""",
    ),
    "a variant's misspelt param": (
        """\
name: v
extends: se
params: {reducton: 8}
""",
        """\
it.yaml:3:10: error[unknown-param]: the spec 'se' has no param 'reducton', and no node reads it
    3 | params: {reducton: 8}
      |          ^^^^^^^^
  help: did you mean 'reduction'? Params of se: reduction, min_width, bias
""",
    ),
    "an output's other half": (
        """\
name: it
params: {on: true}
input: [b, c, h, w]
nodes:
  z: {op: gate}
  y: {op: gate, x: input}
output: y if on else zz
""",
        """\
it.yaml:7:22: error[unknown-node]: no node named 'zz'
    7 | output: y if on else zz
      |                      ^^
  help: Nodes: z, y
""",
    ),
    "an index with a param's name": (
        """\
name: it
params: {i: 3}
input: [b, c, h, w]
nodes:
  z: {op: repeat, times: 2, each: {op: conv2d, kernel: 3, dilation: i}}
""",
        """\
it.yaml:5:6: error[name-clash]: index 'i' numbers each repeat, but is also the name of a param
    5 |   z: {op: repeat, times: 2, each: {op: conv2d, kernel: 3, dilation: i}}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: choose another name: 'index: …'
""",
    ),
    "an index with a size's name": (
        IT
        + """\
  z: {op: repeat, times: 2, index: c, each: {op: conv2d, kernel: 3, dilation: c}}
""",
        """\
it.yaml:4:36: error[name-clash]: index 'c' numbers each repeat, but is also the name of a size
    4 |   z: {op: repeat, times: 2, index: c, each: {op: conv2d, kernel: 3, dilation: c}}
      |                                    ^
  help: choose another name: 'index: …'
""",
    ),
    "a branch axis called input": (
        IT
        + """\
  z: {op: branch, axis: input, times: 2, each: {op: conv2d, kernel: 3}}
  y: {op: pool, over: input}
""",
        """\
it.yaml:4:25: error[name-clash]: axis 'input' numbers each branch, but is also the name of the input
    4 |   z: {op: branch, axis: input, times: 2, each: {op: conv2d, kernel: 3}}
      |                         ^^^^^
  help: choose another name: 'axis: …'
""",
    ),
    "a match with a word for a number": (
        """\
name: v
extends: sk
insert: {at: conv, match: {kernel: three}}
""",
        """\
it.yaml:3:36: error[invalid-value]: expected a whole number, but got the text 'three'
    3 | insert: {at: conv, match: {kernel: three}}
      |                                    ^^^^^
  help: write it as 'kernel: 3'
""",
    ),
    "each as a word": (
        IT
        + """\
  z: {op: repeat, times: 2, each: gate}
""",
        """\
it.yaml:4:35: error[invalid-value]: expected a mapping, but got the text 'gate'
    4 |   z: {op: repeat, times: 2, each: gate}
      |                                   ^^^^
  help: write it as 'each: {op: …}'
""",
    ),
    "a merge key": (
        IT
        + """\
  z: &z {op: gate}
  y: {<<: *z, fn: relu}
""",
        """\
it.yaml:5:6: error[missing-op]: the node 'y' does not say its op
    5 |   y: {<<: *z, fn: relu}
      |      ^^^^^^^^^^^^^^^^^^
  help: write y: {op: …}, with one of <ops>
it.yaml:5:7: error[bad-key]: the merge key '<<' is not supported
    5 |   y: {<<: *z, fn: relu}
      |       ^^
  help: write the fields out; to change another spec, use 'extends'
""",
    ),
    "a variant's wrong word": (
        """\
name: v
extends: bam
params: {combine: totl}
""",
        """\
it.yaml:3:19: error[invalid-value]: 'totl' is not one of product, total
    3 | params: {combine: totl}
      |                   ^^^^
""",
    ),
    "a schedule that divides at zero": (
        IT
        + """\
  t: {op: schedule, begin: 0, end: 1, steps: 10}
  z: {op: div, of: [input, t]}
""",
        """\
it.yaml:4:6: error[division-by-zero]: 't' goes from 0 to 1, so 'z' would divide by zero
    4 |   t: {op: schedule, begin: 0, end: 1, steps: 10}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: make it start and end above zero
""",
    ),
    "too many repeats of repeats": (
        IT
        + """\
  z: {op: repeat, times: 1000, each: {op: repeat, times: 1000, each: {op: gate}}}
""",
        """\
it.yaml:4:26: error[over-budget]: this comes to 1,001,001 nodes, and the limit is 1,501
    4 |   z: {op: repeat, times: 1000, each: {op: repeat, times: 1000, each: {op: gate}}}
      |                          ^^^^
  help: use fewer repeats or specs: the limit is 1,500 more nodes than are written
""",
    ),
    "output of a stand-in": (
        """\
name: it
input: [b, c, h, w]
stands_for: conv2d
nodes:
  z: {op: conv2d, kernel: 3}
""",
        """\
it.yaml:5:6: error[output-differs]: axis 'c' of the output 'z' is c, but out in the convolution
    5 |   z: {op: conv2d, kernel: 3}
      |      ^^^^^^^^^^^^^^^^^^^^^^^
  help: with c = 64, out = 81 they are 64 and 81; a stand-in for a convolution must return a map of the same size
it.yaml:5:6: error[output-differs]: axis 'h' of the output 'z' is h, but (h + (2 * padding - dilation * (kernel - 1) - 1)) // stride + 1 in the convolution
    5 |   z: {op: conv2d, kernel: 3}
      |      ^^^^^^^^^^^^^^^^^^^^^^^
  help: with h = 15, kernel = 3, stride = 2, padding = 1, dilation = 1 they are 15 and 8; a stand-in for a convolution must return a map of the same size
it.yaml:5:6: error[output-differs]: axis 'w' of the output 'z' is w, but (w + (2 * padding - dilation * (kernel - 1) - 1)) // stride + 1 in the convolution
    5 |   z: {op: conv2d, kernel: 3}
      |      ^^^^^^^^^^^^^^^^^^^^^^^
  help: with w = 10, kernel = 3, stride = 2, padding = 1, dilation = 1 they are 10 and 5; a stand-in for a convolution must return a map of the same size
""",
    ),
    "stride of a stand-in": (
        """\
name: it
input: [b, c, h, w]
stands_for: conv2d
nodes:
  z: {op: conv2d, kernel: kernel, padding: padding, dilation: dilation, out: out}
""",
        """\
it.yaml:5:6: error[output-differs]: axis 'h' of the output 'z' is h + (2 * padding - dilation * (kernel - 1)), but (h + (2 * padding - dilation * (kernel - 1) - 1)) // stride + 1 in the convolution
    5 |   z: {op: conv2d, kernel: kernel, padding: padding, dilation: dilation, out: out}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: with h = 15, kernel = 3, stride = 2, padding = 1, dilation = 1 they are 15 and 8; a stand-in for a convolution must return a map of the same size
it.yaml:5:6: error[output-differs]: axis 'w' of the output 'z' is w + (2 * padding - dilation * (kernel - 1)), but (w + (2 * padding - dilation * (kernel - 1) - 1)) // stride + 1 in the convolution
    5 |   z: {op: conv2d, kernel: kernel, padding: padding, dilation: dilation, out: out}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: with w = 10, kernel = 3, stride = 2, padding = 1, dilation = 1 they are 10 and 5; a stand-in for a convolution must return a map of the same size
""",
    ),
    "a param named as the layer's": (
        """\
name: it
input: [b, c, h, w]
stands_for: conv2d
params: {kernel: 3}
nodes:
  z: {op: conv2d, kernel: kernel, out: out, stride: stride}
""",
        """\
it.yaml:4:10: error[name-clash]: the param 'kernel' has the name of a size of the conv2d it stands for
    4 | params: {kernel: 3}
      |          ^^^^^^
  help: give the param another name
it.yaml:6:6: error[output-differs]: axis 'h' of the output 'z' is (h - 1) // stride + 1, but (h + (2 * padding - dilation * (kernel - 1) - 1)) // stride + 1 in the convolution
    6 |   z: {op: conv2d, kernel: kernel, out: out, stride: stride}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: with h = 16, kernel = 5, stride = 3, padding = 2, dilation = 2 they are 6 and 4; a stand-in for a convolution must return a map of the same size
it.yaml:6:6: error[output-differs]: axis 'w' of the output 'z' is (w - 1) // stride + 1, but (w + (2 * padding - dilation * (kernel - 1) - 1)) // stride + 1 in the convolution
    6 |   z: {op: conv2d, kernel: kernel, out: out, stride: stride}
      |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: with w = 21, kernel = 5, stride = 3, padding = 2, dilation = 2 they are 7 and 6; a stand-in for a convolution must return a map of the same size
""",
    ),
    "an unknown output": (
        IT
        + """\
  z: {op: gate}
output: y
""",
        """\
it.yaml:5:9: error[unknown-node]: no node named 'y'
    5 | output: y
      |         ^
  help: Nodes: z
""",
    ),
    "match": (
        IT
        + """\
  z: {op: gate}
insert: {at: conv, match: {kernal: 3}}
""",
        """\
it.yaml:5:28: error[unknown-field]: 'match' has no field 'kernal'
    5 | insert: {at: conv, match: {kernal: 3}}
      |                            ^^^^^^
  help: did you mean 'kernel'? Fields: <match fields>
""",
    ),
    "match value": (
        IT
        + """\
  z: {op: gate}
insert: {at: conv, match: {kernel: 0}}
""",
        """\
it.yaml:5:36: error[invalid-value]: 0 is less than 1
    5 | insert: {at: conv, match: {kernel: 0}}
      |                                    ^
""",
    ),
    "identity": (
        IT
        + """\
  z: {op: gate}
identity: {nodes: {z: {copis: kernel}}}
""",
        """\
it.yaml:5:24: error[unknown-field]: 'z' has no field 'copis'
    5 | identity: {nodes: {z: {copis: kernel}}}
      |                        ^^^^^
  help: did you mean 'copies'? Fields: <beginning fields>
""",
    ),
    "no stand-in": (
        IT
        + """\
  z: {op: gate}
insert: {at: conv}
""",
        """\
it.yaml:5:14: error[not-a-stand-in]: 'it' would replace a layer, but does not say that it stands for one
    5 | insert: {at: conv}
      |              ^^^^
  help: write 'stands_for: conv2d', or 'at: block'
""",
    ),
    "match at a block": (
        IT
        + """\
  z: {op: gate}
insert: {at: block, match: {kernel: 3}, absorb: [norm]}
""",
        """\
it.yaml:5:21: error[invalid-value]: 'match' is for convolutions, and this spec goes to each block
    5 | insert: {at: block, match: {kernel: 3}, absorb: [norm]}
      |                     ^^^^^
  help: omit it, or write 'at: conv'
it.yaml:5:41: error[invalid-value]: 'absorb' is for convolutions, and this spec goes to each block
    5 | insert: {at: block, match: {kernel: 3}, absorb: [norm]}
      |                                         ^^^^^^
  help: omit it, or write 'at: conv'
""",
    ),
    "shares an unknown node": (
        """\
name: it
input: [b, c, h, w]
stands_for: conv2d
nodes:
  z: {op: conv2d, kernel: kernel, padding: padding, dilation: dilation, stride: stride, out: out}
insert: {at: conv, share: y}
""",
        """\
it.yaml:6:27: error[unknown-node]: no node named 'y'
    6 | insert: {at: conv, share: y}
      |                           ^
  help: Nodes: z
""",
    ),
    "identity of an unknown node": (
        """\
name: it
input: [b, c, h, w]
stands_for: conv2d
nodes:
  z: {op: conv2d, kernel: kernel, padding: padding, dilation: dilation, stride: stride, out: out}
identity: {requires: {strid == 1: no, 1 +: no}, nodes: {y: {copies: kernel}}}
""",
        """\
it.yaml:6:23: error[unknown-name]: no size or param named 'strid'
    6 | identity: {requires: {strid == 1: no, 1 +: no}, nodes: {y: {copies: kernel}}}
      |                       ^^^^^^^^^^
  help: did you mean 'stride'? Known here: bias, c, dilation, groups, h, kernel, out, padding, stride, w
it.yaml:6:39: error[bad-expression]: '1 +' is not an expression
    6 | identity: {requires: {strid == 1: no, 1 +: no}, nodes: {y: {copies: kernel}}}
      |                                       ^^^
  help: an expression has numbers, names, pi, + - * / // % **, comparisons, 'a if b else c' and min max abs ceil floor round log log2 exp sqrt sin cos odd
it.yaml:6:57: error[unknown-node]: no node named 'y'
    6 | identity: {requires: {strid == 1: no, 1 +: no}, nodes: {y: {copies: kernel}}}
      |                                                         ^
  help: Nodes: z
""",
    ),
    "identity of what stands for nothing": (
        IT
        + """\
  z: {op: linear, over: c}
identity: {nodes: {z: {copies: kernel}}}
""",
        """\
it.yaml:5:1: error[not-a-stand-in]: 'identity' is for stand-ins for a convolution or for attention; any other spec starts as the identity anyway
    5 | identity: {nodes: {z: {copies: kernel}}}
      | ^^^^^^^^
  help: omit it
""",
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_text(case: str) -> None:
    text, expected = TEXTS[case]
    spec, problems = check_text(text, "it.yaml")
    assert spec is None
    assert "".join(p.render() + "\n" for p in problems) == written(expected)


#: A shipped spec, its channels, its params, and what is said of them.
BUILDS: list[tuple[str, int, dict[str, Value], str]] = [
    (
        "ge_theta",
        64,
        {},
        """\
ge_theta (shipped):10:43: error[open-size]: the size h is not known when the module is built
   10 |   filter: {op: parameter, axes: {c: c, h: h, w: w}, init: conv}  # one depthwise h×w convolution
      |                                           ^
  help: pass it to build, such as size=(14, 14) for h and w""",
    ),
    (
        "ge_theta_plus",
        64,
        {},
        """\
ge_theta_plus (shipped):12:43: error[open-size]: the size h is not known when the module is built
   12 |   filter: {op: parameter, axes: {c: c, h: h, w: w}, init: conv}
      |                                           ^
  help: pass it to build, such as size=(14, 14) for h and w""",
    ),
    (
        "ge_theta",
        64,
        {"extent": 3},
        """\
ge_theta (shipped):13:41: error[invalid-value]: 1.584962500721156 is not a whole number
   13 |   near:   {op: repeat, x: input, times: log2(extent), index: i,  # each step halves the map
      |                                         ^^^^^^^^^^^^
  help: here extent = 3""",
    ),
    (
        "mhsa",
        60,
        {},
        """\
mhsa (shipped):11:65: error[does-not-divide]: heads = 8 does not divide c = 60
   11 |   qkv:     {op: linear, over: c, out: {part: 3, head: heads, d: c / heads}}
      |                                                                 ^^^^^^^^^
  help: choose a value of heads that divides 60""",
    ),
    (
        "transformer_layer",
        64,
        {"heads": 7},
        """\
mhsa (shipped):11:65: error[does-not-divide]: heads = 7 does not divide c = 64
   11 |   qkv:     {op: linear, over: c, out: {part: 3, head: heads, d: c / heads}}
      |                                                                 ^^^^^^^^^
  help: choose a value of heads that divides 64""",
    ),
    (
        "sa",
        64,
        {"width": 0},
        """\
sa (shipped):10:52: error[size-too-small]: d is width = 0, and a size must be at least 1
   10 |   qkv:     {op: linear, over: c, out: {part: 3, d: width}}
      |                                                    ^^^^^
  help: here width = 0; choose other params, or write max(width, 1)""",
    ),
    (
        "split_attention",
        64,
        {"cardinality": 3},
        """\
split_attention (shipped):14:58: error[groups-do-not-divide]: 6 groups do not divide 64 channels in
   14 |   splits:  {op: conv2d, out: {r: radix, c: out}, groups: radix * cardinality,
      |                                                          ^^^^^^^^^^^^^^^^^^^
  help: choose groups that divide both
split_attention (shipped):20:48: error[does-not-divide]: cardinality = 3 does not divide out = 64
   20 |             out: {g: cardinality, r: radix, d: out / cardinality}}
      |                                                ^^^^^^^^^^^^^^^^^
  help: choose a value of cardinality that divides 64""",
    ),
    (
        "split_attention",
        64,
        {"radix": 3},
        """\
split_attention (shipped):14:58: error[groups-do-not-divide]: 3 groups do not divide 64 channels in
   14 |   splits:  {op: conv2d, out: {r: radix, c: out}, groups: radix * cardinality,
      |                                                          ^^^^^^^^^^^^^^^^^^^
  help: choose groups that divide both""",
    ),
    (
        "split_attention",
        128,
        {"groups": 32, "radix": 3},
        """\
split_attention (shipped):14:58: error[groups-do-not-divide]: 96 groups do not divide 128 channels in
   14 |   splits:  {op: conv2d, out: {r: radix, c: out}, groups: radix * cardinality,
      |                                                          ^^^^^^^^^^^^^^^^^^^
  help: choose groups that divide both""",
    ),
    (
        "bot_mhsa",
        64,
        {},
        """\
bot_mhsa (shipped):14:52: error[open-size]: the size h is not known when the module is built
   14 |   attend:  {op: attention, q: q, k: k, v: v, over: [h, w], along: d,
      |                                                    ^^^^^^
  help: pass it to build, such as size=(14, 14) for h and w""",
    ),
    (
        "bot_mhsa",
        64,
        {"heads": 5},
        """\
bot_mhsa (shipped):12:65: error[does-not-divide]: heads = 5 does not divide out = 64
   12 |   qkv:     {op: linear, over: c, out: {part: 3, head: heads, d: out / heads}, bias: false}
      |                                                                 ^^^^^^^^^^^
  help: choose a value of heads that divides 64""",
    ),
    (
        "cond_conv",
        64,
        {"groups": 5},
        """\
cond_conv (shipped):15:43: error[does-not-divide]: groups = 5 does not divide c = 64
   15 |             axes: {n: experts, o: out, i: c / groups, kh: kernel, kw: kernel}}
      |                                           ^^^^^^^^^^
  help: choose a value of groups that divides 64""",
    ),
    (
        "sk",
        64,
        {"groups": 5},
        """\
sk (shipped):15:44: error[groups-do-not-divide]: 5 groups do not divide 64 channels in
   15 |                    stride: stride, groups: groups, norm: batch, act: relu}}
      |                                            ^^^^^^
  help: choose groups that divide both""",
    ),
    (
        "dynamic_conv",
        3,
        {},
        """\
dynamic_conv (shipped):16:40: error[size-too-small]: hidden is max(c // reduction, min_width) = 0, and a size must be at least 1
   16 |   logits:  {op: mlp, over: c, hidden: "max(c // reduction, min_width)", out: {n: experts}}
      |                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: here c = 3, min_width = 0, reduction = 4; choose other params""",
    ),
    (
        "sk",
        64,
        {"branches": 0},
        """\
sk (shipped):13:41: error[size-too-small]: times is branches = 0, and a size must be at least 1
   13 |   split:   {op: branch, axis: k, times: branches,
      |                                         ^^^^^^^^
  help: here branches = 0; choose other params, or write max(branches, 1)
sk (shipped):19:43: error[size-too-small]: k is branches = 0, and a size must be at least 1
   19 |   logits:  {op: linear, over: c, out: {k: branches, c: out}, bias: false}
      |                                           ^^^^^^^^
  help: here branches = 0; choose other params, or write max(branches, 1)""",
    ),
]


@pytest.mark.parametrize(
    ("spec", "channels", "params", "expected"), BUILDS,
    ids=[f"{name}-{params}" for name, _, params, _ in BUILDS],
)  # fmt: skip
def test_a_build(spec: str, channels: int, params: dict[str, Value], expected: str) -> None:
    with pytest.raises(ComposerError) as failure:
        build(spec, channels, params=params)
    assert str(failure.value) == written(expected)


def test_a_spec_that_uses_itself(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("name: one\n" + IT[9:] + "  a: {op: use, spec: other}\n")
    other.write_text("name: other\nextends: one\n")
    with pytest.raises(ComposerError) as failure:
        load_spec(one)
    assert str(failure.value) == (
        f"{other}:2:10: error[cycle]: the spec uses itself: one -> other -> one\n"
        "    2 | extends: one\n"
        "      |          ^^^\n"
        "  help: make one of them independent of the other"
    )
    one.write_text("name: one\n" + IT[9:] + "  a: {op: use, spec: one.yaml}\n")
    _, problems = check_text(*find_spec(str(one)))
    assert [p.message for p in problems] == ["the spec uses itself: one -> one"]
    assert problems[0].where is not None and problems[0].where.line == 4


def test_a_fault_in_a_used_spec_is_shown_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("name: inner\n" + IT[9:] + "  a: {op: pool, over: q}\n")
    outer = tmp_path / "outer.yaml"
    outer.write_text("name: outer\n" + IT[9:] + "  a: {op: use, spec: inner}\n  b: {op: pol}\n")
    with pytest.raises(ComposerError) as failure:
        load_spec(outer)
    found = [(Path(p.where.file).name, p.where.line, p.code) for p in failure.value.diagnostics
             if p.where]  # fmt: skip
    assert found == [("inner.yaml", 4, "unknown-axis"), ("outer.yaml", 5, "unknown-op")]

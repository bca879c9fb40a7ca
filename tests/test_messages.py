"""Every message as a user reads it: where, what, the way out, and the carets under the fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from composer.errors import ComposerError
from composer.graph.frontend import check_text, graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import compile_graph
from composer.language import source
from composer.language.library import shipped_names
from composer.language.models import Insert
from composer.primitives import Spec, ops
from composer.primitives.activations import FUNCTIONS

SE = """\
name: se
params: {reduction: 16}
input: [b, c, h, w]
nodes:
  squeeze: {op: pool, over: [h, w]}
  excite:  {op: mlp, over: c, hidden: c // reduction}
  gate:    {op: gate, fn: sigmoid}
  out:     {op: reweight, x: input, by: gate}
insert: {at: block}
"""
IT = "name: it\ninput: [b, c, h, w]\nnodes:\n"

#: Lists that grow with the language, by the mark that stands for them below.
LISTS = {
    "<ops>": ", ".join(ops()),
    "<functions>": f"{', '.join(['softmax', *FUNCTIONS][:-1])} or {list(FUNCTIONS)[-1]}",
    "<specs>": ", ".join(shipped_names()),
    "<spec fields>": ", ".join(Spec.model_fields),
    "<insert fields>": ", ".join(Insert.model_fields),
    **{f"<{op} fields>": ", ".join(p.model_fields) for op, p in ops().items()},
}

#: What is changed in SE, and all that is said of it.
CHANGES: dict[str, tuple[list[tuple[str, str]], str]] = {
    "unknown op": (
        [("op: pool", "op: pol")],
        """\
spec.yaml:5:17: error[unknown-op]: no op named 'pol'
    5 |   squeeze: {op: pol, over: [h, w]}
      |                 ^^^
  help: did you mean 'pool'? Ops: <ops>
""",
    ),
    "op is a number": (
        [("op: pool", "op: 3")],
        """\
spec.yaml:5:17: error[unknown-op]: an op must be a name, not the number 3
    5 |   squeeze: {op: 3, over: [h, w]}
      |                 ^
  help: Ops: <ops>
""",
    ),
    "op is a list": (
        [("op: pool", "op: [pool]")],
        """\
spec.yaml:5:17: error[unknown-op]: an op must be a name, not a list
    5 |   squeeze: {op: [pool], over: [h, w]}
      |                 ^^^^^^
  help: did you mean 'pool'? Ops: <ops>
""",
    ),
    "op is empty": (
        [("op: pool", "op: ~")],
        """\
spec.yaml:5:12: error[missing-op]: the node 'squeeze' does not say its op
    5 |   squeeze: {op: ~, over: [h, w]}
      |            ^^^^^^^^^^^^^^^^^^^^^
  help: write squeeze: {op: …}, with one of <ops>
""",
    ),
    "missing op": (
        [("op: pool, ", "")],
        """\
spec.yaml:5:12: error[missing-op]: the node 'squeeze' does not say its op
    5 |   squeeze: {over: [h, w]}
      |            ^^^^^^^^^^^^^^
  help: write squeeze: {op: …}, with one of <ops>
""",
    ),
    "unknown node": (
        [("by: gate", "by: gat")],
        """\
spec.yaml:8:41: error[unknown-node]: no node named 'gat'
    8 |   out:     {op: reweight, x: input, by: gat}
      |                                         ^^^
  help: did you mean 'gate'? Defined so far: input, squeeze, excite, gate
""",
    ),
    "unknown node, unicode": (
        [("by: gate", "by: gäte")],
        """\
spec.yaml:8:41: error[unknown-node]: no node named 'gäte'
    8 |   out:     {op: reweight, x: input, by: gäte}
      |                                         ^^^^
  help: did you mean 'gate'? Defined so far: input, squeeze, excite, gate
""",
    ),
    "unknown field": (
        [("over: c,", "over: c, hiden: 4,")],
        """\
spec.yaml:6:31: error[unknown-field]: the op 'mlp' has no field 'hiden'
    6 |   excite:  {op: mlp, over: c, hiden: 4, hidden: c // reduction}
      |                               ^^^^^
  help: did you mean 'hidden'? Fields: <mlp fields>
""",
    ),
    "missing field": (
        [(", hidden: c // reduction", "")],
        """\
spec.yaml:6:12: error[missing-field]: the op 'mlp' needs the field 'hidden'
    6 |   excite:  {op: mlp, over: c}
      |            ^^^^^^^^^^^^^^^^^^
  help: add 'hidden: …'
""",
    ),
    "another field in its place": (
        [("over: [h, w]", "axes: [h, w]")],
        """\
spec.yaml:5:12: error[missing-field]: the op 'pool' needs the field 'over'
    5 |   squeeze: {op: pool, axes: [h, w]}
      |            ^^^^^^^^^^^^^^^^^^^^^^^^
  help: add 'over: [h, w]'
spec.yaml:5:23: error[unknown-field]: the op 'pool' has no field 'axes'
    5 |   squeeze: {op: pool, axes: [h, w]}
      |                       ^^^^
  help: did you mean 'over'? Fields: <pool fields>
""",
    ),
    "unknown field of the spec": (
        [("insert:", "inserts:")],
        """\
spec.yaml:9:1: error[unknown-field]: a spec has no field 'inserts'
    9 | inserts: {at: block}
      | ^^^^^^^
  help: did you mean 'insert'? Fields: <spec fields>
""",
    ),
    "unknown field of insert": (
        [("{at: block}", "{at: block, stage: 1}")],
        """\
spec.yaml:9:21: error[unknown-field]: 'insert' has no field 'stage'
    9 | insert: {at: block, stage: 1}
      |                     ^^^^^
  help: did you mean 'stages'? Fields: <insert fields>
""",
    ),
    "unknown place": (
        [("at: block", "at: neck")],
        """\
spec.yaml:9:14: error[invalid-value]: the text 'neck' is not allowed for 'at'
    9 | insert: {at: neck}
      |              ^^^^
  help: it may be 'block', 'stage', 'stem', 'head', 'conv', 'attention', 'norm', 'mlp' or 'pool'
""",
    ),
    "insert is a word": (
        [("{at: block}", "block")],
        """\
spec.yaml:9:9: error[invalid-value]: expected a mapping, but got the text 'block'
    9 | insert: block
      |         ^^^^^
  help: write it as 'insert: {at: block}'
""",
    ),
    "no place": (
        [("{at: block}", "{}")],
        """\
spec.yaml:9:9: error[missing-field]: 'insert' needs the field 'at'
    9 | insert: {}
      |         ^^
  help: add 'at: block'
""",
    ),
    "bad positions": (
        [("at: block", "at: block, blocks: 0..2")],
        """\
spec.yaml:9:29: error[invalid-value]: '0..2' is not a number or a range; they count from 1: '1,3', '2..4', '1..-2' or '-1' for the last
    9 | insert: {at: block, blocks: 0..2}
      |                             ^^^^
""",  # noqa: E501
    ),
    "positions are a mapping": (
        [("at: block", "at: block, blocks: {first: 1}")],
        """\
spec.yaml:9:29: error[invalid-value]: expected numbers or ranges, such as 2, '1..-2' or [1, 3]
    9 | insert: {at: block, blocks: {first: 1}}
      |                             ^^^^^^^^^^
""",
    ),
    "unknown axis": (
        [("[h, w]", "[h, z]")],
        """\
spec.yaml:5:33: error[unknown-axis]: 'input' has no axis 'z'
    5 |   squeeze: {op: pool, over: [h, z]}
      |                                 ^
  help: its axes are [b, c, h, w]
""",
    ),
    "foreign axis": (
        [("x: input, by: gate", "x: gate, by: input")],
        """\
spec.yaml:8:40: error[unknown-axis]: 'input' has the axis 'h', which 'gate' lacks
    8 |   out:     {op: reweight, x: gate, by: input}
      |                                        ^^^^^
  help: 'gate' is [b, c] and 'input' is [b, c, h, w]; pool the axis away, or use mul for an outer product
""",  # noqa: E501
    ),
    "an axis twice": (
        [("[h, w]", "[h, h]")],
        """\
spec.yaml:5:33: error[duplicate-axis]: the axis 'h' is named twice
    5 |   squeeze: {op: pool, over: [h, h]}
      |                                 ^
  help: name each axis once
""",
    ),
    "an axis is a number": (
        [("[h, w]", "3")],
        """\
spec.yaml:5:29: error[invalid-value]: expected a name, but got the number 3
    5 |   squeeze: {op: pool, over: 3}
      |                             ^
""",
    ),
    "no axes": (
        [("[h, w]", "[]")],
        """\
spec.yaml:5:29: error[invalid-value]: expected at least 1 value, but got 0
    5 |   squeeze: {op: pool, over: []}
      |                             ^^
  help: write it as 'over: [h, w]'
""",
    ),
    "cycle": (
        [("excite:  {op: mlp,", "excite:  {op: mlp, x: gate,")],
        """\
spec.yaml:6:25: error[cycle]: these nodes read each other in a cycle: excite -> gate -> excite
    6 |   excite:  {op: mlp, x: gate, over: c, hidden: c // reduction}
      |                         ^^^^
  help: make one of them read an earlier node
""",
    ),
    "reads itself": (
        [("excite:  {op: mlp,", "excite:  {op: mlp, x: excite,")],
        """\
spec.yaml:6:25: error[cycle]: these nodes read each other in a cycle: excite -> excite
    6 |   excite:  {op: mlp, x: excite, over: c, hidden: c // reduction}
      |                         ^^^^^^
  help: make one of them read an earlier node
""",
    ),
    "duplicate key": (
        [("over: c,", "over: c, over: c,")],
        """\
spec.yaml:6:31: error[duplicate-key]: duplicate key 'over' in this mapping
    6 |   excite:  {op: mlp, over: c, over: c, hidden: c // reduction}
      |                               ^^^^
  help: the first one is at line 6; rename or remove one
""",
    ),
    "duplicate node": (
        [
            (
                "  gate:    {op: gate, fn: sigmoid}\n",
                "  gate:    {op: gate, fn: sigmoid}\n  gate:    {op: gate, fn: tanh}\n",
            )
        ],
        """\
spec.yaml:8:3: error[duplicate-key]: duplicate key 'gate' in this mapping
    8 |   gate:    {op: gate, fn: tanh}
      |   ^^^^
  help: the first one is at line 7; rename or remove one
""",
    ),
    "tab": (
        [("  gate: ", "\tgate: ")],
        """\
spec.yaml:7:1: error[not-yaml]: a tab indents this line, and YAML allows only spaces
    7 |  gate:    {op: gate, fn: sigmoid}
      | ^
  help: replace the tab with spaces
""",
    ),
    "divides by zero": (
        [("c // reduction", "c // 0")],
        """\
spec.yaml:6:39: error[division-by-zero]: c // 0 divides by zero
    6 |   excite:  {op: mlp, over: c, hidden: c // 0}
      |                                       ^^^^^^
""",
    ),
    "divides by a param that is zero": (
        [("reduction: 16", "reduction: 0")],
        """\
spec.yaml:6:39: error[division-by-zero]: c // 0 divides by zero
    6 |   excite:  {op: mlp, over: c, hidden: c // reduction}
      |                                       ^^^^^^^^^^^^^^
  help: here reduction = 0
""",
    ),
    "forbidden call": (
        [("c // reduction", "open(reduction)")],
        """\
spec.yaml:6:39: error[forbidden-call]: an expression cannot call 'open'
    6 |   excite:  {op: mlp, over: c, hidden: open(reduction)}
      |                                       ^^^^^^^^^^^^^^^
  help: it can call min, max, abs, ceil, floor, round, log, log2, exp, sqrt, sin, cos, odd
""",
    ),
    "attribute": (
        [("c // reduction", "c.real // reduction")],
        """\
spec.yaml:6:39: error[bad-expression]: 'c.real' is not allowed in an expression
    6 |   excite:  {op: mlp, over: c, hidden: c.real // reduction}
      |                                       ^^^^^^
  help: an expression has numbers, names, pi, + - * / // % **, comparisons, 'a if b else c' and min max abs ceil floor round log log2 exp sqrt sin cos odd
""",  # noqa: E501
    ),
    "unknown name": (
        [("c // reduction", "c // reductoin")],
        """\
spec.yaml:6:44: error[unknown-name]: no size or param named 'reductoin'
    6 |   excite:  {op: mlp, over: c, hidden: c // reductoin}
      |                                            ^^^^^^^^^
  help: did you mean 'reduction'? Known here: c, h, w, reduction
""",
    ),
    "no expression": (
        [("c // reduction", "c // / reduction")],
        """\
spec.yaml:6:44: error[bad-expression]: 'c // / reduction' is not an expression
    6 |   excite:  {op: mlp, over: c, hidden: c // / reduction}
      |                                            ^
  help: an expression has numbers, names, pi, + - * / // % **, comparisons, 'a if b else c' and min max abs ceil floor round log log2 exp sqrt sin cos odd
""",  # noqa: E501
    ),
    "no expression in quotes": (
        [("c // reduction", "'c // (reduction'")],
        """\
spec.yaml:6:45: error[bad-expression]: 'c // (reduction' is not an expression
    6 |   excite:  {op: mlp, over: c, hidden: 'c // (reduction'}
      |                                             ^
  help: an expression has numbers, names, pi, + - * / // % **, comparisons, 'a if b else c' and min max abs ceil floor round log log2 exp sqrt sin cos odd
""",  # noqa: E501
    ),
    "name behind an anchor": (
        [("c // reduction", "&half c // reductoin")],
        """\
spec.yaml:6:50: error[unknown-name]: no size or param named 'reductoin'
    6 |   excite:  {op: mlp, over: c, hidden: &half c // reductoin}
      |                                                  ^^^^^^^^^
  help: did you mean 'reduction'? Known here: c, h, w, reduction
""",
    ),
    "huge power": (
        [("c // reduction", "9 ** 9 ** reduction")],
        """\
spec.yaml:6:44: error[value-too-large]: 9 ** 16 passes 1e+15
    6 |   excite:  {op: mlp, over: c, hidden: 9 ** 9 ** reduction}
      |                                            ^^^^^^^^^^^^^^
  help: here reduction = 16
""",
    ),
    "huge number": (
        [("c // reduction", "99999999999999999999 // reduction")],
        """\
spec.yaml:6:39: error[value-too-large]: a number may be at most 1e+15
    6 |   excite:  {op: mlp, over: c, hidden: 99999999999999999999 // reduction}
      |                                       ^^^^^^^^^^^^^^^^^^^^
""",
    ),
    "fraction as size": (
        [("c // reduction", "1.5")],
        """\
spec.yaml:6:39: error[invalid-value]: 1.5 is not a whole number
    6 |   excite:  {op: mlp, over: c, hidden: 1.5}
      |                                       ^^^
  help: divide with //, or use ceil or floor
""",
    ),
    "negative size": (
        [("c // reduction", "-3")],
        """\
spec.yaml:6:39: error[invalid-value]: a size must be at least 1, and this is -3
    6 |   excite:  {op: mlp, over: c, hidden: -3}
      |                                       ^^
""",
    ),
    "flag as size": (
        [("c // reduction", "true")],
        """\
spec.yaml:6:39: error[invalid-value]: true is not a whole number
    6 |   excite:  {op: mlp, over: c, hidden: true}
      |                                       ^^^^
""",
    ),
    "list as size": (
        [("c // reduction", "[1, 2]")],
        """\
spec.yaml:6:39: error[invalid-value]: expected a size, but got a list
    6 |   excite:  {op: mlp, over: c, hidden: [1, 2]}
      |                                       ^^^^^^
""",
    ),
    "mapping as size": (
        [("c // reduction", "{c: 2}")],
        """\
spec.yaml:6:39: error[invalid-value]: expected a size, but got a mapping
    6 |   excite:  {op: mlp, over: c, hidden: {c: 2}}
      |                                       ^^^^^^
""",
    ),
    "nothing as size": (
        [("c // reduction", "")],
        """\
spec.yaml:6:39: error[invalid-value]: expected a size, but got nothing
    6 |   excite:  {op: mlp, over: c, hidden: }
      |                                       ^
""",
    ),
    "infinite size": (
        [("c // reduction", ".inf")],
        """\
spec.yaml:6:39: error[invalid-value]: inf is not a whole number
    6 |   excite:  {op: mlp, over: c, hidden: .inf}
      |                                       ^^^^
  help: divide with //, or use ceil or floor
""",
    ),
    "size too small": (
        [("c // reduction", "reduction // 99")],
        """\
spec.yaml:6:39: error[size-too-small]: hidden is reduction // 99 = 0, and a size must be at least 1
    6 |   excite:  {op: mlp, over: c, hidden: reduction // 99}
      |                                       ^^^^^^^^^^^^^^^
  help: here reduction = 16; choose other params, or write max(reduction // 99, 1)
""",
    ),
    "YAML 1.1 flag": (
        [("hidden: c // reduction", "hidden: c // reduction, bias: yes")],
        """\
spec.yaml:6:61: error[unknown-name]: no size or param named 'yes'
    6 |   excite:  {op: mlp, over: c, hidden: c // reduction, bias: yes}
      |                                                             ^^^
  help: a flag is true or false. Known here: c, h, w, reduction
""",
    ),
    "number as flag": (
        [("hidden: c // reduction", "hidden: c // reduction, bias: 1")],
        """\
spec.yaml:6:61: error[invalid-value]: 1 is neither true nor false
    6 |   excite:  {op: mlp, over: c, hidden: c // reduction, bias: 1}
      |                                                             ^
  help: write true or false
""",
    ),
    "unknown word": (
        [("over: [h, w]", "over: [h, w], reduce: quantile")],
        """\
spec.yaml:5:45: error[unknown-word]: 'quantile' is not allowed here
    5 |   squeeze: {op: pool, over: [h, w], reduce: quantile}
      |                                             ^^^^^^^^
  help: it may be mean, max, sum, min, std, var, median, length or power
""",
    ),
    "unknown word, near": (
        [("fn: sigmoid", "fn: sigmod")],
        """\
spec.yaml:7:27: error[unknown-word]: 'sigmod' is not allowed here
    7 |   gate:    {op: gate, fn: sigmod}
      |                           ^^^^^^
  help: did you mean 'sigmoid'? it may be <functions>
""",
    ),
    "number as word": (
        [("fn: sigmoid", "fn: 3")],
        """\
spec.yaml:7:27: error[invalid-value]: 3 is not allowed here
    7 |   gate:    {op: gate, fn: 3}
      |                           ^
  help: it may be <functions>
""",
    ),
    "list as word": (
        [("fn: sigmoid", "fn: [sigmoid]")],
        """\
spec.yaml:7:27: error[invalid-value]: expected a word, but got a list
    7 |   gate:    {op: gate, fn: [sigmoid]}
      |                           ^^^^^^^^^
""",
    ),
    "unknown word in a choice": (
        [("fn: sigmoid", "fn: sigmoid if reduction > 4 else tahn")],
        """\
spec.yaml:7:57: error[unknown-word]: 'tahn' is not allowed here
    7 |   gate:    {op: gate, fn: sigmoid if reduction > 4 else tahn}
      |                                                         ^^^^
  help: did you mean 'tanh'? it may be <functions>
""",
    ),
    "choice by a size": (
        [("fn: sigmoid", "fn: sigmoid if c > reduction else tanh")],
        """\
spec.yaml:7:27: error[open-choice]: this depends on c, which is not known before the module is built
    7 |   gate:    {op: gate, fn: sigmoid if c > reduction else tanh}
      |                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: a choice between words or nodes may depend only on params
""",
    ),
    "unknown node in a choice": (
        [("by: gate", "by: gate if reduction > 4 else gat")],
        """\
spec.yaml:8:68: error[unknown-node]: no node named 'gat'
    8 |   out:     {op: reweight, x: input, by: gate if reduction > 4 else gat}
      |                                                                    ^^^
  help: did you mean 'gate'? Defined so far: input, squeeze, excite, gate
""",
    ),
    "choice between nodes by a size": (
        [("by: gate", "by: gate if c > reduction else excite")],
        """\
spec.yaml:8:41: error[open-choice]: this depends on c, which is not known before the module is built
    8 |   out:     {op: reweight, x: input, by: gate if c > reduction else excite}
      |                                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: a choice between words or nodes may depend only on params
""",
    ),
    "arithmetic on a node": (
        [("by: gate", "by: gate + 1")],
        """\
spec.yaml:8:41: error[invalid-value]: gate + 1 is not a node
    8 |   out:     {op: reweight, x: input, by: gate + 1}
      |                                         ^^^^^^^^
  help: name a node, or 'input'
""",
    ),
    "param as node": (
        [("by: gate", "by: reduction")],
        """\
spec.yaml:8:41: error[unknown-node]: expected a node, but 'reduction' is a param
    8 |   out:     {op: reweight, x: input, by: reduction}
      |                                         ^^^^^^^^^
  help: for a learned number, write a node: {op: parameter, axes: {}, init: reduction}
""",
    ),
    "number as node": (
        [("by: gate", "by: 3")],
        """\
spec.yaml:8:41: error[invalid-value]: 3 is not the name of a node
    8 |   out:     {op: reweight, x: input, by: 3}
      |                                         ^
  help: name a node, or 'input'
""",
    ),
    "list as node": (
        [("by: gate", "by: [gate]")],
        """\
spec.yaml:8:41: error[invalid-value]: expected the name of a node, but got a list
    8 |   out:     {op: reweight, x: input, by: [gate]}
      |                                         ^^^^^^
""",
    ),
    "softmax without over": (
        [("fn: sigmoid", "fn: softmax")],
        """\
spec.yaml:7:12: error[invalid-value]: a softmax needs 'over', the axis along which it sums to one
    7 |   gate:    {op: gate, fn: softmax}
      |            ^^^^^^^^^^^^^^^^^^^^^^^
""",
    ),
    "unknown norm": (
        [("hidden: c // reduction", "hidden: c // reduction, norm: layr")],
        """\
spec.yaml:6:61: error[unknown-word]: 'layr' is not allowed here
    6 |   excite:  {op: mlp, over: c, hidden: c // reduction, norm: layr}
      |                                                             ^^^^
  help: did you mean 'layer'? it may be none, batch, layer, group, instance, rms or l2
""",
    ),
    "unknown setting of a norm": (
        [("hidden: c // reduction", "hidden: c // reduction, norm: {fn: batch, mom: 1}")],
        """\
spec.yaml:6:73: error[unknown-field]: 'norm' has no field 'mom'
    6 |   excite:  {op: mlp, over: c, hidden: c // reduction, norm: {fn: batch, mom: 1}}
      |                                                                         ^^^
  help: Fields: fn, momentum, eps, scale, groups, affine
""",
    ),
    "param is empty": (
        [("reduction: 16", "reduction: ~")],
        """\
spec.yaml:2:21: error[invalid-value]: expected a number, true, false or text, but got nothing
    2 | params: {reduction: ~}
      |                     ^
  help: write it as 'reduction: 16'
""",
    ),
    "param is a list": (
        [("reduction: 16", "reduction: [16]")],
        """\
spec.yaml:2:21: error[invalid-value]: expected a number, true, false or text, but got a list
    2 | params: {reduction: [16]}
      |                     ^^^^
  help: write it as 'reduction: 16'
""",
    ),
    "param without default": (
        [("reduction: 16", "reduction: {help: bottleneck}")],
        """\
spec.yaml:2:21: error[missing-field]: the param 'reduction' needs the field 'default'
    2 | params: {reduction: {help: bottleneck}}
      |                     ^^^^^^^^^^^^^^^^^^
  help: add 'default: 16'
""",
    ),
    "unknown field of a param": (
        [("reduction: 16", "reduction: {default: 16, halp: bottleneck}")],
        """\
spec.yaml:2:35: error[unknown-field]: the param 'reduction' has no field 'halp'
    2 | params: {reduction: {default: 16, halp: bottleneck}}
      |                                   ^^^^
  help: did you mean 'help'? Fields: default, choices, help
""",
    ),
    "param not among its choices": (
        [("reduction: 16", "reduction: {default: low, choices: [lo, hi]}")],
        """\
spec.yaml:2:31: error[invalid-value]: 'low' is not one of lo, hi
    2 | params: {reduction: {default: low, choices: [lo, hi]}}
      |                               ^^^
""",
    ),
    "choices are a word": (
        [("reduction: 16", "reduction: {default: low, choices: low}")],
        """\
spec.yaml:2:45: error[invalid-value]: expected a list, but got the text 'low'
    2 | params: {reduction: {default: low, choices: low}}
      |                                             ^^^
  help: write it as 'choices: [first, second]'
""",
    ),
    "param is no expression": (
        [("reduction: 16", "reduction: {default: 16 //}")],
        """\
spec.yaml:2:35: error[bad-expression]: '16 //' is not an expression
    2 | params: {reduction: {default: 16 //}}
      |                                   ^
  help: an expression has numbers, names, pi, + - * / // % **, comparisons, 'a if b else c' and min max abs ceil floor round log log2 exp sqrt sin cos odd
""",  # noqa: E501
    ),
    "param of an unknown name": (
        [("reduction: 16", "reduction: {default: c // ratio}")],
        """\
spec.yaml:2:36: error[unknown-name]: no size or param named 'ratio'
    2 | params: {reduction: {default: c // ratio}}
      |                                    ^^^^^
  help: Known so far: c, h, w
""",
    ),
    "param that is a word": (
        [("reduction: 16", "reduction: low")],
        """\
spec.yaml:2:21: error[unknown-name]: no size or param named 'low'
    2 | params: {reduction: low}
      |                     ^^^
  help: Known so far: c, h, w; for a word, list its choices: {default: low, choices: [low, …]}
""",
    ),
    "param of a later param": (
        [("reduction: 16", "reduction: ratio, ratio: 2")],
        """\
spec.yaml:2:21: error[unknown-name]: no size or param named 'ratio'
    2 | params: {reduction: ratio, ratio: 2}
      |                     ^^^^^
  help: Known so far: c, h, w; for a word, list its choices: {default: ratio, choices: [ratio, …]}
""",
    ),
    "param beside a word it never is": (
        [
            ("reduction: 16}", "reduction: 16, mode: {default: lo, choices: [lo, hi]}}"),
            ("fn: sigmoid", "fn: sigmoid if mode == high else tanh"),
        ],
        """\
spec.yaml:7:46: error[unknown-word]: the param 'mode' is never 'high'
    7 |   gate:    {op: gate, fn: sigmoid if mode == high else tanh}
      |                                              ^^^^
  help: Its choices: lo, hi
""",
    ),
    "bad name of a param": (
        [("reduction: 16", "reduction: 16, 2nd: 3")],
        """\
spec.yaml:2:25: error[bad-name]: '2nd' is not a name
    2 | params: {reduction: 16, 2nd: 3}
      |                         ^^^
  help: use letters, digits and _, starting with a letter
""",
    ),
    "reserved name of a param": (
        [("reduction: 16", "reduction: 16, lambda: 3")],
        """\
spec.yaml:2:25: error[bad-name]: 'lambda' is a reserved word, not a name
    2 | params: {reduction: 16, lambda: 3}
      |                         ^^^^^^
  help: choose another name
""",
    ),
    "a param named as the number is": (
        [("reduction: 16", "reduction: 16, pi: 3")],
        """\
spec.yaml:2:25: error[bad-name]: 'pi' is a reserved word, not a name
    2 | params: {reduction: 16, pi: 3}
      |                         ^^
  help: choose another name
""",
    ),
    "a logarithm of zero": (
        [("hidden: c // reduction", "hidden: ceil(log(reduction - 16))")],
        """\
spec.yaml:6:44: error[no-value]: log(0) has no value: a logarithm needs a positive number
    6 |   excite:  {op: mlp, over: c, hidden: ceil(log(reduction - 16))}
      |                                            ^^^^^^^^^^^^^^^^^^^
  help: here reduction = 16
""",
    ),
    "an exponential beyond all numbers": (
        [("hidden: c // reduction", "hidden: ceil(exp(reduction ** 3))")],
        """\
spec.yaml:6:44: error[value-too-large]: exp(4096) passes 1e+15
    6 |   excite:  {op: mlp, over: c, hidden: ceil(exp(reduction ** 3))}
      |                                            ^^^^^^^^^^^^^^^^^^^
  help: here reduction = 16
""",
    ),
    "param named like a node": (
        [("reduction: 16", "reduction: 16, gate: 3")],
        """\
spec.yaml:2:25: error[name-clash]: the param 'gate' has the name of a node
    2 | params: {reduction: 16, gate: 3}
      |                         ^^^^
  help: give the param another name
""",
    ),
    "param named like an axis": (
        [("reduction: 16", "reduction: 16, h: 3")],
        """\
spec.yaml:2:25: error[name-clash]: the param 'h' has the name of an axis
    2 | params: {reduction: 16, h: 3}
      |                         ^
  help: give the param another name
""",
    ),
    "param named input": (
        [("reduction: 16", "reduction: 16, input: 3")],
        """\
spec.yaml:2:25: error[name-clash]: the param 'input' has the name of the input
    2 | params: {reduction: 16, input: 3}
      |                         ^^^^^
  help: give the param another name
""",
    ),
    "params are a list": (
        [("{reduction: 16}", "[reduction]")],
        """\
spec.yaml:2:9: error[invalid-value]: expected a mapping, but got a list
    2 | params: [reduction]
      |         ^^^^^^^^^^^
  help: write it as 'params: {reduction: 16}'
""",
    ),
    "params are empty": (
        [(" {reduction: 16}", "")],
        """\
spec.yaml:2:8: error[invalid-value]: expected a mapping, but got nothing
    2 | params:
      |        ^
  help: write it as 'params: {reduction: 16}'
""",
    ),
    "unused param": (
        [("reduction: 16", "reduction: 16, ratio: 2")],
        """\
spec.yaml:2:25: warning[unused-param]: no node reads the param 'ratio'
    2 | params: {reduction: 16, ratio: 2}
      |                         ^^^^^
  help: remove it, or use it
""",
    ),
    "unused node": (
        [
            ("  gate: ", "  spare:   {op: gate}\n  gate: "),
            ("fn: sigmoid", "fn: sigmoid, x: excite"),
        ],
        """\
spec.yaml:7:3: warning[unused-node]: nothing reads the node 'spare'
    7 |   spare:   {op: gate}
      |   ^^^^^
  help: remove it, or read it where it belongs
""",
    ),
    "input is a word": (
        [("[b, c, h, w]", "bchw")],
        """\
spec.yaml:3:8: error[invalid-value]: expected a list, but got the text 'bchw'
    3 | input: bchw
      |        ^^^^
  help: write it as 'input: [b, c, h, w]'
""",
    ),
    "input of one axis": (
        [("[b, c, h, w]", "[b]")],
        """\
spec.yaml:3:8: error[invalid-value]: expected at least 2 values, but got 1
    3 | input: [b]
      |        ^^^
  help: write it as 'input: [b, c, h, w]'
""",
    ),
    "input twice the same axis": (
        [("[b, c, h, w]", "[b, c, h, h]")],
        """\
spec.yaml:3:8: error[duplicate-axis]: the input has the axis 'h' twice
    3 | input: [b, c, h, h]
      |        ^^^^^^^^^^^^
  help: give each axis a different name
spec.yaml:5:33: error[unknown-axis]: 'input' has no axis 'w'
    5 |   squeeze: {op: pool, over: [h, w]}
      |                                 ^
  help: its axes are [b, c, h, h]
""",
    ),
    "input with a number": (
        [("[b, c, h, w]", "[b, 3, h, w]")],
        """\
spec.yaml:3:12: error[invalid-value]: expected a name, but got the number 3
    3 | input: [b, 3, h, w]
      |            ^
""",
    ),
    "missing input": (
        [("input: [b, c, h, w]\n", "")],
        """\
spec.yaml:1:1: error[missing-field]: a spec needs the field 'input'
    1 | name: se
      | ^
  help: add 'input: [b, c, h, w]'
""",
    ),
    "missing name": (
        [("name: se\n", "")],
        """\
spec.yaml:1:1: error[missing-field]: a spec needs the field 'name'
    1 | params: {reduction: 16}
      | ^
  help: add 'name: my_attention'
""",
    ),
    "bad name": (
        [("name: se", "name: se-net")],
        """\
spec.yaml:1:7: error[bad-name]: 'se-net' is not a name
    1 | name: se-net
      |       ^^^^^^
  help: use letters, digits and _, starting with a letter
""",
    ),
    "name is a number": (
        [("name: se", "name: 3")],
        """\
spec.yaml:1:7: error[invalid-value]: expected a name, but got the number 3
    1 | name: 3
      |       ^
""",
    ),
    "name too long": (
        [("name: se", "name: sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss")],
        """\
spec.yaml:1:7: error[bad-name]: a name of 61 characters is too long
    1 | name: sssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: use at most 60
""",
    ),
    "title is a number": (
        [("name: se", "name: se\ntitle: 2017")],
        """\
spec.yaml:2:8: error[invalid-value]: expected a text, but got the number 2017
    2 | title: 2017
      |        ^^^^
  help: put it in quotes
""",
    ),
    "another version": (
        [("name: se", "name: se\ncomposer: 2")],
        """\
spec.yaml:2:11: error[invalid-value]: the number 2 is not allowed for 'composer'
    2 | composer: 2
      |           ^
  help: it may be 1
""",
    ),
    "deviations are a text": (
        [("insert:", "deviations: none\ninsert:")],
        """\
spec.yaml:9:13: error[invalid-value]: expected a list, but got the text 'none'
    9 | deviations: none
      |             ^^^^
  help: write it as 'deviations: [first, second]'
""",
    ),
    "unknown output": (
        [("insert:", "output: gat\ninsert:")],
        """\
spec.yaml:9:9: error[unknown-node]: no node named 'gat'
    9 | output: gat
      |         ^^^
  help: did you mean 'gate'? Nodes: squeeze, excite, gate, out
""",
    ),
    "output of other axes": (
        [("insert:", "output: gate\ninsert:")],
        """\
spec.yaml:7:12: error[output-differs]: the output 'gate' is [b, c], but the input is [b, c, h, w]
    7 |   gate:    {op: gate, fn: sigmoid}
      |            ^^^^^^^^^^^^^^^^^^^^^^^
  help: what is inserted into a backbone must return the axes of its input, for example by a reweight of 'input' as the last node
spec.yaml:8:3: warning[unused-node]: nothing reads the node 'out'
    8 |   out:     {op: reweight, x: input, by: gate}
      |   ^^^
  help: remove it, or read it where it belongs
""",  # noqa: E501
    ),
    "output of other sizes": (
        [("insert:", "  halved:  {op: conv2d, kernel: 1, out: c // 2}\ninsert:")],
        """\
spec.yaml:9:12: error[output-differs]: axis 'c' of the output 'halved' is c // 2, but c in the input
    9 |   halved:  {op: conv2d, kernel: 1, out: c // 2}
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: with c = 64 they are 32 and 64; what is inserted must keep the sizes of its input
""",
    ),
    "bad name of a node": (
        [("  gate: ", "  my-gate: ")],
        """\
spec.yaml:7:3: error[bad-name]: 'my-gate' is not a name
    7 |   my-gate:    {op: gate, fn: sigmoid}
      |   ^^^^^^^
  help: use letters, digits and _, starting with a letter
spec.yaml:8:41: error[unknown-node]: no node named 'gate'
    8 |   out:     {op: reweight, x: input, by: gate}
      |                                         ^^^^
  help: Defined so far: input, squeeze, excite, my-gate
""",
    ),
    "node named input": (
        [("  gate: ", "  input: ")],
        """\
spec.yaml:7:3: error[bad-name]: 'input' is the name of the spec's input
    7 |   input:    {op: gate, fn: sigmoid}
      |   ^^^^^
  help: give the node another name, such as input_1
spec.yaml:8:41: error[unknown-node]: no node named 'gate'
    8 |   out:     {op: reweight, x: input, by: gate}
      |                                         ^^^^
  help: Defined so far: input, squeeze, excite
""",
    ),
    "node named as torch names its own": (
        [("  excite: ", "  forward: ")],
        """\
spec.yaml:6:3: error[bad-name]: 'forward' is an attribute of every torch module, so it can't hold a node's weights
    6 |   forward:  {op: mlp, over: c, hidden: c // reduction}
      |   ^^^^^^^
  help: give the node another name, such as forward_1
""",  # noqa: E501
    ),
    "node is a word": (
        [("{op: gate, fn: sigmoid}", "sigmoid")],
        """\
spec.yaml:7:12: error[invalid-value]: expected a mapping, but got the text 'sigmoid'
    7 |   gate:    sigmoid
      |            ^^^^^^^
  help: write it as 'gate: {op: …}'
""",
    ),
    "node is empty": (
        [("{op: gate, fn: sigmoid}", "~")],
        """\
spec.yaml:7:12: error[invalid-value]: expected a mapping, but got nothing
    7 |   gate:    ~
      |            ^
  help: write it as 'gate: {op: …}'
""",
    ),
    "node is a list": (
        [("{op: gate, fn: sigmoid}", "[gate]")],
        """\
spec.yaml:7:12: error[invalid-value]: expected a mapping, but got a list
    7 |   gate:    [gate]
      |            ^^^^^^
  help: write it as 'gate: {op: …}'
""",
    ),
}

#: A text, and all that is said of it.
TEXTS = {
    "size conflict": (
        IT
        + "  halved: {op: conv2d, kernel: 1, out: c // 2}\n  sum:  {op: add, of: [halved, input]}\n",  # noqa: E501
        """\
spec.yaml:5:32: error[size-conflict]: axis 'c' has two sizes: c // 2 in 'halved' and c in 'input'
    5 |   sum:  {op: add, of: [halved, input]}
      |                                ^^^^^
  help: with c = 64 they are 32 and 64; make the sizes equal, or rename one of the axes 'c'
""",
    ),
    "stack of different axes": (
        IT + "  mean: {op: pool, over: [h, w]}\n  both: {op: stack, of: [input, mean], axis: k}\n",
        """\
spec.yaml:5:33: error[axes-differ]: 'input' is [b, c, h, w] and 'mean' is [b, c]
    5 |   both: {op: stack, of: [input, mean], axis: k}
      |                                 ^^^^
  help: stacked values must have the same axes
""",
    ),
    "stack on an axis that is there": (
        IT + "  both: {op: stack, of: [input, input], axis: c}\n",
        """\
spec.yaml:4:47: error[axis-exists]: 'input' already has an axis 'c'
    4 |   both: {op: stack, of: [input, input], axis: c}
      |                                               ^
  help: give the new axis another name
""",
    ),
    "stack of one word": (
        IT + "  both: {op: stack, of: input, axis: k}\n",
        """\
spec.yaml:4:25: error[invalid-value]: expected a list, but got the text 'input'
    4 |   both: {op: stack, of: input, axis: k}
      |                         ^^^^^
  help: write it as 'of: [first, second]'
""",
    ),
    "one value to add": (
        IT + "  sum: {op: add, of: [input]}\n",
        """\
spec.yaml:4:22: error[invalid-value]: expected at least 2 values, but got 1
    4 |   sum: {op: add, of: [input]}
      |                      ^^^^^^^
  help: write it as 'of: [first, second]'
""",
    ),
    "three values to subtract": (
        IT + "  less: {op: sub, of: [input, input, input]}\n",
        """\
spec.yaml:4:9: error[invalid-value]: sub takes two values, not 3
    4 |   less: {op: sub, of: [input, input, input]}
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",
    ),
    "even kernel": (
        IT + "  out: {op: conv2d, kernel: 4}\n",
        """\
spec.yaml:4:29: error[even-kernel]: a kernel of 4 has no centre, so the size would change
    4 |   out: {op: conv2d, kernel: 4}
      |                             ^
  help: use an odd one; odd(x) is the whole part of x, plus one if that is even
""",
    ),
    "groups that do not divide": (
        IT + "  out: {op: conv2d, kernel: 3, out: 4, groups: 3}\n",
        """\
spec.yaml:4:48: error[groups-do-not-divide]: 3 groups do not divide 4 channels out
    4 |   out: {op: conv2d, kernel: 3, out: 4, groups: 3}
      |                                                ^
  help: choose groups that divide both
""",
    ),
    "size zero among axes": (
        IT + "  out: {op: conv2d, kernel: 3, out: {k: 0}}\n",
        """\
spec.yaml:4:41: error[invalid-value]: a size must be at least 1, and this is 0
    4 |   out: {op: conv2d, kernel: 3, out: {k: 0}}
      |                                         ^
""",
    ),
    "unknown name among axes": (
        IT + "  out: {op: parameter, axes: {c: channels}, init: 0}\n",
        """\
spec.yaml:4:34: error[unknown-name]: no size or param named 'channels'
    4 |   out: {op: parameter, axes: {c: channels}, init: 0}
      |                                  ^^^^^^^^
  help: did you mean 'c'? Known here: c, h, w
""",
    ),
    "no expression for a size or axes": (
        IT + "  out: {op: conv2d, kernel: 3, out: 2 *}\n",
        """\
spec.yaml:4:39: error[bad-expression]: '2 *' is not an expression
    4 |   out: {op: conv2d, kernel: 3, out: 2 *}
      |                                       ^
  help: an expression has numbers, names, pi, + - * / // % **, comparisons, 'a if b else c' and min max abs ceil floor round log log2 exp sqrt sin cos odd
""",  # noqa: E501
    ),
    "text for a number": (
        IT + "  out: {op: parameter, axes: {c: c}, init: [0]}\n",
        """\
spec.yaml:4:44: error[invalid-value]: expected a number, but got a list
    4 |   out: {op: parameter, axes: {c: c}, init: [0]}
      |                                            ^^^
""",
    ),
    "no nodes": (
        "name: it\ninput: [b, c]\n",
        """\
spec.yaml:1:1: error[missing-field]: a spec needs the field 'nodes'
    1 | name: it
      | ^
  help: add 'nodes: {squeeze: {op: pool, over: [h, w]}}'
""",
    ),
    "nodes empty": (
        "name: it\ninput: [b, c]\nnodes: {}\n",
        """\
spec.yaml:3:8: error[invalid-value]: expected at least 1 value, but got 0
    3 | nodes: {}
      |        ^^
  help: write it as 'nodes: {squeeze: {op: pool, over: [h, w]}}'
""",
    ),
    "nodes without value": (
        "name: it\ninput: [b, c]\nnodes:\n",
        """\
spec.yaml:3:7: error[invalid-value]: expected a mapping, but got nothing
    3 | nodes:
      |       ^
  help: write it as 'nodes: {squeeze: {op: pool, over: [h, w]}}'
""",
    ),
    "nodes are a list": (
        "name: it\ninput: [b, c]\nnodes:\n  - {op: pool, over: c}\n",
        """\
spec.yaml:4:3: error[invalid-value]: expected a mapping, but got a list
    4 |   - {op: pool, over: c}
      |   ^
  help: write it as 'nodes: {squeeze: {op: pool, over: [h, w]}}'
""",
    ),
    "empty": (
        "",
        """\
spec.yaml: error[empty-file]: this spec is empty
  help: start with 'name:', 'input: [b, c, h, w]' and 'nodes:'
""",
    ),
    "comments only": (
        "# nothing yet\n",
        """\
spec.yaml: error[empty-file]: this spec is empty
  help: start with 'name:', 'input: [b, c, h, w]' and 'nodes:'
""",
    ),
    "null": (
        "~\n",
        """\
spec.yaml:1:1: error[not-a-mapping]: a spec must be a mapping of fields, but this is nothing
    1 | ~
      | ^
  help: start with 'name:', 'input: [b, c, h, w]' and 'nodes:'
""",
    ),
    "list": (
        "- a\n- b\n",
        """\
spec.yaml:1:1: error[not-a-mapping]: a spec must be a mapping of fields, but this is a list
    1 | - a
      | ^
  help: start with 'name:', 'input: [b, c, h, w]' and 'nodes:'
""",
    ),
    "word": (
        "cbam\n",
        """\
spec.yaml:1:1: error[not-a-mapping]: a spec must be a mapping of fields, but this is the text 'cbam'
    1 | cbam
      | ^^^^
  help: start with 'name:', 'input: [b, c, h, w]' and 'nodes:'
""",
    ),
    "two documents": (
        "name: a\n---\nname: b\n",
        """\
spec.yaml:2:1: error[not-yaml]: a second document begins here
    2 | ---
      | ^
  help: write one spec per file, without a '---' line
""",
    ),
    "open list": (
        "over: [h, w\nop: pool\n",
        """\
spec.yaml:2:3: error[not-yaml]: a ',' or a ']' is missing in the list that begins at line 1
    2 | op: pool
      |   ^
""",
    ),
    "open mapping": (
        "a: {op: pool\n",
        """\
spec.yaml:1:13: error[not-yaml]: a ',' or a '}' is missing in the mapping that begins at line 1
    1 | a: {op: pool
      |             ^
""",
    ),
    "open quote": (
        "a: 'pool\n",
        """\
spec.yaml:1:9: error[not-yaml]: the quote that opens at line 1 is not closed
    1 | a: 'pool
      |         ^
""",
    ),
    "wrong indent": (
        "a:\n  b: 1\n c: 2\n",
        """\
spec.yaml:3:2: error[not-yaml]: this line does not continue the mapping of line 1
    3 |  c: 2
      |  ^
  help: keys of one mapping start in the same column, and nothing may follow a value on its line
""",
    ),
    "colon in a text": (
        "title: SE: squeeze\n",
        """\
spec.yaml:1:10: error[not-yaml]: a ':' is not allowed here
    1 | title: SE: squeeze
      |          ^
  help: put a text that contains ': ' in quotes; otherwise check the indentation of this line
""",
    ),
    "at sign": (
        "name: @se\n",
        """\
spec.yaml:1:7: error[not-yaml]: a text cannot begin with this character
    1 | name: @se
      |       ^
  help: put it in quotes
""",
    ),
    "unknown alias": (
        "name: *se\n",
        """\
spec.yaml:1:7: error[not-yaml]: no anchor of this name is defined above
    1 | name: *se
      |       ^
  help: put a text that begins with '*' in quotes
""",
    ),
    "no space behind a colon": (
        "a: {b: {c:}}\n",
        """\
spec.yaml:1:10: error[not-yaml]: a ':' is not allowed here
    1 | a: {b: {c:}}
      |          ^
  help: put a space after the ':' of a key
""",
    ),
    "tag": (
        "name: !!python/object:os.system ls\ninput: [b, c]\nnodes: {a: {op: gate}}\n",
        """\
spec.yaml:1:7: error[unknown-tag]: the tag '!!python/object:os.system' is not allowed here
    1 | name: !!python/object:os.system ls
      |       ^
  help: remove the tag; put a text that looks like a number in quotes
""",
    ),
    "key that is a list": (
        "? [a, b]\n: 1\nname: it\ninput: [b, c]\nnodes: {a: {op: gate}}\n",
        """\
spec.yaml:1:3: error[bad-key]: a key must be one word
    1 | ? [a, b]
      |   ^^^^^^
""",
    ),
    "control character": (
        "name: s\x07e\n",
        """\
spec.yaml:1:8: error[not-yaml]: the character '\\x07' is not allowed in a spec
    1 | name: s�e
      |        ^
  help: remove it
""",
    ),
    "five megabytes": (
        "#" * 5_000_000,
        """\
spec.yaml: error[file-too-large]: this text has 5,000,000 characters, and the limit is 2,000,000
  help: a spec is a few dozen lines; is this the right text?
""",
    ),
    "nesting": (
        "a: " + "[" * 99,
        """\
spec.yaml: error[too-deep]: values are nested more than 64 deep at line 1
  help: is this the right file?
""",
    ),
}


def filled(expected: str) -> str:
    for mark, words in LISTS.items():
        expected = expected.replace(mark, words)
    return expected.rstrip("\n")


def said(text: str) -> str:
    return "\n".join(p.render() for p in check_text(text, "spec.yaml")[1])


def test_the_spec_they_start_from_is_sound():
    assert check_text(SE, "spec.yaml")[1] == ()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change(name):
    changes, expected = CHANGES[name]
    text = SE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    assert said(text) == filled(expected)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text(name):
    text, expected = TEXTS[name]
    assert said(text) == filled(expected)


@pytest.mark.parametrize("name", [*CHANGES, *TEXTS])
def test_no_message_speaks_of_the_machinery(name):
    expected = (CHANGES.get(name) or TEXTS[name])[1]
    for word in ("pydantic", "validat", "valid ", "tuple", "dict", "str_type", "instance of",
                 "traceback", "field required", "should"):  # fmt: skip
        assert word not in expected.lower()
    assert "None" not in expected


@pytest.mark.parametrize("name", ["unused param", "unused node"])
def test_a_warning_leaves_the_spec_sound(name):
    text = SE
    for old, new in CHANGES[name][0]:
        text = text.replace(old, new, 1)
    spec, problems = check_text(text, "spec.yaml")
    assert spec is not None
    assert [p.severity for p in problems] == ["warning"]
    assert load_spec(text).name == "se"


# --------------------------------------------------------------------------- all of them in one go

SIX = """\
name: six
titel: Six problems
params: {reduction: 16, ratio: c // 0}
input: [b, c, h, w]
nodes:
  squeeze: {op: pool, over: [h, z]}
  excite:  {op: mlp, over: c, hidden: c // reductoin, hidden: 4}
  gate:    {op: gat, fn: sigmoid}
  other:   {op: reweight, x: input, by: squeze}
  out:     {op: reweight, x: input, by: out}
insert: {at: block}
"""


def test_all_problems_in_the_order_of_the_text():
    _, problems = check_text(SIX, "spec.yaml")
    found = [(p.where.line, p.where.column, p.code) for p in problems]
    assert found == [
        (2, 1, "unknown-field"),
        (3, 32, "division-by-zero"),
        (6, 33, "unknown-axis"),
        (7, 44, "unknown-name"),
        (7, 55, "duplicate-key"),
        (8, 17, "unknown-op"),
        (9, 41, "unknown-node"),
        (10, 41, "cycle"),
    ]


def test_load_spec_carries_all_of_them():
    with pytest.raises(ComposerError) as caught:
        load_spec(SIX)
    assert len(caught.value.diagnostics) == 8
    assert str(caught.value).count("<spec>:") == 8


def test_a_problem_as_json_keeps_its_place():
    _, problems = check_text(SE.replace("by: gate", "by: gat"), "spec.yaml")
    read = json.loads(json.dumps([p.as_json() for p in problems]))
    assert read[0]["code"] == "unknown-node"
    assert read[0]["where"] == {
        "file": "spec.yaml",
        "line": 8,
        "column": 41,
        "length": 3,
        "text": "  out:     {op: reweight, x: input, by: gat}",
    }


# ------------------------------------------------------------------------- what is set from outside

#: A spec with a knob of each kind.
KNOBS = """\
name: knobs
params:
  reduction: 16
  bias: true
  kernel: 3
  mode: {default: sharp, choices: [sharp, soft]}
input: [b, c, h, w]
nodes:
  squeeze: {op: pool, over: [h, w]}
  excite:  {op: mlp, over: c, hidden: c // reduction, bias: bias}
  mix:     {op: conv1d, along: c, kernel: kernel}
  gate:    {op: gate, fn: sigmoid if mode == soft else hard_sigmoid}
  out:     {op: reweight, x: input, by: gate}
"""

#: The channels, the params, and what is said.
SET = {
    "channels too few": (8, {}, """\
<spec>:10:39: error[size-too-small]: hidden is c // reduction = 0, and a size must be at least 1
   10 |   excite:  {op: mlp, over: c, hidden: c // reduction, bias: bias}
      |                                       ^^^^^^^^^^^^^^
  help: here c = 8, reduction = 16; choose other params, or write max(c // reduction, 1)
"""),
    "a param that is not": (64, {"reductoin": 4}, """\
error[unknown-param]: the spec 'knobs' has no param 'reductoin'
  help: did you mean 'reduction'? Params of knobs: reduction, bias, kernel, mode
"""),
    "two params that are not": (64, {"a": 4, "b": 5}, """\
error[unknown-param]: the spec 'knobs' has no param 'a'
  help: Params of knobs: reduction, bias, kernel, mode
error[unknown-param]: the spec 'knobs' has no param 'b'
  help: Params of knobs: reduction, bias, kernel, mode
"""),
    "a list": (64, {"reduction": [4]}, """\
error[invalid-value]: the param 'reduction' cannot be [4]
  help: give a number, true, false or text
"""),
    "nothing": (64, {"reduction": None}, """\
error[invalid-value]: the param 'reduction' cannot be None
  help: give a number, true, false or text
"""),
    "infinite": (64, {"reduction": float("inf")}, """\
error[invalid-value]: the param 'reduction' cannot be inf
  help: give a number, true, false or text
"""),
    "zero": (64, {"reduction": 0}, """\
<spec>:10:39: error[division-by-zero]: 64 // 0 divides by zero
   10 |   excite:  {op: mlp, over: c, hidden: c // reduction, bias: bias}
      |                                       ^^^^^^^^^^^^^^
  help: here c = 64, reduction = 0
"""),
    "a number for a flag": (64, {"bias": 3}, """\
error[invalid-value]: the param 'bias' cannot be 3
  help: it is true or false; its default is true
"""),
    "an unknown name": (64, {"reduction": "low"}, """\
error[unknown-name]: the param 'reduction' is set to 'low': no size or param named 'low'
  help: Known so far: c, h, w
"""),
    "no value": (64, {"reduction": "c // 0"}, """\
error[division-by-zero]: the param 'reduction' is set to 'c // 0': 64 // 0 divides by zero
"""),
    "no expression": (64, {"reduction": "c //"}, """\
error[invalid-value]: the param 'reduction' cannot be 'c //': 'c //' is not an expression
  help: its default is 16
"""),
    "no choice": (64, {"mode": "hard"}, """\
error[invalid-value]: the param 'mode' cannot be 'hard': 'hard' is not one of sharp, soft
  help: its default is sharp
"""),
    "even": (64, {"kernel": 4}, """\
<spec>:11:43: error[even-kernel]: a kernel of 4 has no centre, so the size would change
   11 |   mix:     {op: conv1d, along: c, kernel: kernel}
      |                                           ^^^^^^
  help: use an odd one; odd(x) is the whole part of x, plus one if that is even
"""),
}  # fmt: skip


@pytest.mark.parametrize("name", SET)
def test_settings(name):
    channels, params, expected = SET[name]
    with pytest.raises(ComposerError) as caught:
        compile_graph(graph_of(load_spec(KNOBS), Settings({"c": channels}, params)))
    assert str(caught.value) == expected.rstrip("\n")


@pytest.mark.parametrize("name", ["channels too few", "a param that is not"])
def test_build_says_the_same(name):
    from composer.lower.build import build

    channels, params, expected = SET[name]
    with pytest.raises(ComposerError) as caught:
        build(KNOBS, channels=channels, params=params)
    assert str(caught.value) == expected.rstrip("\n")


# ------------------------------------------------------------------------------ the word for a spec

WORDS = {
    "ESE": """\
error[unknown-spec]: no file and no shipped spec named 'ESE'
  help: did you mean 'ese'? Shipped specs: <specs>
""",
    "cbma.yaml": """\
error[unknown-spec]: no file and no shipped spec named 'cbma.yaml'
  help: did you mean 'cbam'? Shipped specs: <specs>
""",
    "mine.yaml": """\
error[unknown-spec]: no file and no shipped spec named 'mine.yaml'
  help: Shipped specs: <specs>
""",
    "": """\
error[unknown-spec]: no file and no shipped spec named ''
  help: Shipped specs: <specs>
""",
    "folder": """\
error[not-a-file]: 'folder' is a folder, not a spec
  help: Shipped specs: <specs>
""",
    "{name: se, " * 50: f"""\
error[unknown-spec]: no file and no shipped spec named '{("{name: se, " * 50)[:79]}…'
  help: Shipped specs: <specs>
""",
    "a\0b": """\
error[unknown-spec]: no file and no shipped spec named 'a\\x00b'
  help: Shipped specs: <specs>
""",
    "latin.yaml": """\
latin.yaml: error[not-utf-8]: byte 6 is not UTF-8
  help: save the file as UTF-8 text
""",
    "large.yaml": """\
large.yaml: error[file-too-large]: this file has 5,000,000 bytes, and the limit is 2,000,000
  help: a spec is a few dozen lines; is this the right file?
""",
    "locked.yaml": """\
locked.yaml: error[unreadable-file]: cannot be read: Permission denied
""",
    "empty.yaml": """\
empty.yaml: error[empty-file]: this spec is empty
  help: start with 'name:', 'input: [b, c, h, w]' and 'nodes:'
""",
}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * 5_000_000)
    (tmp_path / "locked.yaml").write_text(SE)
    (tmp_path / "empty.yaml").write_text("")
    opened = source._without_waiting

    def locked(path, flags):  # a superuser may read what is locked, so the lock is pretended
        if Path(path).name == "locked.yaml":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags)

    monkeypatch.setattr(source, "_without_waiting", locked)
    return tmp_path


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_names_no_spec(word, workplace):
    expected = WORDS[word].replace("<specs>", LISTS["<specs>"]).rstrip("\n")
    with pytest.raises(ComposerError) as caught:
        load_spec(word)
    assert str(caught.value) == expected


def test_words_that_name_a_spec(workplace):
    assert load_spec("se").name == load_spec("se.yaml").name == load_spec("se.yml").name == "se"
    (workplace / "se.yaml").write_text(SE.replace("name: se", "name: mine"))
    assert load_spec("se.yaml").name == "mine"  # a file wins
    assert load_spec("se").name == "se"
    assert load_spec(workplace / "se.yaml").name == "mine"
    assert load_spec(SE).name == "se"
    assert load_spec(load_spec("se")).origin.file == "se (shipped)"
    (workplace / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + SE.replace("\n", "\r\n").encode())
    assert load_spec("bom.yaml").name == "se"

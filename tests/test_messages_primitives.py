"""What the primitives say of a spec that is at fault, as a user reads it."""

from __future__ import annotations

import pytest

from composer.errors import ComposerError
from composer.graph.frontend import check_text, graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import compile_graph
from composer.lower.build import lower

IT = "name: it\ninput: [b, c, h, w]\nnodes:\n"

#: The nodes, and all that is said of them.
NODES: dict[str, tuple[str, str]] = {
    "stride without a kernel": (
        """\
  out: {op: pool, over: [h, w], stride: 2}
""",
        """\
spec.yaml:4:8: error[invalid-value]: 'stride' is for windows, so it needs a 'kernel'
    4 |   out: {op: pool, over: [h, w], stride: 2}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",
    ),
    "three axes under a kernel": (
        """\
  out: {op: pool, over: [c, h, w], kernel: 3}
""",
        """\
spec.yaml:4:8: error[invalid-value]: a kernel slides over two axes, and 'over' names 3
    4 |   out: {op: pool, over: [c, h, w], kernel: 3}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",
    ),
    "an even window": (
        """\
  out: {op: pool, over: [h, w], kernel: 4, stride: 2}
""",
        """\
spec.yaml:4:41: error[even-kernel]: a window of 4 has no centre, and a stride of 2 makes windows overlap
    4 |   out: {op: pool, over: [h, w], kernel: 4, stride: 2}
      |                                         ^
  help: use an odd kernel, or a stride of 4
""",  # noqa: E501
    ),
    "windows summed": (
        """\
  out: {op: pool, over: [h, w], kernel: 3, reduce: sum}
""",
        """\
spec.yaml:4:52: error[invalid-value]: windows are pooled by mean or max, not by sum
    4 |   out: {op: pool, over: [h, w], kernel: 3, reduce: sum}
      |                                                    ^^^
  help: use the mean; the sum is kernel * kernel times that
""",
    ),
    "resize of one axis": (
        """\
  out: {op: resize, over: [h], like: input}
""",
        """\
spec.yaml:4:27: error[invalid-value]: expected at least 2 values, but got 1
    4 |   out: {op: resize, over: [h], like: input}
      |                           ^^^
  help: write it as 'over: [h, w]'
""",
    ),
    "resize like a value without the axis": (
        """\
  flat: {op: pool, over: w}
  out: {op: resize, x: input, over: [h, w], like: flat}
""",
        """\
spec.yaml:5:41: error[unknown-axis]: 'flat' has no axis 'w'
    5 |   out: {op: resize, x: input, over: [h, w], like: flat}
      |                                         ^
  help: its axes are [b, c, h]
""",
    ),
    "resize like nothing": (
        """\
  out: {op: resize, over: [h, w]}
""",
        """\
spec.yaml:4:8: error[missing-field]: the op 'resize' needs the field 'like'
    4 |   out: {op: resize, over: [h, w]}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: add 'like: …'
""",
    ),
    "a layer norm with momentum": (
        """\
  out: {op: norm, over: c, fn: layer, momentum: 0.5}
""",
        """\
spec.yaml:4:8: error[invalid-value]: a layer norm keeps no running statistics, so it has no 'momentum'
    4 |   out: {op: norm, over: c, fn: layer, momentum: 0.5}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: omit 'momentum'
""",  # noqa: E501
    ),
    "a norm of another name": (
        """\
  out: {op: norm, over: c, fn: grup}
""",
        """\
spec.yaml:4:32: error[unknown-word]: 'grup' is not allowed here
    4 |   out: {op: norm, over: c, fn: grup}
      |                                ^^^^
  help: did you mean 'group'? it may be batch, layer, group, instance, rms or l2
""",
    ),
    "split into too few": (
        """\
  out: {op: split, axis: c, into: {g: 8, d: c // 8}}
""",
        """\
spec.yaml:4:35: error[size-conflict]: axis 'c' of 'input' has c values, and g × d has 8 * (c // 8)
    4 |   out: {op: split, axis: c, into: {g: 8, d: c // 8}}
      |                                   ^^^^^^^^^^^^^^^^^
  help: choose sizes whose product is that of the axis; / divides exactly, // rounds down
""",
    ),
    "split into a taken axis": (
        """\
  out: {op: split, axis: c, into: {h: 8, d: c / 8}}
""",
        """\
spec.yaml:4:39: error[axis-exists]: 'input' already has an axis 'h'
    4 |   out: {op: split, axis: c, into: {h: 8, d: c / 8}}
      |                                       ^
  help: choose a name other than b, h, w
""",
    ),
    "split of an unknown axis": (
        """\
  out: {op: split, axis: ch, into: {g: 8, d: 2}}
""",
        """\
spec.yaml:4:26: error[unknown-axis]: 'input' has no axis 'ch'
    4 |   out: {op: split, axis: ch, into: {g: 8, d: 2}}
      |                          ^^
  help: its axes are [b, c, h, w]
""",
    ),
    "merge into a taken axis": (
        """\
  out: {op: merge, axes: [c, h], into: w}
""",
        """\
spec.yaml:4:40: error[axis-exists]: 'input' already has an axis 'w'
    4 |   out: {op: merge, axes: [c, h], into: w}
      |                                        ^
  help: choose a name other than b, w
""",
    ),
    "merge of an unknown axis": (
        """\
  out: {op: merge, axes: [c, n], into: c}
""",
        """\
spec.yaml:4:30: error[unknown-axis]: 'input' has no axis 'n'
    4 |   out: {op: merge, axes: [c, n], into: c}
      |                              ^
  help: its axes are [b, c, h, w]
""",
    ),
    "pick behind the end": (
        """\
  both: {op: stack, of: [input, input], axis: k}
  out: {op: pick, axis: k, index: 2}
""",
        """\
spec.yaml:5:35: error[index-out-of-range]: axis 'k' of 'both' has 2 values, so the index 2 is out of range
    5 |   out: {op: pick, axis: k, index: 2}
      |                                   ^
  help: indices go from 0 to 1
""",  # noqa: E501
    ),
    "pick of too many": (
        """\
  qkv: {op: linear, over: c, out: {part: 3, c: c}}
  out: {op: pick, axis: part, index: 0, of: 2}
""",
        """\
spec.yaml:5:45: error[size-conflict]: axis 'part' of 'qkv' has 3 values, and 2 names are given
    5 |   out: {op: pick, axis: part, index: 0, of: 2}
      |                                             ^
  help: give one name for each value
""",
    ),
    "pick of one": (
        """\
  qkv: {op: linear, over: c, out: {part: 3, c: c}}
  out: {op: pick, axis: part, index: 0, of: 1}
""",
        """\
spec.yaml:5:45: error[size-conflict]: axis 'part' of 'qkv' has 3 values, and 1 name is given
    5 |   out: {op: pick, axis: part, index: 0, of: 1}
      |                                             ^
  help: give one name for each value
""",
    ),
    "linear in groups": (
        """\
  out: {op: linear, over: c, out: 9, groups: 2}
""",
        """\
spec.yaml:4:46: error[groups-do-not-divide]: 2 groups do not divide 9 channels out
    4 |   out: {op: linear, over: c, out: 9, groups: 2}
      |                                              ^
  help: choose groups that divide both
""",
    ),
    "mlp onto a taken axis": (
        """\
  out: {op: mlp, over: c, hidden: 4, out: {h: 3, d: 2}}
""",
        """\
spec.yaml:4:47: error[axis-exists]: 'input' already has an axis 'h'
    4 |   out: {op: mlp, over: c, hidden: 4, out: {h: 3, d: 2}}
      |                                               ^
  help: choose a name other than b, h, w
""",
    ),
    "conv2d without a kernel": (
        """\
  out: {op: conv2d}
""",
        """\
spec.yaml:4:8: error[invalid-value]: conv2d needs 'kernel', its height and width, or 'weight', a node that is one
    4 |   out: {op: conv2d}
      |        ^^^^^^^^^^^^
""",  # noqa: E501
    ),
    "conv2d with two kernels": (
        """\
  kernel: {op: parameter, axes: {o: 4, i: c, kh: 3, kw: 3}, init: conv}
  out: {op: conv2d, x: input, weight: kernel, kernel: 3}
""",
        """\
spec.yaml:5:8: error[invalid-value]: 'kernel' has no effect together with the weight 'kernel'; remove one of the two
    5 |   out: {op: conv2d, x: input, weight: kernel, kernel: 3}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",  # noqa: E501
    ),
    "conv2d by a value, with channels": (
        """\
  kernel: {op: parameter, axes: {o: 4, i: c, kh: 3, kw: 3}, init: conv}
  out: {op: conv2d, x: input, weight: kernel, out: 4}
""",
        """\
spec.yaml:5:8: error[invalid-value]: 'out' has no effect together with the weight 'kernel'; remove one of the two
    5 |   out: {op: conv2d, x: input, weight: kernel, out: 4}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",  # noqa: E501
    ),
    "conv2d by a value that is none": (
        """\
  squeeze: {op: pool, over: [h, w]}
  out: {op: conv2d, x: input, weight: squeeze}
""",
        """\
spec.yaml:5:39: error[unknown-axis]: 'squeeze' has no axis 'o'
    5 |   out: {op: conv2d, x: input, weight: squeeze}
      |                                       ^^^^^^^
  help: its axes are [b, c]
""",
    ),
    "conv2d by several kernels": (
        """\
  kernels: {op: parameter, axes: {n: 2, o: 4, i: c, kh: 3, kw: 3}, init: conv}
  out: {op: conv2d, x: input, weight: kernels}
""",
        """\
spec.yaml:5:39: error[surplus-axis]: 'kernels' has the axis 'n', which a kernel does not have
    5 |   out: {op: conv2d, x: input, weight: kernels}
      |                                       ^^^^^^^
  help: a kernel is [o, i, kh, kw], with 'b' for one kernel per sample; remove other axes with pick or a sum
""",  # noqa: E501
    ),
    "conv2d by other channels": (
        """\
  kernel: {op: parameter, axes: {o: 4, i: 8, kh: 3, kw: 3}, init: conv}
  out: {op: conv2d, x: input, weight: kernel}
""",
        """\
spec.yaml:5:39: error[size-conflict]: axis 'i' of 'kernel' is 8, and there are c input channels
    5 |   out: {op: conv2d, x: input, weight: kernel}
      |                                       ^^^^^^
  help: give the axis i the size c
""",
    ),
    "conv2d by other channels in groups": (
        """\
  kernel: {op: parameter, axes: {o: 4, i: c, kh: 3, kw: 3}, init: conv}
  out: {op: conv2d, x: input, weight: kernel, groups: 2}
""",
        """\
spec.yaml:5:39: error[size-conflict]: axis 'i' of 'kernel' is c, and there are c input channels, c / 2 for each of 2 groups
    5 |   out: {op: conv2d, x: input, weight: kernel, groups: 2}
      |                                       ^^^^^^
  help: give the axis i the size c / 2
""",  # noqa: E501
    ),
    "conv2d by an even kernel": (
        """\
  kernel: {op: parameter, axes: {o: 4, i: c, kh: 3, kw: 2}, init: conv}
  out: {op: conv2d, x: input, weight: kernel}
""",
        """\
spec.yaml:5:39: error[even-kernel]: a kernel of 2 has no centre, so the size would change
    5 |   out: {op: conv2d, x: input, weight: kernel}
      |                                       ^^^^^^
  help: use an odd one; odd(x) is the whole part of x, plus one if that is even
""",
    ),
    "a padding that is none": (
        """\
  out: {op: conv2d, kernel: 3, padding: -1}
""",
        """\
spec.yaml:4:41: error[invalid-value]: a size must be at least 0, and this is -1
    4 |   out: {op: conv2d, kernel: 3, padding: -1}
      |                                         ^^
""",
    ),
    "attention without the keys' axis": (
        """\
  flat: {op: merge, axes: h, into: m}
  out: {op: attention, q: input, k: flat, v: flat, over: h, along: c}
""",
        """\
spec.yaml:5:37: error[unknown-axis]: 'flat' has no axis 'h'
    5 |   out: {op: attention, q: input, k: flat, v: flat, over: h, along: c}
      |                                     ^^^^
  help: it is [b, m, c, w]; if the keys have other axes, name them: 'keys: m'
""",
    ),
    "attention to keys without the features": (
        """\
  flat: {op: pool, over: c}
  out: {op: attention, q: input, k: flat, v: input, over: w, along: c}
""",
        """\
spec.yaml:5:37: error[unknown-axis]: 'flat' has no axis 'c'
    5 |   out: {op: attention, q: input, k: flat, v: input, over: w, along: c}
      |                                     ^^^^
  help: it is [b, h, w]; the dot product sums over an axis of both queries and keys
""",
    ),
    "keys that are queries": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: [h, m]}
""",
        """\
spec.yaml:4:80: error[duplicate-axis]: the axis 'h' is an axis of the queries, so it cannot be an axis of the keys
    4 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: [h, m]}
      |                                                                                ^
  help: the keys need other axes; omit 'keys' if they have those of the queries
""",  # noqa: E501
    ),
    "keys that are features": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: c}
""",
        """\
spec.yaml:4:79: error[duplicate-axis]: the axis 'c' is the feature axis, so it cannot be an axis of the keys
    4 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: c}
      |                                                                               ^
  help: the keys need other axes; omit 'keys' if they have those of the queries
""",  # noqa: E501
    ),
    "keys named twice": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: [m, m]}
""",
        """\
spec.yaml:4:83: error[duplicate-axis]: the axis 'm' is named twice, so it cannot be an axis of the keys
    4 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: [m, m]}
      |                                                                                   ^
  help: name each axis once
""",  # noqa: E501
    ),
    "keys of the queries": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: w}
""",
        """\
spec.yaml:4:79: error[surplus-axis]: the queries 'input' also have the axis 'w' of the keys
    4 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: w}
      |                                                                               ^
  help: 'input' is [b, c, h, w]; name an axis that only the keys have
""",
    ),
    "keys of another number": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: [m, n]}
""",
        """\
spec.yaml:4:79: error[invalid-value]: 'input' has the axes of the queries, [h], and 'keys' names [m, n] for them
    4 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: [m, n]}
      |                                                                               ^^^^^^
  help: name one for each of them
""",  # noqa: E501
    ),
    "keys for each query": (
        """\
  more: {op: stack, of: [input, input], axis: m}
  out: {op: attention, q: input, k: more, v: more, over: h, keys: m, along: c}
""",
        """\
spec.yaml:5:37: error[surplus-axis]: 'more' has 'h', an axis of the queries, as well as the keys' [m]
    5 |   out: {op: attention, q: input, k: more, v: more, over: h, keys: m, along: c}
      |                                     ^^^^
  help: if each query has its own keys, write a product, a gate with fn: softmax, and a product
""",  # noqa: E501
    ),
    "a bias without keys": (
        """\
  near: {op: parameter, axes: {h: 7}, init: 0}
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, bias: near}
""",
        """\
spec.yaml:5:79: error[missing-field]: a bias needs different axes for queries and keys, and here they are the same
    5 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, bias: near}
      |                                                                               ^^^^
  help: rename the axes of the keys for it, such as 'keys: m'; the axes of 'input' need not change
""",  # noqa: E501
    ),
    "a bias with an axis of its own": (
        """\
  near: {op: parameter, axes: {m: 7, r: 2}, init: 0}
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: m, bias: near}
""",
        """\
spec.yaml:5:88: error[surplus-axis]: the bias 'near' has the axis 'r', which the logits do not have
    5 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: m, bias: near}
      |                                                                                        ^^^^
  help: they are [b, h, w, m]
""",
    ),
    "a mask that is the same for all keys": (
        """\
  seen: {op: pool, over: [c, w]}
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: m, mask: seen}
""",
        """\
spec.yaml:5:88: error[unknown-axis]: the mask 'seen' is the same for all keys, so it has no effect
    5 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: m, mask: seen}
      |                                                                                        ^^^^
  help: it is [b, h]; the keys have [m]
""",
    ),
    "a bias of another size": (
        """\
  near: {op: parameter, axes: {m: 7}, init: 0}
  out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: m, bias: near}
""",
        """\
spec.yaml:5:88: error[size-conflict]: axis 'm' has two sizes: h in 'input' and 7 in 'near'
    5 |   out: {op: attention, q: input, k: input, v: input, over: h, along: c, keys: m, bias: near}
      |                                                                                        ^^^^
  help: with h = 64 they are 64 and 7; make the sizes equal, or rename one of the axes 'm'
""",
    ),
    "a relative position of other keys": (
        """\
  rows: {op: merge, x: input, axes: h, into: m}
  far: {op: merge, axes: w, into: n}
  out: {op: attention, q: input, k: far, v: far, over: [h, w], keys: [m, n], along: c, position: relative}
""",  # noqa: E501
        """\
spec.yaml:6:98: error[invalid-value]: a relative position needs keys with the axes of the queries, and 'far' is [b, m, n, c]
    6 |   out: {op: attention, q: input, k: far, v: far, over: [h, w], keys: [m, n], along: c, position: relative}
      |                                                                                                  ^^^^^^^^
  help: omit the position, and add one as a bias
""",  # noqa: E501
    ),
    "a product of three": (
        """\
  out: {op: product, of: [input, input, input], sum: c}
""",
        """\
spec.yaml:4:8: error[invalid-value]: a product takes two values, not 3; write one node for each pair
    4 |   out: {op: product, of: [input, input, input], sum: c}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",
    ),
    "a product over an axis of one": (
        """\
  flat: {op: pool, over: c}
  out: {op: product, of: [input, flat], sum: c}
""",
        """\
spec.yaml:5:46: error[unknown-axis]: only 'input' has the axis 'c', so there is no product to sum
    5 |   out: {op: product, of: [input, flat], sum: c}
      |                                              ^
  help: pool it first: {op: pool, x: input, over: c, reduce: sum}
""",
    ),
    "a product over no axis": (
        """\
  flat: {op: pool, over: c}
  out: {op: product, of: [input, flat], sum: q}
""",
        """\
spec.yaml:5:46: error[unknown-axis]: 'input' has no axis 'q'
    5 |   out: {op: product, of: [input, flat], sum: q}
      |                                              ^
  help: its axes are [b, c, h, w]
""",
    ),
    "a product over nothing": (
        """\
  out: {op: product, of: [input, input], sum: []}
""",
        """\
spec.yaml:4:47: error[invalid-value]: expected at least 1 value, but got 0
    4 |   out: {op: product, of: [input, input], sum: []}
      |                                               ^^
  help: write it as 'sum: …'
""",
    ),
    "attention of another size": (
        """\
  keys: {op: linear, over: c, out: 8}
  out: {op: attention, q: input, k: keys, v: input, over: w, along: c}
""",
        """\
spec.yaml:5:37: error[size-conflict]: axis 'c' has two sizes: c in 'input' and 8 in 'keys'
    5 |   out: {op: attention, q: input, k: keys, v: input, over: w, along: c}
      |                                     ^^^^
  help: with c = 64 they are 64 and 8; make the sizes equal, or rename one of the axes 'c'
""",
    ),
    "attention along its tokens": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: [h, c], along: c}
""",
        """\
spec.yaml:4:75: error[duplicate-axis]: the axis 'c' is a token axis, so it cannot be the feature axis
    4 |   out: {op: attention, q: input, k: input, v: input, over: [h, c], along: c}
      |                                                                           ^
  help: name the axis that the dot product sums over
""",  # noqa: E501
    ),
    "attention with a position of one axis": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: w, along: c, position: relative}
""",
        """\
spec.yaml:4:60: error[invalid-value]: a relative position needs two axes, and 'over' names 1
    4 |   out: {op: attention, q: input, k: input, v: input, over: w, along: c, position: relative}
      |                                                            ^
  help: name two axes, such as [h, w], or omit the position
""",
    ),
    "attention with a position of another name": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: [h, w], along: c, position: absolute}
""",
        """\
spec.yaml:4:88: error[unknown-word]: 'absolute' is not allowed here
    4 |   out: {op: attention, q: input, k: input, v: input, over: [h, w], along: c, position: absolute}
      |                                                                                        ^^^^^^^^
  help: it may be none or relative
""",  # noqa: E501
    ),
    "schedule without steps": (
        """\
  out: {op: schedule, begin: 30, end: 1, steps: 0}
""",
        """\
spec.yaml:4:49: error[invalid-value]: a size must be at least 1, and this is 0
    4 |   out: {op: schedule, begin: 30, end: 1, steps: 0}
      |                                                 ^
""",
    ),
    "an init that is none": (
        """\
  out: {op: parameter, axes: {c: c}, init: convolution}
""",
        """\
spec.yaml:4:44: error[unknown-name]: no size or param named 'convolution'
    4 |   out: {op: parameter, axes: {c: c}, init: convolution}
      |                                            ^^^^^^^^^^^
  help: Known here: c, h, w
""",
    ),
    "an init in a list": (
        """\
  out: {op: parameter, axes: {c: c}, init: [conv]}
""",
        """\
spec.yaml:4:44: error[invalid-value]: expected a number, but got a list
    4 |   out: {op: parameter, axes: {c: c}, init: [conv]}
      |                                            ^^^^^^
""",
    ),
    "a group norm without groups": (
        """\
  out: {op: norm, over: [c, h, w], fn: group}
""",
        """\
spec.yaml:4:8: error[invalid-value]: a group norm needs 'groups', the number of groups of channels
    4 |   out: {op: norm, over: [c, h, w], fn: group}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: add 'groups: 32'
""",
    ),
    "a batch norm in groups": (
        """\
  out: {op: norm, over: c, fn: batch, groups: 2}
""",
        """\
spec.yaml:4:8: error[invalid-value]: a batch norm has no 'groups'
    4 |   out: {op: norm, over: c, fn: batch, groups: 2}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: omit 'groups', or write 'fn: group' for a group norm
""",
    ),
    "a group norm of each place": (
        """\
  out: {op: norm, over: c, fn: group, groups: 4}
""",
        """\
spec.yaml:4:25: error[invalid-value]: each position of h, w would have separate statistics for groups of 'c'
    4 |   out: {op: norm, over: c, fn: group, groups: 4}
      |                         ^
  help: write over: [c, h, w]; for a norm per position, split 'c' and use a layer norm over the part
""",  # noqa: E501
    ),
    "groups that do not divide": (
        """\
  out: {op: conv2d, kernel: 3, out: 6, norm: {fn: group, groups: 4}}
""",
        """\
spec.yaml:4:66: error[groups-do-not-divide]: 4 groups do not divide 6 channels
    4 |   out: {op: conv2d, kernel: 3, out: 6, norm: {fn: group, groups: 4}}
      |                                                                  ^
  help: choose groups that divide 6
""",
    ),
    "a batch norm over two axes": (
        """\
  out: {op: norm, over: [c, h]}
""",
        """\
spec.yaml:4:25: error[invalid-value]: a batch norm has one channel axis, and 'over' names 2
    4 |   out: {op: norm, over: [c, h]}
      |                         ^^^^^^
  help: merge them first: {op: merge, axes: [c, h], into: …}; or use 'fn: layer', a norm over several axes
""",  # noqa: E501
    ),
    "a batch norm with other weights": (
        """\
  out: {op: norm, over: c, affine: [c, h]}
""",
        """\
spec.yaml:4:36: error[invalid-value]: a batch norm has weights along its channels 'c', and none along 'h'
    4 |   out: {op: norm, over: c, affine: [c, h]}
      |                                    ^^^^^^
  help: omit 'affine', or write 'affine: none'
""",  # noqa: E501
    ),
    "weights along what it has not": (
        """\
  out: {op: norm, over: c, fn: layer, affine: [c, q]}
""",
        """\
spec.yaml:4:51: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: norm, over: c, fn: layer, affine: [c, q]}
      |                                                   ^
  help: its axes are [b, c, h, w]
""",
    ),
    "weights along nothing": (
        """\
  out: {op: norm, over: c, fn: layer, affine: false}
""",
        """\
spec.yaml:4:47: error[invalid-value]: 'affine' must name the axes along which there are weights
    4 |   out: {op: norm, over: c, fn: layer, affine: false}
      |                                               ^^^^^
  help: write for example 'affine: c', or 'affine: none' for no weights
""",
    ),
    "a scale without weights": (
        """\
  out: {op: norm, over: [h, w], fn: instance, scale: 0}
""",
        """\
spec.yaml:4:8: error[invalid-value]: an instance norm has no weights by default, so 'scale' has no effect
    4 |   out: {op: norm, over: [h, w], fn: instance, scale: 0}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: omit 'scale', or set 'affine' to give it weights
""",  # noqa: E501
    ),
    "a scale without weights after a layer": (
        """\
  out: {op: conv2d, kernel: 1, norm: {fn: layer, affine: false, scale: 0}}
""",
        """\
spec.yaml:4:38: error[invalid-value]: a layer norm has no weights, so 'scale' has no effect
    4 |   out: {op: conv2d, kernel: 1, norm: {fn: layer, affine: false, scale: 0}}
      |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: omit 'scale', or set 'affine' to give it weights
""",
    ),
    "an instance norm without a map": (
        """\
  out: {op: linear, over: c, norm: instance}
""",
        """\
spec.yaml:4:36: error[invalid-value]: an instance norm needs a map for its statistics, and linear has none
    4 |   out: {op: linear, over: c, norm: instance}
      |                                    ^^^^^^^^
  help: write the norm as a node: {op: norm, fn: instance, over: [h, w], affine: c}
""",  # noqa: E501
    ),
    "a group norm of each place after a layer": (
        """\
  out: {op: mlp, over: c, hidden: 8, norm: {fn: group, groups: 4}}
""",
        """\
spec.yaml:4:49: error[invalid-value]: a group norm after mlp would have separate statistics at each position of h, w
    4 |   out: {op: mlp, over: c, hidden: 8, norm: {fn: group, groups: 4}}
      |                                                 ^^^^^
  help: write the norm as a node, with all axes that share statistics: {op: norm, fn: group, over: [c, h, w], groups: 4}
""",  # noqa: E501
    ),
    "a bias before a norm that begins": (
        """\
  out: {op: linear, over: c, bias_init: 1, norm: batch}
""",
        """\
spec.yaml:4:8: error[invalid-value]: a layer followed by a norm has no bias by default, so 'bias_init' has no effect
    4 |   out: {op: linear, over: c, bias_init: 1, norm: batch}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: omit 'bias_init', or write 'bias: true'
""",  # noqa: E501
    ),
    "no bias that begins": (
        """\
  out: {op: conv1d, along: c, kernel: 3, bias: false, bias_init: 1}
""",
        """\
spec.yaml:4:8: error[invalid-value]: there is no bias for 'bias_init'
    4 |   out: {op: conv1d, along: c, kernel: 3, bias: false, bias_init: 1}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: omit one of the two
""",
    ),
    "weights that begin no way": (
        """\
  out: {op: mlp, over: c, hidden: 8, init: {}}
""",
        """\
spec.yaml:4:44: error[invalid-value]: this is not an initialisation
    4 |   out: {op: mlp, over: c, hidden: 8, init: {}}
      |                                            ^^
  help: write a number, conv, kaiming, xavier, {normal: 0.02}, {trunc_normal: 0.02} or {uniform: 0.02}
""",  # noqa: E501
    ),
    "weights that begin two ways": (
        """\
  out: {op: conv2d, kernel: 1, init: {normal: 0.02, uniform: 0.1}}
""",
        """\
spec.yaml:4:38: error[invalid-value]: expected one initialisation, but got 'normal' and 'uniform'
    4 |   out: {op: conv2d, kernel: 1, init: {normal: 0.02, uniform: 0.1}}
      |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: keep one of them
""",
    ),
    "a deviation below zero": (
        """\
  out: {op: linear, over: c, init: {trunc_normal: -1}}
""",
        """\
spec.yaml:4:51: error[invalid-value]: -1 is not between 0 and 1000
    4 |   out: {op: linear, over: c, init: {trunc_normal: -1}}
      |                                                   ^^
""",
    ),
    "another library's word for an init": (
        """\
  out: {op: conv2d, kernel: 1, init: zeros}
""",
        """\
spec.yaml:4:38: error[invalid-value]: 'zeros' is not allowed here
    4 |   out: {op: conv2d, kernel: 1, init: zeros}
      |                                      ^^^^^
  help: write 'init: 0'
""",
    ),
    "a spread without a number": (
        """\
  out: {op: parameter, axes: {c: c}, init: normal}
""",
        """\
spec.yaml:4:44: error[invalid-value]: 'normal' is not allowed here
    4 |   out: {op: parameter, axes: {c: c}, init: normal}
      |                                            ^^^^^^
  help: write 'init: {normal: 0.02}'
""",
    ),
    "a misspelled way to begin": (
        """\
  out: {op: parameter, axes: {c: c}, init: {norml: 0.02}}
""",
        """\
spec.yaml:4:45: error[unknown-field]: 'init' has no field 'norml'
    4 |   out: {op: parameter, axes: {c: c}, init: {norml: 0.02}}
      |                                             ^^^^^
  help: did you mean 'normal'? Fields: value, normal, trunc_normal, uniform
""",
    ),
    "three numbers for two axes": (
        """\
  out: {op: conv2d, kernel: [1, 3, 5]}
""",
        """\
spec.yaml:4:29: error[wrong-number]: 'kernel' has 3 values, and 'over' names 2 axes
    4 |   out: {op: conv2d, kernel: [1, 3, 5]}
      |                             ^^^^^^^^^
  help: write one value for all axes, or one for each
""",
    ),
    "a padding that is the default": (
        """\
  out: {op: conv2d, kernel: 3, padding: same}
""",
        """\
spec.yaml:4:8: error[invalid-value]: a padding that keeps the size is the default
    4 |   out: {op: conv2d, kernel: 3, padding: same}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: omit 'padding'
""",
    ),
    "an even width": (
        """\
  out: {op: conv2d, kernel: [3, 4]}
""",
        """\
spec.yaml:4:33: error[even-kernel]: a kernel of 4 has no centre, so the size would change
    4 |   out: {op: conv2d, kernel: [3, 4]}
      |                                 ^
  help: use an odd one; odd(x) is the whole part of x, plus one if that is even
""",
    ),
    "a softmax over nothing": (
        """\
  out: {op: gate, fn: softmax, over: []}
""",
        """\
spec.yaml:4:8: error[invalid-value]: a softmax over no axis is always 1
    4 |   out: {op: gate, fn: softmax, over: []}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: name an axis, such as 'over: [h, w]'
""",
    ),
}

#: What is sound while sizes are open, the sizes it is built for, and what is said then.
SIZES: dict[str, tuple[str, dict[str, int], str]] = {
    "a kernel that does not fit": (
        """\
  out: {op: conv2d, kernel: 7, padding: 1, dilation: 2}
""",
        {"c": 4, "h": 8, "w": 14},
        """\
<spec>:4:41: error[size-too-small]: a kernel of 7 with dilation 2 does not fit into the size 8 of 'h' with a padding of 1
    4 |   out: {op: conv2d, kernel: 7, padding: 1, dilation: 2}
      |                                         ^
  help: use a larger padding or a smaller kernel
""",  # noqa: E501
    ),
    "a drawn size that is open": (
        """\
  out: {op: parameter, axes: {c: c, h: h, w: w}, init: conv}
""",
        {"c": 4},
        """\
<spec>:4:40: error[open-size]: the size h is not known when the module is built
    4 |   out: {op: parameter, axes: {c: c, h: h, w: w}, init: conv}
      |                                        ^
  help: pass it to build, such as size=(14, 14) for h and w
""",
    ),
    "a position whose size is open": (
        """\
  out: {op: attention, q: input, k: input, v: input, over: [h, w], along: c, position: relative}
""",
        {"c": 4},
        """\
<spec>:4:60: error[open-size]: the size h is not known when the module is built
    4 |   out: {op: attention, q: input, k: input, v: input, over: [h, w], along: c, position: relative}
      |                                                            ^^^^^^
  help: pass it to build, such as size=(14, 14) for h and w
""",  # noqa: E501
    ),
    "an even window, bound": (
        """\
  out: {op: pool, over: [h, w], kernel: c, stride: 3}
""",
        {"c": 4},
        """\
<spec>:4:41: error[even-kernel]: a window of 4 has no centre, and a stride of 3 makes windows overlap
    4 |   out: {op: pool, over: [h, w], kernel: c, stride: 3}
      |                                         ^
  help: use an odd kernel, or a stride of 4
""",  # noqa: E501
    ),
    "a pick behind the end": (
        """\
  out: {op: pick, axis: c, index: 4}
""",
        {"c": 4},
        """\
<spec>:4:35: error[index-out-of-range]: axis 'c' of 'input' has 4 values, so the index 4 is out of range
    4 |   out: {op: pick, axis: c, index: 4}
      |                                   ^
  help: indices go from 0 to 3
""",  # noqa: E501
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_nodes(name: str) -> None:
    nodes, expected = NODES[name]
    _, problems = check_text(IT + nodes, "spec.yaml")
    errors = [p for p in problems if p.severity == "error"]
    assert "\n".join(p.render() for p in errors) == expected.rstrip("\n")


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    nodes, sizes, expected = SIZES[name]
    spec = load_spec(IT + nodes)
    with pytest.raises(ComposerError) as caught:
        lower(compile_graph(graph_of(spec, Settings(sizes))))
    assert str(caught.value) == expected.rstrip("\n")

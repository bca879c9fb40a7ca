"""What the ops that arrange values say of a spec that is at fault, as a user reads it."""

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
    "concat of other axes": (
        """\
  flat: {op: pool, over: h}
  out: {op: concat, of: [input, flat], axis: c}
""",
        """\
spec.yaml:5:33: error[axes-differ]: 'input' is [b, c, h, w] and 'flat' is [b, c, w]
    5 |   out: {op: concat, of: [input, flat], axis: c}
      |                                 ^^^^
  help: concatenated values must have the same axes; to put values on a new axis, write 'op: stack'
""",
    ),
    "concat along an unknown axis": (
        """\
  out: {op: concat, of: [input, input], axis: q}
""",
        """\
spec.yaml:4:47: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: concat, of: [input, input], axis: q}
      |                                               ^
  help: its axes are [b, c, h, w]
""",
    ),
    "concat of other sizes": (
        """\
  part: {op: conv2d, kernel: 3, stride: 2}
  out: {op: concat, of: [input, part], axis: c}
""",
        """\
spec.yaml:5:33: error[size-conflict]: axis 'h' has two sizes: h in 'input' and (h - 1) // 2 + 1 in 'part'
    5 |   out: {op: concat, of: [input, part], axis: c}
      |                                 ^^^^
  help: with h = 64 they are 64 and 32; make the sizes equal, or rename one of the axes 'h'
""",  # noqa: E501
    ),
    "chunk with a size too many": (
        """\
  q, k: {op: chunk, axis: c, sizes: [8, c - 8, 1]}
  out: {op: add, of: [q, k]}
""",
        """\
spec.yaml:4:37: error[wrong-number]: 'sizes' has 3 values, and 2 names are given
    4 |   q, k: {op: chunk, axis: c, sizes: [8, c - 8, 1]}
      |                                     ^^^^^^^^^^^^^
  help: give one size for each name, or omit 'sizes' for equal parts
""",
    ),
    "chunk into too few": (
        """\
  q, k: {op: chunk, axis: c, sizes: [8, 8]}
  out: {op: add, of: [q, k]}
""",
        """\
spec.yaml:4:37: error[size-conflict]: axis 'c' of 'input' has c values, but the sizes add up to 16
    4 |   q, k: {op: chunk, axis: c, sizes: [8, 8]}
      |                                     ^^^^^^
  help: choose sizes that add up to c: the last one could be c - 8
""",
    ),
    "chunk of an unknown axis": (
        """\
  q, k: {op: chunk, axis: z}
  out: {op: add, of: [q, k]}
""",
        """\
spec.yaml:4:27: error[unknown-axis]: 'input' has no axis 'z'
    4 |   q, k: {op: chunk, axis: z}
      |                           ^
  help: its axes are [b, c, h, w]
""",
    ),
    "chunk that does not divide": (
        """\
  part: {op: linear, over: c, out: 7}
  q, k: {op: chunk, axis: c}
  out: {op: add, of: [q, k]}
""",
        """\
spec.yaml:5:27: error[does-not-divide]: axis 'c' of 'part' has 7 values, which can't be divided into 2 equal parts
    5 |   q, k: {op: chunk, axis: c}
      |                           ^
  help: write 'sizes: […]', 2 numbers that add up to 7
""",  # noqa: E501
    ),
    "rename to a taken axis": (
        """\
  out: {op: rename, axes: {h: w}}
""",
        """\
spec.yaml:4:31: error[axis-exists]: 'input' already has an axis 'w'
    4 |   out: {op: rename, axes: {h: w}}
      |                               ^
  help: choose a name for 'h' other than b, c, w
""",
    ),
    "rename of an unknown axis": (
        """\
  out: {op: rename, axes: {q: y}}
""",
        """\
spec.yaml:4:31: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: rename, axes: {q: y}}
      |                               ^
  help: its axes are [b, c, h, w]
""",
    ),
    "rename to one name": (
        """\
  out: {op: rename, axes: {h: y, w: y}}
""",
        """\
spec.yaml:4:37: error[axis-exists]: 'h' and 'w' would both be 'y'
    4 |   out: {op: rename, axes: {h: y, w: y}}
      |                                     ^
  help: choose a name for 'w' other than b, c, y
""",
    ),
    "rename to a number": (
        """\
  out: {op: rename, axes: {h: 3}}
""",
        """\
spec.yaml:4:31: error[invalid-value]: expected a name, but got the number 3
    4 |   out: {op: rename, axes: {h: 3}}
      |                               ^
""",
    ),
    "roll by a list too long": (
        """\
  out: {op: roll, over: [h, w], by: [1, 2, 3]}
""",
        """\
spec.yaml:4:37: error[wrong-number]: 'by' has 3 values, and 'over' names 2 axes
    4 |   out: {op: roll, over: [h, w], by: [1, 2, 3]}
      |                                     ^^^^^^^^^
  help: write one value for all axes, or one for each
""",
    ),
    "roll by a half": (
        """\
  out: {op: roll, over: [h], by: 1.5}
""",
        """\
spec.yaml:4:34: error[invalid-value]: the shift must be a whole number, and this is 1.5
    4 |   out: {op: roll, over: [h], by: 1.5}
      |                                  ^^^
  help: divide with //, or use ceil or floor
""",
    ),
    "roll by what may be a half": (
        """\
  out: {op: roll, over: [h], by: h / 2}
""",
        """\
spec.yaml:4:34: error[invalid-value]: the shift must be a whole number, and h / 2 may not be one
    4 |   out: {op: roll, over: [h], by: h / 2}
      |                                  ^^^^^
  help: divide with //, or use ceil or floor
""",
    ),
    "roll over an unknown axis": (
        """\
  out: {op: roll, over: [q], by: 2}
""",
        """\
spec.yaml:4:26: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: roll, over: [q], by: 2}
      |                          ^
  help: its axes are [b, c, h, w]
""",
    ),
    "roll by nothing": (
        """\
  out: {op: roll, over: [h, h], by: []}
""",
        """\
spec.yaml:4:37: error[invalid-value]: expected at least 1 value, but got 0
    4 |   out: {op: roll, over: [h, h], by: []}
      |                                     ^^
  help: write it as 'by: …'
""",
    ),
    "a convolution with too many sizes": (
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
    "unfold of an even window": (
        """\
  out: {op: unfold, over: [h, w], kernel: 4, into: [y, x]}
""",
        """\
spec.yaml:4:43: error[even-kernel]: a window of 4 has no centre, so it needs a padding
    4 |   out: {op: unfold, over: [h, w], kernel: 4, into: [y, x]}
      |                                           ^
  help: use an odd one, or write 'padding: 0' for windows inside the map
""",
    ),
    "unfold into one axis": (
        """\
  out: {op: unfold, over: [h, w], kernel: 3, into: y}
""",
        """\
spec.yaml:4:52: error[wrong-number]: 'into' has 1 name, and 'over' has 2 names
    4 |   out: {op: unfold, over: [h, w], kernel: 3, into: y}
      |                                                    ^
  help: name one new axis for each, such as [kh, kw]
""",
    ),
    "unfold into a taken axis": (
        """\
  out: {op: unfold, over: [h, w], kernel: 3, into: [c, y]}
""",
        """\
spec.yaml:4:53: error[axis-exists]: 'input' already has an axis 'c'
    4 |   out: {op: unfold, over: [h, w], kernel: 3, into: [c, y]}
      |                                                     ^
  help: choose a name other than b, c, h, w
""",
    ),
    "unfold into one axis twice": (
        """\
  out: {op: unfold, over: [h, w], kernel: 3, into: [y, y]}
""",
        """\
spec.yaml:4:56: error[axis-exists]: 'into' already names an axis 'y'
    4 |   out: {op: unfold, over: [h, w], kernel: 3, into: [y, y]}
      |                                                        ^
  help: choose a name other than b, c, h, w, y
""",
    ),
    "unfold with a list too long": (
        """\
  out: {op: unfold, over: [h, w], kernel: [3, 3, 3], into: [y, x]}
""",
        """\
spec.yaml:4:43: error[wrong-number]: 'kernel' has 3 values, and 'over' names 2 axes
    4 |   out: {op: unfold, over: [h, w], kernel: [3, 3, 3], into: [y, x]}
      |                                           ^^^^^^^^^
  help: write one value for all axes, or one for each
""",
    ),
    "unfold over an unknown axis": (
        """\
  out: {op: unfold, over: [h, q], kernel: 3, into: [y, x]}
""",
        """\
spec.yaml:4:31: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: unfold, over: [h, q], kernel: 3, into: [y, x]}
      |                               ^
  help: its axes are [b, c, h, w]
""",
    ),
    "fold with another stride": (
        """\
  near: {op: unfold, over: [h, w], kernel: 3, stride: 2, into: [y, x]}
  out: {op: fold, axes: [y, x], over: [h, w], like: input}
""",
        """\
spec.yaml:5:53: error[size-conflict]: 'near' has (h - 1) // 2 + 1 windows along 'h', and a map like 'input' has h
    5 |   out: {op: fold, axes: [y, x], over: [h, w], like: input}
      |                                                     ^^^^^
  help: use the stride, padding and dilation of the 'unfold', and name the value that it read
""",  # noqa: E501
    ),
    "fold of an axis of the map": (
        """\
  near: {op: unfold, over: [h, w], kernel: 3, into: [y, x]}
  out: {op: fold, axes: [h, x], over: [h, w], like: input}
""",
        """\
spec.yaml:5:26: error[duplicate-axis]: 'h' is an axis of the map, so it cannot be an axis of a window
    5 |   out: {op: fold, axes: [h, x], over: [h, w], like: input}
      |                          ^
  help: name the axes that 'unfold' made
""",  # noqa: E501
    ),
    "fold of one axis": (
        """\
  near: {op: unfold, over: [h, w], kernel: 3, into: [y, x]}
  out: {op: fold, axes: y, over: [h, w], like: input}
""",
        """\
spec.yaml:5:25: error[wrong-number]: 'axes' has 1 name, and 'over' has 2 names
    5 |   out: {op: fold, axes: y, over: [h, w], like: input}
      |                         ^
  help: name one axis of a window for each axis of the map
""",
    ),
    "fold like nothing": (
        """\
  near: {op: unfold, over: [h, w], kernel: 3, into: [y, x]}
  out: {op: fold, axes: [y, x], over: [h, w]}
""",
        """\
spec.yaml:5:8: error[missing-field]: the op 'fold' needs the field 'like'
    5 |   out: {op: fold, axes: [y, x], over: [h, w]}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: add 'like: …'
""",
    ),
    "pad to a number": (
        """\
  out: {op: pad, to: {h: 14}}
""",
        """\
spec.yaml:4:26: error[size-conflict]: axis 'h' of 'input' has 64 values where h = 64, and 14 are fewer
    4 |   out: {op: pad, to: {h: 14}}
      |                          ^^
  help: write h: "max(h, 14)"
""",  # noqa: E501
    ),
    "pad of an unknown axis": (
        """\
  out: {op: pad, to: {q: 14}}
""",
        """\
spec.yaml:4:26: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: pad, to: {q: 14}}
      |                          ^^
  help: its axes are [b, c, h, w]
""",
    ),
    "crop to more": (
        """\
  out: {op: crop, to: {h: h + 1}}
""",
        """\
spec.yaml:4:27: error[size-conflict]: axis 'h' of 'input' has 7 values where h = 7, and 8 are more
    4 |   out: {op: crop, to: {h: h + 1}}
      |                           ^^^^^
  help: to get more, write 'op: pad'
""",
    ),
    "crop to more of a known size": (
        """\
  part: {op: linear, over: c, out: 7}
  out: {op: crop, to: {c: 8}}
""",
        """\
spec.yaml:5:27: error[size-conflict]: axis 'c' of 'part' has 7 values, and 8 are more
    5 |   out: {op: crop, to: {c: 8}}
      |                           ^
  help: to get more, write 'op: pad'
""",
    ),
    "dropout without p": (
        """\
  out: {op: dropout}
""",
        """\
spec.yaml:4:8: error[missing-field]: the op 'dropout' needs the field 'p'
    4 |   out: {op: dropout}
      |        ^^^^^^^^^^^^^
  help: add 'p: …'
""",
    ),
    "dropout of more than all": (
        """\
  out: {op: dropout, p: 1.5}
""",
        """\
spec.yaml:4:25: error[invalid-value]: 1.5 is not between 0 and 1
    4 |   out: {op: dropout, p: 1.5}
      |                         ^^^
""",
    ),
    "dropout over an unknown axis": (
        """\
  out: {op: dropout, p: 0.1, share: [q]}
""",
        """\
spec.yaml:4:38: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: dropout, p: 0.1, share: [q]}
      |                                      ^
  help: its axes are [b, c, h, w]
""",
    ),
    "flip over an unknown axis": (
        """\
  out: {op: flip, over: q}
""",
        """\
spec.yaml:4:25: error[unknown-axis]: 'input' has no axis 'q'
    4 |   out: {op: flip, over: q}
      |                         ^
  help: its axes are [b, c, h, w]
""",
    ),
}

#: The nodes, the sizes they are built for, and what is said.
SIZES: dict[str, tuple[str, dict[str, int], str]] = {
    "chunk at a width that does not divide": (
        """\
  q, k, v: {op: chunk, axis: c}
  out: {op: concat, of: [v, k, q], axis: c}
""",
        {"c": 8},
        """\
<spec>:4:30: error[does-not-divide]: axis 'c' of 'input' has 8 values, which can't be divided into 3 equal parts
    4 |   q, k, v: {op: chunk, axis: c}
      |                              ^
  help: write 'sizes: […]', 3 numbers that add up to 8
""",  # noqa: E501
    ),
    "unfold without room": (
        """\
  out: {op: unfold, over: [h, w], kernel: 7, padding: [0, 1], into: [y, x]}
""",
        {"c": 4, "h": 6, "w": 9},
        """\
<spec>:4:56: error[size-too-small]: a kernel of 7 with dilation 1 does not fit into the size 6 of 'h' with a padding of 0
    4 |   out: {op: unfold, over: [h, w], kernel: 7, padding: [0, 1], into: [y, x]}
      |                                                        ^
  help: use a larger padding or a smaller kernel
""",  # noqa: E501
    ),
    "unfold of an open size": (
        """\
  out: {op: unfold, over: [h, w], kernel: h, padding: 0, into: [y, x]}
""",
        {"c": 4},
        """\
<spec>:4:43: error[open-size]: the size h is not known when the module is built
    4 |   out: {op: unfold, over: [h, w], kernel: h, padding: 0, into: [y, x]}
      |                                           ^
  help: pass it to build, such as size=(14, 14) for h and w
""",
    ),
    "unfold of an even window, bound": (
        """\
  out: {op: unfold, over: [h, w], kernel: c, into: [y, x]}
""",
        {"c": 4},
        """\
<spec>:4:43: error[even-kernel]: a window of 4 has no centre, so it needs a padding
    4 |   out: {op: unfold, over: [h, w], kernel: c, into: [y, x]}
      |                                           ^
  help: use an odd one, or write 'padding: 0' for windows inside the map
""",
    ),
    "dropout by an open size": (
        """\
  out: {op: dropout, p: 1 / h}
""",
        {"c": 4},
        """\
<spec>:4:25: error[open-size]: the number 1 / h is not known when the module is built
    4 |   out: {op: dropout, p: 1 / h}
      |                         ^^^^^
  help: pass the sizes to build, such as size=(14, 14) for h and w
""",
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

"""What works on rows or columns needs the map that tokens hold; a set of places does not."""

from __future__ import annotations

import pytest
import torch
from probe import random, randomise, spec_text

from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.neighbours import looking_at_neighbours, reads_shape
from composer.graph.passes import compile_graph
from composer.lower.build import build

C = 6
AXIAL = """q: {op: linear, over: c, out: {d: c}}
    keys: {op: linear, x: input, over: c, out: {d: c}}
    k: {op: merge, axes: w, into: u}
    values: {op: linear, x: input, over: c}
    v: {op: merge, axes: w, into: u}
    products: {op: mul, of: [q, k]}
    logits: {op: pool, over: d, reduce: sum}
    gate: {op: gate, fn: softmax, over: u}
    weighed: {op: mul, of: [gate, v]}
    out: {op: pool, over: u, reduce: sum}"""
#: Nodes, and whether they need to know where in a map a place is, or how high and wide it is.
NODES = {
    "a row": ("row: {op: pick, axis: h, index: 0}\nmean: {op: pool, over: c}\n"
              "out: {op: reweight, x: input, by: mean}", True),
    "a column under another name": ("u: {op: merge, axes: w, into: u}\nmean: {op: pool, over: u}\n"
                                    "out: {op: reweight, x: input, by: mean}", True),
    "rows of channels": ("u: {op: merge, axes: [c, h], into: u}\nmean: {op: pool, over: u}\n"
                         "out: {op: reweight, x: input, by: mean}", True),
    "column by column": ("n: {op: merge, axes: [w, h], into: n}\n"
                         "near: {op: conv1d, along: n, kernel: 3}\n"
                         "most: {op: pool, over: n, reduce: max}\n"
                         "out: {op: reweight, x: input, by: most}", True),
    "attention along rows": (AXIAL, True),
    "pairs of rows": ("pairs: {op: split, axis: h, into: {s: h / 2, t: 2}}\n"
                      "mean: {op: pool, over: s}\nout: {op: reweight, x: pairs, by: mean}\n"
                      "back: {op: merge, axes: [s, t], into: h}", True),
    "the height": ("out: {op: scale, by: 1 / h}", True),
    "softmax of each row": ("gate: {op: gate, fn: softmax, over: w}\n"
                            "out: {op: reweight, x: input, by: gate}", True),
    "softmax of all places": ("gate: {op: gate, fn: softmax, over: [h, w]}\n"
                              "out: {op: reweight, x: input, by: gate}", False),
    "a norm of the map": ("out: {op: norm, over: [c, h, w], fn: layer, affine: c}", False),
    "a map rolled": ("out: {op: roll, over: [h, w], by: 1}", True),
    "a map flipped": ("near: {op: flip, over: [w, h]}\nout: {op: sub, of: [near, input]}", True),
    "windows": ("near: {op: unfold, over: [h, w], kernel: 3, into: [y, x]}\n"
                "out: {op: pool, over: [y, x], reduce: max}", True),
    "a map with more rows": ("more: {op: pad, to: {h: h + 1}}\nmost: {op: pool, over: [h, w]}\n"
                             "out: {op: reweight, x: input, by: most}", True),
    "a map twice": ("twice: {op: concat, of: [input, input], axis: h}\n"
                    "one, out: {op: chunk, axis: h}\nout2: {op: gate, x: out}", True),
    "rows by another name": ("keys: {op: rename, axes: {h: y, w: x}}\n"
                             "most: {op: pool, over: y, reduce: max}\n"
                             "all: {op: pool, over: x}\nout: {op: mul, of: [input, all]}", True),
    "channels rolled": ("out: {op: roll, over: c, by: 1}", False),
    "channels dropped": ("out: {op: dropout, p: 0.5, share: [h, w]}", False),
    "halves of channels": ("one, two: {op: chunk, axis: c}\n"
                           "out: {op: concat, of: [two, one], axis: c}", False),
    "a product of rows": ("near: {op: merge, axes: c, into: e}\n"
                          "met: {op: product, of: [input, near], sum: w}\n"
                          "mean: {op: pool, over: [e, h]}\n"
                          "out: {op: reweight, x: input, by: mean}", True),
    "keys of each row": ("one: {op: parameter, axes: {q: 2, c: c}, init: 1}\n"
                         "all: {op: attention, q: one, k: input, v: input, over: q, keys: w, "
                         "along: c}\nmean: {op: pool, over: [q, h]}\n"
                         "out: {op: reweight, x: input, by: mean}", True),
    "a spec on rows": ("out: {op: use, spec: cbam_spatial, axes: {c: h, h: c}}", True),
    "softmax over heads": ("head: {op: split, axis: c, into: {head: 2, d: c / 2}}\n"
                           "gate: {op: gate, fn: softmax, over: head}\n"
                           "out: {op: merge, axes: [head, d], into: c}", False),
    "a product over all places": ("near: {op: merge, axes: c, into: e}\n"
                                  "met: {op: product, of: [input, near], sum: [h, w]}\n"
                                  "mean: {op: pool, over: e}\n"
                                  "out: {op: reweight, x: input, by: mean}", False),
    "the area": ("out: {op: scale, by: 1 / (h * w - 1)}", False),
    "all places and back": ("n: {op: merge, axes: [h, w], into: n}\nmix: {op: linear, over: c}\n"
                            "out: {op: split, axis: n, into: {h: h, w: w}}", False),
    "all places of all channels": ("n: {op: merge, axes: [c, h, w], into: n}\n"
                                   "gate: {op: gate, fn: softmax, over: n}\n"
                                   "out: {op: split, axis: n, into: {c: c, h: h, w: w}}", False),
    "a mean": ("mean: {op: pool, over: [h, w]}\nout: {op: reweight, x: input, by: mean}", False),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "matters"), NODES.values(), ids=NODES)
def test_whether_the_form_of_the_map_matters(nodes: str, matters: bool) -> None:
    graph = compile_graph(graph_of(load_spec(spec_text(nodes)), Settings({"c": C})))
    assert (looking_at_neighbours(graph) is not None or reads_shape(graph)) == matters


@pytest.mark.parametrize("node", ["over: [h, w], fn: layer", "over: c, fn: rms, affine: h"])
def test_a_weight_for_each_place_is_of_one_map(node: str) -> None:
    graph = graph_of(load_spec(spec_text(f"out: {{op: norm, {node}}}")), Settings({"c": C}))
    assert looking_at_neighbours(compile_graph(graph)) is not None


@pytest.mark.parametrize(("nodes", "matters"), NODES.values(), ids=NODES)
def test_tokens_give_what_their_map_gives(nodes: str, matters: bool) -> None:
    spec = load_spec(spec_text(nodes))
    plain = randomise(build(spec, C, size=(4, 6), dtype=torch.float64)).eval()
    tokens = build(spec, C, size=(4, 6), layout=("b", "n", "c"), dtype=torch.float64).eval()
    tokens.load_state_dict(plain.state_dict())
    for size in ((4, 6), (8, 12)) if matters else ((4, 6), (8, 12), (3, 7)):
        x = random(2, C, *size)
        got, expected = tokens(x.flatten(2).mT), plain(x).flatten(2).mT
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    if matters:  # 24 places of another aspect can't be told from these, but 21 make no such map
        with pytest.raises(
            ValueError, match=r"^21 tokens do not form a grid of the aspect ratio 4×6"
        ):
            tokens(random(2, 21, C))

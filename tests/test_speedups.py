"""What each pass for speed makes of a graph: the nodes it leaves, and the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from probe import analysed, random, randomise, spec_text
from shipped import SHIPPED

from composer.graph.graph import Graph
from composer.graph.passes import REWRITES, SPEEDUPS
from composer.graph.passes.contract import contract
from composer.graph.passes.pool_together import pool_together
from composer.graph.passes.read_parts import read_parts
from composer.graph.passes.recognise_attention import recognise_attention
from composer.graph.passes.reduce_maps_first import reduce_maps_first
from composer.graph.passes.verify import verify
from composer.graph.passes.weigh_in_parts import weigh_in_parts
from composer.graph.passes.weigh_windows import weigh_windows
from composer.lower.build import lower

SIZES = {"c": 4, "h": 3, "w": 2}
Pass = Callable[[Graph], Graph]

MEAN, MAX = "{op: pool, x: input, over: [h, w]}", "{op: pool, x: input, over: [h, w], reduce: max}"
TWO = "both: {op: stack, of: [input, less], axis: k}"
HALF = "less: {op: scale, x: input, by: 0.5}"
MEET = """keys: {op: merge, x: input, axes: h, into: m}
    meet: {op: mul, of: [input, keys]}
    logits: {op: pool, over: c, reduce: sum}"""

KERNELS = "kernels: {op: linear, x: input, over: c, out: {g: 2, kh: 3, kw: 3}}"
WINDOWS = "windows: {op: unfold, x: input, over: [h, w], kernel: 3, into: [kh, kw]}"
GROUPS = "groups: {op: split, axis: c, into: {g: 2, d: c / 2}}"
MIXED = "mixed: {op: product, of: [groups, kernels], sum: [kh, kw]}"

#: The pass, the nodes of the spec, and the op of each node it leaves, in order.
CASES: list[tuple[Pass, str, str]] = [
    # windows that meet their weights, on either side; with and without groups of channels
    (weigh_windows, f"{KERNELS}\n{WINDOWS}\n{GROUPS}\n{MIXED}", "linear split weighed_windows"),
    (weigh_windows, f"{KERNELS}\n{WINDOWS}\n{GROUPS}\n"
     "mixed: {op: product, of: [kernels, groups], sum: [kw, kh]}", "linear split weighed_windows"),
    (weigh_windows, f"one: {{op: pick, x: kernels, axis: g, index: 0}}\n"
     f"{WINDOWS}\nmixed: {{op: product, of: [windows, one], sum: [kh, kw]}}".replace(
         "one:", f"{KERNELS}\none:", 1), "linear pick weighed_windows"),
    # half of a window is summed; the windows are read elsewhere; one kernel for all places; a
    # split of the window itself
    (weigh_windows, f"{KERNELS}\n{WINDOWS}\n{GROUPS}\n"
     "mixed: {op: product, of: [groups, kernels], sum: kh}", "linear unfold split product"),
    (weigh_windows, f"{KERNELS}\n{WINDOWS}\n{GROUPS}\n{MIXED}\n"
     "far: {op: pool, x: windows, over: [kh, kw, c], reduce: max}\n"
     "out: {op: add, of: [mixed, far]}", "linear unfold split product pool add"),
    (weigh_windows, "kernels: {op: parameter, axes: {g: 2, kh: 3, kw: 3}, init: 0}\n"
     f"{WINDOWS}\n{GROUPS}\n{MIXED}", "parameter unfold split product"),
    # mean and max, in either order, along any axes
    (pool_together, f"a: {MEAN}\nm: {MAX}\nout: {{op: stack, of: [a, m], axis: s}}",
     "mean_and_max"),
    (pool_together, "a: {op: pool, over: c}\nm: {op: pool, x: input, over: c, reduce: max}\n"
     "out: {op: stack, of: [m, a], axis: c}", "mean_and_max"),
    # one of them is wanted elsewhere; other axes; another value; three; twice the mean
    (pool_together, f"a: {MEAN}\nm: {MAX}\ns: {{op: stack, of: [a, m], axis: s}}\n"
     "out: {op: add, of: [s, a]}", "pool pool stack add"),
    (pool_together, f"a: {MEAN}\nm: {{op: pool, x: input, over: [h], reduce: max}}\n"
     "n: {op: pool, x: m, over: w}\nout: {op: stack, of: [a, n], axis: s}",
     "pool pool pool stack"),
    (pool_together, f"a: {MEAN}\ng: {{op: gate, x: input}}\n"
     "m: {op: pool, x: g, over: [h, w], reduce: max}\nout: {op: stack, of: [a, m], axis: s}",
     "pool gate pool stack"),
    (pool_together, f"a: {MEAN}\nm: {MAX}\nout: {{op: stack, of: [a, m, a], axis: s}}",
     "pool pool stack"),
    # few branches are summed behind the many places of a map
    (reduce_maps_first, f"{HALF}\n{TWO}\na: {{op: pool, over: k, reduce: sum}}\n"
     "out: {op: pool, over: [h, w]}", "scale stack pool:h,w pool:k"),
    (reduce_maps_first, "a: {op: pool, over: c}\nm: {op: pool, over: h}\n"
     "out: {op: pool, over: w, reduce: sum}", "pool:c pool:h pool:w"),
    (reduce_maps_first, "a: {op: pool, over: w}\nm: {op: pool, over: h, reduce: sum}\n"
     "out: {op: pool, over: c}", "pool:c pool:h pool:w"),
    # a maximum does not commute; what is read twice stays
    (reduce_maps_first, "a: {op: pool, over: w}\nout: {op: pool, over: c, reduce: max}",
     "pool:w pool:c"),
    (reduce_maps_first, "a: {op: pool, over: w}\nm: {op: pool, over: c}\n"
     "out: {op: mul, of: [a, m]}", "pool:w pool:c mul"),
    # a sum of weighed branches
    (weigh_in_parts, f"{HALF}\n{TWO}\ng: {{op: gate, fn: softmax, over: k}}\n"
     "out: {op: reweight, x: both, by: g, sum: k}",
     "scale stack gate pick pick pick pick weighed_sum"),
    # too many parts, two axes, a weight that the branches share, a learned value without a batch
    (weigh_in_parts, "wide: {op: stack, of: [input, input, input, input, input], axis: m}\n"
     "g: {op: gate}\nout: {op: reweight, x: wide, by: g, sum: m}", "stack gate reweight"),
    (weigh_in_parts, f"{HALF}\n{TWO}\ng: {{op: gate}}\n"
     "out: {op: reweight, x: both, by: g, sum: [k, c]}", "scale stack gate reweight"),
    (weigh_in_parts, f"{HALF}\n{TWO}\ng: {MEAN}\nout: {{op: reweight, x: both, by: g, sum: k}}",
     "scale stack pool reweight"),
    (weigh_in_parts, "f: {op: parameter, axes: {k: 2, c: c}, init: 1}\n"
     "g: {op: gate, fn: softmax, over: k}\nout: {op: reweight, x: f, by: g, sum: k}",
     "parameter gate reweight"),
    # a stack that is but read in parts goes
    (read_parts, f"{HALF}\n{TWO}\none: {{op: pick, axis: k, index: 1}}\n"
     "out: {op: gate}", "scale gate"),
    (read_parts, f"{HALF}\n{TWO}\nout: {{op: pool, over: k, reduce: sum}}", "scale add"),
    (read_parts, f"{HALF}\n{TWO}\nout: {{op: pool, over: [h, w], reduce: max}}",
     "scale stack pool pool"),
    (read_parts, f"{HALF}\n{TWO}\nm: {{op: pool, over: [h, w]}}\n"
     "out: {op: pool, over: k, reduce: sum}", "scale add pool pool"),
    (read_parts, f"{HALF}\n{TWO}\nouter: {{op: stack, of: [both, both], axis: m}}\n"
     "out: {op: pool, over: [k], reduce: sum}", "scale add add stack"),
    # it is the output, is read whole by another, or its mean over the branches is wanted
    (read_parts, f"{HALF}\nout: {{op: stack, of: [input, less], axis: k}}", "scale stack"),
    (read_parts, f"{HALF}\n{TWO}\nm: {{op: pool, over: [h, w]}}\n"
     "out: {op: mul, of: [both, m]}", "scale stack pool mul"),
    (read_parts, f"{HALF}\n{TWO}\nout: {{op: pool, over: k}}", "scale stack pool"),
    # an outer product that is summed
    (contract, MEET, "merge product"),
    (contract, MEET.replace("reduce: sum", "reduce: mean"), "merge mul pool"),
    (contract, f"{MEET}\nout: {{op: mul, of: [logits, meet]}}", "merge mul pool mul"),
    (contract, "g: {op: gate}\nmeet: {op: mul, of: [input, g]}\n"
     "out: {op: pool, over: c, reduce: sum}", "gate mul pool"),
    (contract, "g: {op: pool, over: w}\nmeet: {op: mul, of: [input, g]}\n"
     "out: {op: pool, over: c, reduce: sum}", "pool mul pool"),
    # a sum with few weights, where what rides along comes first, and where it does not
    (contract, "g: {op: pool, over: c}\nmeet: {op: mul, of: [input, g]}\n"
     "out: {op: pool, over: [h, w], reduce: sum}", "pool product"),
    (contract, "g: {op: pool, over: [h, w]}\nmeet: {op: mul, of: [g, input]}\n"
     "out: {op: pool, over: c, reduce: sum}", "pool product"),
    (contract, "meet: {op: mul, of: [input, input]}\n"
     "out: {op: pool, over: [h, w], reduce: sum}", "mul pool"),
]  # fmt: skip


def ops(graph: Graph, told: str) -> list[str]:
    """Return the op of each node, with the axes of a pool where `told` has them."""
    words = []
    for node in graph.nodes:
        assert node.op is not None
        over = ",".join(getattr(node.op, "over", ())) if node.op.op == "pool" else ""
        words.append(f"{node.op.op}:{over}" if ":" in told and over else node.op.op)
    return words


def simplified(text: str) -> Graph:
    graph = analysed(text, SIZES).sound()
    for step in REWRITES:
        graph = step(graph)
    return graph


def assert_same(before: Graph, after: Graph) -> None:
    one, other = randomise(lower(before).double()), lower(after).double()
    other.load_state_dict(one.state_dict())
    for layout in (torch.contiguous_format, torch.channels_last):
        x = random(2, 4, 3, 2).to(memory_format=layout).requires_grad_()
        outputs = [module(x) for module in (one, other)]
        torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
        with torch.no_grad():
            torch.testing.assert_close(other(x), outputs[0], rtol=1e-12, atol=1e-12)
        inputs = [[x, *module.parameters()] for module in (one, other)]
        gradients = [
            torch.autograd.grad(y.square().sum(), given, allow_unused=True)
            for y, given in zip(outputs, inputs, strict=True)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("step", "nodes", "left"), CASES)
def test_what_a_pass_makes_of_a_graph(step: Pass, nodes: str, left: str) -> None:
    graph = simplified(spec_text(nodes))
    kept, after = repr(graph), step(graph)
    verify(after, after=step.__name__)
    assert repr(graph) == kept
    assert sorted(ops(after, left)) == sorted(left.split())
    again = step(after)
    assert (again.nodes, again.output) == (after.nodes, after.output)
    assert_same(graph, after)


def test_every_pass_has_cases_that_hold_and_that_do_not() -> None:
    for step in set(SPEEDUPS) - {recognise_attention}:
        changed = {
            step(graph).nodes != graph.nodes
            for which, nodes, _ in CASES
            if which is step and (graph := simplified(spec_text(nodes)))
        }
        assert changed == {True, False}, step.__name__


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_specs_stay_as_they_are_once_fast(name: str) -> None:
    graph = analysed(name, {"c": 32, "h": 4, "w": 4} if "n" not in name else {"c": 32}).sound()
    for step in (*REWRITES, *SPEEDUPS):
        graph = step(graph)
    for step in SPEEDUPS:
        assert step(graph).nodes == graph.nodes, step.__name__


# ---------------------------------------------------------------------------------- attention

PARTS = """
    qkv: {op: linear, over: c, out: {part: 3, g: 2, d: 3}}
    q, k, v: {op: unstack, axis: part}
    places: {op: merge, x: q, axes: [h, w], into: n}
    keys: {op: merge, x: k, axes: [h, w], into: m}
    values: {op: merge, x: v, axes: [h, w], into: m}
    meet: {op: mul, of: [places, keys]}
    logits: {op: pool, over: d, reduce: sum}
    scaled: {op: scale, by: 3 ** -0.5}
    weights: {op: gate, fn: softmax, over: m}
    mixed: {op: mul, of: [weights, values]}
    out: {op: pool, over: m, reduce: sum}
"""
BIAS = "bias: {op: parameter, axes: {g: 2, n: h * w, m: h * w}, init: 1}"
RECOGNISED = {
    "as it is": PARTS,
    "no scale": PARTS.replace("scaled: {op: scale, by: 3 ** -0.5}\n", ""),
    "scaled twice": PARTS.replace("weights:", "again: {op: scale, by: -2}\n    weights:"),
    "keys first": PARTS.replace("[places, keys]", "[keys, places]"),
    "values first": PARTS.replace("[weights, values]", "[values, weights]"),
    "biased": PARTS.replace(
        "weights:", f"{BIAS}\n    moved: {{op: add, of: [scaled, bias]}}\n    weights:"
    ),
    "biased from the left": PARTS.replace(
        "weights:", f"{BIAS}\n    moved: {{op: add, of: [bias, scaled]}}\n    weights:"
    ),
    "biased by less axes": PARTS.replace(
        "weights:",
        f"{BIAS.replace('g: 2, n: h * w, ', '')}\n    "
        "moved: {op: add, of: [scaled, bias]}\n    weights:",
    ),
    "of rows, biased by less of what rides along": PARTS.replace("[h, w]", "h").replace(
        "weights:",
        f"{BIAS.replace('h * w', 'h')}\n    moved: {{op: add, of: [scaled, bias]}}\n    weights:",
    ),
    "of rows, biased column by column": PARTS.replace("[h, w]", "h").replace(
        "weights:",
        f"{BIAS.replace('n: h * w, m: h * w', 'm: h, w: w')}\n    "
        "moved: {op: add, of: [bias, scaled]}\n    weights:",
    ),
    "queries of all heads, keys of one": PARTS.replace(
        "keys: {op: merge, x: k,", "one: {op: pool, x: k, over: g}\n    keys: {op: merge, x: one,"
    ).replace(
        "values: {op: merge, x: v,", "of: {op: pool, x: v, over: g}\n    values: {op: merge, x: of,"
    ),
    "as two products": PARTS.replace(
        "meet: {op: mul, of: [places, keys]}\n    logits: {op: pool, over: d, reduce: sum}",
        "logits: {op: product, of: [places, keys], sum: d}",
    ).replace(
        "mixed: {op: mul, of: [weights, values]}\n    out: {op: pool, over: m, reduce: sum}",
        "out: {op: product, of: [weights, values], sum: m}",
    ),
    "features of another width": PARTS.replace(
        "values: {op: merge, x: v, axes: [h, w], into: m}",
        "wide: {op: linear, x: v, over: d, out: {e: 5}}\n"
        "    values: {op: merge, axes: [h, w], into: m}",
    ),
}
OTHER = {
    "biased before the scale": PARTS.replace(
        "scaled:", f"{BIAS}\n    moved: {{op: add, of: [logits, bias]}}\n    scaled:"
    ),
    "logits read twice": PARTS + "    more: {op: mul, of: [out, out]}\n"
    "    all: {op: pool, x: scaled, over: m}\n    last: {op: mul, of: [more, all]}\n",
    "softmax over the queries": PARTS.replace("softmax, over: m", "softmax, over: n"),
    "no softmax": PARTS.replace("fn: softmax, over: m", "fn: sigmoid"),
    "the same bias for all keys": PARTS.replace(
        "weights:", f"{BIAS.replace(', m: h * w', '')}\n    "
        "moved: {op: add, of: [scaled, bias]}\n    weights:"
    ),
    "one head of keys for all": PARTS.replace(
        "keys: {op: merge, x: k,", "one: {op: pool, x: k, over: g}\n    keys: {op: merge, x: one,"
    ),
}  # fmt: skip


def run(text: str) -> tuple[Graph, Graph]:
    graph = simplified(spec_text(text))
    return graph, recognise_attention(contract(graph))


@pytest.mark.parametrize("text", RECOGNISED.values(), ids=RECOGNISED)
def test_attention_in_its_parts_is_recognised(text: str) -> None:
    graph, after = run(text)
    verify(after, after="recognise_attention")
    found = [n.op.op for n in after.nodes if n.op is not None]
    assert found.count("attention") == 1
    assert not {"mul", "product", "gate", "scale"} & set(found)
    assert recognise_attention(after).nodes == after.nodes
    assert_same(graph, after)


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
def test_what_is_something_else_stays(text: str) -> None:
    graph, after = run(text)
    assert "attention" not in [n.op.op for n in after.nodes if n.op is not None]
    assert_same(graph, after)

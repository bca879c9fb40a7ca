"""Pools by other than the mean, and to given sizes: any size, what the passes do, what is said."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from probe import lowered, random, randomise, spec_text
from torch.nn import functional

import composer
from composer.errors import ComposerError
from composer.graph.frontend import check_text, graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.neighbours import looking_at_neighbours
from composer.graph.passes import analyse, compile_graph
from composer.lower.build import lower

P = "p: {op: parameter, axes: {c: c}, init: 3}\n"
NODES = {
    "var": "out: {op: pool, over: [h, w], reduce: var}",
    "std": "out: {op: pool, over: [h, w], reduce: std}",
    "min": "out: {op: pool, over: [c, w], reduce: min}",
    "median": "out: {op: pool, over: [c, w], reduce: median}",
    "length": "out: {op: pool, over: [c, w], reduce: length}",
    "power": "out: {op: pool, over: [h, w], reduce: power, exponent: 2 + h / w}",
    "a learned power": P + "out: {op: pool, x: input, over: [h, w], reduce: power, exponent: p}",
    "rows": "out: {op: pool, over: [h, w], to: [1, w]}",
    "largest of rows": "out: {op: pool, over: [h, w], to: [h, 1], reduce: max}",
    "sizes": "out: {op: pool, over: [h, w], to: [2, 3]}",
    "a size of the map's": "out: {op: pool, over: [h, w], to: [h // 2, w // 2], reduce: max}",
    "applied": "out: {op: apply, fn: pow, exponent: h / w}",
    "clamped": "out: {op: apply, fn: clamp, low: 1 / h, high: 1}",
}
SHAPES = ((2, 4, 6, 9), (3, 4, 7, 8), (2, 4, 12, 5))


@pytest.mark.quick(5, then="long")
@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
def test_it_follows_the_size(nodes: str) -> None:
    text = spec_text(nodes)
    module = composer.build(text, 4, size=(6, 9)).double()
    torch.compiler.reset()
    whole = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager", dynamic=True)
    again = pickle.loads(pickle.dumps(module))
    for shape in SHAPES:
        x = random(*shape).abs()
        closed = lowered(text, {"c": 4, "h": shape[2], "w": shape[3]})
        closed.load_state_dict(module.state_dict())
        for one in (module, whole, again, torch.fx.symbolic_trace(module)):
            torch.testing.assert_close(one(x), closed(x))


@pytest.mark.quick(6, then="long")
@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
def test_compiled_by_inductor_s_decompositions_with_gradients(nodes: str) -> None:
    module = composer.build(spec_text(nodes), 4).double()
    torch.compiler.reset()
    whole = torch.compile(copy.deepcopy(module), fullgraph=True, backend="aot_eager")
    x, y = (random(2, 4, 6, 9).abs().requires_grad_() for _ in range(2))
    out = module(x)
    weights = random(*out.shape)
    (out * weights).sum().backward()
    (whole(y) * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for one, other in zip(module.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert x.grad is not None and bool(x.grad.isfinite().all())


@pytest.mark.parametrize(("reduce", "value"), [("std", 1), ("length", 0)])
def test_a_root_of_nothing_has_a_gradient(reduce: str, value: float) -> None:
    module = composer.build(spec_text(NODES[reduce]), 4)
    x = torch.full((1, 4, 3, 3), float(value), requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None and torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize(("size", "pool"), [
    ((5,), functional.adaptive_avg_pool1d), ((4, 3, 5), functional.adaptive_avg_pool3d),
])  # fmt: skip
def test_to_one_size_on_other_maps(size: tuple[int, ...], pool) -> None:  # type: ignore[no-untyped-def]
    module = composer.build(spec_text("out: {op: pool, over: [h, w], to: 2}"), 4, size=size)
    x = random(2, 4, *size)
    torch.testing.assert_close(module.double()(x), pool(x, 2))


def test_a_size_each_is_for_height_and_width() -> None:
    text = spec_text("out: {op: pool, over: [h, w], to: [2, 3]}")
    with pytest.raises(ComposerError) as failure:
        composer.build(text, 4, size=(4, 3, 5))
    (problem,) = failure.value.diagnostics
    assert problem.code == "two-dimensional"
    assert problem.message == (
        "'out' gives 'to' for height and width, so 'probe' is for maps [h, w], but this one is [d, h, w]"  # noqa: E501
    )


#: What the passes would take for a pool that leaves no axis, or for one without an operand.
FORMS = {
    "mean and max to sizes": """one: {op: pool, x: input, over: [h, w], to: 2}
        two: {op: pool, x: input, over: [h, w], to: 2, reduce: max}
        out: {op: stack, of: [one, two], axis: s}""",
    "a mean after a mean to sizes": """both: {op: stack, of: [input, input, input], axis: k}
        one: {op: pool, over: k}
        two: {op: pool, over: [h, w], to: 2}
        out: {op: pool, over: [h, w]}""",
    "branches to sizes": """more: {op: apply, fn: sqrt}
        both: {op: stack, of: [input, more], axis: k}
        out: {op: pool, over: [h, w], to: [1, 2]}""",
    "the median of branches": """more: {op: apply, fn: square}
        most: {op: apply, x: input, fn: log}
        both: {op: stack, of: [input, more, most], axis: k}
        out: {op: pool, over: k, reduce: median}""",
    "the length of branches": """more: {op: apply, fn: square}
        both: {op: stack, of: [input, more], axis: k}
        out: {op: pool, over: k, reduce: length}""",
    "the deviation of each branch": """more: {op: apply, fn: square}
        both: {op: stack, of: [input, more], axis: k}
        out: {op: pool, over: [h, w], reduce: std}""",
    "a power for each branch": """more: {op: apply, fn: square}
        both: {op: stack, of: [input, more], axis: k}
        p: {op: parameter, axes: {k: 2}, init: 3}
        out: {op: pool, x: both, over: [h, w], reduce: power, exponent: p}""",
    "equal functions with other settings": """a: {op: apply, x: input, fn: pow, exponent: 2}
        b: {op: apply, x: input, fn: pow, exponent: 3}
        c1: {op: apply, x: input, fn: pow, exponent: 2}
        out: {op: add, of: [a, b, c1]}""",
}


@pytest.mark.parametrize("nodes", FORMS.values(), ids=FORMS)
def test_the_passes_change_no_number(nodes: str) -> None:
    text = spec_text(nodes)
    plain = lowered(text, {"c": 4})
    fast = lower(compile_graph(graph_of(load_spec(text), Settings({"c": 4})))).double()
    fast.load_state_dict(randomise(plain).state_dict())
    x = random(2, 4, 6, 5).abs()
    torch.testing.assert_close(fast(x), plain(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("node", "looks"), [
    ("{op: pool, over: [h, w], to: 7}", True), ("{op: pool, over: [h, w], reduce: std}", False),
    ("{op: pool, over: [h, w], reduce: median}", False), ("{op: apply, fn: sqrt}", False),
    ("{op: constant, axes: {h: h}, value: h}", True),
])  # fmt: skip
def test_whether_it_looks_at_neighbours(node: str, looks: bool) -> None:
    graph = analyse(graph_of(load_spec(spec_text(f"out: {node}")), Settings({"c": 4})))
    assert (looking_at_neighbours(graph) is not None) == looks


SAID = {
    "{op: pool, over: [h, w], kernel: 3, reduce: std}": """\
spec.yaml:5:52: error[invalid-value]: windows are pooled by mean or max, not by std
    5 |   out: {op: pool, over: [h, w], kernel: 3, reduce: std}
      |                                                    ^^^
  help: use mean or max; to reduce whole axes, omit 'kernel' and 'to'
""",
    "{op: pool, over: [h, w], to: 7, reduce: sum}": """\
spec.yaml:5:48: error[invalid-value]: adaptive pooling is by mean or max, not by sum
    5 |   out: {op: pool, over: [h, w], to: 7, reduce: sum}
      |                                                ^^^
  help: use mean or max; to reduce whole axes, omit 'kernel' and 'to'
""",
    "{op: pool, over: [h, w], to: [1, 2, 3]}": """\
spec.yaml:5:37: error[wrong-number]: 'to' has 3 values, and 'over' names 2 axes
    5 |   out: {op: pool, over: [h, w], to: [1, 2, 3]}
      |                                     ^^^^^^^^^
  help: write one value for all axes, or one for each
""",
    "{op: pool, over: [h, w], to: 7, kernel: 3}": """\
spec.yaml:5:8: error[invalid-value]: 'kernel' sets the size of windows, and 'to' their number; give only one
    5 |   out: {op: pool, over: [h, w], to: 7, kernel: 3}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",  # noqa: E501
    "{op: pool, over: [h, w], reduce: power}": """\
spec.yaml:5:8: error[invalid-value]: the power mean needs its 'exponent', such as 3
    5 |   out: {op: pool, over: [h, w], reduce: power}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",
    "{op: pool, over: [h, w], exponent: 3}": """\
spec.yaml:5:8: error[invalid-value]: 'exponent' is for the power mean, not for mean
    5 |   out: {op: pool, over: [h, w], exponent: 3}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",
    "{op: pool, over: [h, w], reduce: power, exponent: 0}": """\
spec.yaml:5:58: error[invalid-value]: a power mean with exponent 0 is undefined
    5 |   out: {op: pool, over: [h, w], reduce: power, exponent: 0}
      |                                                          ^
  help: 1 is the mean, -1 the harmonic mean, and a large one approaches the maximum
""",
    "{op: pool, over: [h, w], reduce: power, exponent: input}": """\
spec.yaml:5:58: error[unknown-axis]: 'input' has the axis 'h', which is reduced
    5 |   out: {op: pool, over: [h, w], reduce: power, exponent: input}
      |                                                          ^^^^^
  help: an exponent can only have axes that are not reduced, or none
""",
    "{op: apply, fn: relu, slope: 0.1}": """\
spec.yaml:5:8: error[invalid-value]: 'slope' belongs to leaky_relu, not to relu
    5 |   out: {op: apply, fn: relu, slope: 0.1}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
""",
    "{op: apply, fn: pow}": """\
spec.yaml:5:8: error[invalid-value]: pow needs its 'exponent', such as 3
    5 |   out: {op: apply, fn: pow}
      |        ^^^^^^^^^^^^^^^^^^^^
""",
    "{op: apply, fn: clamp}": """\
spec.yaml:5:8: error[invalid-value]: clamp needs 'low' or 'high', or both
    5 |   out: {op: apply, fn: clamp}
      |        ^^^^^^^^^^^^^^^^^^^^^^
""",
    "{op: apply, fn: clamp, low: c, high: 1 - 2}": """\
""",
    "{op: apply, fn: clamp, low: 2, high: 1}": """\
spec.yaml:5:36: error[invalid-value]: clamp has the low bound 2 above the high bound 1
    5 |   out: {op: apply, fn: clamp, low: 2, high: 1}
      |                                    ^
  help: make 'low' the smaller one
""",
}


@pytest.mark.parametrize("node", SAID)
def test_what_is_said(node: str) -> None:
    _, problems = check_text(spec_text(f"out: {node}"), "spec.yaml")
    assert "".join(f"{p.render()}\n" for p in problems if p.severity == "error") == SAID[node]


def test_a_function_chosen_by_a_param() -> None:
    text = spec_text(
        "out: {op: apply, fn: kind, exponent: 2}",
        params="{kind: {default: pow, choices: [pow, sqrt, clamp]}}",
    )
    x = random(2, 4, 3, 5).abs()
    torch.testing.assert_close(composer.build(text, 4)(x), x * x)
    torch.testing.assert_close(composer.build(text, 4, params={"kind": "sqrt"})(x), x**0.5)
    with pytest.raises(ComposerError) as failure:
        composer.build(text, 4, params={"kind": "clamp"})
    (problem,) = failure.value.diagnostics
    assert (problem.code, problem.message) == (
        "missing-field", "clamp needs 'low' or 'high', or both"
    )  # fmt: skip


@pytest.mark.parametrize("size", [(5,), (6, 5), (3, 4, 5)])
def test_windows_by_their_maximum_pickle(size: tuple[int, ...]) -> None:
    text = spec_text("out: {op: pool, over: [h, w], kernel: 3, stride: 2, reduce: max}")
    module = composer.build(text, 4, size=size)
    x = random(2, 4, *size)
    assert torch.equal(pickle.loads(pickle.dumps(module))(x), module(x))

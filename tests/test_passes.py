"""Every rewrite: done twice is done once, no number changes, the graph given stays as it was."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probe import analysed, random, randomise, spec_text
from shipped import SHIPPED

from composer.errors import ComposerError
from composer.graph import passes
from composer.graph.begins import begins_as_input
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Graph, Settings
from composer.graph.passes import CHECKS, REWRITES, SPEEDUPS, compile_graph
from composer.graph.passes.infer_axes import infer_axes
from composer.graph.passes.merge_repeated import merge_repeated
from composer.graph.passes.remove_unused import remove_unused
from composer.graph.passes.start_at_identity import start_at_identity
from composer.graph.passes.verify import verify
from composer.language.expressions import constant
from composer.lower.build import lower
from composer.primitives.axes import Axes

SIZES = {"c": 4, "h": 3, "w": 2}
NAMES = {p.__name__: p for p in (infer_axes, *REWRITES)}


# ------------------------------------------------------------------------------- random graphs


@st.composite
def spec_texts(draw: st.DrawFn) -> str:
    """Return a sound spec of random ops on random nodes above; the last one is the output."""
    axes = {"input": frozenset("bchw")}
    lines: list[str] = []

    def node(which: Callable[[frozenset[str]], bool] = lambda a: True) -> str | None:
        found = [name for name, a in axes.items() if which(a)]
        return draw(st.sampled_from(found)) if found else None

    def pool(name: str) -> tuple[str, frozenset[str]]:
        x = node(lambda a: len(a) > 1) or "input"
        most = sorted(axes[x] - {"b"}) or sorted(axes[x])
        over = draw(st.lists(st.sampled_from(most), min_size=1, unique=True))
        how = draw(st.sampled_from(["mean", "max", "sum"]))
        return (
            f"{{op: pool, x: {x}, over: [{', '.join(over)}], reduce: {how}}}",
            axes[x] - set(over),
        )

    def gate(name: str) -> tuple[str, frozenset[str]]:
        x = node() or "input"
        if axes[x] and draw(st.booleans()):
            over = draw(st.sampled_from(sorted(axes[x])))
            return f"{{op: gate, x: {x}, fn: softmax, over: {over}}}", axes[x]
        return f"{{op: gate, x: {x}, fn: {draw(st.sampled_from(['tanh', 'silu']))}}}", axes[x]

    def arithmetic(name: str) -> tuple[str, frozenset[str]]:
        a, b = node() or "input", node() or "input"
        op = draw(st.sampled_from(["add", "sub", "mul"]))
        return f"{{op: {op}, of: [{a}, {b}]}}", axes[a] | axes[b]

    def stack(name: str) -> tuple[str, frozenset[str]]:
        a = node(lambda a: len(a) < 6) or "input"
        b = node(lambda other: other == axes[a]) or a
        return f"{{op: stack, of: [{a}, {b}], axis: {name}}}", axes[a] | {name}

    def reweight(name: str) -> tuple[str, frozenset[str]]:
        x = node() or "input"
        by = node(lambda a: a <= axes[x]) or x
        over = draw(st.lists(st.sampled_from(sorted(axes[x])), unique=True)) if axes[x] else []
        return f"{{op: reweight, x: {x}, by: {by}, sum: [{', '.join(over)}]}}", axes[x] - set(over)

    def pick(name: str) -> tuple[str, frozenset[str]]:
        x = node(lambda a: any(axis.startswith("n") for axis in a))
        if x is None:
            return stack(name)
        axis = draw(st.sampled_from(sorted(a for a in axes[x] if a.startswith("n"))))
        return f"{{op: pick, x: {x}, axis: {axis}, index: {draw(st.integers(0, 1))}}}", (
            axes[x] - {axis}
        )

    def linear(name: str) -> tuple[str, frozenset[str]]:
        x = node(lambda a: "c" in a) or "input"
        return f"{{op: linear, x: {x}, over: c}}", axes[x]

    for index in range(draw(st.integers(1, 9))):
        name = f"n{index}"
        make = draw(st.sampled_from(
            [pool, pool, gate, arithmetic, stack, stack, reweight, linear, pick]))  # fmt: skip
        line, found = make(name)
        lines.append(f"{name}: {line}")
        axes[name] = found
    return spec_text("\n".join(lines))


def numbers(graph: Graph, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the graph's output under the weights of the whole spec."""
    module = lower(graph).double()
    module.load_state_dict({key: state[key] for key in module.state_dict()})
    x = random(2, *(SIZES[a] for a in graph.input_axes.names[1:]))
    return module(x)


quick = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


@pytest.mark.long
@quick
@given(text=spec_texts())
def test_rewrites_of_random_graphs(text: str) -> None:
    graph = analysed(text, SIZES).sound()
    verify(graph, after="analyse")
    state = randomise(lower(graph).double()).state_dict()
    before = numbers(graph, state)
    assert infer_axes(graph).nodes == graph.nodes
    for step in (remove_unused, merge_repeated, *SPEEDUPS):
        kept = repr(graph)
        after = step(graph)
        verify(after, after=step.__name__)
        assert repr(graph) == kept
        assert step in SPEEDUPS or len(after.nodes) <= len(graph.nodes)
        again = step(after)
        assert (again.nodes, again.output) == (after.nodes, after.output)
        torch.testing.assert_close(numbers(after, state), before, rtol=1e-12, atol=1e-12)
        graph = after
    assert remove_unused(graph).nodes == graph.nodes


# ---------------------------------------------------------------------------- hand-made graphs

SQUEEZE = "{op: pool, x: input, over: [h, w]}"
UNUSED = [
    ("a: {op: gate}", ["a"]),
    (f"a: {SQUEEZE}\nb_: {{op: gate, x: input}}", ["b_"]),
    (f"a: {SQUEEZE}\nb_: {{op: gate}}\nc_: {{op: gate, x: input}}\nd: {{op: gate}}", ["c_", "d"]),
    (f"a: {SQUEEZE}\nb_: {{op: reweight, x: input, by: a}}", ["a", "b_"]),
    ("a: {op: linear, over: c}\nb_: {op: parameter, axes: {c: c}, init: 1}", ["b_"]),
]
REPEATED = [
    # two of the same, and what reads them
    (f"a: {SQUEEZE}\nb_: {SQUEEZE}\nout: {{op: add, of: [a, b_]}}", ["a", "out"]),
    # all the way up
    (f"a: {SQUEEZE}\nb_: {SQUEEZE}\nd: {{op: gate, x: a}}\ne: {{op: gate, x: b_}}\n"
     "out: {op: mul, of: [d, e]}", ["a", "d", "out"]),
    # the output itself
    (f"a: {SQUEEZE}\nout: {SQUEEZE}", ["a"]),
    # told, or left to the default
    (f"a: {SQUEEZE}\nb_: {{op: pool, x: input, over: [h, w], reduce: mean}}\n"
     "out: {op: add, of: [a, b_]}", ["a", "out"]),
    # another reduction, another operand, another axis
    (f"a: {SQUEEZE}\nb_: {{op: pool, x: input, over: [h, w], reduce: max}}\n"
     "out: {op: add, of: [a, b_]}", ["a", "b_", "out"]),
    ("a: {op: gate, fn: softmax, over: c}\nb_: {op: gate, x: input, fn: softmax, over: h}\n"
     "out: {op: add, of: [a, b_]}", ["a", "b_", "out"]),
    ("a: {op: stack, of: [input, input], axis: k}\nb_: {op: stack, of: [input, input], axis: m}\n"
     "out: {op: add, of: [a, b_]}", ["a", "b_", "out"]),
    # the order of a difference counts
    (f"a: {SQUEEZE}\nb_: {{op: sub, of: [a, input]}}\nd: {{op: sub, of: [input, a]}}\n"
     "out: {op: add, of: [b_, d]}", ["a", "b_", "d", "out"]),
    # weights make two of two
    ("a: {op: linear, over: c}\nb_: {op: linear, x: input, over: c}\n"
     "out: {op: add, of: [a, b_]}", ["a", "b_", "out"]),
    ("a: {op: mlp, over: c, hidden: 2}\nb_: {op: mlp, x: input, over: c, hidden: 2}\n"
     "out: {op: add, of: [a, b_]}", ["a", "b_", "out"]),
    ("a: {op: conv2d, kernel: 1}\nb_: {op: conv2d, x: input, kernel: 1}\n"
     "out: {op: add, of: [a, b_]}", ["a", "b_", "out"]),
    ("a: {op: conv1d, along: c, kernel: 1}\nb_: {op: conv1d, x: input, along: c, kernel: 1}\n"
     "out: {op: add, of: [a, b_]}", ["a", "b_", "out"]),
    ("a: {op: parameter, axes: {}, init: 1}\nb_: {op: parameter, axes: {}, init: 1}\n"
     "out: {op: add, of: [a, b_]}", ["a", "b_", "out"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "text", "kept"),
    [(remove_unused, *row) for row in UNUSED] + [(merge_repeated, *row) for row in REPEATED],
)
def test_what_a_rewrite_keeps(step: Callable[[Graph], Graph], text: str, kept: list[str]) -> None:
    graph = analysed(spec_text(text), SIZES).sound()
    after = step(graph)
    assert [node.name for node in after.nodes] == kept
    state = randomise(lower(graph).double()).state_dict()
    torch.testing.assert_close(numbers(after, state), numbers(graph, state))
    assert step(after) == after


def test_nodes_need_not_stand_in_order() -> None:
    text = spec_text("out: {op: reweight, x: input, by: a}\na: {op: pool, x: input, over: c}")
    graph = analysed(text + "output: out\n", SIZES).sound()
    assert [node.name for node in graph.in_order()] == ["a", "out"]
    after = merge_repeated(remove_unused(graph))
    verify(after, after="merge_repeated")
    x = random(2, 4, 3, 2)
    torch.testing.assert_close(lower(after)(x), x * x.mean(1, keepdim=True))


@pytest.mark.parametrize("combine", ["product", "total"])
def test_bam_keeps_one_way_to_combine(combine: str) -> None:
    graph = analysed("bam", {"c": 16}, params={"combine": combine}).sound()
    gone = {n.name for n in graph.nodes} - {n.name for n in remove_unused(graph).nodes}
    assert gone == ({"either"} if combine == "product" else {"both"})


# --------------------------------------------------------------------------- beginning as input


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("layout", [None, ("b", "h", "w", "c")])
def test_begin_at_identity(name: str, layout: tuple[str, ...] | None) -> None:
    graph = remove_unused(analysed(name, {"c": 32}, layout=layout, init="identity").sound())
    kept, after = repr(graph), start_at_identity(graph)
    assert repr(graph) == kept
    assert len(after.nodes) == len(graph.nodes) + (0 if begins_as_input(graph) else 4)
    verify(after, after="start_at_identity")
    assert start_at_identity(after) == after
    place = after.where(after.by_name[after.output])
    assert place is not None and place == graph.where(graph.by_name[graph.output])


def test_begin_as_the_paper_changes_nothing() -> None:
    graph = analysed("se", {"c": 32}).sound()
    assert start_at_identity(graph) is graph


GATED = "{op: norm, over: c, scale: 0}"
#  nodes, and whether they are their input at first
BEGINS = [
    ("f: {op: linear, over: c}\ng: {op: parameter, axes: {}, init: 0}\ns: {op: mul, of: [f, g]}\n"
     "out: {op: add, of: [s, input]}", True),
    ("f: {op: linear, over: c}\ng: {op: parameter, axes: {c: c}, init: 0}\n"
     "s: {op: mul, of: [g, f]}\nout: {op: add, of: [input, s]}", True),
    ("f: {op: linear, over: c, norm: {fn: batch, scale: 0}}\nout: {op: add, of: [input, f]}", True),
    ("f: {op: conv2d, kernel: 3, norm: {fn: group, groups: 2, scale: 0}}\n"
     "out: {op: add, of: [f, input]}", True),
    ("f: {op: norm, over: c, scale: 0}\none: {op: add, of: [input, f]}\n"
     "g: {op: norm, over: c, scale: 0}\nout: {op: add, of: [one, g]}", True),
    ("f: {op: linear, over: c}\ng: {op: parameter, axes: {}, init: 1}\ns: {op: mul, of: [f, g]}\n"
     "out: {op: add, of: [s, input]}", False),
    ("f: {op: linear, over: c, norm: batch}\nout: {op: add, of: [input, f]}", False),
    ("f: {op: linear, over: c, norm: {fn: batch, scale: 0}, act: sigmoid}\n"
     "out: {op: add, of: [input, f]}", False),
    ("f: {op: norm, over: c, scale: 0}\nout: {op: sub, of: [f, input]}", False),
    ("f: {op: norm, over: c, scale: 0}\nout: {op: add, of: [input, f, 1]}", False),
    ("out: {op: add, of: [input, input]}", False),
    # layers with a weight of zero
    ("f: {op: linear, over: c, init: 0, bias_init: 0}\nout: {op: add, of: [input, f]}", True),
    ("f: {op: conv2d, kernel: 3, init: 0, bias: false}\nout: {op: add, of: [input, f]}", True),
    ("f: {op: linear, over: c, init: 0}\nout: {op: add, of: [input, f]}", False),
    ("f: {op: linear, over: c, init: 0, bias_init: 1}\nout: {op: add, of: [input, f]}", False),
    # a gate of logits that are zero, which is 1 then
    (f"f: {GATED}\nt: {{op: gate, fn: tanh}}\ng: {{op: add, of: [t, 1]}}\n"
     "out: {op: reweight, x: input, by: g}", True),
    (f"f: {GATED}\ng: {{op: gate}}\ntwice: {{op: scale, by: 2}}\n"
     "out: {op: reweight, x: input, by: twice}", True),
    (f"f: {GATED}\ng: {{op: gate}}\nout: {{op: reweight, x: input, by: g}}", False),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "begins"), BEGINS)
def test_what_begins_as_its_input_learns_from_there(nodes: str, begins: bool) -> None:
    graph = graph_of(load_spec(spec_text(nodes)), Settings(SIZES, init="identity"))
    after = compile_graph(graph)
    assert ("blend" not in after.by_name) == begins
    module, x = lower(after).double(), random(3, 4, 3, 2)
    assert torch.equal(module(x), x)
    (module(x) * random(3, 4, 3, 2, seed=2)).sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


GAMMA = "gamma: {op: parameter, axes: {c: c}, init: %s}"


#  nodes, and with which γ they are their input at first
@pytest.mark.parametrize(("nodes", "gamma"), [
    ("more: {op: mul, of: [input, gamma]}\nout: {op: add, of: [input, more]}", "0"),
    ("out: {op: add, of: [gamma, input]}", "0"),
    ("more: {op: mul, of: [input, gamma]}\nout: {op: sub, of: [input, more]}", "0"),
    ("more: {op: add, of: [input, gamma]}\nout: {op: add, of: [input, more]}", None),
    ("out: {op: mul, of: [input, gamma]}", "1"),
])  # fmt: skip
@pytest.mark.parametrize("init", ["0", "1", "{normal: 0.1}"])
def test_what_begins_as_its_input_needs_no_blend(nodes: str, gamma: str | None, init: str) -> None:
    text = spec_text(f"{GAMMA % init}\n{nodes}")
    after = compile_graph(graph_of(load_spec(text), Settings(SIZES, init="identity")))
    assert ("blend" in after.by_name) == (init != gamma)
    x = torch.randn(2, *SIZES.values())
    assert torch.equal(lower(after)(x), x)


def test_begin_at_identity_with_names_that_are_taken() -> None:
    text = spec_text(
        f"blend: {SQUEEZE}\nblend_: {{op: gate}}\nblend_out: {{op: mul, of: [input, blend_]}}"
    )
    after = compile_graph(graph_of(load_spec(text), Settings(SIZES, init="identity")))
    assert [node.name for node in after.nodes] == [
        "blend", "blend_", "blend_out", "blend__", "blend_change", "blend_scaled", "blend_out_",
    ]  # fmt: skip
    assert list(lower(after).state_dict()) == ["blend__"]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("out: {op: pool, over: [h, w]}", "[b, c: 4]"),
        ("out: {op: linear, over: c, out: 5}", "[b, c: 5, h: 3, w: 2]"),
        ("out: {op: conv2d, kernel: 3, stride: 2}", "[b, c: 4, h: 2, w: 1]"),
    ],
)
def test_what_is_not_its_input_cannot_begin_as_it(nodes: str, said: str) -> None:
    graph = graph_of(load_spec(spec_text(nodes)), Settings(SIZES, init="identity"))
    with pytest.raises(ComposerError) as failure:
        compile_graph(graph)
    (problem,) = failure.value.diagnostics
    assert problem.code == "output-differs" and said in problem.message and problem.where


# ------------------------------------------------------------------------------- what is legal


def _broken(graph: Graph, node: str, **changes: object) -> Graph:
    return graph.with_nodes({node: replace(graph.by_name[node], **changes)})  # type: ignore[arg-type]


def _reading(graph: Graph, name: str, operand: str) -> Graph:
    op = graph.by_name[name].op
    assert op is not None
    return _broken(graph, name, op=op.model_copy(update={"x": constant(operand)}))


ILLEGAL: list[tuple[str, Callable[[Graph], Graph]]] = [
    ("names are unique", lambda g: replace(g, nodes=(*g.nodes, g.nodes[0]))),
    ("names are unique", lambda g: _broken(g, "squeeze", name="input")),
    ("the output is a node", lambda g: replace(g, output="nowhere")),
    ("the output is a node", lambda g: replace(g, nodes=g.nodes[:-1])),
    ("every node has an op and axes", lambda g: _broken(g, "gate", op=None)),
    ("every node has an op and axes", lambda g: _broken(g, "gate", axes=None)),
    ("operands are nodes", lambda g: _reading(g, "gate", "nowhere")),
    ("operands are nodes", lambda g: replace(g, nodes=g.nodes[1:])),
    ("there is no cycle", lambda g: _reading(g, "squeeze", "gate")),
    ("axes follow from the operands", lambda g: _reading(g, "out", "squeeze")),
    ("axes follow from the operands", lambda g: _broken(g, "gate", axes=g.input_axes)),
    ("axes follow from the operands", lambda g: _broken(
        g, "gate", axes=Axes((("b", constant(1)), ("c", constant(4)))))),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "break_it"), ILLEGAL)
def test_an_illegal_graph_names_the_pass(
    rule: str, break_it: Callable[[Graph], Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sabotage(graph: Graph) -> Graph:
        return break_it(graph)

    monkeypatch.setattr(passes, "REWRITES", (remove_unused, sabotage, merge_repeated))
    graph = graph_of(load_spec("se"), Settings({"c": 32}))
    with pytest.raises(AssertionError, match=f"after the pass sabotage.*: {rule}"):
        compile_graph(graph)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("init", ["paper", "identity"])
def test_shipped_specs_are_legal(name: str, init: str) -> None:
    verify(compile_graph(graph_of(load_spec(name), Settings({"c": 32}, init=init))), after="all")  # type: ignore[arg-type]


def test_the_page_of_passes() -> None:
    assert [p.__name__ for p in CHECKS] == [
        "bind", "fold_tokens", "connect", "infer_axes", "check_budget", "check_weights",
        "check_division", "check_placing", "check_output",
    ]  # fmt: skip
    assert [p.__name__ for p in REWRITES] == [
        "remove_unused", "take_part", "forget_aliases", "merge_repeated", "start_at_identity",
    ]  # fmt: skip
    assert [p.__name__ for p in SPEEDUPS] == [
        "reduce_maps_first", "weigh_in_parts", "read_parts", "pool_together", "weigh_windows",
        "contract", "recognise_attention",
    ]  # fmt: skip
    for step in (*CHECKS, *REWRITES, *SPEEDUPS):
        assert step.__doc__ and inspect.getmodule(step).__doc__  # type: ignore[union-attr]


def test_every_problem_is_reported_at_once() -> None:
    text = spec_text(
        """a: {op: pool, over: [q]}
        b_: {op: gate, x: input, fn: softmax, over: r}
        d: {op: linear, x: input, over: s}"""
    )
    with pytest.raises(ComposerError) as failure:
        load_spec(text)
    assert [p.code for p in failure.value.diagnostics] == ["unknown-axis"] * 3

"""The law of costs: what a primitive tells from the axes is what torch counts, node by node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
import yaml
from hypothesis import given
from probe import analysed, spec_text
from pydantic import TypeAdapter
from shipped import TYPICAL
from test_primitives import ROWS, SIZES, Row, few

from composer import primitives
from composer.certificate.claims import CLAIMS
from composer.errors import ComposerError
from composer.graph.costs import node_cost, node_costs, open_sizes
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Graph, Settings, Tokens
from composer.graph.passes import analyse, compile_graph
from composer.graph.sizes import sizes_for
from composer.language.expressions import Value
from composer.language.expressions import name as named
from composer.language.reader import read_spec
from composer.language.source import parse
from composer.lower.build import lower
from composer.primitives import OpFields
from composer.primitives.base import Primitive, with_references
from composer.primitives.cost import Cost
from composer.primitives.structure import Given, Structure
from composer.primitives.use import Use
from composer.primitives.weighed_sum import WeighedSum
from composer.testing import check_op
from composer.testing.counting import counted

SPECS = sorted((*TYPICAL, "involution"))


@pytest.mark.parametrize("row", ROWS, ids=str)
@few
@given(sizes=SIZES)
def test_of_a_primitive(row: Row, sizes: dict[str, int]) -> None:
    check_op(row.op, row, only=("cost", "parameters"), sizes=sizes)


#: Channels, height and width, and params beside the defaults.
AT = [(64, (6, 5), {}), (256, (14, 14), {}), (48, (1, 9), {"min_width": 1})]
PARAMS: dict[str, list[dict[str, Value]]] = {
    "bam": [{"combine": "total", "dilation": 2}],
    "bot_mhsa": [{"scale_position": False, "stride": 2}, {"heads": 8, "out": 128}],
    "cbam": [{"bias": False, "spatial_norm": "none", "kernel": 3}],
    "cond_conv": [{"kernel": 1, "bias": False}, {"groups": 4, "stride": 2, "bias": True}],
    "dynamic_conv": [{"kernel": 1, "stride": 2, "bias": True}, {"out": 24, "experts": 1}],
    "eca": [{"kernel": 9}],
    "ge_theta": [{"extent": 4}],
    "ge_theta_plus": [{"extent": 2}],
    "mhsa": [{"heads": 1}],
    "se": [{"reduction": 3}],
    "sk": [{"branches": 3, "groups": 4, "stride": 2}],
    "split_attention": [{"radix": 1, "groups": 2}, {"radix": 4, "stride": 2, "out": 128}],
    "transformer_layer": [{"heads": 2, "expansion": 2}],
}


def cases() -> Iterator[tuple[str, int, tuple[int, int], dict[str, Value]]]:
    for name in SPECS:
        params = load_spec(name).params
        for channels, size, told in AT:
            yield name, channels, size, {k: v for k, v in told.items() if k in params}
        for more in PARAMS.get(name, []):
            yield name, 64, (8, 8), more


def wide() -> Iterator[object]:
    """Every shipped spec at the width of its certificate."""
    for name, claim in CLAIMS.items():
        case = name, max(64, claim.cases[0].width), (6, 5), dict(claim.cases[0].params)
        yield pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.quick(22, then="long")
@pytest.mark.parametrize(("name", "channels", "size", "params"), [*cases(), *wide()], ids=str)
def test_of_a_shipped_spec(
    name: str, channels: int, size: tuple[int, int], params: dict[str, Value]
) -> None:
    spec = load_spec(name)
    settings = Settings(sizes_for(spec, channels, size), params)
    told = open_sizes(spec, size)
    for as_written in (True, False):
        graph = compile_graph(graph_of(spec, settings), as_written=as_written)
        assert node_costs(graph, told) == counted(graph, told)


@pytest.mark.parametrize("settings", [
    Settings({"c": 16, "h": 4, "w": 6}, layout=("b", "h", "w", "c")),
    Settings({"c": 16, "h": 4, "w": 6}, layout=("b", "h", "w", "c"), tokens=Tokens(prefix=2)),
    Settings({"c": 16, "h": 4, "w": 6}, init="identity"),
], ids=["channels last", "tokens", "identity"])  # fmt: skip
@pytest.mark.parametrize("name", ["cbam", "eca", "mhsa", "ge_theta"])
def test_in_another_form(name: str, settings: Settings) -> None:
    spec = load_spec(name)
    if "n" in spec.input and settings.layout is None:
        settings = Settings({"c": 16}, init=settings.init)
    graph = compile_graph(graph_of(spec, settings))
    assert node_costs(graph, {"n": 24}) == counted(graph, {"n": 24})


#: What the shipped specs do not show: weights that are shared, and what the passes make.
FORMS = {
    "a chain that shares weights": """probe: {op: repeat, times: 3, shared: true,
        each: {op: conv2d, kernel: 3, norm: batch}}""".replace("\n", " "),
    "a chain that does not": "probe: {op: repeat, times: 2, each: {op: mlp, over: c, hidden: 3}}",
    "a spec used twice": """probe: {op: repeat, times: 2, shared: true,
        each: {op: use, spec: se, params: {reduction: 2}}}""".replace("\n", " "),
    "a spec used on other axes": "probe: {op: use, spec: cbam_spatial, axes: {c: h, h: c}}",
    "attention to keys of their own": """rows: {op: pool, over: h}
        keys: {op: merge, axes: w, into: m}
        flat: {op: linear, x: keys, over: c, out: 1}
        probe: {op: attention, q: input, k: keys, v: flat, over: [h, w], keys: m, along: c}""",
    "an outer product, summed": """one: {op: linear, over: c, out: {d: 3, m: 2}}
        two: {op: linear, x: input, over: c, out: {d: 3, k: 5}}
        both: {op: mul, of: [one, two]}
        probe: {op: pool, over: d, reduce: sum}""",
    "one pair, summed": """one: {op: linear, over: c, out: {d: 1, m: 2}}
        two: {op: linear, x: input, over: c, out: {d: 1, k: 5}}
        both: {op: mul, of: [one, two]}
        probe: {op: pool, over: d, reduce: sum}""",
    "positions of one feature": """one: {op: linear, over: c, out: {d: 1}}
        probe: {op: attention, q: one, k: one, v: one, over: [h, w], along: d,
         position: relative}""".replace("\n         ", " "),
    "parts along an axis": """q, k: {op: chunk, x: input, axis: c}
        one, two: {op: chunk, x: q, axis: h, sizes: [1, h - 1]}
        again: {op: concat, of: [one, two], axis: h}
        both: {op: concat, of: [again, k], axis: c}
        probe: {op: add, of: [both, input]}""",
    "attention in its parts": """flat: {op: merge, x: input, axes: [h, w], into: n}
        other: {op: merge, x: input, axes: [h, w], into: m}
        q: {op: linear, x: flat, over: c, out: {d: 3}}
        k: {op: linear, x: other, over: c, out: {d: 3}}
        v: {op: linear, x: other, over: c, out: {e: 5}}
        pairs: {op: mul, of: [q, k]}
        met: {op: pool, over: d, reduce: sum}
        scaled: {op: scale, by: 0.5}
        gate: {op: gate, fn: softmax, over: m}
        weighed: {op: mul, of: [gate, v]}
        probe: {op: pool, over: m, reduce: sum}""",
}  # fmt: skip


def forms_of(nodes: str) -> Iterator[Graph]:
    spec = load_spec(spec_text(nodes))
    for as_written in (True, False):
        settings = Settings({"c": 6, "h": 4, "w": 3})
        yield compile_graph(graph_of(spec, settings), as_written=as_written)


@pytest.mark.parametrize("nodes", FORMS.values(), ids=FORMS)
def test_of_a_form(nodes: str) -> None:
    for graph in forms_of(nodes):
        assert node_costs(graph) == counted(graph, {})


def test_every_primitive_is_met() -> None:
    """Those of the language have a row, see `test_every_primitive_has_a_row`; these are passes'."""
    graphs = [*map(fast, SPECS), *(graph for nodes in FORMS.values() for graph in forms_of(nodes))]
    met = {type(node.op) for graph in graphs for node in graph.nodes}
    met |= {primitives.ops()[row.op] for row in ROWS}
    concrete = {p for p in subclasses(Primitive) if p.__module__.startswith("composer.primitives.")}
    expanded = {p for p in concrete if issubclass(p, (Structure, Use))}
    assert {p.__name__ for p in concrete - expanded - met} == {"Alias", "Given"}
    assert Given.cost is Primitive.cost


def subclasses(of: type[Primitive]) -> Iterator[type[Primitive]]:
    for one in of.__subclasses__():
        yield one
        yield from subclasses(one)


def test_one_image_of_an_open_batch() -> None:
    graph = analysed(spec_text("probe: {op: conv2d, kernel: 3, out: 5}"), {"c": 4, "h": 6, "w": 7})
    cost = Cost(5 * (4 * 9 + 1), 5 * 6 * 7 * 4 * 9)
    assert node_costs(graph) == node_costs(graph, {"b": 8}) == {"probe": cost}


def test_what_depends_on_an_open_size_is_left_out() -> None:
    nodes = """flat: {op: pool, over: [h, w]}
        known: {op: linear, over: c}
        open: {op: linear, x: input, over: c}
        probe: {op: reweight, x: open, by: known}"""
    graph = analysed(spec_text(nodes), {"c": 4})
    assert node_costs(graph) == {"flat": Cost(), "known": Cost(20, 16), "probe": Cost()}
    assert node_costs(graph, {"h": 2, "w": 3})["open"] == Cost(20, 16 * 6)
    with pytest.raises(ComposerError) as failure:
        node_cost(graph, graph.by_name["open"])
    (problem,) = failure.value.diagnostics
    assert problem.code == "open-size" and problem.where is not None and problem.where.line == 7


@pytest.mark.parametrize("node", [
    "{op: linear, over: h}", "{op: mlp, over: c, hidden: w}", "{op: norm, over: w}",
    "{op: norm, over: [c, h], fn: layer}", "{op: norm, over: c, fn: rms, affine: w}",
    "{op: parameter, axes: {h: h}, init: 1}", "{op: conv2d, kernel: h, padding: 0}",
    "{op: attention, q: input, k: input, v: input, over: [h, w], along: c, position: relative}",
])  # fmt: skip
def test_an_open_size_is_told_as_lowering_tells_it(node: str) -> None:
    graph = analysed(spec_text(f"probe: {node}"), {"c": 4}).sound()
    with pytest.raises(ComposerError) as told:
        node_cost(graph, graph.by_name["probe"])
    with pytest.raises(ComposerError) as lowering:
        lower(graph)
    assert told.value.diagnostics == lowering.value.diagnostics


def test_the_tokens_are_the_places_of_a_map() -> None:
    assert open_sizes(load_spec("mhsa"), (3, 5)) == {"b": 1, "n": 15, "c": 1}


def test_a_faulty_node_is_left_out() -> None:
    nodes = """flat: {op: pool, over: q}
        behind: {op: linear, over: c}
        probe: {op: conv1d, x: input, along: c, kernel: 3}"""
    reading = read_spec(*parse(spec_text(nodes), "probe.yaml"), primitives.Spec, OpFields())
    assert reading.spec is not None
    sizes = {"c": 4, "h": 2, "w": 3}
    graph = analyse(graph_of(reading.spec, Settings(sizes), reading))
    assert graph.errors
    assert node_costs(graph) == {"probe": Cost(4, 2 * 3 * 4 * 3)}


# ------------------------------------------------------------------------------------- formulas

FORMULAS = [
    ("{op: add, of: [input, input]}", "input + input"),
    ("{op: mul, of: [channel, spatial]}", "channel × spatial"),
    ("{op: sub, of: [input, channel]}", "input − channel"),
    ("{op: div, of: [input, channel]}", "input ÷ channel"),
    ("{op: add, of: [var, 1e-5]}", "var + 1e−05"),
    ("{op: sub, of: [1, gate]}", "1 − gate"),
    ("{op: mul, of: [x, -0.5, c - 1, y]}", "x × −0.5 × (c − 1) × y"),
    ("{op: div, of: [input, sqrt(c)]}", "input ÷ sqrt(c)"),
    ("{op: apply, fn: sqrt}", "√x"),
    ("{op: apply, fn: rsqrt}", "1 / √x"),
    ("{op: apply, fn: gelu}", "gelu(x)"),
    ("{op: apply, fn: abs}", "|x|"),
    ("{op: apply, fn: pow, exponent: 2}", "x²"),
    ("{op: apply, fn: pow, exponent: -0.5}", "x^−0.5"),
    ("{op: apply, fn: clamp, low: -1}", "max(x, −1)"),
    ("{op: apply, fn: clamp, low: 0, high: 6}", "min(max(x, 0), 6)"),
    ("{op: apply, fn: relu if c > 1 else sqrt}", "f(x)"),
    ("{op: constant, axes: {y: 7, r: 13}, value: 1 if r == y - 6 else 0}",
     "1 if r == y − 6 else 0"),
    ("{op: constant, axes: {y: 7}, value: sin(y / 10000 ** (2 * c / channels)) + 0.5}",
     "sin(y / 10000 ** (2 * c / channels)) + …"),
    ("{op: attention, q: input, k: input, v: channel, over: h, along: c}", "softmax(q k / √d) v"),
    ("{op: attention, q: input, k: input, v: input, over: [h, w], along: c, position: relative}",
     "softmax(q (k + r) / √d) v"),
    ("{op: attention, q: input, k: input, v: input, over: [h, w], along: c, position: relative, "
     "scale_position: false}", "softmax(q k / √d + q r) v"),
    ("{op: attention, q: q, k: k, v: v, over: n, keys: m, along: d, bias: near, scale: 1}",
     "softmax(q k + near) v"),
    ("{op: attention, q: q, k: k, v: v, over: n, keys: m, along: d, mask: seen, scale: -0.5}",
     "softmax(−0.5 q k where seen) v"),
    ("{op: attention, q: q, k: k, v: v, over: n, along: d, scale: c ** -0.5}",
     "softmax((c ** -0.5) q k) v"),
    ("{op: attention, q: q, k: k, v: v, over: [h, w], keys: [y, x], along: d, bias: near, "
     "position: relative}", "softmax(q (k + r) / √d + near) v"),
    ("{op: branch, axis: k, times: 2, each: {op: gate}}", ""),
    ("{op: chunk, axis: c}", ""),
    ("{op: concat, of: [one, two], axis: c}", "[one; two]"),
    ("{op: conv1d, along: c, kernel: 3}", "w * x + b"),
    ("{op: conv1d, along: c, kernel: 3, bias: false}", "w * x"),
    ("{op: conv2d, kernel: 3}", "W * x + b"),
    ("{op: conv2d, kernel: 3, bias: false, act: sigmoid}", "σ(W * x)"),
    ("{op: conv2d, kernel: 3, norm: batch, act: relu}", "relu(BN(W * x))"),
    ("{op: conv2d, kernel: 3, norm: batch, bias: true}", "BN(W * x + b)"),
    ("{op: conv2d, x: input, weight: kernel}", "kernel * x"),
    ("{op: conv2d, x: input, weight: kernel, act: relu}", "relu(kernel * x)"),
    ("{op: conv2d, kernel: [1, 7], norm: {fn: group, groups: 2}, act: relu}", "relu(GN(W * x))"),
    ("{op: crop, to: {h: 14}}", ""),
    ("{op: dropout, p: 0.1}", "m x / (1 − 0.1)"),
    ("{op: dropout, p: 0.1, share: [h, w]}", "m x / (1 − 0.1)"),
    ("{op: flip, over: w}", "x[−w]"),
    ("{op: fold, axes: [kh, kw], over: [h, w], like: input}", "Σ x[h − kh, w − kw]"),
    ("{op: gate}", "σ(x)"),
    ("{op: gate, fn: softmax, over: c}", "softmax(x)"),
    ("{op: gate, fn: softmax, over: [h, w]}", "softmax(x)"),
    ("{op: gate, fn: hard_sigmoid}", "hard_sigmoid(x)"),
    ("{op: gate, fn: softmax if c > 1 else sigmoid, over: c}", "f(x)"),
    ("{op: linear, over: c}", "W x + b"),
    ("{op: linear, over: c, bias: false}", "W x"),
    ("{op: linear, over: c, norm: batch, act: relu}", "relu(BN(W x))"),
    ("{op: linear, over: c, norm: l2}", "L2(W x)"),
    ("{op: linear, over: c, norm: none, act: gelu}", "gelu(W x + b)"),
    ("{op: merge, axes: [h, w], into: n}", "n = h · w"),
    ("{op: mlp, over: c, hidden: 3}", "W2 relu(W1 x + b1) + b2"),
    ("{op: mlp, over: c, hidden: 3, bias: false}", "W2 relu(W1 x)"),
    ("{op: mlp, over: c, hidden: 3, norm: batch, act: tanh}", "W2 tanh(BN(W1 x + b1)) + b2"),
    ("{op: mlp, over: c, hidden: 3, act: none}", "W2 (W1 x + b1) + b2"),
    ("{op: mlp, over: c, hidden: 3, act: none, bias: false}", "W2 W1 x"),
    ("{op: norm, over: c}", "BN(x)"),
    ("{op: norm, over: c, fn: layer, act: silu}", "silu(LN(x))"),
    ("{op: norm, over: [c, h, w], fn: group, groups: 2}", "GN(x)"),
    ("{op: norm, over: [h, w], fn: instance}", "IN(x)"),
    ("{op: norm, over: c, fn: rms, act: sigmoid}", "σ(RMS(x))"),
    ("{op: norm, over: c, fn: l2}", "L2(x)"),
    ("{op: norm, over: c, fn: layer if c > 1 else batch}", "norm(x)"),
    ("{op: pad, to: {h: 14}}", ""),
    ("{op: parameter, axes: {c: c}, init: 1}", ""),
    ("{op: pick, axis: c, index: 1}", "x[c = 1]"),
    ("{op: pool, over: [h, w]}", "Σ x / hw"),
    ("{op: pool, over: head}", "Σ x / head"),
    ("{op: pool, over: [head, d]}", "Σ x / (head · d)"),
    ("{op: pool, over: [h, w], reduce: max}", "max x"),
    ("{op: pool, over: c, reduce: sum}", "Σ x"),
    ("{op: pool, over: [h, w], reduce: min}", "min x"),
    ("{op: pool, over: [h, w], reduce: median}", "median x"),
    ("{op: pool, over: [h, w], reduce: length}", "√(Σ x²)"),
    ("{op: pool, over: [h, w], reduce: var}", "Σ (x − μ)² / hw"),
    ("{op: pool, over: [h, w], reduce: std}", "√(Σ (x − μ)² / hw)"),
    ("{op: pool, over: [h, w], reduce: power, exponent: 3}", "(Σ x³ / hw)^(1/3)"),
    ("{op: pool, over: [h, w], reduce: power, exponent: p}", "(Σ x^p / hw)^(1/p)"),
    ("{op: pool, over: [h, w], to: 7}", ""),
    ("{op: pool, over: [h, w], kernel: 3, stride: 2}", "Σ x / 3²"),
    ("{op: pool, over: [h, w], kernel: 2 * c + 1}", "Σ x / (2 * c + 1)²"),
    ("{op: pool, over: [h, w], kernel: 1}", "x"),
    ("{op: product, of: [q, k], sum: d}", "Σ q · k"),
    ("{op: rename, axes: {h: y, w: x}}", "y = h, x = w"),
    ("{op: repeat, times: 2, each: {op: gate}}", ""),
    ("{op: resize, over: [h, w], like: input}", "nearest(x)"),
    ("{op: reweight, x: input, by: gate}", "input · gate"),
    ("{op: reweight, x: split, by: select, sum: k}", "Σ split · select"),
    ("{op: rfft, over: [h, w], parts: z}", ""),
    ("{op: irfft, over: [h, w], parts: z, size: w}", ""),
    ("{op: complex_mul, of: [spectrum, filter], parts: z}", "spectrum · filter"),
    ("{op: roll, over: [h, w], by: -3}", "x[h + 3, w + 3]"),
    ("{op: roll, over: [h, w], by: [3, c // 2]}", "x[h − 3, w − (c // 2)]"),
    ("{op: scale, by: 0.5}", "0.5 x"),
    ("{op: scale, by: -0.125}", "−0.125 x"),
    ("{op: scale, by: c}", "c x"),
    ("{op: scale, by: c ** -0.5}", "(c ** -0.5) x"),
    ("{op: schedule, begin: 30, end: 1, steps: 10}", "30 + (1 − 30) t / 10"),
    ("{op: split, axis: c, into: {g: 2, d: c / 2}}", "c = g · d"),
    ("{op: stack, of: [max, mean], axis: s}", "[max, mean]"),
    ("{op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}", "x[h + kh, w + kw]"),
    ("{op: unstack, axis: k}", ""),
    ("{op: use, spec: se}", ""),
]  # fmt: skip


def read(op: str) -> Primitive:
    """Return an op as written, whose names may be anything."""
    found: Primitive = TypeAdapter(primitives.AnyPrimitive).validate_python(yaml.safe_load(op))
    return found


@pytest.mark.parametrize(("op", "formula"), FORMULAS)
def test_a_formula(op: str, formula: str) -> None:
    assert read(op).formula() == formula


def test_every_op_has_a_formula_in_the_table() -> None:
    assert {read(op).op for op, _ in FORMULAS} == set(primitives.ops())


def formulas(graphs: Iterable[Graph]) -> dict[str, str]:
    """Return the formula of one node of each kind."""
    ops = [node.op for graph in graphs for node in graph.nodes if node.op is not None]
    return {type(op).__name__: op.formula() for op in ops}


def test_the_formulas_of_what_the_passes_make() -> None:
    assert formulas(forms_of(FORMS["an outer product, summed"]))["Product"] == "Σ one · two"
    attention = formulas(forms_of(FORMS["attention in its parts"]))
    assert attention["Attention"] == "softmax(0.5 q k) v"
    assert formulas([fast("cbam_channel")])["MeanAndMax"] == "[Σ x / hw, max x]"
    assert formulas([fast("cbam_spatial")])["MeanAndMax"] == "[max x, Σ x / c]"
    weighed = formulas([fast("sk")])["WeighedSum"]
    assert weighed.count(" · ") == 2 and " + " in weighed
    weighed = WeighedSum(of=tuple(map(named, "abcd")), by=tuple(map(named, "wxyz")))
    assert weighed.formula() == "a · w + … + d · z"
    assert list(map(str, weighed.carries())) == ["a", "b", "c", "d"]


def fast(name: str) -> Graph:
    spec = load_spec(name)
    return compile_graph(graph_of(spec, Settings(sizes_for(spec, 64, (8, 8)))))


FIGURE = set(map(chr, [*range(32, 127), *range(160, 256), *range(0x391, 0x3CA)])) | set("−√′…")


@pytest.mark.parametrize("name", SPECS)
def test_the_figure_s_font_has_every_character(name: str) -> None:
    spec = load_spec(name)
    graphs = fast(name), compile_graph(graph_of(spec, Settings()), as_written=True)
    for graph in graphs:
        for node in graph.nodes:
            assert node.op is not None and set(node.op.formula()) <= FIGURE, node.op.formula()


def test_the_characters_of_the_table() -> None:
    assert set("".join(formula for _, formula in FORMULAS)) <= FIGURE


@pytest.mark.parametrize(("op", "carried"), [
    ("{op: reweight, x: split, by: select, sum: k}", ["split"]),
    ("{op: pool, x: input, over: c, reduce: power, exponent: p}", ["input"]),
    ("{op: attention, q: q, k: k, v: v, over: n, along: d}", ["v"]),
    ("{op: product, of: [q, k], sum: d}", ["q", "k"]),
    ("{op: conv2d, x: input, weight: kernel}", ["input"]),
    ("{op: conv2d, x: one, kernel: 3}", ["one"]),
    ("{op: resize, x: small, over: [h, w], like: input}", ["small"]),
    ("{op: fold, x: near, axes: m, over: h, like: input}", ["near"]),
    ("{op: concat, of: [one, two], axis: c}", ["one", "two"]),
    ("{op: add, of: [input, weighed]}", ["input", "weighed"]),
    ("{op: sub, of: [1, gate]}", ["gate"]),
    ("{op: stack, of: [max, mean], axis: s}", ["max", "mean"]),
    ("{op: parameter, axes: {c: c}, init: 1}", []),
    ("{op: gate, x: logits}", ["logits"]),
])  # fmt: skip
def test_what_a_node_carries_on(op: str, carried: list[str]) -> None:
    known = with_references(read(op), carried)
    assert list(map(str, known.carries())) == carried

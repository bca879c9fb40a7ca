# ruff: noqa: E501 - what is printed, as it is printed
"""What `composer show` explains: formulas, growth of the cost, the receptive field; all of it true."""

from __future__ import annotations

import re
from fractions import Fraction
from math import prod
from pathlib import Path

import matplotlib
import pytest
import torch
from matplotlib.mathtext import MathTextParser
from shipped import SHIPPED, TYPICAL

from composer.drawing.equations import right
from composer.graph.costs import node_costs, open_sizes
from composer.graph.formula import equations
from composer.graph.frontend import graph_of, load_spec
from composer.graph.growth import growth
from composer.graph.passes import compile_graph
from composer.graph.receptive import receptive_field, shown
from composer.graph.sizes import settings_at
from composer.language.library import shipped_folder
from composer.lower.build import build

matplotlib.use("Agg")
IT = "name: it\ninput: [b, c, h, w]\nnodes:\n"


def graph_at(spec, channels, size, params=None):
    return compile_graph(
        graph_of(spec, settings_at(spec, channels, size, params or {})), as_written=True
    )


# ---------------------------------------------------------------------------------------- growth


def value(polynomial: str, **sizes: int) -> Fraction:
    """Return what a polynomial comes to, read from its text."""
    total, sign = Fraction(0), 1
    for term in polynomial.replace("−", "- ").split():
        if term in "+-":
            sign = -1 if term == "-" else 1
            continue
        found = re.fullmatch(r"([\d,]*)((?:[a-z][²³]?)*)(?:/(\d+))?", term)
        factor = Fraction(int(found[1].replace(",", "") or 1), int(found[3] or 1))
        powers = re.findall(r"([a-z])([²³]?)", found[2])
        total += sign * factor * prod(sizes[a] ** {"": 1, "²": 2, "³": 3}[p] for a, p in powers)
        sign = 1
    return total


def counted(spec, channels, size):
    """Return parameters and multiply-adds of a graph compiled for exactly these sizes."""
    graph = graph_at(spec, channels, size)
    costs = node_costs(graph, open_sizes(spec, size)).values()
    return sum(c.parameters for c in costs), sum(c.flops for c in costs)


#: A kernel that is a step function of log2(c); tables whose cost has higher powers.
NO_POLYNOMIAL = {"eca", "mlca", "axial", "axial_height", "coatnet_attention"}


@pytest.mark.quick(12, then="long")
@pytest.mark.parametrize("name", SHIPPED)
def test_the_polynomial_is_what_is_counted(name):
    spec = load_spec(name)
    grown = growth(graph_at(spec, 256, (14, 14)), (14, 14))
    if name in NO_POLYNOMIAL:
        assert (grown.parameters, grown.flops, grown.steps) == (None, None, None)
        assert grown.lines()[0] == "the cost is not a polynomial in the sizes"
        return
    steps = grown.steps
    side = steps.get("h", 14)
    for of_c, of_h, of_w in ((1, 1, 1), (3, 2, 1), (2, 11, 7), (3, 1, 3)):
        c, h, w = steps["c"] * of_c, side * of_h, side * of_w
        sizes = {"c": c, "h": h, "w": w, "n": h * w}
        assert (value(grown.parameters, **sizes), value(grown.flops, **sizes)) == counted(
            spec, c, (h, w)
        )


@pytest.mark.parametrize("name", SHIPPED)
def test_twice_the_size_is_what_is_counted(name):
    spec = load_spec(name)
    grown = growth(graph_at(spec, 256, (14, 14)), (14, 14))
    here, wide, large = (
        counted(spec, c, (s, t)) for c, s, t in ((256, 14, 14), (512, 14, 14), (256, 28, 28))
    )
    for axes, there in ((["c"], wide), (grown.places, large)):
        if axes == ["n"]:
            there = counted(spec, 256, (28, 14))  # twice as many tokens
        expected = tuple(
            pytest.approx(b / a) if a else None for a, b in zip(here, there, strict=True)
        )
        assert grown.times(axes) == expected


POLYNOMIALS = {
    "se": ("c²/8 + 17c/16", "c²/8"),
    "cbam_spatial": ("100", "100hw"),
    "se_var1": ("0", "0"),
    "bot_mhsa": ("3c² + ch/2 + cw/2 − c/2", "2ch²w² + 3c²hw + ch²w + chw²"),
    "mhsa": ("4c² + 4c", "4c²n + 2cn²"),
}  # fmt: skip


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_a_polynomial_as_it_is_written(name):
    spec = load_spec(name)
    grown = growth(graph_at(spec, 256, (14, 14)), (14, 14))
    assert (grown.parameters, grown.flops) == POLYNOMIALS[name]


# ------------------------------------------------------------------------------- receptive field

LOCAL = {
    "two convolutions": (IT + "  a: {op: conv2d, kernel: 3}\n  b: {op: conv2d, kernel: 5}\n", {"h": 7, "w": 7}),
    "dilated": (IT + "  a: {op: conv2d, kernel: 3, dilation: 3}\n", {"h": 7, "w": 7}),
    "after a stride": (IT + "  a: {op: conv2d, kernel: 3, stride: 2}\n  b: {op: conv2d, kernel: 3}\n", {"h": 7, "w": 7}),
    "windows": (IT + "  a: {op: pool, over: [h, w], kernel: 3}\n  b: {op: conv2d, kernel: 3}\n", {"h": 5, "w": 5}),
    "each place": (IT + "  a: {op: linear, over: c}\n  g: {op: gate}\n  z: {op: reweight, x: input, by: g}\n", {"h": 1, "w": 1}),
    "beside one another": (IT + "  a: {op: conv2d, kernel: 3}\n  b: {op: conv2d, x: input, kernel: 7}\n  z: {op: add, of: [a, b]}\n", {"h": 7, "w": 7}),
    "one axis pooled": (IT + "  a: {op: pool, over: w}\n  z: {op: mul, of: [input, a]}\n", {"h": 1, "w": None}),
    "along one axis": (IT + "  a: {op: conv1d, along: h, kernel: 5}\n", {"h": 5, "w": 1}),
    "attention along one axis": (IT + "  a: {op: attention, q: input, k: input, v: input, over: w, along: c}\n", {"h": 1, "w": None}),
    "softmax over places": (IT + "  n: {op: merge, axes: [h, w], into: n}\n  s: {op: gate, fn: softmax, over: n}\n  z: {op: split, axis: n, into: {h: h, w: w}}\n", {"h": None, "w": None}),
    "a mix of places": (IT + "  z: {op: linear, over: h}\n", {"h": None, "w": 1}),
    "no input at all": (IT + "  p: {op: parameter, axes: {c: c}, init: 1}\n  z: {op: gate}\n", {"h": 0, "w": 0}),
}  # fmt: skip


def measured(module, shape, places, largest=0.5):
    """Return how many places of the input the middle of the output depends on, by gradients."""
    module.double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.4 * largest, largest, generator=generator)
    seen = torch.zeros(shape, dtype=torch.bool)
    for _ in range(4):
        x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        out = module(x)
        middle = out
        for axis in range(2, out.dim()):
            middle = middle.select(2, out.shape[axis] // 2)
        (gradient,) = torch.autograd.grad(middle.sum(), x, allow_unused=True)
        seen |= gradient.ne(0) if gradient is not None else False
    found = {}
    for number, place in enumerate(places, 2):
        others = [d for d in range(len(shape)) if d != number]
        at = seen.amax(others).nonzero().flatten()
        size = int(at.max() - at.min()) + 1 if len(at) else 0
        found[place] = None if size == shape[number] else size
    return found


FIELDS = [*((name, {}) for name in TYPICAL),
          *((name, {"extent": 4}) for name in ("ge_theta_minus", "ge_theta", "ge_theta_plus"))]  # fmt: skip


#: Those that see further than 16 places.
WIDE = {"lka", "lsk"}
#: Places that are told apart by tables, or split into windows, are not followed.
MIXED = {"axial", "axial_height", "coatnet_attention", "criss_cross", "outlook", "swin_window"}


@pytest.mark.parametrize(("name", "params"), FIELDS, ids=str)
def test_the_receptive_field_is_what_gradients_reach(name, params):
    spec, side = load_spec(name), 33 if name in WIDE else 16
    claimed = receptive_field(graph_at(spec, 32, (side, side), params))
    if name in MIXED:
        assert claimed is None
        return
    assert claimed is not None
    module = build(spec, channels=32, size=(side, side), params=params)
    if "n" in claimed:
        x = torch.randn(1, 256, 32, dtype=torch.float64, requires_grad=True)
        module.double().eval()(x)[:, 4].sum().backward()
        assert x.grad.abs().sum((0, 2)).ne(0).all()
        assert claimed == {"n": None}
        return
    largest = 0.05 if name == "lsk" else 0.5  # else its sigmoids are 1 in float64
    assert claimed == measured(module, (1, 32, side, side), ["h", "w"], largest)


@pytest.mark.parametrize("name", LOCAL)
def test_windows_add_up(name):
    text, expected = LOCAL[name]
    spec = load_spec(text)
    assert receptive_field(graph_at(spec, 4, (33, 33))) == expected
    if expected is not None and name != "no input at all":
        module = build(spec, channels=4, size=(33, 33))
        assert measured(module, (1, 4, 33, 33), ["h", "w"]) == expected


SHOWN = [
    (None, "not known: an op mixes positions in a way that is not tracked"),
    ({"h": None, "w": None}, "the whole map"), ({"n": None}, "all tokens"), ({"h": 7, "w": 7}, "7×7"),
    ({"h": 1, "w": 1}, "1×1: pointwise"), ({"h": None, "w": 7}, "h: all, w: 7"),
    ({}, "no spatial axes"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "words"), SHOWN, ids=str)
def test_a_receptive_field_in_words(found, words):
    assert shown(found) == words


# --------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("name", SHIPPED)
def test_a_formula_names_what_its_node_reads(name):
    graph = graph_at(load_spec(name), 64, (14, 14))
    for one in equations(graph):
        node = graph.by_name[one.name]
        for ref in {str(ref) for ref in node.op.carries()}:
            assert re.search(rf"(?<![\w.]){re.escape(ref)}(?![A-Za-z0-9_])", one.formula), str(one)
        assert one.axes == node.axes.names
        assert not re.search(r"operand[a-z]", one.formula)


@pytest.mark.quick(9, then="long")
@pytest.mark.parametrize("name", SHIPPED)
def test_latex_is_maths(name):
    """Read by another parser of LaTeX's maths, and in ASCII alone."""
    graph = graph_at(load_spec(name), 64, (14, 14))
    parser = MathTextParser("path")
    for one in equations(graph):
        written = right(one, {"input", *graph.by_name})
        assert written.isascii()
        assert (r"\surd" in written, r"\sqrt" in written) == (False, "√" in one.formula)
        parser.parse(f"${written}$")


FORMULAS = {
    "reads an x of another name": (
        "  y: {op: gate}\n  x: {op: gate, x: input, fn: tanh}\n  z: {op: reweight, x: y, by: x}\n",
        ["y = σ(input)", "x = tanh(input)", "z = y · x"],
    ),
    "names like letters": (
        "  q: {op: linear, over: c}\n  k: {op: linear, x: q, over: c}\n"
        "  v: {op: attention, q: k, k: q, v: k, over: [h, w], along: c}\n",
        ["q = W input + b", "k = W q + b", "v = softmax(k q / √d) k"],
    ),
    "a kernel that is a value": (
        "  k: {op: parameter, axes: {o: c, i: c, kh: 3, kw: 3}, init: conv}\n"
        "  z: {op: conv2d, x: input, weight: k}\n",
        ["k = parameter [o, i, kh, kw]", "z = k * input"],
    ),
    "axes laid out": (
        "  s: {op: split, axis: c, into: {g: 4, d: c / 4}}\n  z: {op: merge, axes: [d, g], into: c}\n",
        ["s = input with c = g · d", "z = s with c = d · g"],
    ),
    "axes like letters": (
        "  n: {op: rename, axes: {h: v, w: x}}\n  f: {op: unfold, over: x, kernel: 3, into: k}\n"
        "  r: {op: roll, over: x, by: 1}\n  p: {op: pool, over: x}\n",
        ["n = input with v = h, x = w", "f = n[x + k]", "r = f[x − 1]", "p = Σ r / x"],
    ),
    "powers": (
        "  p: {op: parameter, axes: {}, init: 3}\n  s: {op: apply, x: input, fn: pow, exponent: 0.5}\n"
        "  g: {op: pool, over: c, reduce: power, exponent: 3}\n"
        "  z: {op: pool, over: [h, w], reduce: power, exponent: p}\n",
        ["p = parameter []", "s = input^0.5", "g = (Σ s³ / c)^(1/3)", "z = (Σ g^p / hw)^(1/p)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula(name):
    text, expected = FORMULAS[name]
    assert list(map(str, equations(graph_at(load_spec(IT + text), 64, (14, 14))))) == expected


# -------------------------------------------------------------------------------------- the command


def test_show_explains(run):
    assert run.fine("show", "se").out.partition("\nformulas\n")[2] == (
        "  squeeze = Σ input / hw  [b, c]\n"
        "  excite  = W2 relu(W1 squeeze + b1) + b2  [b, c]\n"
        "  gate    = σ(excite)  [b, c]\n"
        "  out     = input · gate  [b, c, h, w]\n"
        "\n"
        "parameters    = c²/8 + 17c/16  (exact at multiples of c = 256, h = 14, w = 14)\n"
        "multiply-adds = c²/8\n"
        "with c twice as large: 3.94× the parameters and 4× the multiply-adds\n"
        "with h and w twice as large: 1× the parameters and 1× the multiply-adds\n"
        "receptive field: the whole map\n"
        "note: The paper's equation 3 shows no biases; the authors' Caffe models have them, and so does this (bias).\n"
    )
    found = run.fine("show", "cbam_spatial", "--json").json
    assert found["receptive_field"] == {"h": 7, "w": 7}
    assert found["formulas"]["mean"] == "Σ input / c"
    assert found["growth"] == {
        "parameters": "100", "flops": "100hw", "multiples_of": {"c": 256, "h": 14, "w": 14},
        "doubled": {"channels": {"parameters": 1.0, "flops": 1.0}, "size": {"parameters": 1.0, "flops": 4.0}},
    }  # fmt: skip


def test_latex(run):
    assert (
        run.fine("show", "se", "--latex").out
        == r"""\begin{aligned}
  \mathrm{squeeze} &= \sum \ \mathrm{input}\ /\ hw \\
  \mathrm{excite} &= W_{2}\ \mathrm{relu}(W_{1}\ \mathrm{squeeze}\ +\ b_{1})\ +\ b_{2} \\
  \mathrm{gate} &= \sigma (\mathrm{excite}) \\
  \mathrm{out} &= \mathrm{input}\ \cdot \ \mathrm{gate}
\end{aligned}
"""
    )


def test_latex_of_powers():
    graph = graph_at(load_spec(IT + FORMULAS["powers"][0]), 64, (14, 14))
    parser = MathTextParser("path")
    found = [right(one, {"input", *graph.by_name}) for one in equations(graph)]
    assert found[1:] == [
        r"\mathrm{input}^{0.5}", r"(\sum \ s^{3}\ /\ c)^{1/3}", r"(\sum \ g^{p}\ /\ hw)^{1/p}",
    ]  # fmt: skip
    for one in found:
        parser.parse(f"${one}$")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_text_as_it_is(run, name):
    text = (shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    assert run.fine("show", name, "--yaml").out == text


def test_the_text_of_a_faulty_spec(run):
    Path("bad.yaml").write_text("nodes: {z: {op: softmax}}")
    assert run.fine("show", "bad.yaml", "--yaml").out == "nodes: {z: {op: softmax}}"


@pytest.mark.parametrize(
    ("one", "other"),
    [("--yaml", "--latex"), ("--yaml", "--json"), ("--latex", "--json"), ("--latex", "--code")],
)
def test_two_ways_to_show_it(run, one, other):
    result = run("show", "se", one, other)
    assert result.status == 2
    assert (
        result.err
        == f"error[usage]: {one} and {other} exclude each other\n  help: choose one of them\n"
    )

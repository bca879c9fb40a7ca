"""Tables of numbers that are not learned: their values, and what a module keeps of them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probe import analysed, lowered, random, spec_text
from test_expressions import NUMBERS, _trees
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode

import composer
from composer.errors import ComposerError
from composer.graph.frontend import check_text
from composer.graph.neighbours import reads_shape
from composer.kernels.table import table, values
from composer.language.expressions import Expr, ExpressionError, bind, parse
from composer.lower.emitter import _tree

WAVES = "{op: constant, axes: {y: 3, c: c}, value: sin(y / 7 ** (c / 3)) + 1 / 3}"
KEPT = spec_text(f"waves: {WAVES}\nout: {{op: mul, of: [input, waves]}}")
OPEN = spec_text("""
    waves: {op: constant, axes: {h: h, c: c}, value: "sin(h / w + 1 / 3) if h > c else 0.1"}
    out: {op: mul, of: [input, waves]}""")  # fmt: skip


def waves(channels: int = 4) -> Tensor:
    y, c = torch.arange(3.0, dtype=torch.float64)[:, None], torch.arange(channels).double()
    return (y / 7 ** (c / 3)).sin() + 1 / 3


def of_open(x: Tensor) -> Tensor:
    c, h = torch.arange(x.shape[1])[:, None], torch.arange(x.shape[2]).double()
    made = torch.where(h > c, (h / x.shape[3] + 1 / 3).sin(), 0.1)
    return made[..., None]


def kept(module: fx.GraphModule) -> Tensor:
    found: Tensor = module.get_submodule("waves.table")()
    return found


# ------------------------------------------------------------------------------- what is kept


def test_it_is_no_part_of_the_state_dict() -> None:
    for text in (KEPT, OPEN):
        module = composer.build(text, 4)
        assert not module.state_dict() and not list(module.parameters())
        module.load_state_dict({}, strict=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_dtype_has_it_rounded_once(dtype: torch.dtype) -> None:
    want = waves().to(dtype)
    for module in (
        composer.build(KEPT, 4, dtype=dtype),
        composer.build(KEPT, 4).half().to(dtype),
        composer.build(KEPT, 4).bfloat16().double().to(dtype),
        copy.deepcopy(composer.build(KEPT, 4).half()).to(dtype),
        pickle.loads(pickle.dumps(composer.build(KEPT, 4).half())).to(dtype),
    ):
        assert kept(module).dtype == dtype
        torch.testing.assert_close(kept(module), want, rtol=0, atol=torch.finfo(dtype).eps / 2)
    x = random(2, 4, 3, 5).to(dtype)
    assert composer.build(KEPT, 4, dtype=dtype)(x).dtype == dtype
    assert composer.build(OPEN, 4)(x).dtype == dtype


def test_a_double_is_exact() -> None:
    assert torch.equal(kept(composer.build(KEPT, 4).half().double()), waves())


def test_without_memory_and_with_it_again() -> None:
    with torch.device("meta"):
        module = composer.build(KEPT, 4)
    assert kept(module).is_meta
    module = module.to_empty(device="cpu")
    torch.testing.assert_close(kept(module), waves().float())
    torch.testing.assert_close(kept(module.to_empty(device="cpu").double()), waves())


@pytest.mark.parametrize("text", [KEPT, OPEN], ids=["kept", "computed"])
def test_of_fake_tensors(text: str) -> None:
    with FakeTensorMode():
        module = composer.build(text, 4, device="cuda", dtype=torch.bfloat16)
        y = module(torch.empty(2, 4, 3, 5, device="cuda", dtype=torch.bfloat16))
    assert (y.device.type, y.dtype) == ("cuda", torch.bfloat16)


def test_any_memory_format_and_number_of_axes() -> None:
    axes = ", ".join(f"{axis}: 2" for axis in "pqrst")
    for few in (axes, axes[:-6], axes[:-12]):
        text = spec_text(f"out: {{op: constant, axes: {{{few}}}, value: p + 2 * q + 4 * r}}")
        module = composer.build(text, 4).to(memory_format=torch.channels_last)
        made = module(random(2, 4, 3, 5))
        assert made.flatten()[: 2 ** (made.dim() - 1)].max() == 6
        assert made[1, 1, 1].min() == made[1, 1, 1].max() == 7


def test_copies_share_nothing_and_equal_tables_are_one() -> None:
    one = composer.build(KEPT, 4)
    other = copy.deepcopy(one).double()
    assert kept(one).dtype == torch.float32 and kept(other).dtype == torch.float64
    twice = f"a: {WAVES}\nb: {WAVES}\nout: {{op: mul, of: [input, a, b]}}"
    module = composer.build(spec_text(twice), 4)
    assert len(list(module.buffers())) == 1


# ----------------------------------------------------------------------------- what is computed


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("text", [KEPT, OPEN], ids=["kept", "computed"])
def test_traced_compiled_and_exported(text: str) -> None:
    module = composer.build(text, 4, size=(3, 5)).double()
    want = (lambda x: x[:, None] * waves()[:, :, None, None]) if text is KEPT else (
        lambda x: x * of_open(x))  # fmt: skip
    torch.compiler.reset()
    whole = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager", dynamic=True)
    x = random(2, 4, 6, 9)
    auto = torch.export.Dim.AUTO
    program = torch.export.export(module, (x,), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    assert not program.state_dict
    traced = fx.symbolic_trace(module)
    again = pickle.loads(pickle.dumps(module))
    for shape in ((2, 4, 6, 9), (3, 4, 7, 7), (2, 4, 12, 5)):
        x = random(*shape)
        for one in (module, whole, program.module(), traced, again, copy.deepcopy(module)):
            torch.testing.assert_close(one(x), want(x), rtol=1e-12, atol=1e-12)


@pytest.mark.long
def test_a_whole_compiled_module() -> None:
    for text in (KEPT, OPEN):
        torch.compiler.reset()
        module = composer.build(text, 4, compile=True)
        x = random(2, 4, 6, 9).float()
        torch.testing.assert_close(module(x), composer.build(text, 4)(x))


def test_a_trace_keeps_it_one_call() -> None:
    again = fx.symbolic_trace(composer.build(OPEN, 4))
    assert next(n.target for n in again.graph.nodes if n.op == "call_function") is table


def test_an_axis_is_its_index_and_hides_a_size_of_its_name() -> None:
    nodes = "out: {op: constant, axes: {h: h, c: c}, value: h * 100 + c + half}"
    text = spec_text(nodes, params="{half: h / 2}")  # the param is over the size h
    for module in (composer.build(text, 4), composer.build(text, 4, size=(6, 5)),
                   lowered(text, {"c": 4, "h": 6, "w": 5})):  # fmt: skip
        x = random(2, 4, 6, 5)
        want = torch.arange(4)[:, None] + 100 * torch.arange(6) + 3.0
        torch.testing.assert_close(module.double()(x), want.double())


def test_repeats_of_a_used_spec_have_tables_of_their_own(tmp_path: Path) -> None:
    nodes = "table: {op: constant, axes: {c: c}, value: c + n}\nout: {op: add, of: [input, table]}"
    (tmp_path / "it.yaml").write_text(spec_text(nodes, params="{n: 0}"))
    each = "{op: use, spec: it.yaml, params: {n: 10 * k}}"
    for shared in ("true", "false"):
        chain = f"out: {{op: repeat, times: 3, index: k, shared: {shared}, each: {each}}}"
        (tmp_path / "outer.yaml").write_text(spec_text(chain))
        module = composer.build(str(tmp_path / "outer.yaml"), 4).double()
        x = random(2, 4, 3, 5)
        want = x + (3 * torch.arange(4) + 30)[:, None, None]
        torch.testing.assert_close(module(x), want)


@pytest.mark.long
def test_inside_a_network() -> None:
    backbone = timm.create_model("resnet18", num_classes=3, zero_init_last=False).eval()
    plain = "a: {op: constant, axes: {c: c}, value: sin(c) + 2}\nout: {op: mul, of: [input, a]}"
    for text in (spec_text(plain), OPEN):
        spec = f"{text}insert: {{at: block}}\n"
        model = composer.insert(backbone, spec)
        assert model.state_dict().keys() == backbone.state_dict().keys()
        x = torch.randn(1, 3, 64, 64)
        y = model(x)
        assert not torch.allclose(y, backbone(x))
        twin = copy.deepcopy(model).double()(x.double()).float()
        torch.testing.assert_close(twin, y, rtol=1e-3, atol=1e-4)  # of a whole network in float32
        assert model.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(("value", "reads"), [
    ("y / h", True), ("y + h * w", True), ("h / w", True), ("y", False), ("h * w", False),
])  # fmt: skip
def test_whether_it_reads_the_shape_of_a_map(value: str, reads: bool) -> None:
    text = spec_text(f"a: {{op: constant, axes: {{y: 3}}, value: {value}}}")
    assert reads_shape(analysed(text, {"c": 4})) == reads


def test_on_maps_of_other_dimensions() -> None:
    plain = spec_text("a: {op: constant, axes: {c: c}, value: c / (h * w)}")
    made = composer.build(plain, 4, size=(2, 3, 5)).double()(random(1, 4, 2, 3, 5))
    torch.testing.assert_close(made, torch.arange(4).double() / 30)
    flat = spec_text("a: {op: constant, axes: {h: h, w: w}, value: h * w}")
    with pytest.raises(ComposerError) as failure:
        composer.build(flat, 4, size=(2, 3, 5))
    (problem,) = failure.value.diagnostics
    assert problem.code == "two-dimensional"
    assert problem.message.startswith("'a' counts along only 'h', so 'probe' is for maps [h, w]")


# ------------------------------------------------------------------------------------- values

INDICES = ("a", "b")
TREES = _trees(st.one_of(NUMBERS, st.sampled_from(INDICES).map(lambda n: Expr("name", n))))


@pytest.mark.long
@settings(max_examples=300, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(TREES, st.integers(1, 4), st.integers(1, 4))
def test_each_element_is_what_the_expression_comes_to(tree: Expr, first: int, second: int) -> None:
    try:
        tree = bind(tree, {})
    except ExpressionError:
        return
    found = values(_tree(tree), INDICES, (first, second), {}, "cpu", strict=True)
    plain = values(_tree(tree), INDICES, (first, second), {}, "cpu")
    assert found.shape == plain.shape == (first, second)
    for a in range(first):
        for b in range(second):
            try:
                want = float(bind(tree, {"a": a, "b": b}).value)
            except ExpressionError:
                assert found[a, b].isnan()
                continue
            assert float(found[a, b]) == pytest.approx(want, rel=1e-9, abs=1e-9)
            assert float(plain[a, b]) == pytest.approx(want, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("text", [
    "log(a)", "log(a) ** 0", "1 ** log(a)", "1 if log(a) > 0 else 2", "min(log(a), 3)",
    "0 * log(a)", "1 / a * 0", "2 if 1 / a else 3", "(0.5 - a) ** -64 * 0", "2 ** (65 - 9 * a) * 0",
    "(a - 1) ** 0.5",
])  # fmt: skip
def test_what_has_no_value_inside_has_none_outside(text: str) -> None:
    found = values(_tree(parse(text)), ["a"], [3], {}, "cpu", strict=True)
    with pytest.raises(ExpressionError):
        bind(parse(text), {"a": 0})
    assert found[0].isnan() and found[2].isfinite()
    bind(parse(text), {"a": 2})


# ----------------------------------------------------------------------------------- what is said

SAID = {
    "{op: constant, axes: {y: 9}, value: log(y)}": """\
spec.yaml:5:44: error[no-value]: at y = 0, log(0) has no value: a logarithm needs a positive number
    5 |   out: {op: constant, axes: {y: 9}, value: log(y)}
      |                                            ^^^^^^
  help: indices count from 0; to exclude one, write 'log(y) if y != 0 else 0'
""",
    "{op: constant, axes: {y: 9, x: 2}, value: exp(y * 9) + x}": """\
spec.yaml:5:50: error[value-too-large]: at y = 8, x = 0, exp(72) passes 1e+15
    5 |   out: {op: constant, axes: {y: 9, x: 2}, value: exp(y * 9) + x}
      |                                                  ^^^^^^^^^^^^^^
  help: indices count from 0; to exclude one, write 'exp(y * 9) + x if y != 8 else 0'
""",
    "{op: constant, axes: {y: 9999, x: 9999}, value: 1}": """\
spec.yaml:5:29: error[value-too-large]: a table of 9,999 × 9,999 elements is more than 10,000,000
    5 |   out: {op: constant, axes: {y: 9999, x: 9999}, value: 1}
      |                             ^^^^^^^^^^^^^^^^^^
  help: make one for each axis, and combine them with mul or add
""",
    "{op: constant, axes: {y: 9}, value: z + 1}": """\
spec.yaml:5:44: error[unknown-name]: no size or param named 'z'
    5 |   out: {op: constant, axes: {y: 9}, value: z + 1}
      |                                            ^
  help: Known here: c, h, w, y
""",
    "{op: constant, axes: {y: 9}}": """\
spec.yaml:5:8: error[missing-field]: the op 'constant' needs the field 'value'
    5 |   out: {op: constant, axes: {y: 9}}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: add 'value: …'
""",
}


@pytest.mark.parametrize("node", SAID)
def test_what_is_said(node: str) -> None:
    _, problems = check_text(spec_text(f"out: {node}"), "spec.yaml")
    assert "".join(f"{p.render()}\n" for p in problems if p.severity == "error") == SAID[node]


def test_what_is_said_of_a_place_in_the_middle() -> None:
    text = spec_text('out: {op: constant, axes: {y: 9, c: c}, value: "1 / ((y - 4) * (c - 2))"}')
    with pytest.raises(ComposerError) as failure:
        composer.build(text, 4)
    (problem,) = failure.value.diagnostics
    assert (problem.code, problem.message, problem.help) == (
        "division-by-zero", "at y = 0, c = 2, 1 / 0 divides by zero",
        "indices count from 0; to exclude one, write "
        "'1 / ((y - 4) * (c - 2)) if y != 0 else 0'",
    )  # fmt: skip
    assert problem.where is not None and problem.where.line == 5

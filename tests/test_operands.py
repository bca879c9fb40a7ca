"""Numbers among the operands of arithmetic: what the passes and other maps make of them."""

from __future__ import annotations

import pytest
import torch
from probe import lowered, random, spec_text
from torch import Tensor

import composer
from composer.graph.frontend import check_text, graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import compile_graph
from composer.lower.build import lower

#: Forms that a pass would take for another, were the number a value; at c = 4, h = 3, w = 5.
FORMS = {
    "a sum of a product with a number": """one: {op: mul, of: [input, 2]}
        out: {op: pool, over: c, reduce: sum}""",
    "a sum of an outer product with a number": """one: {op: linear, over: c, out: {d: 4, m: 2}}
        two: {op: linear, x: input, over: c, out: {d: 4, k: 5}}
        both: {op: mul, of: [one, 0.5, two]}
        out: {op: pool, over: d, reduce: sum}""",
    "a number on the logits": """flat: {op: merge, x: input, axes: [h, w], into: n}
        other: {op: merge, x: input, axes: [h, w], into: m}
        pairs: {op: mul, of: [flat, other]}
        met: {op: pool, over: c, reduce: sum}
        more: {op: add, of: [1.5, met]}
        gate: {op: gate, fn: softmax, over: m}
        v: {op: linear, x: other, over: c, out: {e: 3}}
        weighed: {op: mul, of: [gate, v]}
        out: {op: pool, over: m, reduce: sum}""",
    "a stack summed, then a number": """both: {op: stack, of: [input, input], axis: k}
        sum: {op: pool, over: k, reduce: sum}
        out: {op: sub, of: [1, sum]}""",
    "twice the same number": """one: {op: add, of: [input, 1]}
        two: {op: add, of: [input, 1]}
        three: {op: add, of: [input, 1.0]}
        out: {op: mul, of: [one, two, three]}""",
}


@pytest.mark.parametrize("nodes", FORMS.values(), ids=FORMS)
def test_the_passes_change_no_number(nodes: str) -> None:
    text = spec_text(nodes)
    torch.manual_seed(0)
    plain = lowered(text, {"c": 4})
    fast = lower(compile_graph(graph_of(load_spec(text), Settings({"c": 4})))).double()
    fast.load_state_dict(plain.state_dict())
    x = random(2, 4, 3, 5)
    torch.testing.assert_close(fast(x), plain(x), rtol=1e-9, atol=1e-9)


def test_a_number_that_is_chosen_by_a_param() -> None:
    nodes = "out: {op: mul, of: [input, other if mixed else 3]}\nother: {op: pool, over: [h, w]}"
    text = spec_text(nodes.replace("pool,", "pool, x: input,"), params="{mixed: true}")
    x = random(2, 4, 3, 5)
    mean = composer.build(text + "output: out\n", 4).double()(x)
    torch.testing.assert_close(mean, x * x.mean((2, 3), keepdim=True))
    plain = composer.build(text + "output: out\n", 4, params={"mixed": False}).double()(x)
    torch.testing.assert_close(plain, x * 3)


@pytest.mark.parametrize(("size", "shape"), [((5,), (2, 4, 5)), ((2, 3, 5), (2, 4, 2, 3, 5))])
def test_a_number_of_places_on_other_maps(size: tuple[int, ...], shape: tuple[int, ...]) -> None:
    text = spec_text("out: {op: div, of: [input, h * w - 1]}")
    x = random(*shape)
    module = composer.build(text, 4, size=size).double()
    torch.testing.assert_close(module(x), x / (x[0, 0].numel() - 1))


def test_a_used_spec_has_numbers_of_its_own(tmp_path) -> None:  # type: ignore[no-untyped-def]
    inner = spec_text("h: {op: pool, over: [h, w]}\nout: {op: sub, of: [eps, h]}",
                      params="{eps: 0.25}")  # fmt: skip
    (tmp_path / "inner.yaml").write_text(inner)
    outer = spec_text("out: {op: use, spec: inner.yaml, params: {eps: c / 2}}")
    (tmp_path / "outer.yaml").write_text(outer)
    x = random(2, 4, 3, 5)
    module = composer.build(str(tmp_path / "outer.yaml"), 4).double()
    torch.testing.assert_close(module(x), 2 - x.mean((2, 3)))


def test_a_number_follows_dtype_and_size() -> None:
    module = composer.build(spec_text("out: {op: add, of: [input, 1e-5 * h]}"), 4)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x: Tensor = random(2, 4, 3, 5).to(dtype)
        assert module.to(dtype)(x).dtype == dtype
        torch.testing.assert_close(module(x), x + 3e-5)


SAID = {
    "out: {op: add, of: [input, 1e-5, kind]}": """\
spec.yaml:5:36: error[invalid-value]: expected a node or a number, but kind is the word fast
    5 |   out: {op: add, of: [input, 1e-5, kind]}
      |                                    ^^^^
  help: here kind = fast
""",
    "out: {op: add, of: [1, 2 * c]}": """\
spec.yaml:5:22: error[invalid-value]: add needs at least one node, and these are only numbers
    5 |   out: {op: add, of: [1, 2 * c]}
      |                      ^^^^^^^^^^
  help: name a node, or 'input'; compute numbers with an expression: '1 + 2 * c'
""",
    "out: {op: mul, of: [input, input ** 2]}": """\
spec.yaml:5:30: error[not-a-number]: 'input' is a node, and expressions take only numbers, sizes and params
    5 |   out: {op: mul, of: [input, input ** 2]}
      |                              ^^^^^^^^^^
  help: write a node for input ** 2, such as twice: {op: mul, of: [input, 2]}
""",  # noqa: E501
    "out: {op: mul, of: [input, wdth]}": """\
spec.yaml:5:30: error[unknown-node]: no node, size or param named 'wdth'
    5 |   out: {op: mul, of: [input, wdth]}
      |                              ^^^^
  help: did you mean 'width'? Defined so far: input, c, h, w, kind, width
""",
    "out: {op: div, of: [input, width - 3]}": """\
spec.yaml:5:30: error[division-by-zero]: 'out' divides by zero
    5 |   out: {op: div, of: [input, width - 3]}
      |                              ^^^^^^^^^
  help: divide by a number that is not zero
""",
    "out: {op: mul, of: [input, false]}": """\
spec.yaml:5:30: error[invalid-value]: false is neither a node nor a number
    5 |   out: {op: mul, of: [input, false]}
      |                              ^^^^^
  help: name a node, or 'input'
""",
}


@pytest.mark.parametrize("node", SAID)
def test_what_is_said(node: str) -> None:
    params = "{kind: {default: fast, choices: [fast, slow]}, width: 3}"
    _, problems = check_text(spec_text(node, params=params), "spec.yaml")
    assert "".join(f"{p.render()}\n" for p in problems if p.severity == "error") == SAID[node]

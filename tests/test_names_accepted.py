"""What `check` accepts builds, runs, pickles and is inserted, whatever its names and sizes are."""

from __future__ import annotations

import builtins
import keyword
import pickle
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import fx, nn

import composer
from composer.errors import ComposerError
from composer.graph.frontend import check_text
from composer.lower.of_torch import torch_told

HEAD = "name: it\ninput: [b, c, h, w]\n"
#: What stands where a name may, each with the name in several of its places.
FORMS = {
    "node": "nodes:\n  {n}: {{op: conv2d, kernel: 1}}\n  out_: {{op: gate}}\n"
            "  last_: {{op: mul, of: [{n}, out_]}}\n",
    "parameter": "nodes:\n  {n}: {{op: parameter, axes: {{c: c}}, init: 1}}\n"
                 "  last_: {{op: mul, of: [input, {n}]}}\n",
    "table": "nodes:\n  {n}: {{op: constant, axes: {{c: c}}, value: c}}\n"
             "  last_: {{op: mul, of: [input, {n}]}}\n",
    "use": "nodes:\n  {n}: {{op: use, spec: se, params: {{reduction: 2}}}}\n"
           "  last_: {{op: repeat, times: 2, each: {{op: gate}}}}\n",
    "param": "params: {{{n}: 3}}\nnodes:\n  last_: {{op: conv2d, kernel: {n}}}\n",
    "axis": "nodes:\n  z_: {{op: branch, axis: {n}, times: 2, each: {{op: conv2d, kernel: 1}}}}\n"
            "  last_: {{op: pool, over: {n}}}\n",
    "index": "nodes:\n  z_: {{op: constant, axes: {{{n}: c}}, value: {n} * 2}}\n"
             "  y_: {{op: rename, axes: {{{n}: c}}}}\n  last_: {{op: mul, of: [input, y_]}}\n",
}  # fmt: skip
OF_PYTHON = [*keyword.kwlist, *keyword.softkwlist, *dir(builtins)]
OF_TORCH = [*dir(fx.GraphModule), "torch", "device", "fx", "nn", "root", "operator", "math"]
OTHERS = [
    "self", "graph", "meta", "forward", "training", "modules", "x", "X", "args", "kwargs", "a",
    "A", "aA", "Aa", "conv", "norm", "weight", "bias", "value", "table", "input_1", "x_1",
    "output", "input_of_size", "tokens_size", "permute", "size", "size_1", "clone", "None_",
    "k__", "name", "placeholder", "get_attr", "call_module", "inf", "nan", "pi", "b", "c", "h",
    "w", "n", "d", "t", "i", "true", "on", "yes", "null",
]  # fmt: skip
NAMES = list(dict.fromkeys([*OTHERS, *OF_PYTHON, *OF_TORCH]))


def built(text: str) -> fx.GraphModule | None:
    """Return the module of a text that the check accepts; None of one that it refuses."""
    spec, _ = check_text(text, "it.yaml")
    return None if spec is None else composer.build(spec, channels=8, size=(6, 6))


@pytest.mark.quick(3, then="long")
@pytest.mark.parametrize(
    ("form", "names", "least"),
    [
        *((form, OTHERS, 20) for form in FORMS),
        *(pytest.param(form, NAMES, 40, marks=pytest.mark.slow) for form in FORMS),
    ],
)  # fmt: skip
def test_names_of_every_kind(form: str, names: list[str], least: int) -> None:
    accepted = 0
    for number, name in enumerate(names):
        module = built(HEAD + FORMS[form].format(n=name))
        if module is None:
            continue
        accepted += 1
        assert module(torch.randn(2, 8, 6, 6)).shape == (2, 8, 6, 6), name
        if number % 8 == 0:
            twin = pickle.loads(pickle.dumps(module))
            assert list(twin.state_dict()) == list(module.state_dict())
            parts = {part for key in twin.state_dict() for part in key.split(".")}
            assert all(part.isidentifier() or part.isdigit() for part in parts)
    assert accepted > least


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x)


@pytest.mark.parametrize("name", ["self", "graph", "meta", "forward", "training", "conv", "x", "T"])
def test_a_spec_of_such_a_name_is_inserted(name: str) -> None:
    spec, problems = check_text(
        f"name: {name}\ninput: [b, c, h, w]\nnodes:\n  z: {{op: conv2d, kernel: 1}}\n", "it.yaml"
    )
    assert spec is not None, problems
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Block(), Block())
    composed = composer.insert(model, spec, at="block")
    new = composed.state_dict().keys() - model.state_dict().keys()
    assert len(new) == 6
    assert composed(torch.randn(1, 3, 9, 9)).shape == (1, 8, 9, 9)


#: One node of a random spec; operands are the nodes above, or the input.
OPS = (
    "op: conv2d, kernel: 3, over: [{a}, {o}], channels: {e}", "op: norm, over: {a}, fn: layer",
    "op: norm, over: {a}", "op: norm, over: [{a}, {o}], fn: l2", "op: pool, over: {a}",
    "op: linear, over: {a}", "op: linear, over: {a}, out: {n}", "op: gate", "op: flip, over: {a}",
    "op: gate, fn: softmax, over: {a}", "op: roll, over: {a}, by: {n}", "op: mul, of: [input, p]",
    "op: conv1d, along: {a}, kernel: 3", "op: mlp, over: {a}, hidden: {n}",
    "op: resize, over: [h, w], like: input", "op: scale, by: {n}", "op: dropout, p: 0.5",
    "op: split, axis: {a}, into: {{k: {n}, {a}: {a} / {n}}}",
    "op: merge, axes: [{a}, {o}], into: q",
)  # fmt: skip
AXES = st.sampled_from("bchwkq")
NODES = st.lists(
    st.tuples(st.sampled_from(OPS), AXES, AXES, AXES, st.sampled_from((1, 2, 3, 8))),
    min_size=1,
    max_size=4,
)


def property_of_a_spec(nodes: list[tuple[str, str, str, str, int]], channels: int) -> None:
    lines = [op.format(a=a, o=o, e=e, n=n) for op, a, o, e, n in nodes]
    text = f"{HEAD}nodes:\n  p: {{op: gate, x: input}}\n" + "".join(
        f"  n{i}: {{{line}}}\n" for i, line in enumerate(lines)
    )
    spec, _ = check_text(text, "it.yaml")
    if spec is None:
        return
    try:
        module = composer.build(spec, channels=channels, size=(4, 6))
    except ComposerError as failure:
        assert all("batch" not in problem.message for problem in failure.diagnostics)
        return
    module.eval()(torch.randn(2, channels, 4, 6))
    assert all(key.split(".")[0][0] in "np" for key in module.state_dict())


@settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(nodes=NODES, channels=st.sampled_from((1, 8, 12)))
def test_what_is_accepted_builds_and_runs(
    nodes: list[tuple[str, str, str, str, int]], channels: int
) -> None:
    property_of_a_spec(nodes, channels)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nodes=NODES, channels=st.sampled_from((1, 8, 12)))
def test_much_that_is_accepted_builds_and_runs(
    nodes: list[tuple[str, str, str, str, int]], channels: int
) -> None:
    property_of_a_spec(nodes, channels)


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (MemoryError(), "out-of-memory", "the tensors do not fit in memory: MemoryError"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: x\nmore"),
         "out-of-memory",
         "the tensors do not fit in memory: [enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: x"),  # noqa: E501
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB"), "out-of-memory",
         "the tensors do not fit in memory: CUDA out of memory. Tried to allocate 1 GiB"),
        (RuntimeError("Storage size calculation overflowed with sizes=[9]"), "out-of-memory",
         "the tensors do not fit in memory: Storage size calculation overflowed with sizes=[9]"),
        (TypeError("nn.Module.to only accepts floating point"), "torch-refuses",
         "torch cannot create the tensors: nn.Module.to only accepts floating point"),
    ],
)  # fmt: skip
def test_what_torch_raises_is_one_error(raised: Exception, code: str, message: str) -> None:
    with pytest.raises(ComposerError) as failure, torch_told("the tensors", "take less"):
        raise raised
    (problem,) = failure.value.diagnostics
    assert (problem.code, problem.message) == (code, message)
    assert failure.value.__cause__ is raised


def test_errors_of_our_own_pass() -> None:
    with pytest.raises(ZeroDivisionError), torch_told("the tensors", "take less"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("options", "code"),
    [({"device": "nonsense"}, "torch-refuses"), ({"dtype": torch.int64}, "torch-refuses")],
)
def test_build_raises_composers_errors_alone(options: dict[str, Any], code: str) -> None:
    with pytest.raises(ComposerError) as failure:
        composer.build(f"{HEAD}nodes:\n  z: {{op: norm, over: c}}\n", channels=8, **options)
    assert [problem.code for problem in failure.value.diagnostics] == [code]

"""A convolution by a value: the forms it is written in, and what torch makes of them."""

from __future__ import annotations

import copy

import pytest
import torch
from probe import lowered, random, randomise, spec_text
from torch import Tensor, fx
from torch.nn import functional as F  # noqa: N812

import composer
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import compile_graph
from composer.lower.build import lower

C, OUT = 4, 6
#: The kernel's height and width, and the options of the convolution.
FORMS = {
    "pointwise": (1, 1, ""),
    "pointwise, stride": (1, 1, "stride: 2"),
    "pointwise, padding": (1, 1, "padding: 1"),
    "pointwise, groups": (1, 1, "groups: 2"),
    "square": (3, 3, ""),
    "square, all": (3, 3, "stride: 2, groups: 2, dilation: 2, padding: 1"),
    "oblong": (1, 5, "groups: 2"),
}


def text(form: str) -> str:
    kh, kw, options = FORMS[form]
    groups = 2 if "groups: 2" in options else 1
    return spec_text(f"""squeeze: {{op: pool, over: [h, w]}}
        route: {{op: linear, over: c, out: {{n: 3}}}}
        kernels: {{op: parameter, axes: {{n: 3, o: {OUT}, i: c / {groups}, kh: {kh}, kw: {kw}}},
         init: conv}}
        kernel: {{op: reweight, x: kernels, by: route, sum: n}}
        out: {{op: conv2d, x: input, weight: kernel{", " if options else ""}{options}}}""".replace(
        ",\n         init", ", init"))  # fmt: skip


def module_of(form: str) -> fx.GraphModule:
    return randomise(lowered(text(form), {"c": C}))  # type: ignore[return-value]


def told(module: fx.GraphModule, form: str, x: Tensor) -> Tensor:
    """Return the same by one plain convolution for each sample."""
    kh, kw, options = FORMS[form]
    words = (part.split(": ") for part in options.split(", ") if part)
    given = {option: int(value) for option, value in words}
    stride, dilation = given.get("stride", 1), given.get("dilation", 1)
    same = dilation * (kh // 2), dilation * (kw // 2)
    padding = (given["padding"],) * 2 if "padding" in given else same
    p = dict(module.named_parameters())
    route = F.linear(x.mean((2, 3)), p["route.linear.weight"], p["route.linear.bias"])
    kernels = p["kernels"].unflatten(1, (OUT, -1, kh, kw))
    return torch.cat([
        F.conv2d(one[None], torch.einsum("n,noiyx->oiyx", by, kernels), None, stride, padding,
                 dilation, given.get("groups", 1))
        for one, by in zip(x, route, strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_each_sample_has_its_kernel(form: str, batch: int) -> None:
    module, x = module_of(form), random(batch, C, 7, 6)
    want = told(module, form, x)
    torch.testing.assert_close(module(x), want, rtol=1e-10, atol=1e-10)
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(last), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_gradients(form: str) -> None:
    module, x = module_of(form), random(2, C, 7, 6).requires_grad_()
    weights = [x, *module.parameters()]
    mine = torch.autograd.grad(module(x).square().sum(), weights)
    theirs = torch.autograd.grad(told(module, form, x).square().sum(), weights)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.quick(1)
@pytest.mark.parametrize("form", [
    pytest.param(form, marks=pytest.mark.skipif(
        form == "pointwise, stride" and torch.__version__ < "2.8",
        reason="torch 2.7 guards against a size of 2 ** 63 - 1 here, and refuses its own guard",
    )) for form in FORMS
])  # fmt: skip
def test_any_batch_and_size(form: str) -> None:
    module = module_of(form)
    dynamic = torch.export.Dim.DYNAMIC  # refuses to fix what shall be open
    shapes = {"x": {0: dynamic, 2: dynamic, 3: dynamic}}
    program = torch.export.export(module, (random(2, C, 7, 6),), dynamic_shapes=shapes).module()
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager", dynamic=True)
    for shape in ((3, C, 9, 8), (1, C, 7, 11), (5, C, 8, 6)):
        x = random(*shape)
        torch.testing.assert_close(program(x), module(x), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-10, atol=1e-10)


def called(module: fx.GraphModule) -> list[str]:
    return [getattr(n.target, "__name__", str(n.target)) for n in module.graph.nodes]


@pytest.mark.parametrize("form", FORMS)
def test_the_form_it_is_written_in(form: str) -> None:
    by_matrix = form in ("pointwise", "pointwise, stride")
    names = called(module_of(form))
    assert ("bmm" in names, "conv_of_each" in names) == (by_matrix, not by_matrix)
    assert "matmul" in names and "sum" not in names  # the kernels are mixed by one product


def test_one_kernel_for_all_is_a_plain_convolution() -> None:
    nodes = f"""kernel: {{op: parameter, axes: {{o: {OUT}, i: c, kh: 3, kw: 3}}, init: conv}}
        out: {{op: conv2d, x: input, weight: kernel}}"""
    module = randomise(lowered(spec_text(nodes), {"c": C}))
    assert called(module) == ["x", "kernel", "conv2d", "output"]  # type: ignore[arg-type]
    x = random(2, C, 5, 6)
    want = F.conv2d(x, module.get_parameter("kernel"), padding=1)
    torch.testing.assert_close(module(x), want)


def test_two_values_by_one_kernel_are_both_kept() -> None:
    nodes = f"""kernel: {{op: parameter, axes: {{o: {C}, i: c, kh: 3, kw: 3}}, init: conv}}
        other: {{op: parameter, axes: {{o: {C}, i: c, kh: 3, kw: 3}}, init: conv}}
        one: {{op: conv2d, x: input, weight: kernel}}
        two: {{op: conv2d, x: input, weight: other}}
        out: {{op: sub, of: [one, two]}}"""
    graph = compile_graph(graph_of(load_spec(spec_text(nodes)), Settings({"c": C})))
    module = randomise(lower(graph).double())
    assert not torch.equal(module(random(1, C, 4, 4)), torch.zeros(1, C, 4, 4).double())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cbam_spatial", "triplet"])
@pytest.mark.quick(1)
def test_training_by_inductor_at_any_size(name: str) -> None:
    """Inductor keeps no view for the way back, whose strides it could not put in order."""
    module = composer.build(name, 16).train()
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, dynamic=True)
    for shape in ((2, 16, 14, 13), (3, 16, 9, 18)):
        x = torch.randn(shape, requires_grad=True)
        mine, theirs = (
            torch.autograd.grad(made(x).square().sum(), x) for made in (compiled, module)
        )
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.quick(5, then="long")
@pytest.mark.parametrize("form", FORMS)
def test_no_convolution_is_exported_whose_groups_follow_from_the_batch(form: str) -> None:
    """ONNX has none, and AOTInductor fixes their number at the batch of the trace."""
    shapes = {"x": {0: torch.export.Dim("batch")}}
    x = random(2, C, 7, 6)
    program = torch.export.export(module_of(form), (x,), dynamic_shapes=shapes)
    for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten.conv2d.default):
        assert not any(isinstance(arg, torch.fx.Node) for arg in node.args[3:])

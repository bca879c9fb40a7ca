"""Symbolic traces of what `build` returns, and kernels to what overrides torch's functions."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from probe import random, randomise
from shipped import TYPICAL
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

import composer
from composer.graph.frontend import load_spec
from composer.kernels.conv_of_each import conv_of_each
from composer.kernels.largest import largest
from composer.kernels.linear import Linear
from composer.kernels.mean_and_max import mean_and_max
from composer.kernels.row_conv1d import RowConv1d, row_conv1d
from composer.kernels.weighed_sum import weighed, weighed_in_place, weighed_sum

WIDTH, SIZE = 64, (14, 14)
#: What a trace has in the place of layers of ours.
OF_LAYERS = {RowConv1d: "row_conv1d", Linear: "over_channels"}
SPECS = sorted(TYPICAL)


def made(name: str) -> fx.GraphModule:
    spec = load_spec(name)
    if spec.stands_for == "conv2d" and name != "bot_mhsa":
        module = composer.build(spec, like=nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
    else:
        module = composer.build(spec, WIDTH, size=SIZE)
    return randomise(module).eval()  # type: ignore[return-value]


def images(name: str, batch: int = 2) -> Tensor:
    places = SIZE[0] * SIZE[1]
    shape = (places, WIDTH) if "n" in load_spec(name).input else (WIDTH, *SIZE)
    return random(batch, *shape).float()


def kernels(graph: fx.Graph) -> list[str]:
    """Return the kernels that a graph calls, in order."""
    called = [n.target for n in graph.nodes if n.op == "call_function"]
    return [f.__name__ for f in called if str(f.__module__).startswith("composer.kernels")]  # type: ignore[union-attr]


@pytest.mark.quick(6, then="long")
@pytest.mark.parametrize("name", SPECS)
def test_a_trace_is_the_module(name: str) -> None:
    module = made(name)
    trace = fx.symbolic_trace(module)
    again = pickle.loads(pickle.dumps(trace))  # by fx, which traces it once more
    with torch.no_grad():
        for batch in (2, 1):
            x = images(name, batch)
            assert torch.equal(trace(x), module(x)) and torch.equal(again(x), module(x))
    written = [word.removesuffix("_in_place") for word in kernels(module.graph)]
    layers = [module.get_submodule(n.target) for n in module.graph.find_nodes(op="call_module")]
    inside = [OF_LAYERS[type(layer)] for layer in layers if type(layer) in OF_LAYERS]
    assert sorted(kernels(trace.graph)) == sorted([*written, *inside])


class Block(nn.Module):
    """A block of a network, as an edit leaves it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.attention = made(name)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + self.attention(x)


@pytest.mark.parametrize("name", ["se", "cbam", "eca", "bam", "cond_conv"])
def test_a_network_is_traced_through_what_is_in_it(name: str) -> None:
    model, x = Block(name).eval(), random(2, 3, *SIZE).float()
    trace = fx.symbolic_trace(model)
    assert torch.equal(trace(x), model(x))
    assert kernels(trace.graph) and "attention" not in [n.target for n in trace.graph.nodes]


@pytest.mark.parametrize("name", ["se", "cbam", "eca"])
def test_torchvision_extracts_features(name: str) -> None:
    model = resnet18(weights=None).eval()
    block = model.layer1[0]
    block.bn2 = nn.Sequential(block.bn2, made(name))
    x, held = random(1, 3, 56, 56).float(), {}
    for path in ("layer1.0.bn2.1", "layer2"):
        model.get_submodule(path).register_forward_hook(
            lambda _, __, given, path=path: held.update({path: given.clone()})
        )
    with torch.no_grad():
        features = create_feature_extractor(model, return_nodes=["layer2", "fc"])(x)
        assert torch.equal(features["fc"], model(x))
    assert torch.equal(features["layer2"], held["layer2"])


def test_what_a_trace_gives_besides_is_not_written_over() -> None:
    """CBAM may weight its map in place, since nothing reads that again; a trace's owner may."""
    module, x = made("cbam"), images("cbam")
    assert "weighed_in_place" in kernels(module.graph)
    trace = fx.symbolic_trace(module)
    between = next(node for node in trace.graph.nodes if node.target is weighed)
    (output,) = trace.graph.find_nodes(op="output")
    (last,) = output.args
    with torch.no_grad():
        output.args = (between,)
        trace.recompile()
        want = trace(x)
        output.args = ((between, last),)
        trace.recompile()
        first, second = trace(x)
        assert torch.equal(first, want) and torch.equal(second, module(x))
        assert not torch.equal(first, second)


# ------------------------------------------------------------------------------- the protocol

X, MAP, KERNEL = (2, 3, 4, 5), (1, 2, 3, 4, 5), (2, 6, 3, 3, 3)
GATE = (2, 3, 1, 1)
#: What is called; with what, where shapes stand for tensors; what an override is called with.
CALLS: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...], Callable[..., Tensor]]] = {
    "weighed": (weighed, (X, GATE), weighed),
    "weighed_in_place": (weighed_in_place, (X, GATE), weighed),
    "weighed_sum": (weighed_sum, ([X, X], [GATE, GATE]), weighed_sum),
    "mean_and_max": (lambda x: mean_and_max(x, (2, 3), 1, True), (X,), mean_and_max),
    "largest": (lambda x: largest(x, (2, 3)), (X,), largest),
    "conv_of_each": (
        lambda x, by: conv_of_each(x, by, 1, (1, 1), 1, 1), (MAP, KERNEL), conv_of_each,
    ),
    "row_conv1d": (lambda x, by: row_conv1d(x, by, None), ((3, 7), (1, 1, 3)), row_conv1d),
    "row_conv1d, bias": (row_conv1d, ((3, 7), (1, 1, 3), (1,)), row_conv1d),
}  # fmt: skip
by_call = pytest.mark.parametrize("call", CALLS)


def given(shapes: Any, number: int = 0) -> Any:
    """Return random tensors for shapes, with those in lists."""
    if isinstance(shapes, tuple) and isinstance(shapes[0], int):
        return random(*shapes, seed=number)
    return [given(shape, 10 * number + place) for place, shape in enumerate(shapes)]


def flat(arguments: Any) -> list[Tensor]:
    if isinstance(arguments, Tensor):
        return [arguments]
    return [tensor for one in arguments for tensor in flat(one)]


def as_given(arguments: Any, tensors: list[Any]) -> Any:
    """Return the arguments with other tensors, which are taken off the list."""
    if isinstance(arguments, Tensor):
        return tensors.pop(0)
    return [as_given(one, tensors) for one in arguments]


class Watched(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


@by_call
def test_a_mode_sees_one_function(call: str) -> None:
    function, shapes, kernel = CALLS[call]
    arguments = given(shapes)
    want = function(*as_given(arguments, [t.clone() for t in flat(arguments)]))
    with Watched() as mode:
        got = function(*arguments)
    assert mode.seen == [kernel] and torch.equal(got, want)
    with torch.device("cpu"):  # which is a mode, too
        assert torch.equal(function(*arguments), want)


class Named(Tensor):
    """A tensor of another class, which notes what it is given to."""

    seen: list[Any] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


@by_call
def test_a_tensor_of_another_class_sees_one_function(call: str) -> None:
    function, shapes, kernel = CALLS[call]
    arguments = given(shapes)
    want = function(*as_given(arguments, [t.clone() for t in flat(arguments)]))
    number = len(flat(arguments))
    for place in range(number):  # whichever argument it is
        tensors: list[Tensor] = [t.clone() for t in flat(arguments)]
        tensors[place] = tensors[place].as_subclass(Named)
        Named.seen.clear()
        got = function(*as_given(arguments, tensors))
        assert Named.seen == [kernel] and type(got) is Named
        assert torch.equal(got.as_subclass(Tensor), want)


@by_call
def test_a_trace_has_one_node(call: str) -> None:
    function, shapes, kernel = CALLS[call]
    arguments = given(shapes)
    number = len(flat(arguments))

    class Traced(nn.Module):
        def forward(self, *tensors: Tensor) -> Tensor:
            return function(*as_given(arguments, [tensors[i] for i in range(number)]))

    graph = fx.symbolic_trace(Traced()).graph
    (node,) = (n for n in graph.nodes if n.target is kernel)
    assert {n.op for n in graph.nodes if n is not node and n.op != "placeholder"} <= {
        "call_function", "output",
    }  # fmt: skip
    want = function(*as_given(arguments, [t.clone() for t in flat(arguments)]))
    trace = fx.GraphModule(nn.Module(), graph)
    assert torch.equal(trace(*flat(arguments)), want)


@pytest.mark.quick(7, then="long")
@pytest.mark.parametrize("strict", [False, True])
@by_call
def test_an_export_has_torchs_own_operators(call: str, strict: bool) -> None:
    function, shapes, _ = CALLS[call]
    arguments = given(shapes)

    class Exported(nn.Module):
        def forward(self, *tensors: Tensor) -> Tensor:
            return function(*as_given(arguments, list(tensors)))

    tensors = tuple(flat(arguments))
    with torch.no_grad():
        program = torch.export.export(Exported(), tensors, strict=strict)
        want = function(*as_given(arguments, [t.clone() for t in tensors]))
        torch.testing.assert_close(program.module()(*tensors), want)
    called = [n.target for n in program.graph.nodes if n.op == "call_function"]
    assert called and all(isinstance(target, torch._ops.OpOverload) for target in called)


@by_call
def test_a_compilation_is_one_graph(call: str) -> None:
    function, shapes, _ = CALLS[call]
    arguments = given(shapes)
    want = function(*as_given(arguments, [t.clone() for t in flat(arguments)]))
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), want)

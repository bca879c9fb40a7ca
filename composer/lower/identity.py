"""Initialise a stand-in to compute the same as the layer it stands for, and check that it does.

A spec says how under ``identity``: which nodes take the pretrained weights, which start silent,
and under which conditions. The result is run against the original before it is accepted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from composer.errors import ComposerError, error
from composer.graph.graph import Graph
from composer.graph.params import bind_params
from composer.kernels.dropout import SharedDropout
from composer.language.expressions import Expr, Value, evaluate, parse
from composer.language.models import Beginning
from composer.lower.frozen_norm import eps_of, is_frozen_norm
from composer.lower.like import ANY_CONVOLUTION
from composer.primitives import Spec
from composer.primitives.activations import FUNCTIONS
from composer.primitives.parameter import Parameter
from composer.turns import TURN

#: Tolerance relative to the original's largest value; in float64, equal results are far below.
TOLERANCE = 1e-9
#: Perturbation relative to a kernel: equal experts under equal routing would stay equal.
NOISE = 0.05
#: The initial weight of a silent branch's norm: lost in rounding next to any other value.
SILENT = 2.0**-100

_PAPER = "start as the paper does (--init paper)"
_Function = Callable[[Tensor], Tensor]
_Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Original:
    """What a stand-in first computes: a layer, with the norm and the activation that it absorbs.

    `steps` run one after another; a norm may include the activation.
    """

    layer: nn.Module
    norm: nn.Module | None = None
    activation: _Function | None = None
    steps: tuple[_Function, ...] = ()


def check_can_be_identical(graph: Graph, path: str) -> None:
    """Refuse a stand-in that can't start as the layer it stands for.

    Args:
        graph: that of the stand-in, compiled for its site.
        path: the site, for the message.

    Raises:
        ComposerError: it can't; the message gives the reason.
    """
    spec = graph.spec
    if spec.identity is None:
        what = "convolution" if spec.stands_for == "conv2d" else "attention"
        raise error(
            "no-identity",
            f"{spec.name!r} has no state in which it computes the {what} that it replaces",
            _PAPER,
        )
    known = bind_params(graph, [])
    for condition, reason in spec.identity.requires.items():
        if not evaluate(parse(condition), known):
            raise _refused(spec, path, reason, _params_for(condition, spec))


def begin(module: fx.GraphModule, graph: Graph, original: Original | None, path: str) -> None:
    """Initialise the weights of a stand-in, or of a node shared by several.

    Args:
        module: on the CPU, in float64.
        graph: its graph.
        original: the layer it starts as; None for a shared node, which copies nothing.
        path: the site, for messages.

    Raises:
        ComposerError: the weights do not fit.
    """
    spec = graph.spec
    assert spec.identity is not None
    known = bind_params(graph, [])
    nodes = spec.identity.nodes
    try:
        uniform = any(_number(beginning.weight, known) == 0 for beginning in nodes.values())
        with torch.no_grad():
            for name, beginning in nodes.items():
                if hasattr(module, name):  # else it is absent under these params or in this part
                    _begin_node(module, graph, name, beginning, known, original, uniform)
    except _Misfit as why:
        raise _refused(spec, path, str(why)) from None


def cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast a module's floating-point tensors; values that underflow become the smallest number."""
    least = torch.finfo(dtype).tiny * torch.finfo(dtype).eps
    before = [p.detach().clone() for p in module.parameters()]
    module.to(dtype)
    with torch.no_grad():
        for parameter, old in zip(module.parameters(), before, strict=True):
            lost = (parameter == 0) & (old != 0)
            parameter.masked_fill_(lost, least)


def check_same(
    module: fx.GraphModule, original: Original, inputs: tuple[Tensor, ...], spec: Spec, path: str
) -> None:
    """Run a stand-in against the original, in both modes; both in float64.

    The spec's dropout is disabled, because the original does not have it. If a frozen norm is
    absorbed, only evaluation mode is compared: in training the stand-in's norm uses the statistics
    of each batch.

    Raises:
        ComposerError: they differ.
    """
    frozen = original.norm is not None and is_frozen_norm(original.norm)
    for training in (False,) if frozen else (False, True):
        with TURN, torch.no_grad(), torch.random.fork_rng(devices=[]):
            x = inputs[0].clone()
            for step in original.steps:
                step = copy.deepcopy(step).train(training) if isinstance(step, nn.Module) else step
                x = step(x)
            own = without_draws(copy.deepcopy(module).train(training))
            y = own(*(t.clone() for t in inputs))
        largest = float(x.abs().max())
        difference = float((x - y).abs().max())
        if not difference <= TOLERANCE * largest + SILENT * 2**20:
            mode = "training" if training else "evaluation"
            beside = f"{difference:.2g}, with values up to {largest:.2g}"
            raise _refused(spec, path, f"in {mode} mode it differs by {beside}")


def without_draws(module: nn.Module) -> nn.Module:
    """Return a module with every dropout inside it in evaluation mode."""
    for one in module.modules():
        if isinstance(one, (_DropoutNd, SharedDropout)):
            one.eval()
    return module


class _Misfit(Exception):  # noqa: N818 - a finding, reported in the message
    """Weights that do not fit a node; the message says why."""


def _begin_node(
    module: fx.GraphModule,
    graph: Graph,
    name: str,
    beginning: Beginning,
    known: Mapping[str, Value | Expr],
    original: Original | None,
    uniform: bool,
) -> None:
    target = getattr(module, name)
    times = _number(beginning.times, known)
    assert times is not None
    if beginning.copies is not None and original is not None:
        parts = _branches(_as_written(target, graph, name))
        live = _number(beginning.live, known)
        for number, part in enumerate(parts):
            if live is not None and number != live:
                _silence(part)
                continue
            _check_activation(graph, name if part is target else f"{name}.{number}", original)
            _copy(name, part, beginning.copies, original, uniform)
            _scale(part, times)
    layer = _last_layer(target)
    for key, value in (("weight", beginning.weight), ("bias", beginning.bias)):
        number_ = _number(value, known)
        tensor = getattr(layer, key, None)
        if number_ is not None and isinstance(tensor, Tensor):
            tensor.fill_(number_ * times)


def _as_written(target: Any, graph: Graph, name: str) -> nn.Module | Tensor:
    """Return a parameter in the shape of its axes in the spec."""
    op = graph.by_name[name].op if name in graph.by_name else None
    written: nn.Module | Tensor = target.view(op.shape) if isinstance(op, Parameter) else target
    return written


def _branches(target: nn.Module | Tensor) -> list[nn.Module | Tensor]:
    """Return the branches of a node, or only the node itself."""
    children = dict(target.named_children()) if isinstance(target, nn.Module) else {}
    return list(children.values()) if children and all(map(str.isdecimal, children)) else [target]


def _copy(
    name: str, part: nn.Module | Tensor, what: str, original: Original, uniform: bool
) -> None:
    layer = original.layer
    if isinstance(part, Tensor):
        tensor = getattr(layer, "weight" if what == "kernel" else what, None)
        if not isinstance(tensor, Tensor):
            raise _Misfit(f"it has no {what} for the node {name!r}")
        _fits(name, tensor, part[0])
        part.copy_(tensor.expand_as(part))
        if what == "kernel" and uniform:
            part += _noise(part)
    elif what == "kernel":
        conv, norm = getattr(part, "conv", None), getattr(part, "norm", None)
        if not isinstance(conv, ANY_CONVOLUTION) or not isinstance(layer, ANY_CONVOLUTION):
            raise _Misfit(f"the node {name!r} is not a convolution")
        _fits(name, layer.weight, conv.weight)
        conv.weight.copy_(layer.weight)
        if conv.bias is not None:
            _copy_or_fill(conv.bias, layer.bias, 0)
        if norm is not None:
            _copy_norm(name, norm, original, None if conv.bias is not None else layer.bias)
    else:
        source = getattr(layer, what, None)
        linear = _last_layer(part)
        if not isinstance(source, nn.Linear) or linear is None:
            raise _Misfit(f"it has no linear layer {what!r} for the node {name!r}")
        _fits(name, source.weight, linear.weight)
        linear.weight.copy_(source.weight)
        bias: Tensor | None = linear.bias
        if bias is not None:
            _copy_or_fill(bias, source.bias, 0)
        elif getattr(source, "bias", None) is not None:
            raise _Misfit(f"its {what!r} has a bias, but the node {name!r} has none")


def _copy_norm(name: str, norm: nn.Module, original: Original, bias: Tensor | None) -> None:
    """Initialise a node's norm from the absorbed one; a bias before it shifts its mean."""
    source = original.norm
    if source is None:
        raise _Misfit(f"the node {name!r} has a norm, but the convolution has none after it")
    keeps = isinstance(source, _BatchNorm) and source.running_mean is not None
    if not keeps and not is_frozen_norm(source):
        kind = type(source).__name__
        raise _Misfit(f"its norm is a {kind}, but that of the node {name!r} keeps statistics")
    if not isinstance(norm, _BatchNorm):
        raise _Misfit(f"its norm keeps statistics, but that of the node {name!r} does not")
    if norm.weight is None:
        raise _Misfit(f"its norm has weights, but that of the node {name!r} has none")
    norm.eps = eps_of(source)
    if isinstance(source, _BatchNorm):
        norm.momentum = source.momentum
    for key, otherwise in (("weight", 1), ("bias", 0), ("num_batches_tracked", 0)):
        _copy_or_fill(getattr(norm, key), getattr(source, key, None), otherwise)
    for key in ("running_mean", "running_var"):
        getattr(norm, key).copy_(getattr(source, key))
    if bias is not None:
        assert norm.running_mean is not None
        norm.running_mean -= bias


def _copy_or_fill(tensor: Tensor, source: Tensor | None, otherwise: float) -> None:
    """Copy the original's tensor; if it has none, use the neutral value."""
    if source is None:
        tensor.fill_(otherwise)
    else:
        tensor.copy_(source)


def _check_activation(graph: Graph, name: str, original: Original) -> None:
    """Refuse an absorbed activation that differs from the node's."""
    node = graph.by_name.get(name)
    word = str(getattr(getattr(node, "op", None), "act", "none"))
    if original.activation is None or word == "none":
        return
    x = torch.linspace(-8, 8, 65, dtype=torch.float64)
    if not torch.equal(getattr(nn.functional, FUNCTIONS[word])(x), original.activation(x.clone())):
        kind = type(original.activation).__name__
        shown = kind if isinstance(original.activation, nn.Module) else "another"
        whose = name.partition(".")[0]
        raise _Misfit(f"its activation is {shown}, but that of the node {whose!r} is {word}")


def _silence(part: nn.Module | Tensor) -> None:
    """Make the output of a branch vanish in rounding, while it can still learn.

    A weight of zero would give zeros, where ReLU has no gradient; for small positive numbers the
    gradients of ReLU and of the weight are as usual.
    """
    norm = getattr(part, "norm", None)
    if not isinstance(norm, _BatchNorm) or norm.weight is None:
        raise _Misfit("its branches have no norm that could silence them")
    norm.weight.fill_(SILENT)
    norm.bias.zero_()


def _scale(part: nn.Module | Tensor, times: float) -> None:
    if isinstance(part, Tensor):
        part *= times
        return
    norm = getattr(part, "norm", None)
    layer = norm if isinstance(norm, _BatchNorm) else _last_layer(part)
    for tensor in (getattr(layer, "weight", None), getattr(layer, "bias", None)):
        if isinstance(tensor, Tensor):
            tensor *= times


def _noise(experts: Tensor) -> Tensor:
    """Return small perturbations per expert that sum to zero over all experts."""
    size = experts[0].square().mean().sqrt()
    drawn = torch.randn(experts.shape, dtype=experts.dtype) * (NOISE * size)
    return drawn - drawn.mean(0)


def _last_layer(part: nn.Module | Tensor) -> _Layer | None:
    modules = part.modules() if isinstance(part, nn.Module) else ()
    return next((m for m in reversed(list(modules)) if isinstance(m, _Layer)), None)


def _fits(name: str, have: Tensor, want: Tensor) -> None:
    if have.shape != want.shape:
        shapes = ["×".join(map(str, t.shape)) for t in (have, want)]
        raise _Misfit(
            f"its weights are {shapes[0]}, but those of the node {name!r} are {shapes[1]}"
        )


def _number(expr: Expr | None, known: Mapping[str, Value | Expr]) -> float | None:
    if expr is None:
        return None
    value = evaluate(expr, known)
    if not isinstance(value, (int, float)):
        raise _Misfit(f"{str(expr)!r} under 'identity' is not a number here")
    return float(value)


def _params_for(condition: str, spec: Spec) -> str:
    """Return the way out for a condition that depends on params."""
    if parse(condition).names.isdisjoint(spec.params):
        return ""
    return f"choose params for which '{condition}' holds, "


def _refused(spec: Spec, path: str, reason: str, choose: str = "") -> ComposerError:
    return error(
        "no-identity",
        f"{spec.name!r} cannot start as {path}: {reason}",
        f"{choose}exclude that site with --match or --select, or {_PAPER}",
    )

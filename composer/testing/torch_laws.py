"""The laws of an op in torch: gradients, dtypes, fake tensors, compilation, pickling."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from composer.lower.build import lower
from composer.measure.seeds import seed_torch
from composer.testing.trial import Trial

#: The tolerated average error in a dtype: relative to the value, and absolute.
_OFF = {torch.float32: (1e-5, 1e-6), torch.bfloat16: (0.1, 0.02)}
_TWICE = 2


def gradients(trial: Trial) -> None:
    """The gradients of input and weights agree with finite differences."""
    module = trial.module
    weights = {key: p.detach().clone() for key, p in module.named_parameters()}
    buffers = {key: tensor.clone() for key, tensor in module.named_buffers()}

    def value(x: Tensor, *learned: Tensor) -> Tensor:
        named = dict(zip(weights, learned, strict=True))
        fresh = {key: tensor.clone() for key, tensor in buffers.items()}
        given: Tensor = functional_call(module, {**named, **fresh}, (x,))
        return given

    inputs = [tensor.clone().requires_grad_() for tensor in (trial.x, *weights.values())]
    assert value(*inputs).requires_grad, "no gradient goes through it: is something detached?"
    with torch.random.fork_rng(devices=[]):
        seed_torch(0)
        torch.autograd.gradcheck(value, inputs, fast_mode=True, atol=1e-4, rtol=1e-3)


def dtypes(trial: Trial) -> None:
    """The output has the input's dtype, float32 or bfloat16, and is accurate for that dtype."""
    for dtype, (share, least) in _OFF.items():
        module = copy.deepcopy(trial.module).to(dtype)
        with torch.no_grad():
            y = module(trial.x.to(dtype))
        assert y.dtype == dtype, f"the input is {dtype}, but the output is {y.dtype}"
        off = (y.double() - trial.y).abs().mean()
        most = share * trial.y.abs().mean() + least
        assert off <= most, f"in {dtype} it is off by {off:.3g} on average, more than {most:.3g}"


def inputs_kept(trial: Trial) -> None:
    """Neither input nor weights are modified; with `anew` the value is not a view of an operand."""
    for training in (True, False):
        module = copy.deepcopy(trial.module).train(training)
        x = trial.x.clone()
        weights = {key: p.detach().clone() for key, p in module.named_parameters()}
        with torch.no_grad():
            y = module(x)
        assert torch.equal(x, trial.x), "its input is modified in place"
        for key, parameter in module.named_parameters():
            assert torch.equal(parameter, weights[key]), f"{key} is modified in place"
        shared = y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        says = "it declares anew = True, but its value is a view of the input"
        assert not (trial.op.makes_anew and shared), says


def fake_tensors(trial: Trial) -> None:
    """It runs on fake CUDA tensors: no shape depends on values, and no CPU tensor is involved."""
    graph, shape, want = trial.graph, trial.x.shape, trial.y.shape
    with FakeTensorMode(), torch.device("cuda"):
        y = lower(graph)(torch.randn(*shape))
        assert y.device.type == "cuda", f"its value is on {y.device}, but its input on cuda"
        assert y.shape == want, (
            f"its fake value has the shape {list(y.shape)}, but the real one {list(want)}"
        )


def compiled(trial: Trial) -> None:
    """It compiles to one graph, also for another batch, with the same results."""
    torch.compiler.reset()
    module = trial.module
    one_graph = torch.compile(module, fullgraph=True, backend="aot_eager")
    first = trial.names[0]
    for batch in (trial.sizes[first], _TWICE * trial.sizes[first]):
        x = trial.input({first: batch})
        with torch.no_grad():
            torch.testing.assert_close(one_graph(x), module(x))


def exported(trial: Trial) -> None:
    """`torch.export` exports it, with the same results."""
    module = copy.deepcopy(trial.module).eval()
    program = torch.export.export(module, (trial.x,))
    torch.testing.assert_close(program.module()(trial.x), module(trial.x))


def saved(trial: Trial) -> None:
    """A copy, a pickle, and a new module with the same state dict give the same results."""
    fresh = lower(trial.graph).double()
    fresh.load_state_dict(trial.module.state_dict())
    others = {
        "a module that loads its state dict": fresh,
        "a copy": copy.deepcopy(trial.module),
        "a pickle": pickle.loads(pickle.dumps(trial.module)),
    }
    with torch.no_grad():
        for what, other in others.items():
            y = other.train(trial.module.training)(trial.x)
            assert torch.equal(y.nan_to_num(), trial.y.nan_to_num()), (
                f"{what} gives different results"
            )

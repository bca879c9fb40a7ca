"""What a compiled module raises when it is called is one of Composer's errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

import composer
from composer.errors import ComposerError

X = torch.zeros(1, 8, 4, 4)
NO_ROOM = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB\nmore of it")
BROKEN = InductorError(RuntimeError("C++ compile error\nmore"), None)  # type: ignore[no-untyped-call]


def built(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> fx.GraphModule:
    """Return a module whose compiled call is `run`."""
    monkeypatch.setattr(torch, "compile", lambda call, **options: run)
    return composer.build("se", channels=8, params={"reduction": 2}, compile=True)


class Failing:
    """Raises, or gives x, call after call."""

    def __init__(self, *failures: Exception | None) -> None:
        self.left = list(failures)

    def __call__(self, x: Tensor) -> Tensor:
        failure = self.left.pop(0)
        if failure is not None:
            raise failure
        return x


TABLE = {
    "no room": (NO_ROOM, "out-of-memory", "the compiled kernels of 'se' do not fit in memory: "
                "CUDA out of memory. Tried to allocate 1 GiB",
                "give it a smaller input, or choose smaller sizes"),
    "a dtype": (RuntimeError("expected scalar type Float but found Half"), "torch-refuses",
                "torch cannot run the compiled kernels of 'se': "
                "expected scalar type Float but found Half",
                "choose another dtype, device or sizes, or build it without compile=True"),
    "inductor": (BROKEN, "torch-refuses",
                 "torch cannot run the compiled kernels of 'se': RuntimeError: C++ compile error",
                 "choose another dtype, device or sizes, or build it without compile=True"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_the_first_call_raises_composers_error(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raised, code, message, way_out = TABLE[case]
    module = built(monkeypatch, Failing(raised))
    with pytest.raises(ComposerError) as failure:
        module(X)
    (problem,) = failure.value.diagnostics
    assert (problem.code, problem.message, problem.help) == (code, message, way_out)
    assert failure.value.__cause__ is raised


def test_a_later_call_raises_what_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    module = built(monkeypatch, Failing(None, NO_ROOM, BROKEN, TorchDynamoException("no graph")))
    assert module(X) is X
    with pytest.raises(torch.OutOfMemoryError):
        module(X)
    for _ in range(2):  # compiled anew for an input of another kind
        with pytest.raises(ComposerError):
            module(X)


def test_what_torch_does_not_trace_is_composers_error() -> None:
    module = composer.build("se", channels=8, params={"reduction": 2}, compile=True)
    with pytest.raises(ComposerError) as failure:
        module(torch.zeros(1, 9, 4, 4))
    assert [problem.code for problem in failure.value.diagnostics] == ["torch-refuses"]


def test_a_compiled_module_is_what_it_was() -> None:
    plain = composer.build("se", channels=8, params={"reduction": 2})
    module = composer.build("se", channels=8, params={"reduction": 2}, compile=True)
    assert isinstance(module, fx.GraphModule)
    assert type(module).__name__ == type(plain).__name__
    assert list(module.state_dict()) == list(plain.state_dict())
    assert copy.deepcopy(module)(X).shape == X.shape  # a copy is not compiled yet
    around = torch.compile(torch.nn.Sequential(module), backend="eager", fullgraph=True)
    assert torch.equal(around(X), copy.deepcopy(module)(X))

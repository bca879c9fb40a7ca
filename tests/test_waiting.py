"""Beside other work the tool's threads do not spin, and what they need is put back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import composer
from composer.analysis.one_thread import one_thread
from composer.cli.waiting import POLICY, wait_asleep

THREADS = 3


@pytest.fixture(autouse=True)
def _several_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def of_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_the_calling_thread_works_alone_and_new_ones_as_before() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        assert of_a_new_thread() == THREADS
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == of_a_new_thread() == THREADS


def test_the_number_is_put_back_after_an_exception() -> None:
    with pytest.raises(ValueError, match="stop"), one_thread():
        raise ValueError("stop")
    assert torch.get_num_threads() == of_a_new_thread() == THREADS


class Watched(nn.Module):
    """A block that notes the number of threads of each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        SEEN.add(torch.get_num_threads())
        return x + self.conv(x)


SEEN: set[int] = set()
DONE: dict[str, Callable[[nn.Module], Any]] = {
    "sites": composer.sites,
    "plan": lambda model: composer.plan(model, "se", params={"reduction": 2}),
    "insert": lambda model: composer.insert(model, "se", params={"reduction": 2}),
}


@pytest.mark.parametrize("what", DONE)
def test_the_passes_of_planning_take_one_thread(what: str) -> None:
    SEEN.clear()
    model = nn.Sequential(nn.Conv2d(3, 8, 1), Watched(), Watched())
    DONE[what](model)
    assert {1} == SEEN
    assert torch.get_num_threads() == THREADS


RUN = f"""
import os, sys
from composer.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(os.environ.get({POLICY!r}), file=sys.stderr)
"""


@pytest.mark.parametrize(("words", "asked", "policy"), [
    (["sites"], None, "passive"),
    (["sites"], "active", "active"),
    (["insert"], None, "passive"),
    (["compare"], None, "None"),  # it measures a model as its user runs it
    (["study", "plan"], None, "None"),
])  # fmt: skip
def test_how_the_threads_of_a_command_wait(
    words: list[str], asked: str | None, policy: str
) -> None:
    environment = {key: value for key, value in os.environ.items() if key != POLICY}
    if asked is not None:
        environment[POLICY] = asked
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], env=environment, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == policy


def test_a_torch_that_is_loaded_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POLICY, raising=False)
    wait_asleep()
    assert POLICY not in os.environ

"""Timing in turn by a clock of the test's own; peak memory against what a hand can count."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from composer.measure import latency
from composer.measure.latency import Timing, interleaved
from composer.measure.machine import Machine
from composer.measure.memory import peak_memory

SIDE = 256
MAP = 4 * SIDE**2  # bytes of one square of float32


class Clock:
    """A clock that only work moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.worked: list[str] = []

    def call(self, name: str, *seconds: float) -> Callable[[], None]:
        """Return work that takes these seconds in turn, the last of them from then on."""
        left = list(seconds)

        def work() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]
            self.worked.append(name)

        return work


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(latency.time, "perf_counter", lambda: made.now)
    return made


def test_calls_take_turns_each_round_another_first(clock):
    calls = {name: clock.call(name, 1.0) for name in "abc"}
    timings = interleaved(calls, seconds=4.0, least_runs=2)
    assert {name: timing.rounds for name, timing in timings.items()} == {
        name: pytest.approx((1.0,) * 4) for name in "abc"
    }
    assert "".join(clock.worked) == "aabbcc" + "abcbcacababc"


def test_the_warm_up_does_not_count(clock):
    found = interleaved({"slow at first": clock.call("x", 50.0, 9.0, 2.0)}, seconds=1.0)
    assert found["slow at first"].rounds == pytest.approx((2.0,) * 5)


def test_short_calls_are_repeated_within_a_stretch(clock):
    timing = interleaved({"short": clock.call("short", 1e-5)}, seconds=0.01, least_runs=3)["short"]
    assert timing.median == pytest.approx(1e-5)
    assert timing.runs == pytest.approx(0.01 / latency.STRETCH, abs=1)
    assert len(clock.worked) == 3 + timing.runs * round(latency.STRETCH / 1e-5)


def test_there_are_as_many_rounds_as_asked(clock):
    timing = interleaved({"x": clock.call("x", 1.0)}, seconds=0.1, least_runs=7)["x"]
    assert timing.runs == 7


def test_a_timing():
    timing = Timing((1.0, 2.0, 3.0, 4.0, 50.0))
    assert (timing.median, timing.quartiles, timing.least, timing.runs) == (3.0, (2.0, 4.0), 1.0, 5)
    assert Timing((2.0,)).quartiles == (2.0, 2.0)


def test_a_ratio_is_that_of_the_same_rounds():
    """While the machine is slow for both, the ratio stays what it is."""
    drifting = (1.0, 8.0, 2.0, 5.0)
    assert Timing(tuple(3 * t for t in drifting)).ratio(Timing(drifting)) == 3.0


def test_memory_of_a_chain():
    x = torch.randn(SIDE, SIDE)

    def two_at_a_time() -> None:
        a = x.exp()
        b = a.exp()
        del a
        b.exp()

    def all_of_three() -> None:
        a = x.exp()
        b = a.exp()
        b.exp()

    assert peak_memory(two_at_a_time) == 2 * MAP
    assert peak_memory(all_of_three) == 3 * MAP
    assert peak_memory(lambda: x.exp_()) == 0
    assert peak_memory(lambda: None) == 0


def test_memory_of_what_a_step_gives():
    x = torch.randn(SIDE, SIDE)
    assert peak_memory(lambda: (x.exp(), x.exp())) == 2 * MAP


def test_memory_of_a_training_step():
    """Two values are kept for the way back, on which two gradients come."""
    x, gradient = torch.randn(SIDE, SIDE, requires_grad=True), torch.randn(SIDE, SIDE)

    def step() -> None:
        y = x.exp()
        y.exp().backward(gradient)
        x.grad = None

    step()
    assert peak_memory(step) == 4 * MAP


def test_memory_of_compiled_code():
    x = torch.randn(SIDE, SIDE)
    chain = torch.compile(lambda x: x @ x @ x, fullgraph=True)
    chain(x)
    assert peak_memory(lambda: chain(x)) == 2 * MAP


def test_the_machine():
    machine = Machine.here()
    assert list(machine.as_json()) == ["name", "cores", "threads", "date"]
    assert set(machine.versions) == {"composer", "python", "torch", "timm"}
    assert machine.name
    assert machine.cores > 0
    assert str(machine).startswith(f"{machine.name}, {machine.cores} core")
    assert machine.versions["torch"] == torch.__version__

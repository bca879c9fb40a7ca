"""Runs each rival of a case in a process of its own, and lets them take turns.

What a call costs on a CPU depends on what its process allocated before: a new map may lie in memory
that is there, or in pages that the system must first provide, which takes longer than a gate on the
map. In one process, each rival finds what the one before it left. Here each finds what it left
itself, as in a user's program, and the machine's other work still falls on all of them alike.

Where the pages of a process lie decides up to a third of the time that a map of some megabytes
takes, so each rival has several processes, one after the other.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import torch
from heap import set_heap
from rivals import NAMES, difference, rivals

from composer.measure.cost import parameters
from composer.measure.latency import Timing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Case
    from modes import Setting

ROUNDS = 9
_TURN = 0.02  # seconds that shorter calls are repeated for
_REST = 0.003  # seconds in which the threads of the one before stop spinning
_NAMES = (*NAMES, "limit")
_FORK = multiprocessing.get_context("fork")  # the libraries are loaded, and no thread runs yet


def measured(case: Case, setting: Setting) -> tuple[dict[str, int], float, dict[str, Timing]]:
    """Return the parameters of each rival, how far ours and plain lie apart, and the times.

    Raises:
        RuntimeError: a rival fails.
    """
    rounds: dict[str, list[float]] = {}
    for _ in range(setting.processes):
        facts, taken = _in_turns(case, setting)
        for name, seconds in taken.items():
            rounds.setdefault(name, []).extend(seconds)
    counts = {name: facts[name]["parameters"] for name in rounds if name != "limit"}
    times = {name: Timing(tuple(seconds)) for name, seconds in rounds.items()}
    return counts, facts["ours"]["difference"], times


def _in_turns(case: Case, setting: Setting) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Return facts about each rival, and the times of its process in each round."""
    with ExitStack() as stack:
        lines, facts = {}, {}
        for name in _NAMES:  # one after the other, since some compile
            lines[name] = stack.enter_context(_process(case, setting, name))
            facts[name] = _answer(lines[name], case, name)
        names = [name for name in _NAMES if facts[name] is not None]
        rounds: dict[str, list[float]] = {name: [] for name in names}
        done, begin = 0, time.perf_counter()
        while done < ROUNDS or time.perf_counter() - begin < setting.seconds * len(names):
            first = done % len(names)
            for name in names[first:] + names[:first]:
                time.sleep(_REST)
                lines[name].send(True)
                rounds[name].append(_answer(lines[name], case, name))
            done += 1
        for line in lines.values():
            line.close()
    return facts, rounds


def alone(call: Callable[..., Any], *given: Any) -> Any:
    """Return what a call gives in a process of its own."""
    with _FORK.Pool(1) as pool:
        return pool.apply(call, given)


@contextmanager
def _process(case: Case, setting: Setting, name: str) -> Iterator[Connection]:
    """Start the process of a rival; yield what it is spoken to by."""
    ours, theirs = _FORK.Pipe()
    process = _FORK.Process(target=_serve, args=(theirs, case, setting, name), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


def _answer(line: Connection, case: Case, name: str) -> Any:
    try:
        found, failure = line.recv()
    except EOFError:
        found, failure = None, "its process ended"
    if failure is not None:
        raise RuntimeError(f"{case}, {name}: {failure}")
    return found


def _serve(line: Connection, case: Case, setting: Setting, name: str) -> None:
    """Answer with facts about a rival, or None where there is none; then with a time each turn."""
    try:
        set_heap(setting.heap)
        if setting.threads:  # here, since a pool of threads does not survive a fork
            torch.set_num_threads(setting.threads)
        modules = {} if name == "limit" else rivals(case)
        if name != "limit" and name not in modules:
            line.send((None, None))
            return
        facts: dict[str, Any] = {}
        if name == "ours":
            facts["difference"] = difference(case, modules)
        if name != "limit":
            modules = {name: modules[name]}
            facts["parameters"] = parameters(modules[name])
        with setting.running():
            call = setting.calls(case, modules)[name]
            least = min(_seconds(call, 1) for _ in range(4))
            repeats = max(1, math.ceil(_TURN / max(least, 1e-7)))
            line.send((facts, None))
            while line.recv():
                call()  # uncounted: while the others had their turns, caches and pages went cold
                line.send((_seconds(call, repeats), None))
    except EOFError:
        return
    except Exception as failure:
        line.send((None, f"{type(failure).__name__}: {failure}"))


def _seconds(call: Callable[[], object], repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats

"""Building, planning, inserting, saving, loading, drawing in threads, beside a model that serves.

One thread runs a composed model again and again; eight others do all that Composer does, on that
very model, too. Each pass gives the numbers that it gave before, each job gives what it gives
alone, and what a process has once is afterwards as it was: the generators of random numbers, the
filters of warnings, loggers, the garbage collector, the path of imports.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import composer
from composer.language.expressions import parse

THREADS = 8
MODEL = "test_resnet"
SPECS = ("se", "eca", "cbam")


@dataclass(frozen=True)
class Case:
    """What is shared by all threads."""

    served: nn.Module  # composed, in evaluation, running all the time
    image: torch.Tensor
    folder: Path  # of the same composition

    def numbers(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.served(self.image)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    model = composer.insert(MODEL, "se")
    folder = tmp_path_factory.mktemp("threads") / "composed"
    composer.save(model, folder)
    draw = torch.Generator().manual_seed(0)
    return Case(model.eval(), torch.randn(1, 3, 96, 96, generator=draw), folder)


# ----------------------------------------------------------------------------------------- jobs


def builds(case: Case, turn: int, folder: Path) -> Any:
    module = composer.build(SPECS[turn % 3], channels=32, size=(8, 8))
    return type(module).__name__, sorted(module.state_dict()), module(torch.ones(1, 32, 8, 8)).shape


def plans_the_served(case: Case, turn: int, folder: Path) -> Any:
    found = composer.plan(case.served, SPECS[turn % 3])
    return [(site.path, site.name, site.parameters, site.note) for site in found.sites]


def sites_of_the_served(case: Case, turn: int, folder: Path) -> Any:
    return composer.sites(case.served)


def inserts_into_a_copy(case: Case, turn: int, folder: Path) -> Any:
    model = composer.insert(case.served, SPECS[turn % 3], init="identity").eval()
    with torch.inference_mode():
        same = torch.equal(model(case.image), case.served(case.image))
    return same, sorted(model.state_dict())


def inserts_by_name(case: Case, turn: int, folder: Path) -> Any:
    return sorted(composer.insert(MODEL, SPECS[turn % 3]).state_dict())


def saves_and_loads(case: Case, turn: int, folder: Path) -> Any:
    place = composer.save(case.served, folder / "saved")
    model = composer.load(place).eval()
    with torch.inference_mode():
        return torch.equal(model(case.image), case.served(case.image))


def loads(case: Case, turn: int, folder: Path) -> Any:
    with torch.inference_mode():
        return torch.equal(composer.load(case.folder).eval()(case.image), case.served(case.image))


def draws_a_spec(case: Case, turn: int, folder: Path) -> Any:
    return composer.render(SPECS[turn % 3], folder / "spec.svg").read_text()


def draws_the_served(case: Case, turn: int, folder: Path) -> Any:
    return composer.render(case.served, folder / "network.svg").read_text()


def ejects(case: Case, turn: int, folder: Path) -> Any:
    return sorted(composer.eject(case.served).state_dict())


def reads_expressions(case: Case, turn: int, folder: Path) -> Any:
    return [str(parse(text)) for text in ("c // 2 + 1", "max(c, 1) if h > 2 else 7") * 50]


JOBS = (
    builds, plans_the_served, sites_of_the_served, inserts_into_a_copy, inserts_by_name,
    saves_and_loads, loads, draws_a_spec, draws_the_served, ejects, reads_expressions,
)  # fmt: skip


# ------------------------------------------------------------------------- what a process has once


def process_state() -> dict[str, Any]:
    """Return what other code of the process would see changed."""
    return {
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "loggers": {
            name for name, log in logging.root.manager.loggerDict.items()
            if isinstance(log, logging.Logger) and log.disabled
        },
        "logging": logging.root.manager.disable,
        "collection": gc.isenabled(),
        "path": list(sys.path),
        "stdout": sys.stdout,
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "stance": torch._dynamo.eval_frame._stance,
        "folder": Path.cwd(),
        "dispatch": torch.utils._python_dispatch._is_in_torch_dispatch_mode,
    }  # fmt: skip


def serving(case: Case, wanted: torch.Tensor, stop: threading.Event, wrong: list[str]) -> int:
    """Run the model until told; note each pass that gives other numbers."""
    passes = 0
    while not stop.is_set():
        try:
            if not torch.equal(case.numbers(), wanted):
                wrong.append(f"pass {passes} gives other numbers")
            if any(module.training for module in case.served.modules()):
                wrong.append(f"pass {passes} finds a module in training")
        except BaseException as failure:
            wrong.append(f"pass {passes}: {type(failure).__name__}: {failure}")
        passes += 1
    return passes


def run(case: Case, rounds: int, turns: int, folder: Path) -> tuple[int, list[str]]:
    """Do `rounds` jobs in eight threads; return the passes meanwhile and what went wrong."""
    alone: dict[tuple[str, int], Any] = {}
    for job in JOBS:
        for turn in range(turns):
            (place := folder / f"alone-{job.__name__}-{turn}").mkdir()
            alone[job.__name__, turn] = job(case, turn, place)
    keys, kind = list(case.served.state_dict()), type(case.served)
    wanted, before = case.numbers(), process_state()
    stop = threading.Event()
    wrong: list[str] = []

    def one(number: int) -> None:
        job, turn = JOBS[number % len(JOBS)], number // len(JOBS) % turns
        (place := folder / f"{number}").mkdir()
        try:
            found = job(case, turn, place)
        except BaseException as failure:
            wrong.append(f"{job.__name__}: {type(failure).__name__}: {failure}")
            return
        if found != alone[job.__name__, turn]:
            wrong.append(f"{job.__name__} gives something else than alone")

    was = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # so that they meet often
    try:
        with ThreadPoolExecutor(THREADS + 1) as pool:
            server = pool.submit(serving, case, wanted, stop, wrong)
            try:
                list(pool.map(one, range(rounds)))
            finally:
                stop.set()
            passes = server.result()
    finally:
        sys.setswitchinterval(was)
    after = process_state()
    wrong += [f"{name} is not as it was" for name in before if before[name] != after[name]]
    if keys != list(case.served.state_dict()) or kind is not type(case.served):
        wrong.append("the served model is not as it was")
    return passes, wrong


@pytest.mark.long
@pytest.mark.parametrize(
    ("rounds", "turns"), [(22, 1), pytest.param(None, 3, marks=pytest.mark.slow)]
)
def test_a_model_serves_while_eight_threads_do_all_that_composer_does(
    case, rounds, turns, tmp_path, request
):
    """The slow case does as many as --rounds says."""
    rounds = rounds or request.config.getoption("rounds")
    passes, wrong = run(case, rounds, turns, tmp_path)
    assert not wrong, Counter(wrong).most_common(10)
    assert passes > 0

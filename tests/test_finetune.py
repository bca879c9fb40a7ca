"""`examples/finetune.py`: alone, on two processes, resumed on others, killed while it writes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import composer

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "finetune.py"
SHORT = [
    "--spec", "se", "--size", "32", "--batch", "16", "--lr", "1e-3", "--steps", "4", "--every", "2",
]  # fmt: skip
#: Over the network between processes, sums come in another order.
CLOSE = 2e-3


def command(folder: Path, processes: int, *more: str) -> list[str]:
    alone = [sys.executable]
    together = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    begin = alone if processes == 1 else [*together, str(processes)]
    return [*begin, str(SCRIPT), *SHORT, "-o", str(folder), *more]


def finetune(folder: Path, processes: int = 1, *more: str) -> str:
    run = subprocess.run(
        command(folder, processes, *more), capture_output=True, text=True, cwd=folder.parent
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def losses(said: str) -> dict[int, float]:
    return {int(s): float(loss) for s, loss in re.findall(r"step (\d+) of 4, loss (\S+)", said)}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, float]]:
    folder = tmp_path_factory.mktemp("alone") / "run"
    return folder, losses(finetune(folder))


def close(mine: dict[int, float], wanted: dict[int, float]) -> None:
    assert mine.keys() == wanted.keys()
    assert all(mine[step] == pytest.approx(wanted[step], rel=CLOSE) for step in wanted)


@pytest.mark.slow
def test_what_it_writes_is_a_composition(alone: tuple[Path, dict[int, float]]) -> None:
    folder, found = alone
    assert list(found) == [1, 2, 3, 4]
    assert len({round(loss, 2) for loss in found.values()}) > 1, "it learns nothing"
    model = composer.load(folder / "model").eval()
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert not (folder / "step-4.begun").exists()


@pytest.mark.slow
def test_replicas_have_the_same_losses(
    alone: tuple[Path, dict[int, float]], tmp_path: Path
) -> None:
    close(losses(finetune(tmp_path / "run", 2)), alone[1])


@pytest.mark.slow
def test_shards_have_the_same_losses_and_go_on_alone(
    alone: tuple[Path, dict[int, float]], tmp_path: Path
) -> None:
    """Two processes that share the weights end after step 2; one goes on, and gets the same."""
    folder = tmp_path / "run"
    first = losses(finetune(folder, 2, "--shard"))
    close(first, alone[1])
    (folder / "step-4").rename(tmp_path / "away")
    said = finetune(folder)
    assert f"resumed from {folder / 'step-2'}" in said
    close(losses(said), {step: alone[1][step] for step in (3, 4)})


@pytest.mark.slow
def test_one_is_killed_while_it_writes(
    alone: tuple[Path, dict[int, float]], tmp_path: Path
) -> None:
    """The last whole checkpoint is the one before, and the training goes on from there."""
    folder = tmp_path / "run"
    run = subprocess.Popen(
        command(folder, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    )  # fmt: skip
    begun = folder / "step-4.begun"
    for _ in range(20_000):
        if begun.exists():
            break
        assert run.poll() is None, "it ended before it wrote"
        time.sleep(0.01)
    os.kill(_worker(run.pid), signal.SIGKILL)
    assert run.wait(60) != 0
    assert [path.name for path in sorted(folder.glob("step-*"))] == ["step-2", "step-4.begun"]
    said = finetune(folder)
    assert f"resumed from {folder / 'step-2'}" in said
    close(losses(said), {step: alone[1][step] for step in (3, 4)})


def _worker(launcher: int) -> int:
    """Return a process that trains, of those that torchrun started."""
    listed = subprocess.run(
        ["pgrep", "-P", str(launcher)], capture_output=True, text=True, check=True
    )
    return int(listed.stdout.split()[-1])

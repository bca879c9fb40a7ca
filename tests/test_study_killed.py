"""A study whose processes are killed: the same final table, each run counted once.

Children are forked from a process that has imported torch. When each kill comes is drawn, and
nothing depends on it but how much is done again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from studies import write_study

from composer.study.driver import prepare, remaining, run_study
from composer.study.opened import Opened

ROOT = Path(__file__).parents[1]
#: Longer than in other tests, so that a kill comes in the middle of something.
TRAINING = "{epochs: 4, batch: 8, lr: 1e-2}"

torch.set_num_threads(1)


def table(study):
    """Return the final table: not the seconds, which differ."""
    return {
        (r.key, r.arm, r.seed, r.status, r.accuracy, r.epochs)
        for r in study.store.results().values()
    }


@pytest.fixture(scope="module")
def server():
    """A process that has imported all there is to import, and forks itself for each child.

    This process cannot be forked itself: torch computes no gradients after a fork where the parent
    has computed some, as other tests do.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["composer.study.driver", "timm", "test_study_killed"])
    first = context.Process(target=int)
    first.start()
    first.join()
    return context


def started(server, path):
    """Run a study in a child; return it."""
    child = server.Process(target=run_whole, args=(path,))
    child.start()
    return child


def run_whole(path):
    torch.set_num_threads(1)
    study = Opened.of(path, None)
    object.__setattr__(study.trainer, "checkpoint_every", 0.0)
    run_study(study, prepare(study))


def whole(server, folder, **changed):
    """Run a study without interruption; return its table and the CPU time that it took."""
    folder.mkdir()
    path = write_study(folder, training=TRAINING, **changed)
    child = started(server, path)
    seconds = run_until(child)
    child.join()
    assert child.exitcode == 0
    return table(Opened.of(path, None)), seconds


def run_until(child, seconds=float("inf")):
    """Wait until a child has ended or has taken so much CPU time; return how much it took.

    Other processes on the machine change the time on the clock far more.
    """
    taken = 0.0
    while child.is_alive() and taken < seconds:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            taken = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        time.sleep(0.002)
    return taken


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU time is read from /proc")
@pytest.mark.quick(1)
@pytest.mark.parametrize("kills", [2, 10])
def test_kill_9_at_random_moments(kills, tmp_path, server):
    changed = {"controls": "[finetuned]", "seeds": str(kills)}
    wanted, seconds = whole(server, tmp_path / "whole", **changed)
    folder = tmp_path / "killed"
    folder.mkdir()
    path = write_study(folder, training=TRAINING, **changed)
    drawn, killed = random.Random(kills), 0
    for _ in range(kills):
        child = started(server, path)
        run_until(child, seconds * drawn.uniform(0.05, 0.4))
        child.kill()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
    assert killed  # else nothing was interrupted
    last = started(server, path)
    last.join()
    assert last.exitcode == 0
    study = Opened.of(path, None)
    assert table(study) == wanted
    assert [(len(row[-1]), row[3]) for row in wanted] == [(4, "done")] * 2 * kills
    assert not study.checkpoints.exists()


def children(parent):
    """Return the processes that a process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[1]) == parent and words[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def command_line(process):
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(process) / "cmdline").read_bytes().decode(errors="replace")
    return ""


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are read from /proc")
@pytest.mark.parametrize("victim", ["a worker", "the parent"])
def test_two_workers_one_of_which_or_whose_parent_is_killed(victim, tmp_path, server):
    wanted, _ = whole(server, tmp_path / "whole", controls="[finetuned]")
    folder = tmp_path / "killed"
    folder.mkdir()
    path = write_study(folder, training=TRAINING, controls="[finetuned]")
    command = [sys.executable, "-m", "composer", "study", "run", str(path), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    checkpoints = folder / "study.results.checkpoints"

    def running_command():
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def workers(parent):
        return [p for p in children(parent) if "spawn_main" in command_line(p)]

    with running_command() as running:
        wait_for(lambda: any(checkpoints.glob("*.checkpoint")) or running.poll() is not None)
        theirs = workers(running.pid)
        if victim == "a worker" and theirs:
            os.kill(theirs[0], signal.SIGKILL)
        elif victim == "the parent":
            os.kill(running.pid, signal.SIGKILL)
        running.communicate(timeout=400)
    if victim == "the parent":
        wait_for(lambda: not any(map(command_line, theirs)))  # they end with it
        with running_command() as running:
            running.communicate(timeout=400)
    assert running.returncode == 0
    study = Opened.of(path, None)
    assert remaining(study, prepare(study)) == ([], [])
    assert table(study) == wanted


@pytest.mark.slow
def test_a_local_ray_of_two_workers_one_killed_half_way(tmp_path, monkeypatch, server):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from composer.study.on_ray import work_on_ray
    from composer.study.worker import Progress

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wanted, _ = whole(server, tmp_path / "whole", controls="[finetuned]")
    folder = tmp_path / "ray"
    folder.mkdir()
    study = Opened.of(write_study(folder, training=TRAINING, controls="[finetuned]"), None)
    prepared = prepare(study)
    study.checkpoints.mkdir()
    _, todo = remaining(study, prepared)
    ended = []
    cluster = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        killer = os.fork()
        if not killer:
            with contextlib.suppress(BaseException):
                wait_for(lambda: any(study.checkpoints.glob("*.checkpoint")))
                victims = [
                    int(p.name) for p in Path("/proc").glob("[0-9]*")
                    if "ray::train_one" in command_line(p.name)
                ]  # fmt: skip
                (folder / "killed").write_text(str(victims[0]))
                os.kill(victims[0], signal.SIGKILL)
            os._exit(0)
        address = cluster.address_info["address"]
        progress = Progress(on_end=lambda run, status: ended.append((run.key, status)))
        work_on_ray(study, todo, address, 2, progress)
        os.waitpid(killer, 0)
    finally:
        ray.shutdown()
    assert (folder / "killed").exists()
    assert table(study) == wanted
    assert sorted(ended) == sorted((run.key, "done") for run in todo)  # each once


def test_addresses():
    from composer.study.on_ray import address_of

    assert address_of("ray") == "auto"
    assert address_of("ray:10.0.0.1:6379") == "10.0.0.1:6379"
    assert address_of("ray://10.0.0.1:10001") == "ray://10.0.0.1:10001"

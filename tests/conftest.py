"""What all tests share: which cases of a test are slow, and how many of the slow ones are run."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command import Command

# two workers, and what they start, share the cores; torch reads it as it is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--one-in",
        type=int,
        default=1,
        metavar="N",
        help="run one in N of the slow cases (default: all)",
    )
    parser.addoption(
        "--share",
        type=int,
        default=0,
        metavar="K",
        help="which of them: those whose number, divided by N, leaves K modulo N (default: 0)",
    )
    parser.addoption(
        "--graphs",
        type=int,
        default=300,
        metavar="N",
        help="how many random specs test_differential compares (default: 300)",
    )
    parser.addoption(
        "--rounds",
        type=int,
        default=40,
        metavar="N",
        help="how many jobs the slow case of test_threads does (default: 40)",
    )
    parser.addoption(
        "--first-graph",
        type=int,
        default=0,
        metavar="SEED",
        help="the seed of the first of them (default: 0)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the cases after the first few of a `quick` test as slow, and omit what --one-in says."""
    numbers: Counter[str] = Counter()
    for item in items:
        test = _test(item)
        quick = item.get_closest_marker("quick")
        if quick is not None and numbers[test] >= quick.args[0]:
            item.add_marker(quick.kwargs.get("then", "slow"))
        numbers[test] += 1
    every, share = config.getoption("one_in"), config.getoption("share")
    slow = [item for item in items if item.get_closest_marker("slow") is not None]
    left = [item for number, item in enumerate(slow) if (number - share) % every]
    if left:
        config.hook.pytest_deselected(items=left)
        gone = set(left)
        items[:] = [item for item in items if item not in gone]


def _test(item: pytest.Item) -> str:
    """Return the test of which an item is a case."""
    return item.nodeid.partition("[")[0]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in a folder of its own."""
    from command import Command

    return Command(capsys)


@pytest.fixture
def net_file(here: Path) -> Path:
    """The tiny backbone `net.py:tiny`, in the current folder."""
    from command import NET

    file = here / "net.py"
    file.write_text(NET)
    return file

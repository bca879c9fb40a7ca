"""The bar for a slow step: on a terminal alone, and not in the first two seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import composer.cli.steps as steps_file
from composer.cli.steps import Steps

pty = pytest.importorskip("pty")

SLOW = """
from composer.cli.steps import Steps
import sys, time
steps = Steps(total=3)
with steps.step("a quick one"):
    pass
with steps.step("a slow one"):
    print("said by the backbone")
    time.sleep(3)
print("data")
"""


def on_a_terminal(code: str) -> tuple[str, str]:
    """Run code with stderr on a terminal; return stdout and what the terminal was sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[1])},
        text=True,
    ) as running:
        os.close(theirs)
        seen = b""
        while True:
            try:
                read = os.read(ours, 4096)
            except OSError:  # how Linux says that nobody holds the other end
                break
            if not read:
                break
            seen += read
        out = running.communicate()[0]
    os.close(ours)
    return out, seen.decode()


def test_a_slow_step_shows_on_a_terminal():
    out, seen = on_a_terminal(SLOW)
    assert out == "data\n"
    assert "a slow one" in seen
    assert "step 2 of 3" in seen
    assert "said by the backbone" in seen
    assert "a quick one" not in seen
    assert seen.rstrip().endswith("\x1b[2K")  # the bar is wiped away


def test_a_quick_step_does_not():
    _, seen = on_a_terminal(SLOW.replace("time.sleep(3)", "pass"))
    assert seen.replace("\r", "") == "said by the backbone\n"


def test_no_bar_where_stderr_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(steps_file, "PATIENCE", 0.0)
    monkeypatch.setattr(Steps, "_start", lambda self, name: pytest.fail("it shows"))
    steps = Steps(total=1)
    with steps.step("one"):
        print("not data")
    assert tuple(capsys.readouterr()) == ("", "not data\n")
    assert steps.done == 1


def test_a_step_that_fails_takes_its_bar_along(monkeypatch):
    class Bar:
        stopped = False

        def stop(self) -> None:
            self.stopped = True

    bar = Bar()
    monkeypatch.setattr(steps_file, "PATIENCE", 0.0)
    monkeypatch.setattr(Steps, "_start", lambda self, name: bar)
    steps = Steps(total=1)
    steps.shows = True
    stdout = sys.stdout
    with pytest.raises(ValueError, match="no"), steps.step("one"):
        import time

        time.sleep(0.05)
        raise ValueError("no")
    assert bar.stopped
    assert sys.stdout is stdout


@pytest.mark.parametrize(("terminal", "widest"), [(True, 60), (False, 140)])
def test_a_table_folds_on_a_terminal_alone(
    terminal: bool, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from composer.cli.tables import fitted

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    words = "many words that go on " * 2
    text = fitted(("name", "against", "found"), [["short", words.strip(), words * 2]], (1, 2))
    assert max(map(len, text.splitlines())) <= widest
    assert (len(text.splitlines()) > 3) is terminal
    together = " ".join(line[7:] for line in text.splitlines()[2:])
    assert together.split().count("many") == 6

"""The steps of a command: fast loading of libraries, and a bar for steps over two seconds."""

from __future__ import annotations

import atexit
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from composer.visible import visible_line

PATIENCE = 2.0  # seconds before a step shows


@contextmanager
def loading() -> Iterator[None]:
    """Load torch and the libraries around it in four fifths of the usual time.

    Python's garbage collector would scan the millions of long-lived objects that these create
    again and again. So it is paused, and ignores them until the process ends, when some
    libraries report uncollected objects. Where torch is already loaded, as in a test, this does
    nothing, since some existing objects are garbage.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)
        gc.enable()


class Steps:
    """Names the steps of a command; a slow one shows as a bar on stderr until it ends."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.shows = sys.stderr.isatty()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run one step; what the backbone's code prints in it goes to stderr: it is not data."""
        bar: list[Any] = []
        timer = threading.Timer(PATIENCE, lambda: bar.append(self._start(name)))
        timer.daemon = True
        if self.shows:
            timer.start()
        with redirect_stdout(sys.stderr):
            try:
                yield
            finally:
                timer.cancel()
                if timer.ident is not None:
                    timer.join()
                for shown in bar:
                    shown.stop()
                self.done += 1

    def _start(self, name: str) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("step {task.completed} of {task.total}"),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        progress.add_task(visible_line(name), total=self.total, completed=self.done + 1)
        progress.start()
        return progress

"""Plugins: what other installed distributions add to Composer by their entry points.

They are looked up when a name is unknown to Composer, and their code is imported when it is used.
So only two kinds of call meet a broken distribution: one that names what it adds, and one that
lists everything.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.errors import Diagnostic, listing

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The groups of entry points. Of the first, each names an op's class or module; of the second,
#: each names a package of specs.
OPS, SPECS = "composer.primitives", "composer.specs"

_SHOWN = 200  # characters of a plugin's own message


class PluginError(Exception):
    """A plugin cannot be used; the message names its distribution."""

    def __init__(self, message: str, way_out: str) -> None:
        super().__init__(message)
        self.message, self.way_out = message, way_out

    def warning(self) -> Diagnostic:
        """Return it as a warning, for a caller that did not ask for this plugin."""
        return Diagnostic("broken-plugin", self.message, self.way_out, severity="warning")


@dataclass(frozen=True)
class Addition:
    """One entry point: its name, its module or attribute, and its distribution."""

    name: str
    value: str
    project: str
    version: str
    entry: EntryPoint = field(compare=False, repr=False)

    @property
    def owner(self) -> str:
        """The distribution and its version, as ``my-ops 0.1.0``."""
        return f"{self.project} {self.version}"

    def load(self, what: str) -> Any:
        """Import what the entry point names.

        Raises:
            PluginError: the import fails, or the module has no such attribute.
        """
        try:
            return self.entry.load()
        except (Exception, SystemExit) as failure:
            raise self.broken(what, f"cannot be loaded: {said_of(failure)}") from None

    def broken(self, what: str, why: str) -> PluginError:
        """Return the error ``the op 'soften' of my-ops 0.1.0 …``."""
        return PluginError(f"{what} {self.name!r} of {self.owner} {why}", self.way_out)

    @property
    def way_out(self) -> str:
        """How to repair it or go on without it."""
        return f"repair {self.project}, or remove it: pip uninstall {self.project}"


@cache
def additions(group: str) -> tuple[Addition, ...]:
    """Return the entry points of a group, each distribution's once; cached after the first call.

    The current folder, which ``python -m`` and Jupyter put first, is excluded: see
    `is_current_folder`. A distribution whose metadata cannot be read is not ours to report, and is
    passed over.
    """
    from importlib.metadata import distributions

    path = sys.path[1:] if is_current_folder(sys.path[:1]) else sys.path
    found: dict[tuple[str, str], Addition] = {}
    owners: dict[str, int] = {}
    for number, distribution in enumerate(distributions(path=path)):
        try:
            entries = [entry for entry in distribution.entry_points if entry.group == group]
            project = distribution.metadata["Name"] if entries else ""
            version = distribution.version if entries else ""
        except Exception:
            continue
        if owners.setdefault(_normal(project), number) != number:
            continue  # an earlier folder of the path also has this distribution
        for entry in entries:
            one = Addition(entry.name, entry.value, project, version, entry)
            found.setdefault((_normal(project), entry.name), one)
    return tuple(sorted(found.values(), key=lambda one: (one.name, one.project)))


def is_current_folder(first: Sequence[str]) -> bool:
    """Return whether the first entry of Python's path is the current folder, as in ``python -m``.

    What lies there came with the files being looked at; it was not installed.
    """
    try:
        return any(place == "" or Path(place) == Path.cwd() for place in first)
    except OSError:  # the current folder is gone
        return False


def named(group: str, name: str) -> tuple[Addition, ...]:
    """Return the entry points with a name: more than one if distributions collide."""
    return tuple(one for one in additions(group) if one.name == name)


def collision(what: str, name: str, among: tuple[Addition, ...]) -> PluginError:
    """Return the error for several distributions that add the same name."""
    owners = listing([one.owner for one in among])
    projects = listing([one.project for one in among], last="or")
    message = f"{what} {name!r} is added by both {owners}"
    return PluginError(message, f"remove one: pip uninstall {projects}")


def at_fault(failure: BaseException) -> Addition | None:
    """Return the plugin in whose code an exception was raised, or None."""
    owners: dict[str, Addition] = {}
    modules: list[str] = []
    frame = failure.__traceback__
    while frame is not None:
        modules.append(str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0])
        frame = frame.tb_next
    for one in additions(OPS):
        owners.setdefault(one.entry.module.partition(".")[0], one)
    return next((owners[name] for name in reversed(modules) if name in owners), None)


def said_of(failure: BaseException) -> str:
    """Return the type and message of an exception on one line."""
    text = " ".join(str(failure).split())
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return f"{type(failure).__name__}: {text}" if text else type(failure).__name__


def _normal(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()

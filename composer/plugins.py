"""What other installed distributions add to Composer: the entry points of their metadata.

They are looked for when something is named that Composer has not, and the code of one is imported
when it is used: a distribution that is broken is met by those who name what it adds, and by a list
of all that there is.
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

#: The groups of entry points: each names an op's class or its module; each a package of specs.
OPS, SPECS = "composer.primitives", "composer.specs"

_SAID = 200  # characters of another's message


class PluginError(Exception):
    """What a distribution adds cannot be used; said with the distribution and the way out."""

    def __init__(self, message: str, way_out: str) -> None:
        super().__init__(message)
        self.message, self.way_out = message, way_out

    def warning(self) -> Diagnostic:
        """Return it as said to those who did not ask for what is broken."""
        return Diagnostic("broken-plugin", self.message, self.way_out, severity="warning")


@dataclass(frozen=True)
class Addition:
    """One entry point: its name, the module or attribute that it names, and whose it is."""

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
            PluginError: its code fails, or has no such name.
        """
        try:
            return self.entry.load()
        except (Exception, SystemExit) as failure:
            raise self.broken(what, f"cannot be loaded: {said_of(failure)}") from None

    def broken(self, what: str, why: str) -> PluginError:
        """Return what is said of it: ``the op 'soften' of my-ops 0.1.0 …``."""
        return PluginError(f"{what} {self.name!r} of {self.owner} {why}", self.way_out)

    @property
    def way_out(self) -> str:
        """How one goes on without it."""
        return f"repair {self.project}, or remove it: pip uninstall {self.project}"


@cache
def additions(group: str) -> tuple[Addition, ...]:
    """Return the entry points of a group, those of each distribution once; read the first time.

    The folder that ``python -m`` and Jupyter put first is left out: see `is_current_folder`.
    Metadata that cannot be read is another's, and is passed over.
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
            continue  # an earlier folder of the path has this distribution, too
        for entry in entries:
            one = Addition(entry.name, entry.value, project, version, entry)
            found.setdefault((_normal(project), entry.name), one)
    return tuple(sorted(found.values(), key=lambda one: (one.name, one.project)))


def is_current_folder(first: Sequence[str]) -> bool:
    """Return whether the first place of Python's path is the current folder, as of ``python -m``.

    What lies there came with files that one looks at, and is no installation.
    """
    try:
        return any(place == "" or Path(place) == Path.cwd() for place in first)
    except OSError:  # the current folder is gone
        return False


def named(group: str, name: str) -> tuple[Addition, ...]:
    """Return the entry points of a name: more than one where distributions collide."""
    return tuple(one for one in additions(group) if one.name == name)


def collision(what: str, name: str, among: tuple[Addition, ...]) -> PluginError:
    """Return what is said where several distributions add the same name."""
    owners = listing([one.owner for one in among])
    projects = listing([one.project for one in among], last="or")
    message = f"{what} {name!r} is of both {owners}"
    return PluginError(message, f"remove one: pip uninstall {projects}")


def at_fault(failure: BaseException) -> Addition | None:
    """Return the addition in whose code an exception was raised, if it was in any."""
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
    """Return what an exception of another's code says, on one line."""
    said = " ".join(str(failure).split())
    said = said if len(said) <= _SAID else f"{said[: _SAID - 1]}…"
    return f"{type(failure).__name__}: {said}" if said else type(failure).__name__


def _normal(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()

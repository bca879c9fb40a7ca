"""An internal fault: what to report, with the traceback in a file and not on the terminal."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import traceback
from dataclasses import dataclass

from composer import __version__
from composer.errors import ComposerError, Diagnostic
from composer.plugins import at_fault
from composer.visible import visible

#: Libraries whose versions are reported.
_LIBRARIES = ("torch", "timm", "torchvision", "transformers")
TRACEBACK, TRACEBACK_OPTION = "COMPOSER_TRACEBACK", "--traceback"


@dataclass(frozen=True)
class Fault:
    """An unexpected exception, with what is needed to repair it."""

    error: ComposerError
    facts: dict[str, str]

    def lines(self) -> list[str]:
        """Return the facts, one per line."""
        width = max(map(len, self.facts))
        return [f"    {name:{width}}  {value}" for name, value in self.facts.items()]


def fault_of(failure: Exception, given: list[str]) -> Fault:
    """Return the report of an exception, after writing its traceback to a temporary file.

    Args:
        failure: the exception.
        given: the words of the command line.
    """
    other = at_fault(failure)
    whose, to = (other.owner, "its author") if other else ("Composer", "Composer's authors")
    facts = {
        "composer": __version__,
        "command": shlex.join(["composer", *given]),
        "platform": f"{platform.platform()}, Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES),
    }
    said = (str(failure).strip().splitlines() or [""])[0]
    message = f"{type(failure).__name__}: {said}" if said else type(failure).__name__
    report = "\n".join(f"{name}: {value}" for name, value in facts.items())
    try:
        facts["traceback"] = _written(f"{report}\n\n{traceback_of(failure)}")
        way_out = f"this is a fault of {whose}; please send the lines below and the file to {to}"
    except OSError as problem:
        facts["traceback"] = f"not written: {problem.strerror or problem}"
        way_out = (f"this is a fault of {whose}; please send the lines below to {to}, with what "
                   f"{TRACEBACK_OPTION} shows")  # fmt: skip
    return Fault(ComposerError(Diagnostic("fault", message, way_out)), facts)


def traceback_of(failure: BaseException) -> str:
    """Return the traceback of an exception, with every character made visible."""
    return visible("".join(traceback.format_exception(failure)))


def wants_traceback(given: list[str]) -> bool:
    """Return whether the traceback was requested, by a variable or on the command line."""
    return bool(os.environ.get(TRACEBACK)) or TRACEBACK_OPTION in given


def _written(text: str) -> str:
    """Write a report to a file that only the user can read, and return its path."""
    number, path = tempfile.mkstemp(prefix="composer-fault-", suffix=".txt")
    with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return path


def _version(name: str) -> str:
    """Return the version of a library without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    loaded = getattr(sys.modules.get(name), "__version__", None)
    try:
        return str(loaded) if loaded else version(name)
    except PackageNotFoundError:
        return "not installed"

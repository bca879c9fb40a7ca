"""The shipped specs, and how a spec's name or path leads to its text.

For the named specs of other distributions, see `composer.language.packs`.
"""

from __future__ import annotations

import errno
from pathlib import Path

from composer.errors import ComposerError, Diagnostic, suggestion
from composer.language.packs import broken_packs, packed_names, packed_spec
from composer.language.source import read_text
from composer.plugins import PluginError

SUFFIXES = (".yaml", ".yml")
#: Follows the name of a shipped spec where a message would name a file.
SHIPPED = " (shipped)"


def shipped_folder() -> Path:
    """Return the folder of the shipped specs: in the wheel, else in the source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "specs"
    return inside if inside.is_dir() else package.parent / "specs"


def shipped_names() -> list[str]:
    """Return the names of the shipped specs, sorted."""
    return sorted(path.stem for path in shipped_folder().glob("*.yaml"))


def find_spec(word: str) -> tuple[str, str]:
    """Return (text, file) for a path, or the name of a shipped spec with or without ``.yaml``.

    An existing file wins, then a shipped spec, then the file ``word.yaml``, then a spec of
    another distribution. Text with a line break is a spec itself.

    Raises:
        ComposerError: there is neither such a file nor such a spec.
    """
    if "\n" in word:
        return word, "<spec>"
    path = Path(word)
    if word and is_file(path):
        return read_text(path), word
    name = path.stem if path.suffix in SUFFIXES else word
    if name in shipped_names() and path.name == word:
        file = shipped_folder() / f"{name}.yaml"
        return read_text(file), f"{name}{SHIPPED}"
    for suffix in SUFFIXES:
        if word and not path.suffix and is_file(file := Path(f"{word}{suffix}")):
            return read_text(file), str(file)
    if path.name == word and (found := _packed(name)) is not None:
        return found
    shown = word if len(word) <= 80 else f"{word[:79]}…"
    if word and len(word) < 256 and path.is_dir():
        problem, code = f"{shown!r} is a folder, not a spec", "not-a-file"
    else:
        problem, code = f"no file and no shipped spec named {shown!r}", "unknown-spec"
    packed = packed_names()
    known = sorted({*shipped_names(), *packed})
    way_out = suggestion(name.lower(), known, "Specs" if packed else "Shipped specs")
    raise ComposerError([Diagnostic(code, problem, way_out), *broken_packs()])


def word_of(file: str) -> str:
    """Return the name under which `find_spec` finds it again: a file's stem, a spec's name."""
    return Path(file.rpartition(" (")[0] if file.endswith(")") else file).stem


def _packed(name: str) -> tuple[str, str] | None:
    """Return the text and the name of a spec of another distribution.

    Raises:
        ComposerError: several distributions have it, or it cannot be read.
    """
    try:
        spec = packed_spec(name)
        return None if spec is None else (spec.read(), spec.shown)
    except PluginError as broken:
        raise ComposerError(Diagnostic("broken-plugin", broken.message, broken.way_out)) from None


def is_file(path: Path) -> bool:
    """Return whether the file exists; a word too long for a path names no file."""
    try:
        return path.is_file()
    except OSError as failure:
        return failure.errno != errno.ENAMETOOLONG  # `read_text` says why it cannot be read

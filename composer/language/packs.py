"""Named specs of other distributions: the ``*.yaml`` files of packages that entry points name.

::

    [project.entry-points."composer.specs"]
my_ops = "my_ops.specs"                # a package; the file names are the spec names

They are looked up only if a name is neither a file nor a shipped spec, so installing a package
never changes which spec a name refers to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from composer.errors import Diagnostic
from composer.plugins import SPECS, Addition, PluginError, additions, collision, said_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_WHAT = "the package of specs"
_SPEC = "the spec"


@dataclass(frozen=True)
class PackedSpec:
    """A spec of another distribution: its name, its distribution and its file."""

    name: str
    pack: Addition
    file: Traversable

    @property
    def shown(self) -> str:
        """The name in place of a file's name: ``soften_gate (my-ops 0.1.0)``."""
        return f"{self.name} ({self.pack.owner})"

    def read(self) -> str:
        """Return its text.

        Raises:
            PluginError: it cannot be read.
        """
        try:
            return self.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as failure:
            why = f"cannot be read: {said_of(failure)}"
            said = f"{_SPEC} {self.name!r} of {self.pack.owner} {why}"
            raise PluginError(said, self.pack.way_out) from None

    def hidden(self) -> PluginError:
        """Return the error for one that has the name of a shipped spec."""
        said = f"{_SPEC} {self.name!r} of {self.pack.owner} has the name of a shipped one"
        return PluginError(f"{said}, which is read", "its author can rename the file")


def packed_names() -> list[str]:
    """Return the names of the specs of other distributions, sorted."""
    return sorted(_packed()[0])


def packed_spec(name: str) -> PackedSpec | None:
    """Return the spec with a name; None if no other distribution has it.

    Raises:
        PluginError: several distributions have it.
    """
    among = _packed()[0].get(name, ())
    if len({one.pack.project for one in among}) > 1:
        raise collision(_SPEC, name, tuple(one.pack for one in among))
    return among[0] if among else None


def broken_packs() -> tuple[Diagnostic, ...]:
    """Return what is wrong with the packages of specs, as warnings."""
    return tuple(failure.warning() for failure in _packed()[1])


@cache
def _packed() -> tuple[dict[str, tuple[PackedSpec, ...]], tuple[PluginError, ...]]:
    found: dict[str, tuple[PackedSpec, ...]] = {}
    broken: list[PluginError] = []
    for pack in additions(SPECS):
        try:
            inside = _yaml_files(pack)
        except PluginError as failure:
            broken.append(failure)
            continue
        for file in inside:
            name = file.name.removesuffix(".yaml")
            found[name] = (*found.get(name, ()), PackedSpec(name, pack, file))
    return found, tuple(broken)


def _yaml_files(pack: Addition) -> list[Traversable]:
    """Return the files of a package of specs, sorted.

    Raises:
        PluginError: it cannot be imported, or contains no spec.
    """
    from importlib.resources import files

    try:
        inside = sorted(files(pack.value).iterdir(), key=lambda file: file.name)
        found = [file for file in inside if file.name.endswith(".yaml") and file.is_file()]
    except (Exception, SystemExit) as failure:
        raise pack.broken(_WHAT, f"cannot be loaded: {said_of(failure)}") from None
    if not found:
        raise pack.broken(_WHAT, f"is {pack.value}, which has no *.yaml")
    return found

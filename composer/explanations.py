"""The meaning of each diagnostic code, with an example and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml

from composer.errors import did_you_mean, error

#: The kinds of example: a spec or its nodes, a command, or Python.
Kind = Literal["spec", "command", "python"]
_KINDS: tuple[Kind, ...] = ("spec", "command", "python")
#: The lines above the nodes of an example.
HEAD = "name: example\ninput: [b, c, h, w]\nnodes:\n"


@dataclass(frozen=True)
class Explanation:
    """One code: its meaning, an example that leads to it, and the way out."""

    code: str
    means: str
    kind: Kind
    example: str
    way_out: str

    def lines(self) -> list[str]:
        """Return the lines that a person reads."""
        shown = [f"    {line}".rstrip() for line in self.example.splitlines()]
        return [f"{self.code}: {self.means}", "", "example", *shown, "", f"way out: {self.way_out}"]


def explanations() -> dict[str, Explanation]:
    """Return all codes in alphabetical order, each with its explanation."""
    text = files("composer").joinpath("explanations.yaml").read_text(encoding="utf-8")
    found = {}
    for code, fields in yaml.load(text, Loader=yaml.CSafeLoader).items():
        (kind,) = [kind for kind in _KINDS if kind in fields]
        example = str(fields[kind]).rstrip()
        found[code] = Explanation(code, fields["means"], kind, example, fields["way_out"])
    return found


def explain(code: str) -> Explanation:
    """Return the explanation of a code.

    Args:
        code: as in a message; the brackets and the severity before them may be included.

    Raises:
        ComposerError: the code does not exist.
    """
    known = explanations()
    word = code.strip().rstrip(":").removesuffix("]").rpartition("[")[2]
    if word not in known:
        near = did_you_mean(word, known)
        all_of_them = "'composer explain' lists all codes"
        way_out = f"{near} {all_of_them}" if near else all_of_them
        raise error("unknown-code", f"no message has the code {word!r}", way_out)
    return known[word]

"""Which convolutions match: the spec's own `match`, overridden by the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import ValidationError

from composer.errors import ComposerError, Diagnostic, suggestion
from composer.language.models import Match

KEYS = tuple(Match.model_fields)

_WANTED = {
    "depthwise": "true or false",
    "position": "positions such as 1, 3..5 or 2..-1",
    "name": "a glob such as conv_*",
}


@dataclass(frozen=True)
class Facts:
    """The properties of a layer to match; `sizes` of a convolution are per axis of the map."""

    kind: str
    name: str
    sizes: Mapping[str, tuple[int, ...]]
    counts: Mapping[str, int]

    @property
    def depthwise(self) -> bool:
        """Whether each channel is its own group."""
        return self.counts.get("groups", 1) == self.counts.get("channels", 0) > 1

    def __str__(self) -> str:
        if not self.sizes:
            return f"class {self.kind}"
        words = [f"kernel {square(self.sizes['kernel'])}"]
        if set(self.sizes["stride"]) != {1}:
            words.append(f"stride {square(self.sizes['stride'])}")
        if self.depthwise:
            words.append("depthwise")
        elif self.counts["groups"] > 1:
            words.append(f"groups {self.counts['groups']}")
        return ", ".join(words)


def overlaid(own: Match | None, given: Mapping[str, object] | None) -> Match:
    """Return the spec's match overridden by the caller's; None matches any.

    Raises:
        ComposerError: an unknown key, or an invalid value.
    """
    problems = []
    wanted = {key: getattr(own, key) for key in KEYS} if own else {}
    for key, value in (given or {}).items():
        if key not in KEYS:
            way_out = suggestion(str(key), KEYS, "Keys")
            problems.append(_invalid(f"unknown match key {key!r}", way_out))
            continue
        try:
            wanted[key] = getattr(Match.model_validate({key: value}), key)
        except ValidationError:
            way_out = f"give {_WANTED.get(key, 'a whole number from 1')}, or null for any"
            problems.append(_invalid(f"{key} can't match {value!r}", way_out))
    if problems:
        raise ComposerError(problems)
    return Match(**wanted)


def reason_against(match: Match, facts: Facts, number: int | None, count: int) -> str | None:
    """Return why a layer does not match, or None where it does.

    Args:
        match: the requested properties.
        facts: its properties.
        number: its position among all in the order they run, if it has one.
        count: the number of all.
    """
    for key, pair in facts.sizes.items():
        want = getattr(match, key)
        if want is not None and set(pair) != {want}:
            return f"its {key} is {square(pair)}, not {want}"
    for key, have in facts.counts.items():
        want = getattr(match, key)
        if want is not None and have != want:
            return f"its {_PROSE.get(key, key)} {have}, not {want}"
    if match.depthwise is not None and facts.depthwise != match.depthwise:
        return "it is depthwise" if facts.depthwise else "it is not depthwise"
    if match.name is not None and not fnmatchcase(facts.name, match.name):
        return f"its name is {facts.name!r}, not {match.name!r}"
    if match.position is not None and number and number not in match.position.of(count):
        return f"it is number {number} of {count}, not {match.position}"
    return None


def square(sizes: tuple[int, ...]) -> str:
    """Return one number if all are equal, such as ``3``, else each, such as ``1×7``."""
    return str(sizes[0]) if len(set(sizes)) == 1 else "×".join(map(str, sizes))


_PROSE = {
    "groups": "number of groups is",
    "channels": "number of channels is",
    "out": "number of channels out is",
}


def _invalid(message: str, way_out: str) -> Diagnostic:
    return Diagnostic("invalid-match", message, way_out)

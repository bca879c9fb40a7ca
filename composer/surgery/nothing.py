"""The error for an insertion that finds no site: what there is, and why none of it matches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from composer.errors import ComposerError, counted, error
from composer.surgery.near_miss import NearMiss


def nothing_found(noun: str, seen: str, way_out: str) -> ComposerError:
    """Return the error for a backbone that has no such place at all."""
    return error("no-sites", f"this backbone has no {noun} that could be found; {seen}", way_out)


def none_matches(
    noun: str, count: int, misses: Sequence[NearMiss], there_are: str
) -> ComposerError:
    """Return the error for a choice that nothing meets.

    A common reason is reported, or else one that is not the choice itself.
    """
    reasons = Counter(miss.reason for miss in misses)
    others = Counter(miss.reason for miss in misses if not miss.by_choice)
    why = ""
    if len(reasons) == 1:
        why = f": {misses[0].reason}"
    elif others:
        reason, times = others.most_common(1)[0]
        why = f"; {times} passed over: {reason}"
    if count == 1:
        return error("no-sites", f"the only {noun} does not match{why}", f"there is {there_are}")
    message = f"none of the {counted(count, noun)} matches{why}"
    return error("no-sites", message, f"there are {there_are}")

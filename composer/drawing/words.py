"""The texts of a backbone's picture: the cost of its parts, and the insertions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from composer.drawing.diagram import Fact
from composer.drawing.outline import Insertion, Spent
from composer.measure.numbers import cost_line, giga


def badges(inserted: Sequence[Insertion]) -> tuple[str, ...]:
    """Return the insertions in a few words: ``cbam before the add, +8,562``."""
    found: dict[str, list[Insertion]] = {}
    for one in inserted:
        own_name = one.name.rpartition(".")[2]
        numbered = own_name.startswith(f"{one.spec}_") and own_name[len(one.spec) + 1 :].isdigit()
        found.setdefault(own_name if numbered else one.spec, []).append(one)
    badges = []
    for spec, ones in found.items():
        own = [one for one in ones if not one.is_shared]
        where = dict.fromkeys(one.where for one in own)
        times = f" ×{len(own)}" if len(own) > 1 else ""
        told = f" {next(iter(where))}" if len(where) == 1 else ""
        added = sum(one.added.parameters for one in ones)
        badges.append(f"{spec}{times}{told}, {added:+,} params")
    return tuple(badges)


def spent_and_added(spent: Spent, added: Spent) -> tuple[str, ...]:
    """Return the cost of a stage, and how much of it insertions added."""
    if added == Spent():
        return (*cost_line(spent.parameters, 0), *cost_line(0, spent.flops))
    sign = "−" if added.flops < 0 else "+"
    return (
        f"{spent.parameters:,} params ({added.parameters:+,})",
        f"{giga(spent.flops)} multiply-adds ({sign}{giga(abs(added.flops))})",
    )


def facts_of(spent: Spent, added: Spent, path: str = "") -> Iterator[Fact]:
    """Yield the details shown on request."""
    if path:
        yield Fact("path", path)
    yield Fact("parameters", f"{spent.parameters:,}")
    yield Fact("multiply-adds", f"{spent.flops:,}")
    if added != Spent():
        yield Fact("added by insertion", f"{added.parameters:+,} parameters, {added.flops:+,} "
                                         "multiply-adds")  # fmt: skip


def from_to(before: int, after: int) -> str:
    """Return a count before and after, with the change as a percentage."""
    change = f" ({(after - before) / before:+.1%})" if before else ""
    return f"{giga(before)} to {giga(after)}{change}"

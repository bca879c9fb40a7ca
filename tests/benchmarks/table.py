"""What was measured, as lines for people: a line for each row, then the means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from results import OTHERS, RATIOS, Mean, Row

_NAMES = ("ours", *OTHERS, "limit")
_HEADINGS = tuple(f"{who}/{whom}" for who, whom in RATIOS)


def heading(memory: bool) -> str:
    """Return the heading of the rows: times in µs, or memory in MiB."""
    unit = "MiB" if memory else "µs"
    cells = [f"{f'{name} {unit}':>12}" for name in _NAMES] + [f"{h:>11}" for h in _HEADINGS]
    return f"{'':<32}" + "".join(cells)


def line(row: Row) -> str:
    """Return the line of a row."""
    unit = 2**20 if row.memory else 1e-6
    shown = row.shown
    cells = [f"{shown[n] / unit:>12,.1f}" if n in shown else f"{'-':>12}" for n in _NAMES]
    for who, whom in RATIOS:
        ratio = row.ratio(who, whom)
        cells.append(f"{'-':>11}" if ratio is None else f"{ratio:>11.2f}")
    return f"{row.case!s:<32}" + "".join(cells)


def ranked(rows: Sequence[Row]) -> Iterator[str]:
    """Yield all cases, the worst first: the ratio of the fastest rival's time to ours."""
    yield "\nall cases, the worst first: the time of the fastest rival over ours"
    for row in sorted(rows, key=lambda row: row.worst):
        ratio, who = row.worst
        yield f"  {ratio:>6.2f} {who:<6} {row.case!s:<36} {row.setting}"


def summary(found: Sequence[Mean]) -> Iterator[str]:
    """Yield the means of each mode, with the worst case of each."""
    for setting in dict.fromkeys(mean.setting for mean in found):
        yield f"\n{setting}: geometric means, and the worst case"
        for mean in found:
            if mean.setting == setting:
                yield (
                    f"  {mean.name:<18} {mean.ratio:<11} {mean.mean:>6.2f} "
                    f"  worst {mean.worst:.2f} ({mean.at}; {mean.rows} cases)"
                )

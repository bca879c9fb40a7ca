"""What was measured: a row for each case, the ratios in it, and their means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cases import Case
from modes import Setting

from composer.measure.latency import Timing

#: Those that ours is compared with, where a case has them.
OTHERS = ("timm", "torch", "plain")
#: Each ratio as (who, to whom): above 1, ours is faster, but for the last.
RATIOS = (*((other, "ours") for other in OTHERS), ("ours", "limit"))


@dataclass(frozen=True)
class Row:
    """One case in one setting: seconds by name, or bytes."""

    case: Case
    setting: Setting
    parameters: dict[str, int]
    difference: float
    timings: dict[str, Timing]
    memory: dict[str, int]
    least: bool = False  # whether the fastest round is shown, and not the median

    @property
    def shown(self) -> dict[str, float]:
        """What the row measures: seconds, or bytes."""
        if self.memory:
            return dict(self.memory)
        return {n: t.least if self.least else t.median for n, t in self.timings.items()}

    def ratio(self, who: str, whom: str) -> float | None:
        """Return a ratio; of median times, the median of the rounds' own."""
        if not {who, whom} <= self.shown.keys():
            return None
        if self.timings and not self.least:
            return self.timings[who].ratio(self.timings[whom])
        return self.shown[who] / self.shown[whom] if self.shown[whom] else None

    @property
    def worst(self) -> tuple[float, str]:
        """The least ratio to ours, and whose it is; infinity where nobody else is there."""
        ratios = [(self.ratio(who, whom), who) for who, whom in RATIOS if whom == "ours"]
        return min(((r, who) for r, who in ratios if r is not None), default=(math.inf, "nobody"))

    def as_json(self) -> dict[str, Any]:
        """Return every number."""
        return {
            "case": self.case.name,
            "spec": self.case.spec,
            "batch": self.case.batch,
            "shape": list(self.case.shape),
            "mode": self.setting.mode,
            "layout": self.setting.layout,
            "dtype": self.setting.dtype,
            "heap": self.setting.heap,
            "parameters": self.parameters,
            "difference": self.difference,
            "seconds": {
                name: {
                    "median": t.median,
                    "quartiles": list(t.quartiles),
                    "least": t.least,
                    "runs": t.runs,
                }
                for name, t in self.timings.items()
            },
            "bytes": self.memory,
            "ratios": {f"{a}/{b}": self.ratio(a, b) for a, b in RATIOS},
        }


@dataclass(frozen=True)
class Mean:
    """The geometric mean of a ratio over the rows of a spec in a mode, and the worst of them."""

    name: str
    setting: str
    ratio: str
    mean: float
    worst: float
    at: str
    rows: int


def means(rows: Sequence[Row]) -> list[Mean]:
    """Return the mean of each ratio: for each spec, and, named ``all``, over all rows of a mode.

    The limit is one of gates, so the mean over all leaves out what computes more.
    """
    found = []
    for setting in dict.fromkeys(str(row.setting) for row in rows):
        here = [row for row in rows if str(row.setting) == setting]
        names = list(dict.fromkeys(row.case.name for row in here))
        for name in [*names, "all"]:
            some = [row for row in here if name in (row.case.name, "all")]
            for who, whom in RATIOS:
                ratios = [
                    (ratio, str(row.case))
                    for row in some
                    if (ratio := row.ratio(who, whom))
                    and (row.case.gates or name != "all" or whom != "limit")
                ]
                if ratios:
                    worst, at = max(ratios) if whom == "limit" else min(ratios)
                    mean = geometric(r for r, _ in ratios)
                    said = f"{who}/{whom}"
                    found.append(Mean(name, setting, said, mean, worst, at, len(ratios)))
    return found


def geometric(ratios: Iterable[float]) -> float:
    """Return the geometric mean."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))

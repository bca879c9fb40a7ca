"""The colours of a picture, in three themes; the page of the HTML has both light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from composer.drawing.diagram import Kind

ThemeName = Literal["paper", "light", "dark"]


@dataclass(frozen=True)
class Theme:
    """Colours as ``#rrggbb``: of each kind of box what fills it and what surrounds it."""

    page: str
    text: str
    faint: str  # what is said in small letters
    line: str
    road: str
    group: str  # what surrounds a group
    inside: str  # what fills one
    fills: Mapping[Kind, str]
    edges: Mapping[Kind, str]


#: What a legend says of the kinds that it names.
MEANING: Mapping[Kind, str] = {
    "reduce": "pool",
    "layer": "learned",
    "gate": "gate",
    "reweight": "reweight",
    "combine": "combine",
    "inserted": "inserted",
}

_PAPER = Theme(
    page="#ffffff", text="#1a1a1a", faint="#565656", line="#7a7a7a", road="#1a1a1a",
    group="#9a9a9a", inside="#fafafa",
    fills={
        "end": "#ffffff", "reduce": "#dbe8f6", "layer": "#fbe3cb", "gate": "#e5dcf2",
        "reweight": "#d3ecd6", "combine": "#ececec", "plain": "#ffffff", "inserted": "#ffe08a",
        "problem": "#fbd5d5",
    },
    edges={
        "end": "#1a1a1a", "reduce": "#4a7db5", "layer": "#c9853d", "gate": "#8262b3",
        "reweight": "#3f8f4d", "combine": "#8a8a8a", "plain": "#8a8a8a", "inserted": "#b07d00",
        "problem": "#c22f2f",
    },
)  # fmt: skip

_LIGHT = Theme(
    page="#f7f8fa", text="#1f2430", faint="#555d6b", line="#848c99", road="#1f2430",
    group="#b3bac5", inside="#eef0f4",
    fills={
        "end": "#ffffff", "reduce": "#d0e4fb", "layer": "#ffe0bf", "gate": "#e3d7fa",
        "reweight": "#c9efd1", "combine": "#e3e6eb", "plain": "#ffffff", "inserted": "#ffdb70",
        "problem": "#ffd0d0",
    },
    edges=_PAPER.edges,
)  # fmt: skip

_DARK = Theme(
    page="#14171c", text="#eceff4", faint="#b9c1cd", line="#7d8796", road="#eceff4",
    group="#4b5563", inside="#1b2027",
    fills={
        "end": "#14171c", "reduce": "#1d3a5c", "layer": "#5a3b18", "gate": "#41316a",
        "reweight": "#1d4a2b", "combine": "#333a45", "plain": "#222831", "inserted": "#5f4900",
        "problem": "#6b2020",
    },
    edges={
        "end": "#eceff4", "reduce": "#6ba4e3", "layer": "#e2a157", "gate": "#ad90e6",
        "reweight": "#68bf7a", "combine": "#8d97a6", "plain": "#8d97a6", "inserted": "#ffcf40",
        "problem": "#ff7b7b",
    },
)  # fmt: skip

THEMES: Mapping[ThemeName, Theme] = {"paper": _PAPER, "light": _LIGHT, "dark": _DARK}


def variables(theme: Theme) -> dict[str, str]:
    """Return the colours of a theme by the names that `NAMED` has for them."""
    plain = {n: getattr(theme, n) for n in ("page", "text", "faint", "line", "road", "group",
                                            "inside")}  # fmt: skip
    kinds = get_args(Kind)
    return {
        **plain,
        **{f"fill-{kind}": theme.fills[kind] for kind in kinds},
        **{f"edge-{kind}": theme.edges[kind] for kind in kinds},
    }


def _named() -> Theme:
    names = {name: f"var(--{name})" for name in variables(_PAPER)}
    kinds: tuple[Kind, ...] = get_args(Kind)
    return Theme(
        **{n: names[n] for n in ("page", "text", "faint", "line", "road", "group", "inside")},
        fills={kind: names[f"fill-{kind}"] for kind in kinds},
        edges={kind: names[f"edge-{kind}"] for kind in kinds},
    )


#: Names in place of colours, for a page that says elsewhere what they are.
NAMED = _named()

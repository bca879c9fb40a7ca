"""The colours of a picture, in three themes; the page of the HTML has both light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from composer.drawing.diagram import Kind

ThemeName = Literal["paper", "light", "dark"]


@dataclass(frozen=True)
class Theme:
    """Colours as ``#rrggbb``: for each kind of box the fill and the edge."""

    page: str
    text: str
    faint: str  # small text
    line: str
    road: str
    group: str  # the edge of a group
    inside: str  # the fill of a group
    fills: Mapping[Kind, str]
    edges: Mapping[Kind, str]


#: The texts of the legend.
MEANING: Mapping[Kind, str] = {
    "reduce": "pool",
    "layer": "learned",
    "gate": "gate",
    "reweight": "reweight",
    "combine": "combine",
    "inserted": "inserted",
    "problem": "problem",
}

# Any two kinds differ by a CIE76 colour difference of at least 15 in fill or edge: in colour, in
# grey, and as simulated for protanopia and deuteranopia. So there are three lightnesses of fills
# and four of edges; a test measures it.
_PAPER = Theme(
    page="#ffffff", text="#111111", faint="#333333", line="#6a6a6a", road="#111111",
    group="#8a8a8a", inside="#fafafa",
    fills={
        "end": "#ffffff", "reduce": "#9ad2fe", "layer": "#fdc082", "gate": "#b693dc",
        "reweight": "#4fb393", "combine": "#f7f7f7", "plain": "#ffffff", "inserted": "#f1c81a",
        "problem": "#f87d7d",
    },
    edges={
        "end": "#181818", "reduce": "#004b77", "layer": "#ad5400", "gate": "#8553c8",
        "reweight": "#005227", "combine": "#404040", "plain": "#6d6d6d", "inserted": "#302100",
        "problem": "#510003",
    },
)  # fmt: skip

_LIGHT = Theme(
    page="#f4f6f9", text="#10141c", faint="#303640", line="#6b7380", road="#10141c",
    group="#9aa2ae", inside="#ebeef2", fills=_PAPER.fills, edges=_PAPER.edges,
)  # fmt: skip

_DARK = Theme(
    page="#101318", text="#f2f4f8", faint="#cdd4de", line="#7d8796", road="#eceff4",
    group="#59636f", inside="#171b21",
    fills={
        "end": "#0b0d10", "reduce": "#00314f", "layer": "#482509", "gate": "#614188",
        "reweight": "#1c5c33", "combine": "#0d0d0d", "plain": "#0b0d10", "inserted": "#362e00",
        "problem": "#932b2b",
    },
    edges={
        "end": "#f6f6f6", "reduce": "#8fccfa", "layer": "#da7f38", "gate": "#ac84da",
        "reweight": "#78d995", "combine": "#c5c5c5", "plain": "#969696", "inserted": "#fff5b2",
        "problem": "#ffefe5",
    },
)  # fmt: skip

THEMES: Mapping[ThemeName, Theme] = {"paper": _PAPER, "light": _LIGHT, "dark": _DARK}


def variables(theme: Theme) -> dict[str, str]:
    """Return the colours of a theme by their names in `NAMED`."""
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


#: Names in place of colours, for a page that defines them elsewhere.
NAMED = _named()

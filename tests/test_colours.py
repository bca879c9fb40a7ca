"""Kinds of boxes are told apart in colour, in grey, and by the colour-blind; each has a sign.

A colour-blind eye is simulated by the matrices of Machado, Oliveira and Fernandes, "A
physiologically-based model for simulation of color vision deficiency", IEEE TVCG 15 (2009), table
of severity 1.0, applied to linear RGB.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from skimage.color import deltaE_cie76, rgb2lab

from composer.drawing.diagram import Box, Kind
from composer.drawing.signs import SIDE, SIGNS, sign_of
from composer.drawing.theme import MEANING, THEMES, Theme

LEAST = 15.0
SIMULATED = {
    "as it is": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "grey": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}  # fmt: skip


def seen(colour: str, matrix: np.ndarray) -> np.ndarray:
    """Return a colour in CIELAB as a kind of eye sees it."""
    srgb = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    back = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(back.reshape(1, 1, 3))[0, 0]


def apart(theme: Theme, one: Kind, other: Kind, matrix: np.ndarray) -> float:
    """Return how far two kinds are apart: by what fills them, or by what surrounds them."""
    both: tuple[Mapping[Kind, str], ...] = (theme.fills, theme.edges)
    return max(
        float(deltaE_cie76(seen(part[one], matrix), seen(part[other], matrix))) for part in both
    )


def test_the_measure_is_right() -> None:
    assert seen("#ffffff", SIMULATED["grey"])[0] == pytest.approx(100, abs=0.01)
    red, green = (seen(colour, SIMULATED["deuteranopia"]) for colour in ("#c86464", "#8c8c50"))
    plain = [seen(colour, SIMULATED["as it is"]) for colour in ("#c86464", "#8c8c50")]
    assert deltaE_cie76(red, green) < deltaE_cie76(*plain) / 2


@pytest.mark.parametrize("eye", SIMULATED)
@pytest.mark.parametrize("theme", THEMES)
def test_any_two_kinds_differ(theme: str, eye: str) -> None:
    found = {
        pair: apart(THEMES[theme], *pair, SIMULATED[eye])  # type: ignore[index]
        for pair in combinations(get_args(Kind), 2)
    }
    assert {pair: far for pair, far in found.items() if far < LEAST} == {}


def test_each_kind_has_a_sign_of_its_own_or_a_shape() -> None:
    assert set(get_args(Kind)) - SIGNS.keys() == {"end", "plain"}  # round, and neither
    assert len(set(SIGNS.values())) == len(SIGNS)
    assert MEANING.keys() == SIGNS.keys()
    for strokes in SIGNS.values():
        for stroke in strokes:
            assert all(0 <= at <= SIDE for point in stroke.points for at in point)


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        (Box("a", "gate", "gate"), "gate"),
        (Box("a", "gate", "gate", problems=("no",)), "problem"),
        (Box("a", "reweight", "×"), None),
        (Box("a", "end", "input"), None),
        (Box("a", "layer", "z", ("linear",)), "layer"),
    ],
)
def test_the_sign_of_a_box(box: Box, kind: Kind | None) -> None:
    assert sign_of(box) == (SIGNS[kind] if kind else ())

"""The sweep over every timm module and every torchvision builder, and the table that it writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sweep import OTHERS, TABLE, TIMM, models, rows

#: Where something can't go, and why; all else must go in.
REFUSED = {
    ("nest_tiny", "block"): "height and width of 1×1×196×384 could not be identified",
}
#: Where SE goes in and CBAM does not.
CBAM_REFUSED = {
    "hiera_tiny_224": "these tokens are not in row order",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", models())
def test_goes_into(name: str) -> None:
    for found in rows(name):
        at = found.at
        if (name, at) in REFUSED:
            assert REFUSED[name, at] in (found.refused or "nothing")
            assert not found.sites
        elif name in CBAM_REFUSED:
            assert CBAM_REFUSED[name] in (found.refused or "nothing")
            assert found.sites
        else:
            assert found.sites, found.refused
            assert not found.refused or found.refused.startswith("ok"), found.refused


def test_the_table_holds_every_model() -> None:
    rows = [line.split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    named = {(cells[0].removeprefix("| "), cells[1]) for cells in rows[1:]}
    assert named == {(name, at) for name in models() for at in ("stage", "block")}
    assert not any("WRONG" in cells[-1] or "FAULT" in cells[-1] for cells in rows)


def test_every_module_of_timm_is_in_the_sweep() -> None:
    from timm.models import _registry

    registered = {module for module, names in _registry._module_to_models.items() if names}
    assert registered == set(TIMM)
    assert all(name in _registry._module_to_models[module] for module, name in TIMM.items())


def test_the_page_says_what_is_covered() -> None:
    page = Path(__file__).parents[1].joinpath("docs", "backbones.md").read_text()
    totals = re.findall(r"^- (stage|block): (\d+) of (\d+) of", TABLE.read_text(), re.MULTILINE)
    assert len(totals) == 4
    for _, found, count in totals:
        assert f"{found} of {count}" in page
    assert len(OTHERS) == 11 and "eleven" in page

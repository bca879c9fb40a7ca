"""What all tests share: how much of the long sweeps is run."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--one-in",
        type=int,
        default=1,
        metavar="N",
        help="of each slow test, run the first case and every Nth after it (default: all)",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what --one-in does not ask for; it counts among the deselected."""
    every = config.getoption("one_in")
    numbers: Counter[str] = Counter()
    kept, left = [], []
    for item in items:
        test = item.nodeid.partition("[")[0]
        is_slow = item.get_closest_marker("slow") is not None
        (kept if not is_slow or numbers[test] % every == 0 else left).append(item)
        numbers[test] += is_slow
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept

"""Counts of parameters that a claim shows, beside where they come from."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torch

from composer.certificate.claims import CLAIMS


def check_closed(name: str, count: Callable[[], int]) -> None:
    """Compare the first count of a claim with one worked out from the plain network."""
    with torch.device("meta"):
        expected = count()
    assert f"{expected:,}" == CLAIMS[name].parameters[0].shown


def check_timm(name: str, backbone: str) -> None:
    """Compare the count of a network that replaces the plain one with timm's own network."""
    with torch.device("meta"):
        model = timm.create_model(backbone)
    [count] = [count for count in CLAIMS[name].parameters if count.replaces]
    assert count.backbone == backbone
    assert count.shown == f"{sum(p.numel() for p in model.parameters()):,}"

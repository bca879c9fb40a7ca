"""In place of a convolution: SK, split attention, CondConv, dynamic convolution."""

from __future__ import annotations

from composer.certificate.claim import Claim

CLAIMS: tuple[Claim, ...] = ()

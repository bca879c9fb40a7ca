"""Gather-Excite, whose gather looks at `extent` pixels, or at all."""

from __future__ import annotations

from composer.certificate.claim import Claim

CLAIMS: tuple[Claim, ...] = ()

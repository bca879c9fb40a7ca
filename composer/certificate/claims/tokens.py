"""Self-attention: on tokens, on a map with relative position, and the layer of ViT."""

from __future__ import annotations

from composer.certificate.claim import Claim

CLAIMS: tuple[Claim, ...] = ()

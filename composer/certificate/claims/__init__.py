"""What is certified, one claim for each shipped spec."""

from __future__ import annotations

from composer.certificate.claim import Claim
from composer.certificate.claims import (
    channel,
    convolution,
    heads,
    maps,
    mixers,
    region,
    tokens,
)

CLAIMS: dict[str, Claim] = {
    claim.spec: claim
    for claim in (
        *channel.CLAIMS,
        *maps.CLAIMS,
        *region.CLAIMS,
        *convolution.CLAIMS,
        *tokens.CLAIMS,
        *heads.CLAIMS,
        *mixers.CLAIMS,
    )
}

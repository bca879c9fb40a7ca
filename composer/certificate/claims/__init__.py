"""The claims, one for each shipped spec."""

from __future__ import annotations

from composer.certificate.claim import Claim
from composer.certificate.claims import (
    channel,
    convolution,
    heads,
    kernels,
    maps,
    mixers,
    pairs,
    place_gates,
    places,
    recalibration,
    region,
    tokens,
    windows,
)

CLAIMS: dict[str, Claim] = {
    claim.spec: claim
    for claim in (
        *channel.CLAIMS,
        *maps.CLAIMS,
        *region.CLAIMS,
        *pairs.CLAIMS,
        *places.CLAIMS,
        *convolution.CLAIMS,
        *tokens.CLAIMS,
        *recalibration.CLAIMS,
        *place_gates.CLAIMS,
        *kernels.CLAIMS,
        *windows.CLAIMS,
        *heads.CLAIMS,
        *mixers.CLAIMS,
    )
}

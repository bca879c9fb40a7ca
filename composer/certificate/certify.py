"""The certified specs, and the checks of each."""

from __future__ import annotations

from composer.certificate.checks import Check, checks
from composer.certificate.claims import CLAIMS
from composer.errors import ComposerError, Diagnostic
from composer.primitives import Spec

_HOW = (
    "write the mechanism in plain torch in composer/certificate/oracles, and a Claim for it in "
    "composer/certificate/claims"
)


def certificate(spec: Spec) -> tuple[Check, ...]:
    """Return the checks of a spec by name: a shipped one, or your own variant of one.

    Raises:
        ComposerError: no mechanism of that name is certified.
    """
    if spec.name not in CLAIMS:
        message = f"there is no claim for {spec.name!r}"
        known = f"there are claims for {', '.join(sorted(CLAIMS))}; to add one, {_HOW}"
        where = spec.origin.at(("name",))
        raise ComposerError(Diagnostic("not-certified", message, known, where))
    return tuple(checks(spec, CLAIMS[spec.name]))


def shipped_certificate(spec: Spec) -> tuple[Check, ...]:
    """Return the checks of a shipped spec, or one failing check if there is no claim for it."""
    if spec.name in CLAIMS:
        return certificate(spec)
    lacking = False, f"there is none; {_HOW}"
    return (Check(spec.name, "claim", "composer/certificate/claims", lambda: lacking),)

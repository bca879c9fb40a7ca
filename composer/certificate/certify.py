"""Which specs are certified, and the checks of each."""

from __future__ import annotations

from composer.certificate.checks import Check, checks
from composer.certificate.claims import CLAIMS
from composer.errors import ComposerError, Diagnostic
from composer.primitives import Spec

_HOW = (
    "write the mechanism as plain torch in composer/certificate/oracles, and a Claim with it in "
    "composer/certificate/claims"
)


def certificate(spec: Spec) -> tuple[Check, ...]:
    """Return the checks of a spec, by its name: of a shipped one, or of one's own variant of it.

    Raises:
        ComposerError: no mechanism of that name is certified.
    """
    if spec.name not in CLAIMS:
        message = f"there is nothing to judge {spec.name!r} by"
        known = f"certified are {', '.join(sorted(CLAIMS))}; to add one, {_HOW}"
        where = spec.origin.at(("name",))
        raise ComposerError(Diagnostic("not-certified", message, known, where))
    return tuple(checks(spec, CLAIMS[spec.name]))


def shipped_certificate(spec: Spec) -> tuple[Check, ...]:
    """Return the checks of a shipped spec, or one that fails where nothing is claimed of it."""
    if spec.name in CLAIMS:
        return certificate(spec)
    lacking = False, f"there is none; {_HOW}"
    return (Check(spec.name, "claim", "composer/certificate/claims", lambda: lacking),)

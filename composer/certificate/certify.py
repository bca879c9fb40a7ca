"""Which specs are certified, and the checks of each."""

from __future__ import annotations

from composer.certificate.checks import Check, checks
from composer.certificate.claims import CLAIMS
from composer.errors import ComposerError, Diagnostic
from composer.primitives import Spec

HOW = (
    "write its mechanism as plain torch in composer/certificate/oracles, and a Claim beside it in "
    "composer/certificate/claims"
)


def certificate(spec: Spec) -> tuple[Check, ...]:
    """Return the checks of a spec, by its name: of a shipped one, or of one's own variant of it.

    Raises:
        ComposerError: no mechanism of that name is certified.
    """
    if spec.name not in CLAIMS:
        certified = f"certified are {', '.join(sorted(CLAIMS))}; to add one, {HOW}"
        message = f"there is no oracle for {spec.name!r}"
        where = spec.origin.at(("name",))
        raise ComposerError(Diagnostic("not-certified", message, certified, where))
    return tuple(checks(spec, CLAIMS[spec.name]))

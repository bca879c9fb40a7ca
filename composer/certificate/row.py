"""One line of a certificate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CertificateRow:
    """What was checked, against which source, whether it holds, and the details."""

    spec: str
    check: str
    against: str
    passed: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

"""What is trained: each mechanism at each place with each setting, and the controls around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from composer.language.expressions import Value
from composer.study.study_file import InsertAt, Study

Kind = Literal["mechanism", "plain", "finetuned", "held", "matched"]


@dataclass(frozen=True)
class Arm:
    """One model that is trained, for every seed.

    Attributes:
        name: what the report calls it; no two arms of a study share it.
        kind: a mechanism, or which control.
        spec: the word for the spec; None for the plain backbone.
        place: where it goes.
        params: other values for the spec's params.
        init: how it starts.
        of: for a control of one mechanism, the name of that arm.
    """

    name: str
    kind: Kind
    spec: str | None = None
    place: InsertAt = field(default_factory=InsertAt)
    params: Mapping[str, Value] = field(default_factory=dict)
    init: Literal["identity", "paper"] = "identity"
    of: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what decides what is trained, as plain values."""
        return {
            "kind": self.kind,
            "spec": self.spec,
            "place": self.place.arguments(),
            "params": dict(self.params),
            "init": self.init,
        }


#: The names of the controls that all mechanisms share.
PLAIN, FINETUNED = "plain, head only", "plain, trained equally"
PLAIN_ARM = Arm(FINETUNED, "finetuned")


def mechanisms(study: Study) -> list[Arm]:
    """Return the arms that are mechanisms, in the order of the file."""
    found = []
    for mechanism in study.mechanisms:
        for place in mechanism.places or study.places:
            for params in mechanism.grid():
                for init in mechanism.init or study.init:
                    parts = [mechanism.spec, *(f"{k}={v}" for k, v in params.items())]
                    words = [" ".join(parts), *([str(place)] if str(place) else []), init]
                    found.append(
                        Arm(", ".join(words), "mechanism", mechanism.spec, place, params, init)
                    )
    return found


def arms(study: Study) -> list[Arm]:
    """Return every arm: the shared controls, then each mechanism with its own controls.

    The plain backbone that is trained equally long is always one.
    """
    found = [Arm(PLAIN, "plain")] if "plain" in study.controls else []
    found.append(PLAIN_ARM)
    for arm in mechanisms(study):
        found.append(arm)
        if "held" in study.controls:
            found.append(_control(arm, "held", "gates held constant"))
        if "matched" in study.controls:
            found.append(_control(arm, "matched", "plain convolutions instead"))
    return found


def _control(arm: Arm, kind: Literal["held", "matched"], words: str) -> Arm:
    return Arm(f"{arm.name}: {words}", kind, arm.spec, arm.place, arm.params, arm.init, arm.name)


def twice(study: Study) -> str | None:
    """Return the name of two arms that are the same, or None."""
    names = [arm.name for arm in mechanisms(study)]
    return next((name for name in names if names.count(name) > 1), None)

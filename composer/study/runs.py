"""The runs of a study: each arm with each seed, under a key that says what is trained and how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from composer.study.arms import Arm
from composer.study.study_file import Study

#: Counts up when the same study file would train in another way.
PROTOCOL = 1


@dataclass(frozen=True)
class Run:
    """One training: an arm with a seed.

    Attributes:
        study: how it is trained.
        arm: what is trained.
        seed: of the weights that start at random, the order of the images and their augmentation.
    """

    study: Study
    arm: Arm
    seed: int

    @cached_property
    def key(self) -> str:
        """A hash of all that decides the result, but for paths, which differ between machines."""
        study = self.study.model_dump(mode="json", include={"backbone", "pretrained", "training"})
        data = self.study.data.model_dump(mode="json", exclude={"path"})
        matched = self.study.matched_by if self.arm.kind == "matched" else None
        weights = self.study.weights is not None
        said = [PROTOCOL, study, data, weights, matched, self.arm.as_json(), self.seed]
        text = json.dumps(said, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def runs(study: Study, arms: Sequence[Arm]) -> list[Run]:
    """Return the runs, one seed after another, so that a study that stops early has whole seeds."""
    return [Run(study, arm, seed) for seed in study.seeds for arm in arms]


def screening(study: Study, arms: Sequence[Arm]) -> list[Run]:
    """Return the runs that decide which mechanisms go on; none without successive halving."""
    if study.halving is None:
        return []
    seed = study.halving.seed
    return [Run(study, arm, seed) for arm in arms if arm.kind == "mechanism"]

"""A study with all that its runs need: the data, the specs, the results, the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from composer.artifact.run import target
from composer.errors import ComposerError, Diagnostic, counted
from composer.measure.machine import Machine
from composer.study.arms import Arm, arms
from composer.study.checked import checked_study, results_path
from composer.study.data_sets import DataSet, open_data
from composer.study.network import Builder, Facts, NotPossibleError
from composer.study.runs import Run
from composer.study.specs import texts_of
from composer.study.store import Store
from composer.study.study_file import Study
from composer.study.training import Trainer


@dataclass(frozen=True)
class Opened:
    """A study that can be run.

    Attributes:
        path: of its file.
        study: what the file holds.
        store: its results.
        device: where networks run.
    """

    path: Path
    study: Study
    store: Store
    device: torch.device

    @classmethod
    def of(cls, path: Path, results: Path | None, device: str = "cpu") -> Opened:
        """Open a study.

        Raises:
            ComposerError: the study is not sound, or there is no such device.
        """
        study = checked_study(path)
        place, _ = target(device, "float32")
        return cls(path, study, Store(results or results_path(path)), place)

    @property
    def beside(self) -> Path:
        """The folder of the study file."""
        return self.path.parent

    @cached_property
    def data(self) -> DataSet:
        """The images.

        Raises:
            ComposerError: they are not there, or fewer than a batch.
        """
        found = open_data(self.study.data, self.beside)
        batch = self.study.training.batch
        if len(found.train) < batch:
            images = counted(len(found.train), "training image")
            message = f"the batch of {batch} is larger than the {images}"
            raise ComposerError(
                Diagnostic("study", message, "lower 'batch' under 'training'", file=str(self.path))
            )
        return found

    @cached_property
    def builder(self) -> Builder:
        """What makes the networks."""
        return Builder(self.study, self.beside, len(self.data.classes))

    @cached_property
    def trainer(self) -> Trainer:
        """What trains them."""
        return Trainer(self.builder, self.data, self.checkpoints, self.device)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, beside the results."""
        return self.store.path.with_suffix(".checkpoints")

    @cached_property
    def machine(self) -> dict[str, Any]:
        """What runs are measured on."""
        here = Machine.here(self.device)
        return {**here.as_json(), "versions": here.versions}

    def fingerprints(self) -> dict[str, str]:
        """Return hashes of what the results depend on apart from the study file."""
        found = {"the data": self.data.fingerprint}
        for word, text in texts_of(self.study, self.beside).items():
            found[f"the spec {word}"] = hashlib.sha256(text.encode()).hexdigest()[:32]
        if self.study.weights is not None:
            content = (self.beside / self.study.weights).read_bytes()
            found["the file of weights"] = hashlib.sha256(content).hexdigest()[:32]
        return found

    def facts_of(self, arm: Arm) -> dict[str, Any]:
        """Return what an arm costs, or under ``reason`` why it is omitted.

        Raises:
            ComposerError: its network cannot be made.
        """
        key = {"key": Run(self.study, arm, -1).key}
        try:
            model, built = self.builder.network(arm, self.study.seeds[0])
        except NotPossibleError as failure:
            return {**key, "reason": str(failure)}
        return {**key, **vars(Facts.of(model, built))}

    def arms(self) -> list[Arm]:
        """Return every arm, those that are not possible too."""
        return arms(self.study)

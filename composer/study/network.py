"""The network of an arm: the backbone with a new head, and what the arm puts into it.

For one seed, all arms have the same backbone and the same head, whatever else they draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from composer.analysis.copies import shell_of
from composer.analysis.probe import probe
from composer.artifact.named import open_model
from composer.artifact.output import is_composition
from composer.errors import ComposerError, error
from composer.measure.cost import parameters
from composer.models.model_string import INPUT_SIZE, ModelString
from composer.models.open import open_backbone
from composer.models.weights import load_weights
from composer.study.arms import Arm
from composer.study.batches import seed_all
from composer.study.held import has_gates, hold_gates
from composer.study.matched import Match, plan_convolutions
from composer.study.specs import read_spec
from composer.study.study_file import Study
from composer.surgery.insert import apply
from composer.surgery.plan import plan

#: What the seeds of a run are mixed with, one for each thing that is drawn.
_BACKBONE, _HEAD, _INSERTED = 11, 12, 13


@dataclass(frozen=True)
class Built:
    """How an arm's network was made.

    Attributes:
        sites: how many sites were edited.
        match: for matched convolutions, what was wanted and reached.
        gates: for held gates, how many there are.
    """

    sites: int = 0
    match: Match | None = None
    gates: int = 0


@dataclass(frozen=True)
class Facts:
    """What an arm costs.

    Attributes:
        parameters: how many the network has.
        flops: multiply-adds of one image.
        sites: how many sites were edited.
        wanted: for matched convolutions, the parameters or multiply-adds that the mechanism adds.
        reached: for matched convolutions, what they add.
        gates: for held gates, how many there are.
    """

    parameters: int
    flops: int
    sites: int = 0
    wanted: int | None = None
    reached: int | None = None
    gates: int = 0

    @classmethod
    def of(cls, model: nn.Module, built: Built) -> Facts:
        """Count what a network costs."""
        ran = probe(shell_of(model))
        wanted = built.match.wanted if built.match else None
        reached = built.match.reached if built.match else None
        return cls(parameters(model), ran.flops, built.sites, wanted, reached, built.gates)


class NotPossibleError(Exception):
    """A control that a mechanism cannot have; the message says why."""


@dataclass(frozen=True)
class Builder:
    """Makes the networks of a study.

    Attributes:
        study: the study.
        beside: the folder of its file.
        classes: how many there are.
    """

    study: Study
    beside: Path
    classes: int

    def backbone(self, seed: int) -> nn.Module:
        """Return the plain backbone with a new head.

        Raises:
            ComposerError: it cannot be made, or its head has another number of classes.
        """
        study = self.study
        seed_all(seed, _BACKBONE)
        folders = (self.beside / study.backbone, Path(study.backbone))
        folder = next(filter(is_composition, folders), None)
        if folder is not None:
            model, _ = open_model(str(folder))
        else:
            source = ModelString.parse(study.backbone)
            if INPUT_SIZE not in dict(source.arguments):
                source = source.at_size((3, study.data.size, study.data.size))
            model = open_backbone(source, study.pretrained, self.beside)
            if study.weights is not None:
                load_weights(model, self.beside / study.weights, str(source))
        seed_all(seed, _HEAD)
        reset: Any = getattr(model, "reset_classifier", None)
        if reset is not None:
            reset(self.classes)
        return model

    def network(self, arm: Arm, seed: int, first: Tensor | None = None) -> tuple[nn.Module, Built]:
        """Return an arm's network and how it was made.

        Args:
            arm: the arm.
            seed: of what starts at random.
            first: the first batch, whose mean gates an arm of held gates keeps; without it they are
                not held, which is enough to count.

        Raises:
            ComposerError: it cannot be made.
            NotPossibleError: the arm is a control that its mechanism cannot have.
        """
        if arm.kind == "plain" and not self.study.starts_trained:
            raise NotPossibleError("the backbone starts from random weights")
        model = self.backbone(seed)
        seed_all(seed, _INSERTED)
        sites, gates, reached = 0, 0, None
        if arm.spec is not None and arm.kind == "matched":
            model, sites, reached = self._matched(model, arm)
        elif arm.spec is not None:
            model, sites = self._inserted(model, arm)
        if arm.kind == "held":
            if not has_gates(model):
                raise NotPossibleError(f"{arm.spec} has no 'gate' node")
            if first is not None:
                gates = hold_gates(model, first)
        if arm.kind == "plain":
            _freeze_but_head(model)
        return model, Built(sites, reached, gates)

    def _inserted(self, model: nn.Module, arm: Arm) -> tuple[nn.Module, int]:
        assert arm.spec is not None
        spec = read_spec(arm.spec, self.beside)
        found = plan(model, spec, **_arguments(arm), params=arm.params, init=arm.init)
        return apply(model, found), len(found.sites)

    def _matched(self, model: nn.Module, arm: Arm) -> tuple[nn.Module, int, Match]:
        assert arm.spec is not None
        before = _cost(model, self.study.matched_by)
        composed, _ = self._inserted(self.backbone(0), arm)
        wanted = _cost(composed, self.study.matched_by) - before
        if wanted < 1:
            raise NotPossibleError(f"{arm.spec} adds no {self.study.matched_by} to match")
        spec = read_spec(arm.spec, self.beside)
        where = _arguments(arm)
        if spec.insert is not None:
            where.setdefault("at", spec.insert.at)
        try:
            found, reached = plan_convolutions(
                model, where, arm.init, wanted, self.study.matched_by
            )
        except ComposerError as failure:
            said = failure.diagnostics[0].message
            raise NotPossibleError(f"no plain convolutions go there: {said}") from None
        return apply(model, found), len(found.sites), reached


def check_output(model: nn.Module, pixels: Tensor, classes: int) -> None:
    """Refuse a network that gives something else than one number for each class.

    Raises:
        ComposerError: code ``study``.
    """
    with torch.no_grad():
        out = model.eval()(pixels[:1])
    if not isinstance(out, Tensor) or out.dim() != 2 or out.shape[1] != classes:
        shape = "×".join(map(str, out.shape)) if isinstance(out, Tensor) else type(out).__name__
        raise error(
            "study",
            f"the backbone gives {shape} for one image, and the data has {classes} classes",
            f"write its number of classes into 'backbone': NAME?num_classes={classes}",
        )


def _cost(model: nn.Module, by: str) -> int:
    return parameters(model) if by == "parameters" else probe(shell_of(model)).flops


def _arguments(arm: Arm) -> dict[str, Any]:
    return arm.place.arguments()


def head_of(model: nn.Module) -> nn.Module | None:
    """Return the module that gives the classes: timm's classifier, else the last linear layer."""
    get: Any = getattr(model, "get_classifier", None)
    found = get() if get is not None else None
    if isinstance(found, nn.Module) and next(found.parameters(), None) is not None:
        return found
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return linear[-1] if linear else None


def _freeze_but_head(model: nn.Module) -> None:
    head = head_of(model)
    if head is None:
        raise NotPossibleError("the backbone has no linear head that could be trained alone")
    model.requires_grad_(False)
    head.requires_grad_(True)

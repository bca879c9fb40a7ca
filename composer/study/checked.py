"""A study file with all that it names looked for: specs, params, the backbone, its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from composer.artifact.named import check_model
from composer.errors import ComposerError, Diagnostic
from composer.language.source import Source, YamlPath
from composer.study.arms import twice
from composer.study.read import read_study
from composer.study.specs import read_spec
from composer.study.study_file import Mechanism, Study


def results_path(study: Path) -> Path:
    """Return where the results of a study file are by default."""
    return study.with_suffix(".results.sqlite")


def checked_study(path: Path) -> Study:
    """Return the study in a file, whose specs and backbone are there; torch is not imported.

    Raises:
        ComposerError: with every problem; one of a spec or the backbone is at its place.
    """
    study, source = read_study(path)
    problems = [*_problems(study, source, path.parent)]
    if problems:
        raise ComposerError(problems)
    return study


def _problems(study: Study, source: Source, beside: Path) -> Iterator[Diagnostic]:
    try:
        check_model(study.backbone)
    except ComposerError as failure:
        yield from _placed(failure, source, ("backbone",))
    for number, mechanism in enumerate(study.mechanisms):
        try:
            yield from _wrong_params(mechanism, source, number, beside)
        except ComposerError as failure:
            yield from _placed(failure, source, ("mechanisms", number, "spec"))
    if study.weights is not None and not (beside / study.weights).is_file():
        message = f"there is no file {study.weights!r}"
        way_out = "'weights' is followed from the folder of the study file"
        yield Diagnostic("weights", message, way_out, source.at(("weights",)))
    if (name := twice(study)) is not None:
        message = f"two arms are the same: {name}"
        way_out = "remove one of the mechanisms, places or params"
        yield Diagnostic("study", message, way_out, source.at(("mechanisms",)))


def _wrong_params(
    mechanism: Mechanism, source: Source, number: int, beside: Path
) -> Iterator[Diagnostic]:
    spec = read_spec(mechanism.spec, beside)
    for name in mechanism.params:
        if name not in spec.params:
            known = ", ".join(spec.params) or "none"
            where = source.at_key(("mechanisms", number, "params", name))
            message = f"{mechanism.spec} has no param {name!r}"
            yield Diagnostic("unknown-param", message, f"Params: {known}", where)


def _placed(failure: ComposerError, source: Source, at: YamlPath) -> Iterator[Diagnostic]:
    """Yield the diagnostics of what a value names, with the place of that value if none else."""
    for problem in failure.diagnostics:
        yield replace(problem, where=problem.where or source.at(at))

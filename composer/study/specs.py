"""The specs that a study names: read, and with all texts that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from composer.errors import ComposerError, Diagnostic
from composer.graph.frontend import check_text
from composer.language.library import find_spec as find_shipped
from composer.language.library import is_file
from composer.primitives import Spec
from composer.study.study_file import Study


def find_spec(word: str, beside: Path) -> tuple[str, str]:
    """Return (text, file) of a spec; a file is looked for beside the study first.

    Raises:
        ComposerError: there is none.
    """
    path = beside / word
    return find_shipped(str(path) if is_file(path) else word)


def read_spec(word: str, beside: Path) -> Spec:
    """Return the spec that a word names.

    Raises:
        ComposerError: there is none, or it is not sound.
    """
    spec, problems = check_text(*find_spec(word, beside))
    errors = [problem for problem in problems if problem.severity == "error"]
    if spec is None or errors:
        raise ComposerError(errors)
    return spec


def texts_of(study: Study, beside: Path) -> Mapping[str, str]:
    """Return the texts of the specs that a study names, with those that each is made of.

    Raises:
        ComposerError: one is not found or not sound.
    """
    found = {}
    problems: list[Diagnostic] = []
    for word in dict.fromkeys(mechanism.spec for mechanism in study.mechanisms):
        try:
            spec = read_spec(word, beside)
        except ComposerError as failure:
            problems += failure.diagnostics
            continue
        text, _ = find_spec(word, beside)
        found[word] = "\0".join([text, *(spec.texts[key] for key in sorted(spec.texts))])
    if problems:
        raise ComposerError(dict.fromkeys(problems))
    return found

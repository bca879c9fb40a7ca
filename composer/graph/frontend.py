"""From the name, path or text of a spec to a checked spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from composer.errors import ComposerError, Diagnostic, Location, in_order_of_text
from composer.graph.from_spec import graph_of
from composer.graph.graph import Graph, Settings
from composer.graph.passes import analyse
from composer.language.budget import (
    CODE,
    MAX_BYTES,
    MAX_CHAIN,
    MAX_NODES,
    MAX_OPENED,
    MAX_VALUES,
    over,
)
from composer.language.collecting import uncollected
from composer.language.extends import extended
from composer.language.library import SUFFIXES, find_spec, is_file, word_of
from composer.language.reader import read_spec
from composer.language.source import Source, YamlPath, kind_of, parse
from composer.primitives import OpFields, Spec
from composer.primitives.structure import Repeating
from composer.primitives.use import Use

__all__ = ["Examined", "check_text", "examine", "graph_of", "load_spec"]


@dataclass(frozen=True)
class Examined:
    """The result of reading a text, valid or not.

    For an invalid spec, `spec` is None and `graph` holds what is left to show, if anything; its
    faulty nodes have no op, and `written` holds their text in the file.
    """

    spec: Spec | None
    problems: tuple[Diagnostic, ...]
    graph: Graph | None = None
    written: Mapping[str, Any] = field(default_factory=dict)


@uncollected()
def examine(text: str, file: str) -> Examined:
    """Return all that could be read from a text, valid or not; arguments as in `check_text`."""
    return _Loader(None).examine(text, file, ())


@uncollected()
def check_text(
    text: str, file: str, texts: Mapping[str, str] | None = None
) -> tuple[Spec | None, tuple[Diagnostic, ...]]:
    """Return the spec, or None if it is invalid, and every error and warning.

    Args:
        text: the YAML.
        file: the name shown in messages; other specs are searched relative to its folder.
        texts: the texts of all specs that it uses (`Spec.texts`), in place of files.
    """
    return _Loader(texts).check(text, file, ())


def load_spec(word: str | PathLike[str] | Spec) -> Spec:
    """Return the spec for `word`: a shipped name, a path, or the text itself.

    Raises:
        ComposerError: it is not found, or has errors; the exception carries every problem.
    """
    if isinstance(word, Spec):
        return word
    spec, problems = check_text(*find_spec(fspath(word)))
    if spec is None:
        raise ComposerError([p for p in problems if p.severity == "error"])
    return spec


@dataclass(frozen=True)
class _Opened:
    """One spec in a chain of use: its file, the word that led to it, its text."""

    word: str
    file: str
    text: str


@dataclass
class _Loader:
    """Reads one spec and all that it uses or extends."""

    given: Mapping[str, str] | None
    texts: dict[str, str] = field(default_factory=dict)
    opened: int = 0
    letters: int = 0
    values: int = 0  # of all texts, including what variants inherit
    nodes: int = 0  # of the used specs

    def check(
        self, text: str, file: str, above: tuple[_Opened, ...]
    ) -> tuple[Spec | None, tuple[Diagnostic, ...]]:
        found = self.examine(text, file, above)
        return found.spec, found.problems

    def examine(self, text: str, file: str, above: tuple[_Opened, ...]) -> Examined:
        here = above or (_Opened(word_of(file), file, text),)
        try:
            data, source = self._data(text, file, here)
        except ComposerError as failure:
            return Examined(None, failure.diagnostics)
        reading = read_spec(data, source, Spec, OpFields())
        if reading.spec is None:
            return Examined(None, in_order_of_text(reading.problems))
        problems = self._load_used(reading.spec, here)
        if not above:
            reading.spec._texts = dict(self.texts)
        graph = analyse(graph_of(reading.spec, Settings(), reading).with_problems(problems))
        self.nodes += len(graph.nodes) if above else 0
        found = in_order_of_text((*graph.errors, *graph.warnings))
        return Examined(None if graph.errors else reading.spec, found, graph, data)

    def _data(
        self, text: str, file: str, above: tuple[_Opened, ...]
    ) -> tuple[dict[str, Any], Source]:
        """Return the fields of a spec merged with those of the spec that it extends."""
        data, source = parse(text, file)
        if "extends" not in data:
            return data, source
        base = data["extends"]
        if not isinstance(base, str):
            message = f"expected the name of a spec, but got {kind_of(base)}"
            way_out, where = "write it like 'extends: se'", source.at(("extends",))
            raise ComposerError(Diagnostic("invalid-value", message, way_out, where))
        where = source.at(("extends",))
        opened = self._open(base, above, where)
        whole = extended(data, source, *self._data(opened.text, opened.file, (*above, opened)))
        self.values += len(whole[1].values)
        if self.values > MAX_VALUES:
            way_out = "make the variant extend the first of these specs directly"
            what = "values, including those of the specs it extends"
            raise ComposerError(over(what, self.values, MAX_VALUES, way_out, where))
        return whole

    def _load_used(self, spec: Spec, above: tuple[_Opened, ...]) -> list[Diagnostic]:
        """Load each spec that a node uses; return their problems."""
        problems: list[Diagnostic] = []
        for path, op in _uses(spec):
            if op.spec in spec.used:
                continue
            try:
                opened = self._open(op.spec, above, spec.origin.at((*path, "spec")))
            except ComposerError as failure:
                problems += failure.diagnostics
                if any(problem.code == CODE for problem in failure.diagnostics):
                    break
                continue
            inner, found = self.check(opened.text, opened.file, (*above, opened))
            problems += [p for p in found if p.severity == "error"]
            if self.nodes > MAX_NODES:
                what, way_out = "nodes in the specs it uses", "use smaller specs"
                where = spec.origin.at((*path, "spec"))
                problems.append(over(what, self.nodes, MAX_NODES, way_out, where))
                break
            if inner is not None:
                spec._used[op.spec] = inner
        return problems

    def _open(self, word: str, above: tuple[_Opened, ...], where: Location | None) -> _Opened:
        """Find a spec that another one names.

        Raises:
            ComposerError: it is not found, or it uses itself.
        """
        self._need_room(above, where)
        key = "/".join([*(opened.word for opened in above[1:]), word])
        try:
            text, file = self._find(word, key, above[-1].file)
        except ComposerError as failure:
            raise ComposerError(
                [Diagnostic(d.code, d.message, d.help, where) for d in failure.diagnostics]
            ) from None
        words = [opened.word for opened in above]
        for number, opened in enumerate(above):
            if opened.text == text:
                circle = " -> ".join([*words[number:], words[number]])
                raise ComposerError(
                    Diagnostic(
                        "cycle",
                        f"the spec uses itself: {circle}",
                        "make one of them independent of the other",
                        where,
                    )
                )
        self.letters += len(text)
        if self.letters > MAX_BYTES:
            way_out = "use fewer or smaller specs"
            what = "bytes in the specs it uses"
            raise ComposerError(over(what, self.letters, MAX_BYTES, way_out, where))
        self.texts[key] = text
        return _Opened(word, file, text)

    def _need_room(self, above: tuple[_Opened, ...], where: Location | None) -> None:
        """Refuse to open one more spec than the limit.

        Raises:
            ComposerError: code ``over-budget``.
        """
        self.opened += 1
        for what, count, limit in (
            ("nested specs", len(above), MAX_CHAIN),
            ("specs to open", self.opened, MAX_OPENED),
        ):
            if count > limit:
                way_out = "use or extend fewer specs"
                raise ComposerError(over(what, count, limit, way_out, where, at_least=True))

    def _find(self, word: str, key: str, user: str) -> tuple[str, str]:
        if self.given is not None:
            if key in self.given:
                return self.given[key], word
            shown = word if len(word) <= 80 else f"{word[:79]}…"
            message = f"the recipe does not contain the spec {shown!r}"
            way_out = "a recipe contains every spec under 'uses'; no file is read instead"
            raise ComposerError(Diagnostic("unknown-spec", message, way_out))
        beside = Path(user).parent / word
        for path in (beside, Path(f"{beside}.yaml")):
            if word and _is_of_a_file(user) and is_file(path):
                return find_spec(str(path))
        return find_spec(word)


def _is_of_a_file(user: str) -> bool:
    """Return whether a spec's name is a file path; the file need not exist yet."""
    return Path(user).is_file() or Path(user).suffix in SUFFIXES


def _uses(spec: Spec) -> Iterator[tuple[YamlPath, Use]]:
    """Yield every node that uses a spec, also inside a branch, with its path."""
    for name, op in spec.nodes.items():
        path: YamlPath = ("nodes", name)
        while isinstance(op, Repeating):
            op, path = op.each, (*path, "each")
        if isinstance(op, Use):
            yield path, op

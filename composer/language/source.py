"""Reads YAML with PyYAML's `compose`, so that every value keeps its line and column.

Scalars follow the YAML 1.2 core schema (``1e-3`` is a number, ``on`` is a string), duplicate
keys are refused, and the size, depth and number of values of a file are limited.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from composer.errors import ComposerError, Diagnostic, Location
from composer.language.budget import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PROBLEMS,
    MAX_VALUES,
    more_problems,
)
from composer.language.spacing import GLUED, no_space

YamlPath = tuple[str | int, ...]

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc]
    """Composes nodes without YAML 1.1's type resolution, which is not used here."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Return no tag."""
        return ""


_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Span:
    """The location of a value; line and column count from 0, like PyYAML's marks."""

    line: int
    column: int
    length: int
    offset: int | None = None  # from here to a scalar's text; None if that is not verbatim
    of: Source | None = None  # the text that contains it, if it is another one


@dataclass(frozen=True)
class Source:
    """The text of a spec with the location of each of its values."""

    file: str
    text: str
    problems: list[Diagnostic] = field(default_factory=list, compare=False)
    values: dict[YamlPath, Span] = field(default_factory=dict, compare=False)
    keys: dict[YamlPath, Span] = field(default_factory=dict, compare=False)
    base: Source | None = field(default=None, compare=False)  # the text that this one extends

    def at(self, path: YamlPath) -> Location | None:
        """Return the location of the value at `path`, else of the nearest parent that has one."""
        for end in range(len(path), -1, -1):
            if (span := self.values.get(path[:end])) is not None:
                return self._location(span)
        return None

    def at_key(self, path: YamlPath) -> Location | None:
        """Return the location of the last key of `path`, else of its value."""
        span = self.keys.get(path)
        return self.at(path) if span is None else self._location(span)

    def within(self, path: YamlPath, start: int, length: int) -> Location | None:
        """Return the location of a part of the scalar at `path`, counted in characters."""
        span = self.values.get(path)
        if span is None and path[-1:] == (0,):  # a single value is read as a list of one
            span = self.values.get(path[:-1])
        if span is None or span.offset is None:
            return self.at(path)
        column = span.column + span.offset + start
        return self._location(Span(span.line, column, max(1, length), of=span.of))

    def is_inherited(self, path: YamlPath) -> bool:
        """Return whether the value at `path` comes from the spec that this one extends."""
        span = self.values.get(path)
        return span is not None and span.of is not None

    @cached_property
    def lines(self) -> list[str]:
        """The text line by line; at least one."""
        return self.text.splitlines() or [""]

    def _location(self, span: Span) -> Location:
        """Return the location of a span; one beyond the last line is placed at its end."""
        if span.of is not None:
            return span.of._location(replace(span, of=None))
        line = min(span.line, len(self.lines) - 1)
        text = self.lines[line]
        column = min(span.column, len(text)) if line == span.line else len(text)
        return Location(self.file, line + 1, column + 1, span.length, text)


def read_text(path: Path) -> str:
    """Return the text of a spec file.

    Raises:
        ComposerError: the file is missing, unreadable, too large or not UTF-8.
    """
    try:
        # an endless file reports size 0, and a pipe without a writer must not block
        with open(path, "rb", opener=_without_waiting) as file:
            content = file.read(MAX_BYTES + 1) or b""
        size = max(len(content), path.stat().st_size)
        if size > MAX_BYTES:
            raise _file_error(
                path,
                "file-too-large",
                f"this file has {size:,} bytes, and the limit is {MAX_BYTES:,}",
                "a spec is a few dozen lines; is this the right file?",
            )
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise _file_error(
            path,
            "not-utf-8",
            f"byte {failure.start} is not UTF-8",
            "save the file as UTF-8 text",
        ) from None
    except OSError as failure:
        raise _file_error(
            path, "unreadable-file", f"cannot be read: {failure.strerror}", None
        ) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse(text: str, file: str) -> tuple[dict[str, Any], Source]:
    """Return the mapping in `text`, and the location of each of its values.

    A problem that does not stop reading, such as a duplicate key, is noted in `problems`.

    Raises:
        ComposerError: the text is not YAML, or not one mapping.
    """
    source = Source(file, text.removeprefix("\ufeff"))
    if len(text) > MAX_BYTES:
        raise ComposerError(
            Diagnostic(
                "file-too-large",
                f"this text has {len(text):,} characters, and the limit is {MAX_BYTES:,}",
                "a spec is a few dozen lines; is this the right text?",
                file=file,
            )
        )
    root = _compose(source)
    if root is None:
        raise ComposerError(
            Diagnostic(
                "empty-file",
                "this spec is empty",
                "start with 'name:', 'input: [b, c, h, w]' and 'nodes:'",
                file=file,
            )
        )
    data = _Reader(source).read(root, (), 0)
    source.problems[:] = dict.fromkeys(source.problems)  # an alias repeats the same problem
    if not isinstance(data, dict):
        raise ComposerError(
            Diagnostic(
                "not-a-mapping",
                f"a spec must be a mapping of fields, but this is {kind_of(data)}",
                "start with 'name:', 'input: [b, c, h, w]' and 'nodes:'",
                where=source.at(()),
            )
        )
    return data, source


def _compose(source: Source) -> yaml.Node | None:
    if (odd := _UNPRINTABLE.search(source.text)) is not None:
        shown = Source(source.file, _UNPRINTABLE.sub("\ufffd", source.text))
        above = f"{source.text[: odd.start()]}.".splitlines()
        place = shown._location(Span(len(above) - 1, len(above[-1]) - 1, 1))
        message = f"the character {odd[0]!r} is not allowed in a spec"
        raise ComposerError(Diagnostic("not-yaml", message, "remove it", place))
    try:
        _survey(source)
        node: yaml.Node | None = yaml.compose(source.text, Loader=_Loader)
        return node
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        if "nesting depth" in (failure.problem or ""):  # the parser has its own limit
            raise _too_deep(source, mark.line if mark is not None else 0) from None
        where = source._location(Span(mark.line, mark.column, 1)) if mark is not None else None
        if mark is not None and "mapping values are" in (failure.problem or ""):
            _check_spaces(source, mark.line)
        message, way_out = _explain(failure, where)
        raise ComposerError(
            Diagnostic("not-yaml", message, way_out, where=where, file=source.file)
        ) from None
    except yaml.YAMLError as failure:
        reason = " ".join(str(failure).split())
        raise ComposerError(
            Diagnostic("not-yaml", f"this is not YAML: {reason}", file=source.file)
        ) from None


def _survey(source: Source) -> None:
    """Refuse deep nesting and note every tag before PyYAML's recursive `compose` runs."""
    depth = count = 0
    for event in yaml.parse(source.text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        count += isinstance(event, yaml.NodeEvent)
        tag = getattr(event, "tag", None)
        if depth <= MAX_DEPTH and count <= 2 * MAX_VALUES and tag is None:
            continue
        mark = event.start_mark
        assert mark is not None
        if depth > MAX_DEPTH:
            raise _too_deep(source, mark.line)
        where = source._location(Span(mark.line, mark.column, 1))
        if count > 2 * MAX_VALUES:
            raise _too_many(where)
        message = f"the tag {str(tag).replace('tag:yaml.org,2002:', '!!')!r} is not allowed here"
        way_out = "remove the tag; put a text that looks like a number in quotes"
        _noted(source, Diagnostic("unknown-tag", message, way_out, where))


def _noted(source: Source, problem: Diagnostic) -> None:
    """Note a problem that does not stop reading, unless there are very many.

    Raises:
        ComposerError: there are very many; it carries the ones noted so far.
    """
    if len(source.problems) >= MAX_PROBLEMS:
        raise ComposerError((*source.problems, more_problems(problem.where)))
    source.problems.append(problem)


def _too_many(where: Location) -> ComposerError:
    message = f"with its aliases, the spec has more than {MAX_VALUES:,} values"
    way_out = "shorten it with 'repeat', 'branch' or 'use', or split it into several specs"
    return ComposerError(Diagnostic("over-budget", message, way_out, where))


def _too_deep(source: Source, line: int) -> ComposerError:
    message = f"values are nested more than {MAX_DEPTH} deep at line {line + 1}"
    return ComposerError(
        Diagnostic("too-deep", message, "is this the right file?", file=source.file)
    )


#: PyYAML's message, its meaning, and the way out; {0} is the line where the value begins.
_PROBLEMS = (
    ("expected ',' or ']'", "a ',' or a ']' is missing in the list that begins at line {0}", None),
    ("expected ',' or '}'", "a ',' or a '}}' is missing in the mapping that begins at line {0}",
     None),
    ("unexpected end of stream", "the quote that opens at line {0} is not closed", None),
    ("mapping values are not allowed", "a ':' is not allowed here",
     "put a text that contains ': ' in quotes; otherwise check the indentation of this line"),
    ("did not find expected key", "this line does not continue the mapping of line {0}",
     "keys of one mapping start in the same column, and nothing may follow a value on its line"),
    ("cannot start any token", "a text cannot begin with this character", "put it in quotes"),
    ("found undefined alias", "no anchor of this name is defined above",
     "put a text that begins with '*' in quotes"),
    ("found unexpected ':'", "a ':' is not allowed here", "put a space after the ':' of a key"),
    ("but found another document", "a second document begins here",
     "write one spec per file, without a '---' line"),
)  # fmt: skip


def _check_spaces(source: Source, line: int) -> None:
    """Refuse a key without a space before its value, on a line or the one above it.

    Raises:
        ComposerError: code ``missing-space``.
    """
    for number in (line - 1, line):
        text = source.lines[number] if 0 <= number < len(source.lines) else ""
        indent = len(text) - len(text.lstrip(" "))
        if (found := GLUED.match(text[indent:])) is not None:
            where = source._location(Span(number, indent, len(found[1]) + 1))
            raise ComposerError(Diagnostic("missing-space", *no_space(found), where)) from None


def _explain(failure: yaml.MarkedYAMLError, where: Location | None) -> tuple[str, str | None]:
    problem = failure.problem or "it cannot be parsed"
    indent = where.text[: where.column] if where else ""
    if "\t" in indent and not indent.strip():
        return "a tab indents this line, and YAML allows only spaces", "replace the tab with spaces"
    begin = failure.context_mark.line + 1 if failure.context_mark is not None else 1
    for said, message, way_out in _PROBLEMS:
        if said in problem:
            return message.format(begin), way_out
    return f"this is not YAML: {problem}", None


class _Reader:
    """Turns PyYAML's nodes into plain values, noting the location of each."""

    def __init__(self, source: Source) -> None:
        self.source, self.lines = source, source.lines
        self.count = 0

    def read(self, node: yaml.Node, path: YamlPath, depth: int) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            raise _too_many(self.source._location(self._span(node)))
        if depth > MAX_DEPTH:
            what = "an alias that contains itself, or values nested too deeply"
            raise ComposerError(
                Diagnostic("too-large", f"the spec has {what}", file=self.source.file)
            )
        self.source.values[path] = self._span(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(v, (*path, i), depth + 1) for i, v in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else resolve_scalar(node.value)

    def _mapping(self, node: yaml.MappingNode, path: YamlPath, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._note(key_node, "bad-key", "a key must be one word")
                continue
            key = str(key_node.value)
            nothing = value_node.start_mark.index == value_node.end_mark.index
            glued = GLUED.fullmatch(key) if nothing and not key_node.style else None
            if glued is not None:  # read as intended, so that no further problem is reported for it
                self._note(key_node, "missing-space", *no_space(glued))
                key, here = glued[1], (*path, glued[1])
                self.source.keys[here] = self.source.values[here] = self._span(key_node)
                mapping[key] = resolve_scalar(glued[2])
                continue
            here = (*path, key)
            if key == "<<":
                way_out = "write the fields out; to change another spec, use 'extends'"
                self._note(key_node, "bad-key", "the merge key '<<' is not supported", way_out)
                continue
            if key in mapping:
                first = self.source.keys[here].line + 1
                self._note(
                    key_node,
                    "duplicate-key",
                    f"duplicate key {key!r} in this mapping",
                    f"the first one is at line {first}; rename or remove one",
                )
                continue
            self.source.keys[here] = self._span(key_node)
            mapping[key] = self.read(value_node, here, depth + 1)
        return mapping

    def _note(self, node: yaml.Node, code: str, message: str, way_out: str | None = None) -> None:
        where = self.source._location(self._span(node))
        _noted(self.source, Diagnostic(code, message, way_out, where))

    def _span(self, node: yaml.Node) -> Span:
        start, end = node.start_mark, node.end_mark
        line, column = start.line, start.column
        if line != end.line or line >= len(self.lines):
            return Span(line, column, 1)
        until, offset = end.column, None
        if isinstance(node, yaml.ScalarNode):
            offset = self.lines[line].rfind(node.value, column, until)  # after a quote or an anchor
            offset = None if offset < 0 else offset - column
        return Span(line, column, max(1, until - column), offset)


def resolve_scalar(text: str) -> str | int | float | bool | None:
    """Return the value of a plain scalar, by the YAML 1.2 core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text) and len(text) <= 32:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        special = text.lower().lstrip("-+") in (".inf", ".nan")
        return float(text.replace(".", "") if special else text)
    return text


def kind_of(value: object) -> str:
    """Return a description of a value: ``a list``, ``the text 'x'``, ``nothing``."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {value if len(value) <= 40 else value[:39] + '…'!r}"
    return str(value).lower() if isinstance(value, bool) else f"the number {value}"


def _file_error(path: Path, code: str, message: str, way_out: str | None) -> ComposerError:
    return ComposerError(Diagnostic(code, message, way_out, file=str(path)))

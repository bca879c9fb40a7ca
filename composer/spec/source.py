"""YAML read with PyYAML's `compose`, so that every value keeps its line and column.

Scalars follow the YAML 1.2 core schema (``1e-3`` is a number, ``on`` is a string), duplicate
keys are refused, and a file is bounded in size, in depth and in the number of its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from composer.errors import ComposerError, Diagnostic, Location

MAX_BYTES = 2_000_000
MAX_VALUES = 200_000
MAX_DEPTH = 64

YamlPath = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Span:
    """Where a value stands: line and column count from 0, as PyYAML's marks do."""

    line: int
    column: int
    length: int
    offset: int = 0  # 1 where an opening quote stands before the text


@dataclass(frozen=True)
class Source:
    """The text of a spec with the place of each of its values."""

    file: str
    text: str
    values: dict[YamlPath, Span] = field(default_factory=dict, compare=False)
    keys: dict[YamlPath, Span] = field(default_factory=dict, compare=False)

    def at(self, path: YamlPath) -> Location | None:
        """Return the place of the value at `path`, else of the nearest parent that has one."""
        for end in range(len(path), -1, -1):
            if (span := self.values.get(path[:end])) is not None:
                return self._location(span)
        return None

    def at_key(self, path: YamlPath) -> Location | None:
        """Return the place of the key that `path` ends with, else of its value."""
        span = self.keys.get(path)
        return self.at(path) if span is None else self._location(span)

    def within(self, path: YamlPath, start: int, length: int) -> Location | None:
        """Return the place of a stretch of the scalar at `path`, counted in characters."""
        span = self.values.get(path)
        if span is None:
            return self.at(path)
        return self._location(Span(span.line, span.column + span.offset + start, max(1, length)))

    def _location(self, span: Span) -> Location:
        lines = self.text.splitlines() or [""]
        line = min(span.line, len(lines) - 1)
        return Location(self.file, line + 1, span.column + 1, span.length, lines[line])


def read_text(path: Path) -> str:
    """Return the text of a spec file.

    Raises:
        ComposerError: the file is missing, unreadable, too large or not UTF-8.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _file_error(
                path,
                "file-too-large",
                f"{size:,} bytes is more than a spec may have ({MAX_BYTES:,})",
                "a spec is a few dozen lines; is this the right file?",
            )
        return path.read_bytes().decode("utf-8-sig")
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


def parse(text: str, file: str) -> tuple[dict[str, Any], Source]:
    """Return the mapping that `text` holds, and the place of each of its values.

    Raises:
        ComposerError: the text is not YAML, or not one mapping; every duplicate key is reported.
    """
    source = Source(file, text)
    if len(text) > MAX_BYTES:
        raise ComposerError(
            Diagnostic(
                "file-too-large",
                f"{len(text):,} characters is more than a spec may have ({MAX_BYTES:,})",
                "a spec is a few dozen lines; is this the right text?",
                file=file,
            )
        )
    root = _compose(source)
    if root is None:
        raise ComposerError(
            Diagnostic(
                "empty-file",
                "there is nothing in this spec",
                "start with 'name:', 'input: [b, c, h, w]' and 'nodes:'",
                file=file,
            )
        )
    reader = _Reader(source)
    data = reader.read(root, (), 0)
    if reader.problems:
        raise ComposerError(reader.problems)
    if not isinstance(data, dict):
        raise ComposerError(
            Diagnostic(
                "not-a-mapping",
                f"a spec is a mapping of fields, and this is {_kind(root)}",
                "start with 'name:', 'input: [b, c, h, w]' and 'nodes:'",
                where=source.at(()),
            )
        )
    return data, source


def _compose(source: Source) -> yaml.Node | None:
    nesting = _deepest_flow(source.text)
    if nesting > MAX_DEPTH:
        raise ComposerError(
            Diagnostic(
                "too-deep",
                f"brackets are nested {nesting} deep, more than a spec may ({MAX_DEPTH})",
                "is this the right file?",
                file=source.file,
            )
        )
    try:
        node: yaml.Node | None = yaml.compose(source.text, Loader=_LOADER)  # type: ignore[no-untyped-call]
        return node
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        where = None
        if mark is not None:
            where = source._location(Span(mark.line, mark.column, 1))
        message, way_out = _explain(failure, where)
        raise ComposerError(
            Diagnostic("not-yaml", message, way_out, where=where, file=source.file)
        ) from None
    except (yaml.YAMLError, RecursionError) as failure:
        reason = " ".join(str(failure).split())
        raise ComposerError(
            Diagnostic("not-yaml", f"this is not YAML: {reason}", file=source.file)
        ) from None


def _explain(failure: yaml.MarkedYAMLError, where: Location | None) -> tuple[str, str | None]:
    problem = failure.problem or "it cannot be parsed"
    indent = where.text[: where.column] if where else ""
    if "\t" in indent and not indent.strip():
        return "a tab indents this line, and YAML allows spaces only", "replace the tab by spaces"
    if "but found another document" in problem:
        return "a second document begins here", "keep one spec in one file, without a '---' line"
    return f"this is not YAML: {problem}", None


def _deepest_flow(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


class _Reader:
    """Turns PyYAML's nodes into plain values, noting the place of each."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Diagnostic] = []
        self.count = 0

    def read(self, node: yaml.Node, path: YamlPath, depth: int) -> Any:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            what = "nested too deep" if depth > MAX_DEPTH else "too many values, aliases followed"
            raise ComposerError(
                Diagnostic("too-large", f"the spec has {what}", file=self.source.file)
            )
        self.source.values[path] = _span(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(v, (*path, i), depth + 1) for i, v in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: YamlPath, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                where = self.source._location(_span(key_node))
                self.problems.append(
                    Diagnostic("bad-key", "a key is one word here", where=where)
                )
                continue
            here = (*path, key)
            if key in mapping:
                first = self.source.keys[here].line + 1
                self.problems.append(
                    Diagnostic(
                        "duplicate-key",
                        f"{key!r} stands twice in this mapping",
                        f"the first one is at line {first}; rename or remove one",
                        where=self.source._location(_span(key_node)),
                    )
                )
                continue
            self.source.keys[here] = _span(key_node)
            mapping[key] = self.read(value_node, here, depth + 1)
        return mapping

    def _scalar(self, node: yaml.Node, path: YamlPath) -> Any:
        text: str = node.value
        tag: str = node.tag or ""
        if not tag.startswith("tag:yaml.org,2002:"):
            self.problems.append(
                Diagnostic(
                    "unknown-tag", f"the tag {tag!r} means nothing here", "remove the tag",
                    where=self.source.at(path),
                )
            )
            return text
        return text if node.style else resolve_scalar(text)


def resolve_scalar(text: str) -> str | int | float | bool | None:
    """Return the value of a plain scalar, by the YAML 1.2 core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text) and len(text) <= 32:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".Inf", "inf").replace(".INF", "inf").replace(".inf", "inf"))
    return text


def _span(node: yaml.Node) -> Span:
    start, end = node.start_mark, node.end_mark
    one_line = start.line == end.line
    quoted = int(bool(getattr(node, "style", None)) and node.style in "\"'")
    length = end.column - start.column if one_line else 1
    return Span(start.line, start.column, max(1, length), quoted)


def _kind(node: yaml.Node) -> str:
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _file_error(path: Path, code: str, message: str, way_out: str | None) -> ComposerError:
    return ComposerError(Diagnostic(code, message, way_out, file=str(path)))


def walk(data: Any, path: YamlPath = ()) -> Iterator[tuple[YamlPath, Any]]:
    """Yield every value inside `data` with its path, parents first."""
    yield path, data
    if isinstance(data, dict):
        for key, value in data.items():
            yield from walk(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from walk(value, (*path, index))

"""A method's own source: finding the expression of an instruction, and editing the method.

The text stays the author's; additions are spliced in at the positions of the instructions. The
result is compiled but not run: its code gets the globals, the defaults and the closure of the
original function.
"""

from __future__ import annotations
import __future__

import ast
import dis
import hashlib
import inspect
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType

from composer.analysis.recording import Instruction

#: Stand in a text for what is known once all places are: the name of what is inserted, and what
#: is done to the value that it gives.
CHILD, GIVEN = "\0", "\1"


class NoSource(Exception):  # noqa: N818 - a finding, which the plan reports
    """A method whose source can't be edited; the message says why."""


@dataclass(frozen=True, order=True)
class Extent:
    """The extent of something in a method's source: lines from 1, columns in bytes."""

    line: int
    column: int
    end_line: int
    end_column: int

    @classmethod
    def of(cls, node: ast.expr | ast.stmt) -> Extent:
        """Return the extent of a node."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return cls(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)

    @property
    def start(self) -> Extent:
        """The position before it."""
        return Extent(self.line, self.column, self.line, self.column)

    @property
    def end(self) -> Extent:
        """The position after it."""
        return Extent(self.end_line, self.end_column, self.end_line, self.end_column)


@dataclass(frozen=True, order=True)
class Splice:
    """A piece of a method's source, possibly empty, and the text that replaces it."""

    extent: Extent
    text: str


@dataclass(frozen=True)
class Text:
    """The source of a method as in its file, decorators included."""

    text: str
    qualname: str

    @property
    def digest(self) -> str:
        """The hash of this text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def piece(self, extent: Extent) -> str:
        """Return the text at an extent."""
        start, end = self._offset(extent.start), self._offset(extent.end)
        return self.text.encode()[start:end].decode()

    def _offset(self, extent: Extent) -> int:
        lines = self.text.encode().splitlines(keepends=True)
        return sum(map(len, lines[: extent.line - 1])) + extent.column

    def edited(self, splices: Sequence[Splice], child: str, given: str = "") -> Text:
        """Return the text with some pieces changed; see `CHILD` and `GIVEN`."""
        source = self.text.encode()
        for one in sorted(splices, reverse=True):
            start, end = self._offset(one.extent.start), self._offset(one.extent.end)
            made = one.text.replace(CHILD, child).replace(GIVEN, given).encode()
            source = source[:start] + made + source[end:]
        return Text(source.decode(), self.qualname)


def text_of(function: FunctionType) -> Text:
    """Return the source of a method, checked against the code that runs.

    Raises:
        NoSource: there is none, or the file was changed since it was read.
    """
    return _text_of(function.__code__, function.__qualname__)


@cache
def _text_of(code: CodeType, qualname: str) -> Text:
    lines = linecache.getlines(code.co_filename)
    if len(lines) < code.co_firstlineno:
        raise NoSource("its source can't be found")
    try:
        block = inspect.getblock(lines[code.co_firstlineno - 1 :])
        text = Text("".join(block), qualname)
        again = _compiled(text, code)
    except SyntaxError:  # and of indentation
        again = None
    if again is None or not _same(again, code):
        raise NoSource(
            "its source is not the code that runs: the file changed, or a tool rewrote it"
        )
    return text


def function_of(text: Text, like: FunctionType) -> FunctionType:
    """Return a method made from an edited text, to replace another.

    Its source is registered for debuggers, `inspect` and torch.compile.

    Raises:
        NoSource: `like` can't have become this text.
    """
    file = f"<composer: {text.qualname} {text.digest[:12]}>"
    code = _compiled(text, like.__code__, file)
    cells = dict(zip(like.__code__.co_freevars, like.__closure__ or (), strict=True))
    if code is None or not set(code.co_freevars) <= set(cells):
        raise NoSource("the code around it has changed")
    linecache.cache[file] = (len(text.text), None, text.text.splitlines(keepends=True), file)
    closure = tuple(cells[name] for name in code.co_freevars)
    made = FunctionType(code, like.__globals__, like.__name__, like.__defaults__, closure)
    made.__kwdefaults__, made.__annotations__ = like.__kwdefaults__, like.__annotations__
    made.__doc__, made.__module__ = like.__doc__, like.__module__
    made.__qualname__ = like.__qualname__
    vars(made).update(vars(like))
    return made


def _compiled(text: Text, like: CodeType, file: str | None = None) -> CodeType | None:
    """Return the code object in a text that corresponds to another one; None if there is none."""
    flags = like.co_flags & _FUTURE
    origin = file or like.co_filename
    module = compile(parsed(text, like), origin, "exec", flags=flags, dont_inherit=True)
    return next((code for code in _inside(module) if code.co_name == like.co_name), None)


_FUTURE = sum(getattr(__future__, name).compiler_flag for name in set(__future__.all_feature_names)
              if getattr(__future__, name).compiler_flag > 0x10)  # fmt: skip


def _around(text: Text, like: CodeType) -> list[str]:
    """Return the lines around a method's text that make it compile as in its file.

    A class mangles private names and makes the cell of ``super``, and a function provides the
    closure.
    """
    if not text.text[:1].isspace():
        return []
    held = [name for name in like.co_freevars if name != "__class__"]
    around = text.qualname.split(".")[-2:][0]
    lines = [f"def _({', '.join(held)}):\n"] if held else []
    block = f"class {around}" if around.isidentifier() else "if True"
    return [*lines, f"{' ' * len(lines)}{block}:\n"]


def _move_up(tree: ast.AST, lines: int) -> None:
    """Renumber the text from line 1; the lines put around it are moved there as well."""
    ast.increment_lineno(tree, -lines)
    for node in ast.walk(tree):
        if getattr(node, "lineno", 1) < 1 and isinstance(node, (ast.stmt, ast.expr, ast.arg)):
            node.lineno = node.end_lineno = 1
            node.col_offset = node.end_col_offset = 0


def _inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inside(constant)


def _same(one: CodeType, other: CodeType) -> bool:
    """Return whether two code objects do the same, whatever their positions."""
    parts = ("co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount")
    pairs = list(zip(one.co_consts, other.co_consts, strict=False))
    return (
        all(getattr(one, part) == getattr(other, part) for part in parts)
        and _steps(one) == _steps(other)
        and len(one.co_consts) == len(other.co_consts) == len(pairs)
        and all(
            _same(a, b)
            if isinstance(a, CodeType) and isinstance(b, CodeType)
            else type(a) is type(b) and a == b
            for a, b in pairs
        )
    )


def _steps(code: CodeType) -> list[tuple[str, object]]:
    """Return the instructions in a comparable form.

    The function of an imported module is loaded as an attribute where the import is visible, and
    else as a method.
    """
    steps = []
    for one in dis.get_instructions(code):
        if one.opname not in ("PUSH_NULL", "PRECALL"):
            name = "LOAD_ATTR" if one.opname == "LOAD_METHOD" else one.opname
            told = isinstance(one.argval, (str, int)) and "JUMP" not in name and name != "FOR_ITER"
            steps.append((name, one.argval if told else None))
    return steps


# ------------------------------------------------------------------------------- expressions


def found_at(
    text: Text, code: CodeType, instruction: Instruction
) -> ast.expr | ast.AugAssign | None:
    """Return the expression of an instruction, or its statement such as ``x += y``."""
    positions = list(instruction.code.co_positions())
    line, end_line, column, end_column = positions[instruction.offset // 2]
    if line is None or end_line is None or column is None or end_column is None:
        return None  # Python runs with -X no_debug_ranges
    first = code.co_firstlineno - 1
    extent = Extent(line - first, column, end_line - first, end_column)
    found: ast.expr | ast.AugAssign | None = None
    for node in ast.walk(parsed(text, code)):
        if isinstance(node, (ast.expr, ast.AugAssign)) and Extent.of(node) == extent:
            found = node if found is None or isinstance(node, ast.AugAssign) else found
    return found


def body_of(text: Text, code: CodeType) -> list[ast.stmt]:
    """Return the statements of a method, without its docstring."""
    method = next(
        node for node in ast.walk(parsed(text, code))
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name
    )  # fmt: skip
    return method.body[1:] if ast.get_docstring(method) is not None else method.body


@cache
def parsed(text: Text, code: CodeType) -> ast.Module:
    """Return the syntax tree of a method's text, its lines counted from 1; not to be changed."""
    tree = ast.parse("".join(_around(text, code)) + text.text)
    _move_up(tree, len(_around(text, code)))
    return tree

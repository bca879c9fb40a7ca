"""The expression language of a spec: parsed, never evaluated by Python.

Numbers, names, ``pi``, ``+ - * / // % **``, comparisons, ``a if b else c`` and
``min max abs ceil floor round log log2 exp sqrt sin cos odd``. A name stands for a param, a size,
or a word (``softmax if radix > 1 else sigmoid``). Text, depth and results are bounded.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from composer.language.operations import FUNCTIONS, NUMBERS, OPERATIONS
from composer.language.words import instead_of

Value = int | float | bool | str

MAX_LENGTH = 300
MAX_DEPTH = 24
MAX_MAGNITUDE = 10**15
MAX_POWER = 64
MAX_PARTS = 500  # parts of a param or a size once the params it uses are substituted


class ExpressionError(ValueError):
    """An invalid expression, or one without a value; carries its span in the text."""

    def __init__(
        self,
        code: str,
        message: str,
        start: int = 0,
        length: int = 1,
        help: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.help = code, message, help
        self.start, self.length = start, length


@dataclass(frozen=True)
class Expr:
    """One node of an expression tree: a constant, a name, or a call of an operation."""

    kind: str  # "constant", "name", or the operation: "+", "if", "max", …
    value: Value = 0
    args: tuple[Expr, ...] = ()
    start: int = 0
    length: int = 1
    _hash: int = field(init=False, repr=False, compare=False)

    @property
    def is_constant(self) -> bool:
        """Whether the value is known."""
        return self.kind == "constant"

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that the value depends on."""
        if self.kind == "name":
            return frozenset((str(self.value),))
        return frozenset().union(*(arg.names for arg in self.args))

    @cached_property
    def parts(self) -> int:
        """How many nodes the tree has; shared nodes count each time they occur."""
        return 1 + sum(arg.parts for arg in self.args)

    def walk(self) -> Iterator[Expr]:
        """Yield this node and all below it."""
        yield self
        for arg in self.args:
            yield from arg.walk()

    @property
    def is_long(self) -> bool:
        """Whether it has more parts than the limit for a size."""
        return self.parts > MAX_PARTS

    def __post_init__(self) -> None:
        # from the cached hashes of its parts: hashing a long one as a whole recurses too far
        object.__setattr__(self, "_hash", hash((self.kind, self.value, self.args)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Expr):
            return NotImplemented
        left = [(self, other)]
        while left:  # no recursion, for the same reason
            one, two = left.pop()
            if one is two:
                continue
            if one._hash != two._hash or one.kind != two.kind or len(one.args) != len(two.args):
                return False
            if type(one.value) is not type(two.value) or one.value != two.value:
                return False
            left += zip(one.args, two.args, strict=True)
        return True

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Expr], tuple[object, ...]]:
        """Pickle only the fields: in another process a text has another hash."""
        return Expr, (self.kind, self.value, self.args, self.start, self.length)

    def __str__(self) -> str:
        return _show(self, 0)


def constant(value: Value) -> Expr:
    """Return the expression of a known value."""
    return Expr("constant", value)


def name(identifier: str) -> Expr:
    """Return the expression that is one name."""
    return Expr("name", identifier)


_BINARY: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//",
    ast.Mod: "%", ast.Pow: "**",
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})


# --------------------------------------------------------------------------------------- parsing


def parse(text: str) -> Expr:
    """Return the tree of an expression.

    Raises:
        ExpressionError: the text is not an expression of this language.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            "expression-too-long",
            f"this expression has {len(text)} characters, and the limit is {MAX_LENGTH}",
            0,
            len(text),
        )
    if _is_one_name(text):
        return Expr("name", text, (), 0, len(text))
    text = "".join(" " if letter.isspace() else letter for letter in text)
    padding = len(text) - len(text.lstrip())
    _check_said_plainly(text)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (RecursionError, MemoryError):
        raise ExpressionError(
            "bad-expression", "this expression is nested too deep", 0, len(text)
        ) from None
    except (SyntaxError, ValueError) as failure:
        offset = getattr(failure, "offset", None) or len(text)  # missing if the text ends early
        column = max(0, min(padding + offset, len(text)) - 1)
        raise ExpressionError(
            "bad-expression", f"{text.strip()!r} is not an expression", column, 1, _LANGUAGE
        ) from None
    return _Builder(text, padding).build(tree, 0)


def _is_one_name(text: str) -> bool:
    """Return whether a text is a single name, as most are; Python's parser is not needed then."""
    if not (text.isascii() and text.isidentifier()):
        return False
    return not (keyword.iskeyword(text) or text in NUMBERS or text in ("true", "false"))


#: Letters right after a number: Python parses them with a warning, which would go to the user's
#: terminal. Catching warnings would change the filters of every thread.
_CLINGING = re.compile(r"(?<!\w)\.?[0-9][\w.]*?(and|else|for|i[fns]|or|not)")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def _check_said_plainly(text: str) -> None:
    """Refuse what Python would warn about: a backslash, and a word directly after a number."""

    def unclear(start: int, help: str) -> ExpressionError:  # noqa: A002
        message = f"{text.strip()!r} is not an expression"
        return ExpressionError("bad-expression", message, start, 1, help)

    if "\\" in text:
        raise unclear(text.index("\\"), "remove the backslash")
    outside = _QUOTED.sub(lambda word: " " * len(word[0]), text)
    if (found := _CLINGING.search(outside)) is not None:
        raise unclear(found.start(1), f"put a space before {found[1]!r}")


_LANGUAGE = (
    "an expression has numbers, names, pi, + - * / // % **, comparisons, 'a if b else c' and "
    + " ".join(FUNCTIONS)
)


class _Builder:
    def __init__(self, text: str, padding: int) -> None:
        self.text, self.padding = text, padding

    def build(self, node: ast.AST, depth: int) -> Expr:
        start, length = self._stretch(node)
        written = self.text[start : start + length]

        def refuse(code: str, message: str, way_out: str | None = None) -> ExpressionError:
            return ExpressionError(code, message, start, length, way_out)

        def make(kind: str, *parts: ast.AST) -> Expr:
            args = tuple(self.build(part, depth + 1) for part in parts)
            return Expr(kind, 0, args, start, length)

        if depth > MAX_DEPTH:
            raise refuse("bad-expression", "this expression is nested too deep")
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                if isinstance(value, (int, float)) and abs(value) > MAX_MAGNITUDE:
                    raise refuse("value-too-large", f"a number may be at most {MAX_MAGNITUDE:.0e}")
                return Expr("constant", value, (), start, length)
            case ast.Name(id="true" | "false" as flag):
                return Expr("constant", flag == "true", (), start, length)
            case ast.Name(id=identifier) if identifier in NUMBERS:
                return Expr("constant", NUMBERS[identifier], (), start, length)
            case ast.Name(id=identifier):
                return Expr("name", identifier, (), start, length)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return make("negative", operand)
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _BINARY:
                return make(_BINARY[type(op)], left, right)
            case ast.Compare(ops=[op], left=left, comparators=[right]) if type(op) in _BINARY:
                return make(_BINARY[type(op)], left, right)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return make("if", test, body, orelse)
            case ast.Call(func=ast.Name(id=function), args=args, keywords=[]):
                if function not in FUNCTIONS:
                    raise refuse(
                        "forbidden-call",
                        f"an expression cannot call {function!r}",
                        instead_of(function, FUNCTIONS),
                    )
                low, high = FUNCTIONS[function]
                if not low <= len(args) <= high:
                    wants = str(low) if low == high else f"{low} to {high}"
                    raise refuse(
                        "bad-expression", f"{function} takes {wants} values, not {len(args)}"
                    )
                return make(function, *args)
            case ast.Call():
                raise refuse(
                    "forbidden-call",
                    f"an expression cannot call {written!r}",
                    instead_of(written.partition("(")[0], FUNCTIONS),
                )
            case _:
                raise refuse(
                    "bad-expression",
                    f"{written!r} is not allowed in an expression",
                    _LANGUAGE,
                )

    def _stretch(self, node: ast.AST) -> tuple[int, int]:
        encoded = self.text.strip().encode()
        begin = int(getattr(node, "col_offset", 0))
        end = int(getattr(node, "end_col_offset", None) or len(encoded))
        start = len(encoded[:begin].decode(errors="ignore"))
        return self.padding + start, max(1, len(encoded[begin:end].decode(errors="ignore")))


# ------------------------------------------------------------------------------------- binding


def bind(expr: Expr, known: Mapping[str, Value | Expr]) -> Expr:
    """Return `expr` with the known names substituted and all constants folded.

    A branch that is not taken is dropped, so it may contain what has no value.

    Raises:
        ExpressionError: a value that is undefined (``c // 0``) or too large.
    """
    if expr.kind == "constant":
        return expr
    if expr.kind == "name":
        value = known.get(str(expr.value), expr)
        if isinstance(value, Expr):
            return Expr(value.kind, value.value, value.args, expr.start, expr.length)
        return Expr("constant", value, (), expr.start, expr.length)
    if expr.kind == "if":
        test = bind(expr.args[0], known)
        if test.is_constant:
            return bind(expr.args[1] if test.value else expr.args[2], known)
        branches = bind(expr.args[1], known), bind(expr.args[2], known)
        return Expr("if", 0, (test, *branches), expr.start, expr.length)
    args = tuple(bind(arg, known) for arg in expr.args)
    if expr.kind in ("==", "!="):
        args = _words_compared(args)
    bound = Expr(expr.kind, 0, args, expr.start, expr.length)
    if all(arg.is_constant for arg in args):
        return Expr("constant", _apply(bound), (), expr.start, expr.length)
    return _identity(bound)


def _words_compared(args: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Turn a bare name that is compared with a word into a word: ``combine == product``."""
    left, right = args
    if left.is_constant and isinstance(left.value, str) and right.kind == "name":
        return left, Expr("constant", right.value, (), right.start, right.length)
    if right.is_constant and isinstance(right.value, str) and left.kind == "name":
        return Expr("constant", left.value, (), left.start, left.length), right
    return args


def _apply(expr: Expr) -> Value:
    values = [arg.value for arg in expr.args]

    def refuse(code: str, message: str, way_out: str | None = None) -> ExpressionError:
        return ExpressionError(code, message, expr.start, expr.length, way_out)

    if any(isinstance(v, str) for v in values) and expr.kind not in ("==", "!="):
        word = next(v for v in values if isinstance(v, str))
        raise refuse("bad-expression", f"{expr.kind!r} needs numbers, and {word!r} is a word")
    if expr.kind == "**" and abs(values[1]) > MAX_POWER:  # type: ignore[arg-type]
        raise refuse("value-too-large", f"the exponent {values[1]} is more than {MAX_POWER}")
    try:
        result = OPERATIONS[expr.kind](*values)
    except ZeroDivisionError:
        raise refuse("division-by-zero", f"{expr} divides by zero") from None
    except OverflowError:
        raise refuse("value-too-large", f"{expr} passes {MAX_MAGNITUDE:.0e}") from None
    except ValueError as failure:
        raise refuse("no-value", f"{expr} has no value: {failure}") from None
    if isinstance(result, complex):
        raise refuse("no-value", f"{expr} has no real value")
    if isinstance(result, (int, float)) and not abs(result) <= MAX_MAGNITUDE:
        raise refuse("value-too-large", f"{expr} passes {MAX_MAGNITUDE:.0e}")
    value: Value = result
    return value


def _identity(expr: Expr) -> Expr:
    """Drop operations without effect: ``x + 0``, ``x * 1``, ``c // 1``; refuse ``x // 0``."""
    if len(expr.args) != 2:
        return expr
    left, right = expr.args
    if right.is_constant and right.value == 0 and expr.kind in ("/", "//", "%"):
        raise ExpressionError(
            "division-by-zero", f"{expr} divides by zero", expr.start, expr.length
        )
    neutral = {"+": 0, "-": 0, "*": 1, "//": 1, "**": 1}.get(expr.kind)
    if right.is_constant and right.value == neutral and neutral is not None:
        return left if expr.kind != "//" or is_whole(left) else expr
    if left.is_constant and expr.kind in ("+", "*") and left.value == neutral:
        return right
    return expr


_WHOLE = frozenset({"+", "-", "*", "//", "%", "negative", "min", "max", "abs"})


def is_whole(expr: Expr) -> bool:
    """Return whether the value is an integer, where an open name counts as a size."""
    if expr.kind == "constant":
        return isinstance(expr.value, int)
    if expr.kind in ("name", "ceil", "floor", "round", "odd"):
        return True
    branches = expr.args[1:] if expr.kind == "if" else expr.args
    return (expr.kind in _WHOLE or expr.kind == "if") and all(map(is_whole, branches))


def leaves(expr: Expr) -> Iterator[Expr]:
    """Yield the possible results of an expression: both branches of each ``if``."""
    if expr.kind == "if":
        yield from leaves(expr.args[1])
        yield from leaves(expr.args[2])
    else:
        yield expr


def evaluate(expr: Expr, known: Mapping[str, Value | Expr]) -> Value | None:
    """Return the value under `known`, or None if a name is still open or the value is undefined."""
    try:
        bound = bind(expr, known)
    except ExpressionError:
        return None
    return bound.value if bound.is_constant else None


def difference(left: Expr, right: Expr) -> dict[str, int] | None:
    """Return sizes at which the two expressions differ, or None if they always agree.

    Equal trees are the same. Others are compared at sizes chosen so that sums, products,
    quotients and remainders show their difference, where both are sizes.
    """
    found = None if left == right else _difference(left, right)
    return None if found is None else dict(found)


@lru_cache(maxsize=1_000)  # the same two sizes are compared at many nodes
def _difference(left: Expr, right: Expr) -> tuple[tuple[str, int], ...] | None:
    names = sorted(left.names | right.names)
    for trial in (64, 96, 130, 257, 1024, 2048, 32, 11, 8192):
        sizes = {n: trial + 17 * i * (trial % 7) for i, n in enumerate(names)}
        one, other = evaluate(left, sizes), evaluate(right, sizes)
        if _is_size(one) and _is_size(other) and not math.isclose(one, other):  # type: ignore[arg-type]
            return tuple(sizes.items())
    return None


def _is_size(value: Value | None) -> bool:
    return isinstance(value, (int, float)) and value >= 1


_PRECEDENCE = {
    "if": 1, "==": 2, "!=": 2, "<": 2, "<=": 2, ">": 2, ">=": 2,
    "+": 3, "-": 3, "*": 4, "/": 4, "//": 4, "%": 4, "negative": 5, "**": 6,
}  # fmt: skip


def _show(expr: Expr, outer: int) -> str:
    if expr.kind == "constant":
        if isinstance(expr.value, str):
            return expr.value
        if expr.value in NUMBERS.values():
            return next(word for word, number in NUMBERS.items() if number == expr.value)
        text = str(expr.value).lower()
        return f"({text})" if text[0] == "-" and outer > _PRECEDENCE["negative"] else text
    if expr.kind == "name":
        return str(expr.value)
    if expr.kind in FUNCTIONS:
        return f"{expr.kind}({', '.join(_show(a, 0) for a in expr.args)})"
    mine = _PRECEDENCE[expr.kind]
    if expr.kind == "if":
        test, body, orelse = (_show(a, 2) for a in expr.args)
        text = f"{body} if {test} else {orelse}"
    elif expr.kind == "negative":
        text = f"-{_show(expr.args[0], mine)}"
    else:
        left, right = expr.args
        if expr.kind == "**":
            text = f"{_show(left, mine + 1)} ** {_show(right, _PRECEDENCE['negative'])}"
        else:
            inner = mine + (expr.kind in _COMPARISONS)  # these do not chain
            text = f"{_show(left, inner)} {expr.kind} {_show(right, mine + 1)}"
    return f"({text})" if mine < outer else text

"""The expression language: values, refusals, binding in steps, and what differs from what."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from composer.language.expressions import (
    FUNCTIONS,
    MAX_MAGNITUDE,
    Expr,
    ExpressionError,
    bind,
    constant,
    difference,
    evaluate,
    parse,
)

KNOWN = {"c": 64, "h": 14, "w": 7, "reduction": 16, "combine": "product", "flag": True}

# ----------------------------------------------------------------------------------------- values

VALUES = [
    ("1", 1), ("1e-3", 1e-3), (".5", 0.5), ("0x1f", 31), ("0b11", 3), ("1_000", 1000),
    ("c", 64), (" c ", 64), ("\tc\n", 64), ("c\n+ 1", 65), ("(c\n+ 1)", 65),
    ("c + 2", 66), ("c - 2 - 3", 59), ("c - (2 - 3)", 65), ("c * 2", 128), ("c / 3", 64 / 3),
    ("c // reduction", 4), ("c // 3 * 3", 63), ("c % 7", 1), ("-7 // 2", -4), ("-7 % 3", 2),
    ("2 ** 3 ** 2", 512), ("(2 ** 3) ** 2", 64), ("-2 ** 2", -4), ("(-2) ** 2", 4), ("--c", 64),
    ("2 ** -1", 0.5),
    ("c == 64", True), ("c != 64", False), ("c < h", False), ("w <= 7", True), ("c > h", True),
    ("w >= 8", False),
    ("true", True), ("false", False), ("True", True), ("flag", True), ("flag == true", True),
    ("1 if c > 64 else 2", 2), ("1 if h else 2", 1), ("1 if c < 9 else 2 if c < 99 else 3", 2),
    ("1 if c else c // 0", 1), ("log2(0) if c < 1 else 5", 5),
    ("combine", "product"), ("combine == product", True), ("product == combine", True),
    ("combine == 'product'", True), ("combine != total", True), ("'two words'", "two words"),
    ("relu if c > 8 else tanh", None), ("'relu' if c > 8 else 'tanh'", "relu"),
    ("min(c, h, 3)", 3), ("max(c // reduction, 32)", 32), ("abs(h - c)", 50), ("ceil(c / 3)", 22),
    ("floor(c / 3)", 21), ("round(2.5)", 2), ("round(3.5)", 4), ("log2(c)", 6.0), ("log(1)", 0.0),
    ("sqrt(c)", 8.0), ("exp(0)", 1.0), ("exp(1)", math.e), ("log(exp(3))", 3.0),
    ("pi", 3.141592653589793), ("2 * pi", 6.283185307179586), ("sin(0)", 0.0), ("cos(0)", 1.0),
    ("sin(pi / 2)", 1.0), ("cos(pi)", -1.0), ("cos(w - 7)", 1.0), ("sin(c)", math.sin(64)),
    ("10000 ** (-2 * w / c)", 10000 ** (-14 / 64)),
    ("odd(4)", 5), ("odd(5)", 5), ("odd(4.9)", 5), ("odd(5.9)", 5), ("odd(0)", 1),
    ("odd(abs((log2(c) + 1) / 2))", 3), ("odd(abs((log2(256) + 1) / 2))", 5),
    ("unknown + 1", None), ("max(unknown, 1)", None),
    ("1 if unknown else 1", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES, ids=lambda v: repr(v))
def test_value(text, value):
    read = evaluate(parse(text), KNOWN)
    assert (type(read), read) == (type(value), value)


#: the text, the code, the message, and the stretch of the text it is about
NOT_PARSED = [
    ("__import__('os')", "forbidden-call", "an expression cannot call '__import__'", 0, 16),
    ("open(1)", "forbidden-call", "an expression cannot call 'open'", 0, 7),
    ("c + eval('1')", "forbidden-call", "an expression cannot call 'eval'", 4, 9),
    ("c.real()", "forbidden-call", "an expression cannot call 'c.real()'", 0, 8),
    ("max(*c)", "bad-expression", "max takes 2 to 8 values, not 1", 0, 7),
    ("max(1, key=2)", "forbidden-call", "an expression cannot call 'max(1, key=2)'", 0, 13),
    ("max(1)", "bad-expression", "max takes 2 to 8 values, not 1", 0, 6),
    ("sqrt(1, 2)", "bad-expression", "sqrt takes 1 values, not 2", 0, 10),
    ("(lambda: 1)()", "forbidden-call", "an expression cannot call '(lambda: 1)()'", 0, 13),
    ("lambda: 1", "bad-expression", "'lambda: 1' is not allowed in an expression", 0, 9),
    ("c.real", "bad-expression", "'c.real' is not allowed in an expression", 0, 6),
    ("().__class__", "bad-expression", "'().__class__' is not allowed in an expression", 0, 12),
    ("1 + c[0]", "bad-expression", "'c[0]' is not allowed in an expression", 4, 4),
    ("[c]", "bad-expression", "'[c]' is not allowed in an expression", 0, 3),
    ("{c: 1}", "bad-expression", "'{c: 1}' is not allowed in an expression", 0, 6),
    ("[c for c in h]", "bad-expression", "'[c for c in h]' is not allowed in an expression", 0, 14),
    ("(c := 1)", "bad-expression", "'c := 1' is not allowed in an expression", 1, 6),
    ("f'{c}'", "bad-expression", "\"f'{c}'\" is not allowed in an expression", 0, 6),
    ("b'c'", "bad-expression", "\"b'c'\" is not allowed in an expression", 0, 4),
    ("None", "bad-expression", "'None' is not allowed in an expression", 0, 4),
    ("1j", "bad-expression", "'1j' is not allowed in an expression", 0, 2),
    ("...", "bad-expression", "'...' is not allowed in an expression", 0, 3),
    ("c and h", "bad-expression", "'c and h' is not allowed in an expression", 0, 7),
    ("not c", "bad-expression", "'not c' is not allowed in an expression", 0, 5),
    ("0 < c < 5", "bad-expression", "'0 < c < 5' is not allowed in an expression", 0, 9),
    ("c in h", "bad-expression", "'c in h' is not allowed in an expression", 0, 6),
    ("c << 3", "bad-expression", "'c << 3' is not allowed in an expression", 0, 6),
    ("~c", "bad-expression", "'~c' is not allowed in an expression", 0, 2),
    ("yield c", "bad-expression", "'yield c' is not an expression", None, None),
    ("c = 1", "bad-expression", "'c = 1' is not an expression", None, None),
    ("import os", "bad-expression", "'import os' is not an expression", None, None),
    ("pi(3)", "forbidden-call", "an expression cannot call 'pi'", 0, 5),
    ("tan(c)", "forbidden-call", "an expression cannot call 'tan'", 0, 6),
    ("exp(1, 2)", "bad-expression", "exp takes 1 values, not 2", 0, 9),
    ("c //", "bad-expression", "'c //' is not an expression", 3, 1),
    ("", "bad-expression", "'' is not an expression", 0, 1),
    ("c $ 2", "bad-expression", "'c $ 2' is not an expression", 2, 1),
    ("c\0", "bad-expression", "'c\\x00' is not an expression", None, None),
    ("'\ud800'", "bad-expression", "\"'\\ud800'\" is not an expression", None, None),
    ("é + ü.x", "bad-expression", "'ü.x' is not allowed in an expression", 4, 3),
    (" " + "c + " * 80, "expression-too-long", "this expression has 321 characters, and the "
     "limit is 300", 0, 321),
    ("(" * 140 + "1" + ")" * 140, None, None, 0, 0),
    ("(" * 299, "bad-expression", None, None, None),
    ("-" * 299 + "1", "bad-expression", "this expression is nested too deep", None, None),
    ("~" * 299 + "1", "bad-expression", None, None, None),
    ("c" + ".a" * 149, "bad-expression", None, 0, 299),
    ("1" + "+1" * 149, "bad-expression", "this expression is nested too deep", None, None),
    ("abs(" * 59 + "1" + ")" * 59, "bad-expression", "this expression is nested too deep", None,
     None),
    ("9" * 40, "value-too-large", "a number may be at most 1e+15", 0, 40),
    ("1e999", "value-too-large", "a number may be at most 1e+15", 0, 5),
]  # fmt: skip


#: the text, which is shown as it is written, and what is left where nothing is known
SHOWN = [
    ("(c + h) * w", None), ("(c - h) * w", None), ("c - (h - w)", None), ("c - (h + w)", None),
    ("c + h - w", None), ("c - h + w", None), ("c + h * w", None), ("c * h - w", None),
    ("(c + h) // w", None), ("c * (h % w)", None), ("c * h % w", None), ("c / h / w", None),
    ("c / (h / w)", None), ("c // (h * w)", None), ("c % (h // w)", None), ("-(c + h)", None),
    ("-(c * h)", None), ("-(c / h)", None), ("-(c // h)", None), ("-(c % h)", None),
    ("-c * h", None), ("c * -h", None), ("(-c) ** 2", None),
    ("-c ** 2", None), ("2 ** -c", None), ("(2 ** c) ** h", None), ("2 ** c ** h", None),
    ("(c * h) ** w", None), ("c ** h * w", None), ("(c / h) ** w", None), ("c ** (h % w)", None),
    ("(1 if c else 2) + 1", None), ("1 if c else (2 if h else 3)", None),
    ("(1 if c else 2) if h else 3", None), ("max(c, (h + 1) * 2)", None), ("--c", None),
    ("(c if h else w) // 1", "c if h else w"), ("c // 1", "c"), ("c / 2 // 1", None),
    ("(c if c / 2 > 3 else 1) // 1", "c if c / 2 > 3 else 1"), ("(c if h else w / 2) // 1", None),
    ("(c / 2 if h else w) // 1", None), ("c + 0", "c"), ("0 + c", "c"), ("c * 1", "c"),
    ("1 * c", "c"), ("c - 0", "c"), ("0 - c", None), ("c ** 1", "c"), ("1 ** c", None),
    ("c // 2 // 1", "c // 2"), ("1 // c", None), ("round(c / 2) // 1", "round(c / 2)"),
    ("c * 0", None), ("c + 1", None), ("c - 1", None), ("c // 2", None), ("c / 1", None),
    ("c % 1", None), ("max(c, 0)", None), ("c > 0", None),
    *(
        (text.replace("<", op), None)
        for op in ("==", "!=", "<", "<=", ">", ">=")
        for text in ("c + 1 < h - 1", "(c < h) + 1", "1 - (c < h)", "1 if c < h else 2",
                     "(c < h) < w", "c < (h < w)", "-(c < h)", "c < (1 if h else 2)")
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "bound"), SHOWN)
def test_what_is_shown_has_the_brackets_that_it_needs(text, bound):
    assert str(parse(text)) == text
    left = bind(parse(text), {})
    assert str(left) == (bound or text)
    assert left == parse(bound or text)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("torch.max(c, 1)", "write max(…); it can call min, max, "),
        ("np.log2(c)", "write log2(…); it can call min, max, "),
        ("(lambda: 1)()", "it can call min, max, "),
    ],
)
def test_a_call_that_is_none_of_ours_has_a_way_out(text, begins):
    with pytest.raises(ExpressionError) as raised:
        parse(text)
    assert str(raised.value.help).startswith(begins)


#: what Python reads with a warning: the text, the place, and the way out
WARNED_OF = [
    ("1if c else 2", 1, "put a space before 'if'"),
    ("1 if c else 2or 3", 13, "put a space before 'or'"),
    ("1 if c > 2else 3", 10, "put a space before 'else'"),
    (".5if c else 2", 2, "put a space before 'if'"),
    ("1.if c else 2", 2, "put a space before 'if'"),
    ("0xfor c", 2, "put a space before 'for'"),
    ("5in c", 1, "put a space before 'in'"),
    ("5is c", 1, "put a space before 'is'"),
    ("1_0and c", 3, "put a space before 'and'"),
    ("1not in c", 1, "put a space before 'not'"),
    (r"'a\d'", 2, "remove the backslash"),
    (r" c + '\\'", 6, "remove the backslash"),
]


@pytest.mark.parametrize(("text", "start", "way_out"), WARNED_OF)
def test_what_python_would_warn_of_is_refused_without_a_warning(text, start, way_out):
    with warnings.catch_warnings(record=True) as caught, pytest.raises(ExpressionError) as raised:
        warnings.simplefilter("always")
        parse(text)
    found = raised.value
    assert (found.code, found.message) == (
        "bad-expression", f"{text.strip()!r} is not an expression",
    )  # fmt: skip
    assert (found.start, found.length, found.help) == (start, 1, way_out)
    assert not caught


@pytest.mark.parametrize("text", ["'2in' == c", '"1if" == c', "c2if + 1", "c1or2", "0x1f - 1e3"])
def test_a_word_with_a_number_is_a_word(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse(text)


CALLED = "min, max, abs, ceil, floor, round, log, log2, exp, sqrt, sin, cos, odd"


@pytest.mark.parametrize(("text", "code", "message", "start", "length"), NOT_PARSED,
                         ids=lambda v: repr(v)[:40])  # fmt: skip
def test_not_parsed(text, code, message, start, length):
    if code is None:
        assert evaluate(parse(text), {}) == 1
        return
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    found = caught.value
    assert found.code == code
    assert message is None or found.message == message
    assert start is None or (found.start, found.length) == (start, length)
    assert 0 <= found.start <= len(text)
    if code in ("forbidden-call",):
        assert found.help == f"it can call {CALLED}"


NO_VALUE = [
    ("c // 0", "division-by-zero", "64 // 0 divides by zero"),
    ("c / 0", "division-by-zero", "64 / 0 divides by zero"),
    ("c % 0", "division-by-zero", "64 % 0 divides by zero"),
    ("unknown // 0", "division-by-zero", "unknown // 0 divides by zero"),
    ("unknown // (c - 64)", "division-by-zero", "unknown // 0 divides by zero"),
    ("0 ** -1", "division-by-zero", "0 ** -1 divides by zero"),
    ("9 ** 9 ** 9", "value-too-large", "the exponent 387420489 is more than 64"),
    ("2 ** 64", "value-too-large", "2 ** 64 passes 1e+15"),
    ("2 ** -65", "value-too-large", "the exponent -65 is more than 64"),
    ("c * 999999999999999", "value-too-large", "64 * 999999999999999 passes 1e+15"),
    ("0.1 ** -64", "value-too-large", "0.1 ** -64 passes 1e+15"),
    ("log2(0)", "no-value", "log2(0) has no value: a logarithm needs a positive number"),
    ("log(0)", "no-value", "log(0) has no value: a logarithm needs a positive number"),
    ("log(-c)", "no-value", "log(-64) has no value: a logarithm needs a positive number"),
    ("sqrt(c - 65)", "no-value", "sqrt(-1) has no value: a square root needs a number from 0"),
    ("exp(c)", "value-too-large", "exp(64) passes 1e+15"),
    ("exp(c * c)", "value-too-large", "exp(4096) passes 1e+15"),
    ("sin(combine)", "bad-expression", "'sin' needs numbers, and 'product' is a word"),
    ("(-8) ** 0.5", "no-value", "(-8) ** 0.5 has no real value"),
    ("combine + 1", "bad-expression", "'+' needs numbers, and 'product' is a word"),
    ("combine < total", None, None),
    ("max(combine, 1)", "bad-expression", "'max' needs numbers, and 'product' is a word"),
    ("-combine", "bad-expression", "'negative' needs numbers, and 'product' is a word"),
]


@pytest.mark.parametrize(("text", "code", "message"), NO_VALUE)
def test_no_value(text, code, message):
    if code is None:
        assert evaluate(parse(text), KNOWN) is None
        return
    with pytest.raises(ExpressionError) as caught:
        bind(parse(text), KNOWN)
    assert (caught.value.code, caught.value.message) == (code, message)


SHOWN = [
    ("(a+b)*c", "(a + b) * c"), ("a+(b*c)", "a + b * c"), ("a-(b-c)", "a - (b - c)"),
    ("(a-b)-c", "a - b - c"), ("a//(b//c)", "a // (b // c)"), ("(a**b)**c", "(a ** b) ** c"),
    ("a**(b**c)", "a ** b ** c"), ("(-a)**b", "(-a) ** b"), ("-(a**b)", "-a ** b"),
    ("a**-b", "a ** -b"), ("a**-(b+c)", "a ** -(b + c)"), ("-(a+b)", "-(a + b)"),
    ("(a<b)<c", "(a < b) < c"),
    ("a<(b<c)", "a < (b < c)"), ("(a if b else c)+1", "(a if b else c) + 1"),
    ("a if b else (c if d else e)", "a if b else (c if d else e)"),
    ("(a if b else c) if d else e", "(a if b else c) if d else e"), ("max( a,b )", "max(a, b)"),
    ("True", "true"), ("1e-07", "1e-07"), ("2*pi*a", "2 * pi * a"), ("exp( -a )", "exp(-a)"),
    ("a**pi", "a ** pi"), ("-pi", "-pi"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_shown_as_one_would_write_it(text, shown):
    assert str(parse(text)) == shown
    assert parse(shown) == parse(text)


def test_a_negative_number_keeps_its_brackets():
    bound = bind(parse("(a - 3) ** c"), {"a": 0})
    assert str(bound) == "(-3) ** c"
    assert evaluate(bound, {"c": 2}) == evaluate(parse(str(bound)), {"c": 2}) == 9


#: an expression, what it is while c is open, and its value at c = 5
OPEN = [
    ("c + 0", "c", 5), ("0 + c", "c", 5), ("c - 0", "c", 5), ("0 - c", "0 - c", -5),
    ("1 * c", "c", 5), ("c ** 1", "c", 5), ("c // 1", "c", 5), ("c / 2 // 1", "c / 2 // 1", 2.0),
    ("1 // c", "1 // c", 0), ("c * (4 - 3)", "c", 5), ("c // 2 if 1 > 2 else c", "c", 5),
    ("c if c > 2 + 2 else 1 + 1", "c if c > 4 else 2", 5), ("max(c, 1 + 2)", "max(c, 3)", 5),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown", "value"), OPEN)
def test_what_is_known_is_computed_and_what_changes_nothing_goes(text, shown, value):
    bound = bind(parse(text), {})
    assert str(bound) == shown
    assert evaluate(bound, {"c": 5}) == value == evaluate(parse(text), {"c": 5})


# -------------------------------------------------------------------------------------- any tree

NAMES = ("a", "b", "n", "m")
BINARY = ("+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=")


def _tree(kind: str, *args: Expr) -> Expr:
    return Expr(kind, 0, tuple(args))


def _trees(leaves: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    def grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        calls = [
            st.builds(lambda f, args: _tree(f, *args), st.just(f), st.lists(inner, min_size=low,
                                                                           max_size=min(high, 3)))
            for f, (low, high) in FUNCTIONS.items()
        ]  # fmt: skip
        return st.one_of(
            st.builds(_tree, st.sampled_from(BINARY), inner, inner),
            st.builds(_tree, st.just("negative"), inner),
            st.builds(_tree, st.just("if"), inner, inner, inner),
            *calls,
        )

    return st.recursive(leaves, grow, max_leaves=8)


NUMBERS = st.one_of(
    st.integers(0, 70), st.sampled_from([0.5, 1.0, 2.0, 0.25, 3.75, math.pi]), st.booleans()
).map(constant)
TREES = _trees(st.one_of(NUMBERS, st.sampled_from(NAMES).map(lambda n: Expr("name", n))))
SIZES = st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(1, 300)))
MANY = settings(max_examples=400, deadline=None, derandomize=True)


class NoValueError(Exception):
    pass


def independent(expr: Expr, known: dict[str, int]):
    """Evaluate by another route: recursion over exact rules, without `bind` or `operator`."""
    if expr.kind == "constant":
        return expr.value
    if expr.kind == "name":
        return known[expr.value]
    if expr.kind == "if":
        return independent(expr.args[1 if independent(expr.args[0], known) else 2], known)
    x, *rest = (independent(arg, known) for arg in expr.args)
    y = rest[0] if rest else None
    if expr.kind == "**" and abs(y) > 64:
        raise NoValueError
    rules = {
        "+": lambda: x + y,
        "-": lambda: x - y,
        "*": lambda: x * y,
        "/": lambda: x / y,
        "//": lambda: math.floor(Fraction(x) / Fraction(y)),
        "%": lambda: Fraction(x) - Fraction(y) * math.floor(Fraction(x) / Fraction(y)),
        "**": lambda: pow(x, y),
        "==": lambda: not (x < y or x > y),
        "!=": lambda: x < y or x > y,
        "<": lambda: y > x,
        "<=": lambda: y >= x,
        ">": lambda: y < x,
        ">=": lambda: y <= x,
        "negative": lambda: 0 - x,
        "min": lambda: sorted([x, *rest])[0],
        "max": lambda: sorted([x, *rest])[-1],
        "abs": lambda: x if x >= 0 else 0 - x,
        "ceil": lambda: -math.floor(-Fraction(x)),
        "floor": lambda: math.floor(Fraction(x)),
        "round": lambda: round(Fraction(x)),
        "log": lambda: math.log(x),
        "log2": lambda: math.log2(x),
        "exp": lambda: math.e**x if abs(x) < 700 else math.exp(x),
        "sqrt": lambda: math.sqrt(x),
        "sin": lambda: complex(0, math.remainder(x, math.tau)).__rpow__(math.e).imag,
        "cos": lambda: complex(0, math.remainder(x, math.tau)).__rpow__(math.e).real,
        "odd": lambda: math.trunc(x) + (math.trunc(x) % 2 == 0),
    }
    try:
        found = rules[expr.kind]()
    except (ZeroDivisionError, ValueError, OverflowError):
        raise NoValueError from None
    if isinstance(found, complex) or not abs(found) <= MAX_MAGNITUDE:
        raise NoValueError
    return found


def close(one, other) -> bool:
    """Whether two values are one, but for the rounding of floats."""
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return one == other


def whole(expr: Expr, known: dict[str, int]) -> bool:
    """Whether every part is of numbers that floats hold exactly, so that two routes agree."""
    try:
        return all(
            part.kind in ("name", "constant") or float(independent(part, known) * 64).is_integer()
            for part in expr.walk()
        )
    except NoValueError:
        return False


@MANY
@given(TREES, SIZES)
def test_the_value_is_that_of_another_evaluator(tree, sizes):
    try:
        expected = independent(tree, sizes)
    except NoValueError:
        assert evaluate(tree, sizes) is None
        return
    assume(whole(tree, sizes))
    assert close(evaluate(tree, sizes), expected)


@pytest.mark.long
@MANY
@given(TREES)
def test_what_is_shown_reads_back(tree):
    text = str(tree)
    assume(len(text) <= 300)
    again = parse(text)
    assert again == tree
    assert str(again) == text


@pytest.mark.long
@MANY
@given(TREES, SIZES, st.sets(st.sampled_from(NAMES)))
def test_two_steps_bind_as_one(tree, sizes, first):
    assume(whole(tree, sizes))
    one = evaluate(tree, sizes)
    begun = bind(tree, {n: v for n, v in sizes.items() if n in first})
    assert begun.names <= set(NAMES) - first
    assert close(evaluate(begun, sizes), one)
    assert close(evaluate(parse(str(begun)), sizes), one)


@pytest.mark.long
@MANY
@given(TREES, SIZES)
def test_binding_names_to_expressions_is_substitution(tree, sizes):
    assume(whole(tree, sizes))
    aliases = {"a": parse("x * 1 + 0"), "b": parse("y")}
    bound = bind(tree, aliases)
    moved = {"x": sizes["a"], "y": sizes["b"], "n": sizes["n"], "m": sizes["m"]}
    assert close(evaluate(bound, moved), evaluate(tree, sizes))


# ------------------------------------------------------------------------------------ differences

DIFFERENT = [
    ("c", "c + 1"), ("c", "c // 2"), ("c", "2 * c"), ("c", "h"), ("c * h", "c * w"), ("c", "64"),
    ("c // 16 * 16", "c"), ("c // 16", "c // 8"), ("c % 2", "c % 3"), ("c // 3", "ceil(c / 3)"),
    ("max(c // 16, 4)", "c // 16"), ("max(c // 16, 32)", "c // 16"), ("min(c, 4096)", "c"),
    ("odd(c)", "c"), ("c ** 2", "c * 2"), ("8", "16"), ("h * w", "h * h"), ("log2(c)", "c"),
    ("c / 2 // 1", "c / 2"), ("c if c > 20 else 20", "c"), ("n", "c"), ("c - 63", "1"),
]  # fmt: skip
SAME = [
    ("c", "c"), ("c + h", "h + c"), ("2 * c", "c + c"), ("c // 2 * 2 + c % 2", "c"),
    ("(c + 1) // 1", "c + 1"), ("max(c, 1)", "c"), ("c * h // h", "c"), ("8", "4 + 4"),
    ("c ** 2", "c * c"), ("4.0", "4"), ("ceil(c / 16)", "(c + 15) // 16"),
    ("c // 4 // 4", "c // 16"),
    ("max(c // 16, 1)", "c // 16"),  # where c // 16 is 0, it is no size
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_a_difference_is_shown_by_a_witness(left, right):
    one, other = bind(parse(left), {}), bind(parse(right), {})
    witness = difference(one, other)
    assert witness is not None
    assert evaluate(one, witness) != evaluate(other, witness)
    assert difference(other, one) is not None
    assert set(witness) == one.names | other.names


#: two sizes, and the first of the sizes tried at which they differ, which a message shows
WITNESSES = [
    ("c", "c + 1", {"c": 64}), ("min(c, 64)", "c", {"c": 96}),
    ("c // 32 * 32", "c", {"c": 130}), ("c % 2 + 1", "1", {"c": 257}),
    ("min(c, 300)", "c", {"c": 1024}), ("min(c, 1024)", "c", {"c": 2048}),
    ("max(c, 33)", "max(c, 34)", {"c": 32}), ("max(c, 20)", "c", {"c": 11}),
    ("min(c, 4096)", "c", {"c": 8192}), ("h * w", "h * h", {"h": 64, "w": 81}),
    ("a * b * min(d, 64)", "a * b * d", {"a": 64, "b": 81, "d": 98}),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right", "witness"), WITNESSES)
def test_the_sizes_at_which_two_differ(left, right, witness):
    assert difference(bind(parse(left), {}), bind(parse(right), {})) == witness


def test_where_an_expression_is_long():
    tree = parse("c")
    for _ in range(249):
        tree = Expr("+", 0, (tree, constant(1)))
    assert not tree.is_long  # 499 parts
    even = Expr("negative", 0, (tree,))
    assert not even.is_long  # 500
    assert Expr("+", 0, (tree, constant(1))).is_long  # 501
    assert Expr("negative", 0, (even,)).is_long


@pytest.mark.parametrize(("left", "right"), SAME)
def test_equal_sizes_have_no_witness(left, right):
    assert difference(bind(parse(left), {}), bind(parse(right), {})) is None


@MANY
@given(TREES)
def test_a_size_does_not_differ_from_itself(tree):
    try:
        bound = bind(tree, {})
    except ExpressionError:
        return
    assert difference(tree, bound) is None

"""A table of numbers as a method: T[i, j] = f(i, j), on broadcast float64 grids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from composer.exporting.python.code import (
    ATOM,
    COMPARISON,
    PRODUCT,
    SIGN,
    SUM,
    Code,
    binary,
)
from composer.exporting.python.formula import power
from composer.exporting.python.written import Number

_LEVELS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT}
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_OF_TENSORS = frozenset(
    {"abs", "ceil", "floor", "round", "log", "log2", "exp", "sqrt", "sin", "cos"}
)

_LETTERS = "ijkmpqrs"


def table_lines(
    tree: Any,
    names: Sequence[str],
    lengths: Sequence[Code],
    sizes: Mapping[str, Code],
    of: Callable[[Number], Code],
    x: str = "x",
) -> Iterator[str]:
    """Yield the lines of a method that returns a table in the dtype of x.

    Args:
        tree: the expression: a number, a name, or a tuple of an operation and its operands.
        names: those of the indices, one for each axis.
        lengths: the sizes of the axes.
        sizes: of the input, which the expression also names.
        of: the code for a number of the tree.
        x: the value with the dtype and the device.
    """
    letters = dict(zip(names, _LETTERS, strict=False))
    for place, (name, length) in enumerate(zip(names, lengths, strict=True)):
        after = len(names) - place - 1
        index = f"[:{', None' * after}]" if after else ""
        grid = f"torch.arange({length}, dtype=torch.float64, device={x}.device){index}"
        yield f"{letters[name]} = {grid}"
    tree = tree[1] if _is_truth(tree, of) else tree
    writer = _Writer({**{n: Code(c) for n, c in letters.items()}, **sizes}, set(letters), of)
    value, is_tensor = writer.written(tree)
    shape = ", ".join(map(str, lengths))
    if not is_tensor:
        yield f"return torch.full(({shape},), {value}, dtype={x}.dtype, device={x}.device)"
    elif _all_indices(tree) >= set(names):
        yield f"return {value.at(ATOM)}.to({x}.dtype)"
    else:
        yield f"return {value.at(ATOM)}.to({x}.dtype).expand({shape})"


def numbers_code(tree: Any, sizes: Mapping[str, Code], of: Callable[[Number], Code]) -> Code:
    """Return an expression of numbers, over the sizes of the input."""
    return _Writer(sizes, set(), of).written(tree)[0]


def _is_truth(tree: Any, of: Callable[[Number], Code]) -> bool:
    """Return whether an expression is 1 where a comparison is true, and 0 elsewhere."""
    if not isinstance(tree, tuple) or tree[0] != "if" or not _is_comparison(tree[1]):
        return False
    return [str(of(part)) if isinstance(part, Number) else "" for part in tree[2:]] == ["1", "0"]


def _is_comparison(tree: Any) -> bool:
    return isinstance(tree, tuple) and tree[0] in _COMPARISONS


def _all_indices(tree: Any) -> set[str]:
    if isinstance(tree, tuple):
        return set().union(*map(_all_indices, tree[1:]))
    return {tree} if isinstance(tree, str) else set()


class _Writer:
    def __init__(
        self,
        known: Mapping[str, Code],
        tensors: set[str],
        of: Callable[[Number], Code],
    ) -> None:
        self.known, self.tensors, self.of = known, tensors, of

    def written(self, tree: Any) -> tuple[Code, bool]:
        """Return an expression, and whether it is a tensor."""
        if isinstance(tree, Number):
            return self.of(tree), False
        if isinstance(tree, str):
            return self.known[tree], tree in self.tensors
        operation, *parts = tree
        args = [self.written(part) for part in parts]
        codes, is_tensor = [code for code, _ in args], any(tensor for _, tensor in args)
        if operation == "if":
            return self._choice(args), is_tensor
        if operation in _COMPARISONS:
            text = f"{codes[0].at(SUM)} {operation} {codes[1].at(SUM)}"
            return Code(text, COMPARISON), is_tensor
        codes = [self._number(part, code) for part, code in zip(parts, codes, strict=True)]
        if operation in _LEVELS:
            return binary(codes[0], operation, codes[1], _LEVELS[operation]), is_tensor
        if operation == "**":
            return power(codes[0], codes[1]), is_tensor
        if operation == "negative":
            return Code(f"-{codes[0].at(SIGN)}", SIGN), is_tensor
        return self._function(operation, codes, args), is_tensor

    def _number(self, part: Any, code: Code) -> Code:
        """Return an operand as a number: a boolean as 1 or 0."""
        return Code(f"({code}).double()") if _is_comparison(part) else code

    def _choice(self, args: Sequence[tuple[Code, bool]]) -> Code:
        (test, is_tensor), (body, _), (orelse, _) = args
        if not is_tensor:
            return Code(f"{body.at(2)} if {test.at(2)} else {orelse.at(1)}", 1)
        chosen = f"torch.where({test}, {_as_float(body)}, {_as_float(orelse)})"
        of_numbers = not any(tensor for _, tensor in args[1:])  # torch makes these float32
        return Code(f"{chosen}.double()" if of_numbers else chosen)

    def _function(
        self, operation: str, codes: Sequence[Code], args: Sequence[tuple[Code, bool]]
    ) -> Code:
        inside = ", ".join(map(str, codes))
        if not any(tensor for _, tensor in args):
            if operation == "odd":
                return Code(f"(int({inside}) // 2 * 2 + 1)")
            plain = operation in ("abs", "round", "min", "max")
            return Code(f"{operation if plain else f'math.{operation}'}({inside})")
        if operation in ("min", "max"):
            found, first = codes[0], args[0][1]
            for code, (_, tensor) in zip(codes[1:], args[1:], strict=True):
                if first and tensor:
                    found = Code(f"torch.{operation}imum({found}, {code})")
                else:
                    kept, bound = (found, code) if first else (code, found)
                    side = "max" if operation == "min" else "min"
                    found = Code(f"{kept.at(ATOM)}.clamp({side}={bound})")
                first = first or tensor
            return found
        if operation in _OF_TENSORS:
            return Code(f"{codes[0].at(ATOM)}.{operation}()")
        return Code(f"({codes[0].at(ATOM)}.trunc() // 2 * 2 + 1)")  # odd


def _as_float(code: Code) -> str:
    return f"{code}.0" if code.text.lstrip("-").isdigit() else code.text

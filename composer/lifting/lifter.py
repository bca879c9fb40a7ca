"""Adds a node for each recorded call, or reports why it can't."""

from __future__ import annotations

from typing import Any

from composer.errors import Diagnostic
from composer.lifting.draft import Draft
from composer.lifting.formulas import Formulas
from composer.lifting.given import Given
from composer.lifting.joined import Joined, Vec
from composer.lifting.recorded import Call, Leaf, Ref
from composer.lifting.rules import RULES
from composer.lifting.values import Missing, Numbers, Source, Unknown, Value

_NO_COUNTERPART = "no-counterpart"
#: Layer functions, whose value is named after the layer in the module.
_OF_LAYERS = frozenset({
    "linear", "conv1d", "conv2d", "batch_norm", "layer_norm", "group_norm", "instance_norm",
    "rms_norm", "sigmoid", "softmax", "relu", "multi_head_attention_forward",
})  # fmt: skip
#: Names for values that do not come from a layer, by their function.
_WORDS = {
    "mul": "product", "add": "sum", "sub": "difference", "div": "quotient", "cat": "joined",
    "mean": "mean", "getitem": "part", "matmul": "product", "bmm": "product",
    "adaptive_avg_pool2d": "mean", "adaptive_max_pool2d": "most", "amax": "most", "max": "most",
    "sigmoid": "gate", "softmax": "weights",
    "scaled_dot_product_attention": "attend", "einsum": "product",
}  # fmt: skip


class Lifter:
    """Turns the runs of a module into a draft of a spec."""

    def __init__(self, runs: Joined, axes: tuple[str, ...], formulas: Formulas) -> None:
        self.runs, self.axes = runs, axes
        self.draft = Draft(formulas, axes)
        self.values: dict[int, Value] = {}
        self.problems: list[Diagnostic] = []

    def output(self) -> Value | None:
        """Lift all calls; return the value of the output, or None if something is missing."""
        for call in self.runs.calls:
            self._write(call)
        if self.problems:
            return None
        found = self._value(self.runs.output)
        if found.unknown:
            return None
        try:
            return self._finished(found)
        except Missing as missing:
            self.problems.append(_problem(self.runs.calls[-1], missing))
            return None

    def _finished(self, value: Value) -> Value:
        """Return the output with a single axis of its node at each position."""
        self.draft.hint = "out"
        value = self.draft.written(value)
        for dim in range(len(value.dims)):
            if value.dims[dim]:
                value, _ = self.draft.single(value, dim)
        return self.draft.rename(value, self._as_the_input(value))

    def _as_the_input(self, value: Value) -> dict[str, str]:
        """Return the input's names at the same positions, as far as they are free."""
        if len(value.dims) != len(self.axes):
            return {}
        pairs = zip(value.dims, self.axes, strict=True)
        names = {dim[0]: axis for dim, axis in pairs if dim and dim[0] != axis}
        return {old: new for old, new in names.items() if new not in value.axes}

    def _write(self, call: Call) -> None:
        refs = list(_refs(call.result))
        try:
            made = self._made(call)
        except Missing as missing:
            self.problems.append(_problem(call, missing))
            made = None
        except Unknown:
            made = None
        if made is None:
            made = tuple(self._unknown(ref.index) for ref in refs)
        values = made if isinstance(made, tuple) else (made,)
        for ref, value in zip(refs, values, strict=False):
            self.values[ref.index] = value

    def _made(self, call: Call) -> Any:
        args, kwargs = self._given(call.args), self._given(call.kwargs)
        rule = RULES.get(call.op)
        if rule is None:
            raise Missing("")
        shapes = tuple(self.runs.shape(ref.index) for ref in _refs(call.result))
        given = Given(call, args, kwargs, shapes, self.runs.runs, lambda: (*self.values.values(),))
        self.draft.hint = _hint(call)
        try:
            return rule(self.draft, given)
        except (TypeError, ValueError, LookupError, AttributeError) as failure:
            said = str(failure).strip().splitlines() or [""]
            raise Missing(f"it is called in an unknown form ({said[0]})") from None

    def _given(self, tree: Any) -> Any:
        if isinstance(tree, Ref):
            return self._value(tree)
        if isinstance(tree, Vec):
            return tree
        if isinstance(tree, tuple):
            return tuple(map(self._given, tree))
        if isinstance(tree, dict):
            return {key: self._given(one) for key, one in tree.items()}
        if isinstance(tree, slice):
            parts = (tree.start, tree.stop, tree.step)
            if any(isinstance(part, Ref) for part in parts):
                raise Missing("a bound of the slice is a tensor")
        return tree

    def _value(self, ref: Ref) -> Value:
        if ref.index not in self.values:
            self.values[ref.index] = self._leaf(ref.index)
        return self.values[ref.index]

    def _leaf(self, index: int) -> Value:
        leaves = self.runs.leaves[index]
        kind, shape = leaves[0].kind, self.runs.shape(index)
        if kind == "unknown":
            raise Missing("it takes a tensor from outside the recorded calls")
        if kind == "input":
            dims = tuple((axis,) for axis in self.axes)
            return Value("input", dims, dict(zip(self.axes, shape, strict=True)))
        return self._source(leaves, shape)

    def _source(self, leaves: tuple[Leaf, ...], shape: tuple[Numbers, ...]) -> Value:
        """Return a parameter or a constant, with provisional names for its axes."""
        ones = (1,) * self.runs.runs
        taken: set[str] = set()
        dims: list[tuple[str, ...]] = []
        sizes: dict[str, Numbers] = {}
        for size in shape:
            if size == ones:
                dims.append(())
                continue
            usual = [a for a in self.axes if self.draft.formulas.sizes.get(a) == size]
            base = usual[0] if usual and usual[0] != "b" else "p"
            axis = base if base not in taken else self.draft.axis(base, taken)
            taken.add(axis)
            dims.append((axis,))
            sizes[axis] = size
        of_kind = {leaves[0].kind: leaves[0].name}
        learned, buffer = of_kind.get("parameter", ""), of_kind.get("buffer", "")
        tables = tuple(leaf.tensor.detach() for leaf in leaves)
        source = Source(tuple(sizes), learned, tables, buffer)
        return Value("", tuple(dims), sizes, source=source)

    def _unknown(self, index: int) -> Value:
        shape = self.runs.shape(index)
        axes = tuple((f"u{at}",) for at in range(len(shape)))
        sizes = {axis: size for (axis,), size in zip(axes, shape, strict=True)}
        return Value("", axes, sizes, unknown=True)


def _problem(call: Call, missing: Missing) -> Diagnostic:
    where = f" in {call.path} ({call.kind})" if call.path else f" in {call.kind}"
    reason = f": {missing.message}" if missing.message else ""
    help_ = missing.way_out or "'composer list ops' lists all ops"
    message = f"{call.op!r}{where} has no counterpart{reason}"
    return Diagnostic(_NO_COUNTERPART, message, help_, call.where)


def _refs(tree: Any) -> list[Ref]:
    if isinstance(tree, Ref):
        return [tree]
    if isinstance(tree, (tuple, list)):
        return [ref for one in tree for ref in _refs(one)]
    return []


def _hint(call: Call) -> str:
    """Return a name for the result of a call: that of the layer, or of the function."""
    parts = [part for part in call.path.split(".") if part]
    if call.op in _OF_LAYERS and parts:
        return "_".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])
    return _WORDS.get(call.op, call.op)

"""How a stand-in is called, and what it returns, if more than one tensor.

A stand-in takes the further arguments of the layer, at the values they had; see
`composer.surgery.same_call`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx

from composer.exporting.python.code import literal
from composer.exporting.python.layers import no_plain_form
from composer.surgery.same_call import must_be, must_be_the_input, must_have_no_tensors

_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Interface:
    """The further arguments of a stand-in, the statements that refuse other values, and more.

    `parameters` are as in the signature. `ones` are the axes of size 1 that are appended to the
    value, as a pool leaves them. The value is the first of `values`, if that is not 1.
    """

    parameters: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    ones: int = 0
    values: int = 1

    def returned(self, value: str) -> str:
        """Return the expression to return for a value."""
        axes = f"[:, :{', None' * self.ones}]" if self.ones else ""
        simple = value.replace("_", "").isalnum()
        value = f"{value if simple else f'({value})'}{axes}" if axes else value
        return f"{value}, {', '.join(['None'] * (self.values - 1))}" if self.values > 1 else value


#: One tensor in, and one out.
PLAIN = Interface()


def interface_of(module: fx.GraphModule, inputs: int) -> Interface:
    """Return how a module inserted by an edit is called.

    Args:
        module: the inserted module.
        inputs: the number of its own inputs.

    Raises:
        ComposerError: code ``no-plain-form``: an argument had a value that can't be written.
    """
    given = [node for node in module.graph.nodes if node.op == "placeholder"]
    parameters, checks = [], []
    for node in given[inputs:]:
        name = str(node.target)
        if name.startswith("**"):
            parameters.append(f"{name}: object")
            continue
        default = node.args[0] if node.args else None
        if not isinstance(default, _PLAIN):
            raise no_plain_form(f"a stand-in that is called with {name}={default!r}")
        parameters.append(f"{name}: object = {_shown(default)}")
    for node in module.graph.nodes:
        if (written := _CHECKS.get(node.target)) is not None:
            checks += written(node)
    (value,) = module.graph.output_node().args
    values, first = (len(value), value[0]) if isinstance(value, tuple) else (1, value)
    return Interface(tuple(parameters), tuple(checks), _ones(first), values)


def _must_be(node: fx.Node) -> list[str]:
    given, value, name = node.args
    if not isinstance(value, _PLAIN):
        raise no_plain_form(f"a stand-in that is called with {name}={value!r}")
    sign = "is not" if value is None or isinstance(value, bool) else "!="
    return _refused(f"{given} {sign} {_shown(value)}", f"{name}={_shown(value)}")


def _must_be_the_input(node: fx.Node) -> list[str]:
    given, _, name = node.args
    return _refused(f"{given} is not x", f"{name} being its input")


def _must_have_no_tensors(node: fx.Node) -> list[str]:
    (given,) = node.args
    name = str(getattr(given, "target", given)).lstrip("*")
    return _refused(f"any(isinstance(value, Tensor) for value in {name}.values())", "no mask")


_CHECKS: Mapping[Any, Callable[[fx.Node], list[str]]] = {
    must_be: _must_be, must_be_the_input: _must_be_the_input,
    must_have_no_tensors: _must_have_no_tensors,
}  # fmt: skip


def _refused(test: str, what: str) -> list[str]:
    quoted = what.replace("\\", "\\\\").replace('"', "'")
    return [f"if {test}:", f'    raise ValueError("this was made for {quoted}")']


def _ones(value: Any) -> int:
    """Return how many axes of size 1 a pool leaves; see `composer.surgery.same_call.called_as`."""
    if not isinstance(value, fx.Node) or value.target != "unflatten" or "composer" in value.meta:
        return 0
    return len(value.args[2]) - 1  # type: ignore[arg-type]


def _shown(value: object) -> str:
    return literal(value) if isinstance(value, str) else repr(value)

"""One edit of one module: real code on a class derived from the module's own.

An edit by hooks would be invisible, and lost without a word when a later pass fuses the module
it hangs on. So the owner gets the inserted module as a child, and a forward that calls it:

- at the end of a residual branch, the owner's traced forward with the call written in;
- at the input or behind a child, likewise;
- at the output, a forward that calls the owner's own and then the child;
- where the owner runs its children in order, as `nn.Sequential` does, the child is enough; where
  it runs them in another way, as a dense block does, the call is written into its traced forward.

What takes a layer's place needs no other forward, but where it absorbs a function, or shares a
value with others; see `composer.surgery.replace`.

Owners of equal structure share one derived class, so `torch.compile` compiles it once.
"""

from __future__ import annotations

import inspect
import itertools
import linecache
import operator
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from composer.analysis.anatomy import Part
from composer.analysis.edited import MARK, ORIGINAL, class_before_edits
from composer.analysis.forward import (
    Branch,
    Forward,
    Untraceable,
    as_method,
    blank,
    code,
    returned,
    trace,
)
from composer.errors import error
from composer.kernels.residual_add import residual_add
from composer.kernels.weighed_sum import weighed, weighed_in_place, weighed_sum
from composer.measure.cost import FakeRun
from composer.surgery.composition import Position
from composer.surgery.place import Place

#: On a class whose forward first runs children: the forward without them, and their names.
FIRST = "composer_first"


@dataclass
class Editor:
    """Edits the owners of one insertion, with one derived class for each structure."""

    _derived: dict[tuple[Any, ...], type[nn.Module]] = field(default_factory=dict)

    def put(self, owner: nn.Module, place: Place, name: str, module: fx.GraphModule) -> None:
        """Put `module` into `owner` under `name`, so that it runs at `place`.

        Raises:
            ComposerError: the owner would run it in another way than it should.
        """
        module.meta[MARK] = True
        part, index = place.part, place.part.call.index
        if place.forward is not None and place.ends is not None:
            owner.add_module(name, module)
            owner.__class__ = self._traced_class(owner, place.forward, place.ends, name, module)
            return
        before = _traced(owner, part)
        owner.add_module(name, module)
        if type(owner).forward is nn.Sequential.forward and index is None:
            return
        after = _traced(owner, part)
        if before is None or after is None:
            if _runs(owner, part, module):
                raise error(
                    "not-a-site",
                    f"{part.path} runs all its children, in a forward that can't be traced",
                    "leave it out with --select, --stages or --blocks",
                )
            owner.__class__ = self._wrapped_class(type(owner), name, place.position, index)
        elif code(before.evaluation) == code(after.evaluation):
            owner.__class__ = self._wrapped_class(type(owner), name, place.position, index)
        elif index is not None and returned(before.evaluation, index) is None:
            graphs = (before.training, before.evaluation)
            owner.__class__ = self.class_with(owner, *(_on_item(g, index, name) for g in graphs))
        elif index is not None or not _gives(after.evaluation, name):
            ends = _output(before.training, index), _output(before.evaluation, index)
            owner.__class__ = self._traced_class(owner, before, ends, name, module)

    def _traced_class(
        self,
        owner: nn.Module,
        forward: Forward,
        ends: tuple[Branch, Branch],
        name: str,
        module: fx.GraphModule,
    ) -> type[nn.Module]:
        free = _may_be_overwritten(module)
        training = _with_call(forward.training, ends[0], name, free)
        evaluation = _with_call(forward.evaluation, ends[1], name, free)
        return self.class_with(owner, training, evaluation)

    def class_with(
        self, owner: nn.Module, training: fx.Graph, evaluation: fx.Graph
    ) -> type[nn.Module]:
        """Return a class derived from the owner's original one, whose forward is these graphs."""
        original = class_before_edits(owner)
        key = (original, code(training), code(evaluation))
        if key not in self._derived:
            functions = as_method(owner, training), as_method(owner, evaluation)
            same = key[1] == key[2]
            self._derived[key] = _derive(
                original, {"forward": functions[1]} if same else _two_modes(*functions)
            )
        return self._derived[key]

    def _wrapped_class(
        self, current: type[nn.Module], name: str, position: Position, index: int | None
    ) -> type[nn.Module]:
        key = (current, name, position, index)
        if key not in self._derived:
            if position == "input":
                inner, names = getattr(current, FIRST, (current.forward, ()))
                first = inner, (*names, name)
                body = {"forward": _first(*first), FIRST: first}
            else:
                body = {"forward": _then(current, name, index)}
            self._derived[key] = _derive(current, body)
        return self._derived[key]


def _with_call(graph: fx.Graph, end: Branch, name: str, free: bool) -> fx.Graph:
    """Return a copy of the graph in which the branch's end passes through a child.

    A residual add in place becomes one that is not, with equal numbers, for it would overwrite
    what the child may have kept for its gradient; where what the child gives is free, the sum is
    written there.
    """
    copied = fx.Graph()
    places: dict[fx.Node, fx.Node] = {}
    output = copied.graph_copy(graph, places)
    result = copied.output(output)
    before = places[end.end]
    arguments = list(copied.find_nodes(op="placeholder"))
    with copied.inserting_after(arguments[-1] if before in arguments else before):
        call = copied.call_module(name, (before,))
    for reader in end.readers:
        places.get(reader, result).replace_input_with(before, call)
    if end.add is not None:
        add = places[end.add]
        add.target = _OUT_OF_PLACE.get(add.target, add.target)
        others = [arg for arg in add.args if arg is not call]
        plain = add.target in (operator.add, torch.add) and len(add.args) == 2 and not add.kwargs
        if free and plain and len(others) == 1 and list(call.users) == [add]:
            add.target, add.args = residual_add, (call, others[0])
    copied.lint()
    return copied


def _on_item(graph: fx.Graph, index: int, name: str) -> fx.Graph:
    """Return a copy of the graph in which one value of the list it gives passes through a child."""
    copied = fx.Graph()
    given = copied.graph_copy(graph, {})
    item = copied.call_function(operator.getitem, (given, index))
    made = copied.call_module(name, (item,))
    copied.output(copied.call_function(with_item, (given, index, made)))
    copied.lint()
    return copied


def with_item(given: Any, index: int, made: Any) -> Any:
    """Return a tuple or a list with another value at one place."""
    values = [made if place == index else value for place, value in enumerate(given)]
    kind = type(given)
    return kind(*values) if hasattr(given, "_fields") else kind(values)


_OUT_OF_PLACE: dict[Any, Any] = {operator.iadd: operator.add, "add_": "add"}
#: Products and sums are new tensors, and no gradient reads them.
_NEW = (weighed, weighed_in_place, weighed_sum, operator.mul, operator.add)


def _may_be_overwritten(module: fx.GraphModule) -> bool:
    """Return whether what a module gives is a new tensor that no gradient of its own reads."""
    (output,) = module.graph.find_nodes(op="output")
    given = output.args[0]
    return isinstance(given, fx.Node) and given.op == "call_function" and given.target in _NEW


def _two_modes(
    training: Callable[..., Any], evaluation: Callable[..., Any]
) -> dict[str, Callable[..., Any]]:
    forward = _written(
        evaluation,
        "if self.training:",
        "    return self.forward_in_training({given})",
        "return self.forward_in_evaluation({given})",
    )
    return {
        "forward": forward,
        "forward_in_training": training,
        "forward_in_evaluation": evaluation,
    }


def _then(current: type[nn.Module], name: str, index: int | None) -> Callable[..., Any]:
    given = "composer_before(self, {given})"
    if index is None:
        return _written(current.forward, f"return self.{name}({given})")
    return _written(current.forward, f"return composer_on(self.{name}, {given}, {index})")


def _first(before: Callable[..., Any], names: Sequence[str]) -> Callable[..., Any]:
    taken = _with_self(before)[1]
    if taken.kind is taken.VAR_POSITIONAL:
        change = f"{taken.name} = (self.%s({taken.name}[0]), *{taken.name}[1:])"
    else:
        change = f"{taken.name} = self.%s({taken.name})"
    changes = [change % name for name in names]
    return _written(before, *changes, "return composer_before(self, {given})")


def _on(module: nn.Module, given: Any, index: int) -> Any:
    """Return a tuple or a list with what the module makes of one value in it."""
    return with_item(given, index, module(given[index]))


class _Word(str):
    """A default in a signature that is to be read as the name of a value."""

    __slots__ = ()
    __repr__ = str.__str__


_numbers = itertools.count(1)


def _written(before: Callable[..., Any], *lines: str) -> Callable[..., Any]:
    """Write a method that takes what `before` takes, by name, so that it can be traced in turn.

    The lines may call `composer_before` and `composer_on`, and say ``{given}`` where its arguments
    go. As fx does, the source is kept where debuggers and torch.compile look for it.
    """
    values: dict[str, Any] = {"composer_before": before, "composer_on": _on}
    taken, given = [], []
    for nth, parameter in enumerate(_with_self(before)):
        word, kind = parameter.name, parameter.kind
        if parameter.default is not parameter.empty:
            values[f"default_of_{word}"] = parameter.default
            parameter = parameter.replace(default=_Word(f"default_of_{word}"))
        taken.append(parameter.replace(annotation=parameter.empty))
        stars = {kind.VAR_POSITIONAL: "*", kind.VAR_KEYWORD: "**", kind.KEYWORD_ONLY: f"{word}="}
        given += [f"{stars.get(kind, '')}{word}"] if nth else []
    body = "".join(f"    {line.format(given=', '.join(given))}\n" for line in lines)
    source = f"def forward{inspect.Signature(taken)}:\n{body}"
    file = f"<composer {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), values)
    function: Callable[..., Any] = values["forward"]
    return function


def _with_self(method: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a method, the first of them called ``self`` whatever it was."""
    first, *rest = inspect.signature(method).parameters.values()
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    if first.kind is inspect.Parameter.VAR_POSITIONAL:  # forward(*args): the module is in it
        return [me, first, *rest]
    kinds = {p.kind for p in rest}
    positional = inspect.Parameter.POSITIONAL_ONLY in kinds
    return [me if positional else me.replace(kind=me.POSITIONAL_OR_KEYWORD), *rest]


def _derive(base: type[nn.Module], namespace: dict[str, Any]) -> type[nn.Module]:
    body: dict[str, Any] = {
        **namespace,
        ORIGINAL: getattr(base, ORIGINAL, base),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    metaclass: Any = type(base)
    derived: type[nn.Module] = metaclass(base.__name__, (base,), body)
    return derived


def _traced(owner: nn.Module, part: Part) -> Forward | None:
    try:
        return trace(owner, part.call)
    except Untraceable:
        return None


def _runs(owner: nn.Module, part: Part, child: nn.Module) -> bool:
    """Return whether the owner's own forward runs a child, or fails since it has it."""
    seen: list[bool] = []
    handle = child.register_forward_pre_hook(lambda *_: seen.append(True))

    call = part.call
    try:
        run = FakeRun.of(owner)
        run(owner, lambda: blank(call.args), nullcontext(), lambda: blank(call.kwargs))
    except Exception:
        return True
    finally:
        handle.remove()
    return bool(seen)


def _output(graph: fx.Graph, index: int | None) -> Branch:
    output = next(node for node in graph.nodes if node.op == "output")
    value = returned(graph, index)
    assert value is not None
    return Branch(value, (output,), None)


def _gives(graph: fx.Graph, name: str) -> bool:
    """Return whether a traced forward gives back what the child makes."""
    end = returned(graph, None)
    return end is not None and end.op == "call_module" and end.target == name

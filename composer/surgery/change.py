"""How an owner is changed so that a child of it runs at a position: kinds of change, as values.

- `Appended`: an `nn.Sequential` runs its children in order, so the child is enough.
- `Surrounding`: the child runs on the owner's output or input, whatever its forward does.
- `WrittenIn`: the author's forward, with an expression or a statement that calls the child.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import fx, nn

from composer.analysis.edited import MARK, own_methods
from composer.kernels.weighed_sum import weighed, weighed_in_place, weighed_sum
from composer.surgery.edited_class import Around, Edits, Method, edits_of, put_edits
from composer.surgery.source import Splice, text_of

#: Their results are new tensors that no gradient reads.
_NEW = ("mul", "add", "mul_", "add_", "sub", weighed, weighed_in_place, weighed_sum)


@dataclass(frozen=True)
class Appended:
    """The child comes last in an `nn.Sequential`."""


@dataclass(frozen=True)
class Surrounding:
    """The child runs at the owner's input or output; `index` is its value's place in a tuple.

    `loops` are edits of the owner's own loops over its children, which then skip the child.
    """

    end: Literal["input", "output"]
    index: int | None = None
    loops: tuple[tuple[str, tuple[Splice, ...]], ...] = ()


@dataclass(frozen=True)
class WrittenIn:
    """The edited methods by name, each with the text that is added.

    `is_overwritten` says that a reader of the child's value writes into it.
    """

    methods: tuple[tuple[str, tuple[Splice, ...]], ...]
    is_overwritten: bool = False


Change = Appended | Surrounding | WrittenIn


def edits_with(owner: nn.Module, change: Change, child: str, given: str = "") -> Edits:
    """Return the edits of an owner's class with one change more.

    Args:
        owner: in its current state.
        change: found on this owner, or on one of equal class.
        child: the name of what runs there.
        given: what is applied to its output, such as ``.clone()``.
    """
    edits = edits_of(owner)
    match change:
        case Appended():
            return edits
        case Surrounding(end=end, index=index, loops=methods):
            edits = edits.with_around(Around(child, end, index))
        case WrittenIn(methods=methods):
            pass
    own = own_methods(type(owner))
    digests = {method.name: method.own for method in edits.methods}
    for name, splices in methods:
        text = text_of(own[name])
        author = digests.get(name, text.digest)
        edits = edits.with_method(Method(name, text.edited(splices, child, given), author))
    return edits


def put(owner: nn.Module, change: Change, child: str, module: fx.GraphModule) -> None:
    """Put a module into an owner under a name, so that it runs where the change says."""
    module.meta[MARK] = True
    writes = isinstance(change, WrittenIn) and change.is_overwritten
    given = ".clone()" if writes and not _gives_what_is_new(module) else ""
    edits = edits_with(owner, change, child, given)
    owner.add_module(child, module)
    put_edits(owner, edits)


def _gives_what_is_new(module: fx.GraphModule) -> bool:
    """Return whether a module outputs a new tensor that no gradient of its own reads."""
    (output,) = module.graph.find_nodes(op="output")
    given = output.args[0]
    if not isinstance(given, fx.Node):
        return False
    target = given.target
    return target in _NEW or getattr(target, "__name__", None) in _NEW or target is torch.cat

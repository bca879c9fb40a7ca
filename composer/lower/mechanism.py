"""The class of the modules that `build` returns."""

from __future__ import annotations

import copy
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor, fx, nn
from torch.nn.modules import module as everywhere

from composer.lower.graph_data import GraphData

#: The attributes that follow from a module's graph, and are rebuilt with it.
_OF_THE_GRAPH = ("_graph", "_code", "_lineno_map", "_prologue_start")

#: The classes of the modules that are alive, by what makes two of them the same.
_CLASSES: MutableMapping[tuple[Any, ...], type] = WeakValueDictionary()


@dataclass(frozen=True)
class Onlooker:
    """A forward hook that needs the module's output tensor itself, not a copy."""

    hook: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the hook."""
        return self.hook(*args, **kwargs)


class Mechanism(fx.GraphModule):
    """A `torch.fx.GraphModule` that is called, pickled and copied like any other module.

    fx wraps each call, to print the failing line of its generated code; a message that names the
    node of the spec is more useful, and at small sizes the wrapper takes a tenth of the time.

    fx pickles only the generated code, and traces it again on loading; that loses the class, its
    `meta` and the nodes' `meta`. Here the pickle contains the graph itself, as plain values. fx's
    copy loses the forward hooks.

    fx makes a class for each module. Here modules of equal code share one, and with it the code
    object of their forward, so that dynamo compiles blocks of equal structure once. A module whose
    graph is edited and recompiled gets another class; the others keep theirs.

    Its output is a new tensor, so the block may modify it in place, as ``x += shortcut`` does. If
    a hook may keep it, the block gets a copy.
    """

    def recompile(self) -> fx.graph.PythonCode:
        """Regenerate the forward from the graph."""
        kind, name = _kind(type(self)), type(self).__name__
        self.__class__ = _class_of_one_module(kind, name)
        code = super().recompile()
        del type(self).__call__  # so that the call is nn.Module's, which tracers look for
        read = sorted((word, id(value)) for word, value in code.globals.items())
        self.__class__ = _CLASSES.setdefault((kind, name, code.src, *read), type(self))
        return code

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        given = super()._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
        if not (
            self._forward_hooks
            or self._backward_hooks
            or everywhere._global_forward_hooks
            or everywhere._global_backward_hooks
        ):
            return given
        return given.clone() if isinstance(given, Tensor) and self._is_kept() else given

    def _is_kept(self) -> bool:
        """Return whether a hook may keep the output: its own one, or a global one."""
        if self._backward_hooks or everywhere._global_forward_hooks:
            return True
        own = self._forward_hooks.values()
        return bool(everywhere._global_backward_hooks) or any(
            not isinstance(hook, Onlooker) for hook in own
        )

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        kind = _kind(type(self))
        state = _without_graph(self.__getstate__())  # type: ignore[no-untyped-call]
        made_from = (kind, type(self).__name__, GraphData.of(self.graph), self._tracer_cls)
        return _made_again, made_from, state

    def __deepcopy__(self, memo: dict[int, Any]) -> Mechanism:
        twin = _empty(type(self), type(self).__name__)
        memo[id(self)] = twin
        twin.graph = copy.deepcopy(self.graph, memo)
        vars(twin).update(copy.deepcopy(_without_graph(vars(self)), memo))
        for hook in self._deepcopy_hooks:
            hook(twin)
        return twin

    def __copy__(self) -> Mechanism:
        twin = _empty(type(self), type(self).__name__)
        twin.graph = self.graph
        vars(twin).update(_without_graph(vars(self)))
        return twin

    def _replicate_for_data_parallel(self) -> Mechanism:
        replica: Mechanism = nn.Module._replicate_for_data_parallel(self)  # type: ignore[no-untyped-call]
        replica.__class__ = type(self)  # which has the forward
        return replica


def _kind(made: type[Mechanism]) -> type[Mechanism]:
    """Return the class that a class made by fx is of; fx's own holds the forward."""
    return next(one for one in made.__mro__ if not one.__qualname__.endswith("GraphModuleImpl"))


def _class_of_one_module(kind: type[Mechanism], name: str) -> type[Mechanism]:
    made = type(kind.__new__(kind))
    made.__name__ = name
    return made


def _without_graph(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state without what follows from the graph and what `torch.compile` added."""
    left = (*_OF_THE_GRAPH, "_compiled_call_impl")
    return {key: value for key, value in state.items() if key not in left}


def _empty(kind: type[Mechanism], name: str) -> Mechanism:
    """Return a module without graph and weights, with a new class."""
    made = _class_of_one_module(kind, name)
    module: Mechanism = object.__new__(made)
    nn.Module.__init__(module)
    return module


def _made_again(
    kind: type[Mechanism], name: str, data: GraphData, tracer: type[fx.Tracer] | None
) -> Mechanism:
    module = _empty(kind, name)
    module.graph = data.graph(tracer)
    return module

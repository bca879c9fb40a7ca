"""Whether a change works, tried before it is planned.

With an identity child, the owner must take the same steps as before, with the child at its place,
and return the same bits: in training and in evaluation, without gradients, at two sizes, under
several seeds. And whatever may replace the owner's forward, such as ``fuse()``, must also run the
child.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from composer.analysis.copies import copied
from composer.analysis.edited import own_methods, run_as
from composer.analysis.probe import Call, Probe
from composer.analysis.recording import Untraceable, numbered, seeded, told
from composer.analysis.residual import Branch
from composer.analysis.traces import (
    EVALUATION,
    INFERENCE,
    SEEDS,
    TRAINING,
    Forward,
    Mode,
    blank,
    random_inputs,
    recorded,
)
from composer.measure.cost import FakeRun
from composer.surgery.change import Change, WrittenIn, edits_with
from composer.surgery.edited_class import other_forwards, put_edits

#: The name of the identity child used in a trial.
TRIED = "composer_tried"
#: Methods that prepare an owner for inference, in timm and Ultralytics.
FUSES = ("fuse", "reparameterize", "switch_to_deploy")
_ELSEWHERE = "no expression in its own forward is exactly that value"
_PIXELS = (8, 11)  # of the height; the width has one more


class Passing(nn.Module):
    """Identity that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return a copy."""
        self.calls += 1
        return x.clone()


@dataclass
class Trials:
    """Tries changes on the modules of one model; of equal modules only one."""

    run: FakeRun
    probe: Probe
    _tried: dict[tuple[Any, ...], str | None] = field(default_factory=dict)

    def fault(
        self,
        module: nn.Module,
        forward: Forward | None,
        call: Call,
        change: Change,
        spatial: tuple[int, ...] = (),
        ends: tuple[Branch, Branch] | None = None,
    ) -> str | None:
        """Return why a change does not work, or None where it does.

        Args:
            module: the owner.
            forward: its forward, where that could be recorded.
            call: of the owner.
            change: what would be done.
            spatial: the axes of height and width of its input.
            ends: where the child belongs, in training and in evaluation, if inside its forward.
        """
        key = type(module), change, _shape_of(forward), ends and tuple(map(_place, ends))
        if key not in self._tried:
            trial = _Trial(module, forward, call, change, spatial, ends, self)
            self._tried[key] = trial.fault()
        return self._tried[key]


@dataclass(frozen=True)
class _Trial:
    module: nn.Module
    forward: Forward | None
    call: Call
    change: Change
    spatial: tuple[int, ...]
    ends: tuple[Branch, Branch] | None
    trials: Trials

    def fault(self) -> str | None:
        with seeded(0):
            return self._fault()

    def _fault(self) -> str | None:
        if "forward" in vars(self.module):
            return "its forward is set on the instance, not on its class"
        if not isinstance(self.change, WrittenIn):
            return self._steps() or self._fuses()
        own = run_as(type(self.module), "forward")
        if own in dict(self.change.methods) and (others := self._other_forwards()):
            return f"its {others[0]} may replace its forward"
        return self._steps() or self._numbers()

    def _other_forwards(self) -> list[str]:
        """Return what may replace the forward and is not part of it."""
        methods = own_methods(type(self.module)).items()
        forwards = [f for name, f in methods if name.rpartition(".")[2] == "forward"]
        called = {name for forward in forwards for name in forward.__code__.co_names}
        return [name for name in other_forwards(type(self.module)) if name not in called]

    # ------------------------------------------------------------------------------- steps

    def _steps(self) -> str | None:
        """Compare the steps of the forward with the child and without it."""
        if self.forward is None:
            return self._runs_once()
        numbers: dict[str, int] = {}
        graphs = [(EVALUATION, self.forward.evaluation, 0)]
        chances = self.forward.chances or (self.forward.training,)
        graphs += [(TRAINING, graph, seed) for seed, graph in zip(SEEDS, chances, strict=False)]
        try:
            for mode, before, seed in graphs:
                after = self._recorded(mode, seed)
                if why := self._compared(mode, before, after, numbers):
                    return why
            batch = self.forward.batch
            before = recorded(self.module, self.call, INFERENCE, self._run, 0, batch, self._inside)
            return self._compared(INFERENCE, before, self._recorded(INFERENCE, 0), numbers)
        except Untraceable as why_not:
            return _ELSEWHERE if self.ends else f"with an insertion it fails ({why_not})"

    def _runs_once(self) -> str | None:
        """Run a forward that can't be recorded."""
        call = self.call
        with changed(self.module, self.change) as passing:
            try:
                self._run(
                    self.module, lambda: blank(call.args), nullcontext(), lambda: blank(call.kwargs)
                )
            except Exception:
                return "with an insertion its forward fails"
        return None if passing.calls == 1 else f"it runs what is inserted {passing.calls} times"

    @property
    def _run(self) -> FakeRun:
        return self.trials.run.inside(self.call.path)

    @property
    def _inside(self) -> dict[str, list[Call]]:
        return self.trials.probe.inside(self.call.path)

    def _recorded(self, mode: Mode, seed: int) -> fx.Graph:
        with changed(self.module, self.change):
            assert self.forward is not None
            batch = self.forward.batch
            return recorded(self.module, self.call, mode, self._run, seed, batch, self._inside)

    def _compared(
        self, mode: Mode, before: fx.Graph, after: fx.Graph, numbers: dict[str, int]
    ) -> str | None:
        was, now = numbered(before, numbers), numbered(after, numbers, without=TRIED)
        calls = after.find_nodes(op="call_module", target=TRIED)
        steps = sorted(now[node] for node in after.nodes if node not in calls)
        if mode == INFERENCE and not calls:
            return "without gradients its forward takes another path, which bypasses the insertion"
        if len(calls) > 1 and self.ends is None:
            return f"its forward runs what is inserted {len(calls)} times, as all its children"
        if steps != sorted(was.values()):
            return _ELSEWHERE if self.ends else "with an insertion it takes other steps"
        if self.ends is None:
            wanted = [1]
        else:
            number = numbered(self._end_graph(mode), numbers)[self._end(mode).end]
            there = [node for node, its in was.items() if its == number]
            wanted = [1] if there or not self.forward or not self.forward.chances else [0]
            if calls and now[calls[0]] != number:
                return _ELSEWHERE
        if [len(calls)] != wanted:
            return _ELSEWHERE if self.ends else f"in {mode} it does not run what is inserted"
        return self._readers(mode, before, after, calls[0]) if calls and self.ends else None

    def _end(self, mode: Mode) -> Branch:
        assert self.ends is not None
        return self.ends[0] if mode.training else self.ends[1]

    def _end_graph(self, mode: Mode) -> fx.Graph:
        return self._end(mode).end.graph

    def _readers(self, mode: Mode, before: fx.Graph, after: fx.Graph, call: fx.Node) -> str | None:
        """Compare the readers of the child's value with the expected ones."""
        if mode == INFERENCE or before is not self._end_graph(mode):
            return None
        numbers: dict[str, int] = {}
        was, now = numbered(before, numbers), numbered(after, numbers, without=TRIED)
        wanted = sorted(was[reader] for reader in self._end(mode).readers)
        if sorted(now[reader] for reader in call.users) != wanted:
            return _ELSEWHERE
        return None

    # ----------------------------------------------------------------------------- numbers

    def _numbers(self) -> str | None:
        """Compare the bits that come out, on random numbers."""
        if any(p.is_meta for p in self.module.parameters()):
            return None
        tries: list[tuple[int | None, int]] = [(None, 2), (None, 1)]
        if self.spatial:
            tries = [*((most, 2) for most in _PIXELS), *tries]
        why, sizes = None, 0
        for most, batch in tries:
            try:
                own, other = copied(self.module), self._copy()
            except RuntimeError:
                return "it holds something that can't be copied"
            if other is None:
                return "a copy of it has another class"
            failed = self._on(own, other, most, batch)
            if isinstance(failed, _Fails):
                why = why or failed.why
            elif failed is not None:
                return failed
            else:
                sizes += 1
                if sizes == len(_PIXELS) or most is None:
                    return self._fuses()
        return self._fuses() if sizes else why

    def _copy(self) -> nn.Module | None:
        """Return a changed copy of the owner; None where a copy has another class."""
        with changed(self.module, self.change):
            other = copied(self.module)
            return other if type(other) is type(self.module) else None

    def _on(
        self, own: nn.Module, other: nn.Module, most: int | None, batch: int
    ) -> str | _Fails | None:
        passing = getattr(other, TRIED)
        modes = ((EVALUATION, 1), (INFERENCE, 1), (TRAINING, 1), (TRAINING, 2))
        for mode, seed in modes:
            args, kwargs = random_inputs(self.module, self.call, self.spatial, most, batch)
            with torch.set_grad_enabled(mode.gradients):
                try:
                    with seeded(seed):  # without the hooks on it
                        own.train(mode.training)
                        expected = own.forward(*copy.deepcopy(args), **copy.deepcopy(kwargs))
                except Exception as failure:
                    return _Fails(f"its forward fails on random numbers: {failure}")
                count = passing.calls
                try:
                    with seeded(seed):
                        other.train(mode.training)
                        given = other.forward(*copy.deepcopy(args), **copy.deepcopy(kwargs))
                except Exception as failure:
                    return f"in {mode} the edited forward fails: {type(failure).__name__}"
            wanted, got = tree_leaves(expected), tree_leaves(given)
            if len(wanted) != len(got) or not all(map(_same, wanted, got)):
                return f"in {mode} the edited forward computes other numbers"
            calls = passing.calls - count
            chance = mode.training and (self.forward is None or bool(self.forward.chances))
            if calls != 1 and not (chance and calls == 0):
                return f"in {mode} its forward bypasses what is inserted"
        return None

    def _fuses(self) -> str | None:
        return lost_in(self.module, self.call, "", self.change)


def lost_in(holder: nn.Module, call: Call, path: str, change: Change) -> str | None:
    """Return what a module may become that omits a child inside it, or None.

    Args:
        holder: the owner, or a module around it.
        call: of the holder.
        path: of the owner, from there.
        change: of the owner.
    """
    names = [name for name in FUSES if callable(getattr(type(holder), name, None))]
    if not names or any(p.is_meta for p in holder.parameters()):
        return None
    args, kwargs = random_inputs(holder, call, (), None, 1)
    for name in names:
        fused, passing = _copied_with(holder, path, change)
        try:
            made = getattr(fused, name)()
            became = made if isinstance(made, nn.Module) else fused
            with torch.no_grad():
                became(*args, **kwargs)
        except Exception:  # it needs arguments, or does something else
            continue
        if not passing.calls:
            return f"{name}() of {type(holder).__name__} omits what is inserted"
    return None


def passed_in(caller: nn.Module, call: Call, path: str, change: Change) -> bool:
    """Return whether a module without gradients computes what a layer otherwise does.

    Args:
        caller: the module that calls the layer.
        call: of the caller.
        path: of the layer, from there.
        change: of the layer.
    """
    if any(p.is_meta for p in caller.parameters()):
        return False
    args, kwargs = random_inputs(caller, call, (), None, 1)
    whole, passing = _copied_with(caller, path, change)
    try:
        with torch.no_grad():
            whole(*args, **kwargs)
    except Exception:  # such as on random numbers
        return False
    return not passing.calls


def _copied_with(holder: nn.Module, path: str, change: Change) -> tuple[nn.Module, Passing]:
    """Return a copy of a module in evaluation mode, an owner inside it changed."""
    whole = copied(holder).eval()
    owner, passing = whole.get_submodule(path), Passing()
    edits = edits_with(owner, change, TRIED)
    owner.add_module(TRIED, passing)
    put_edits(owner, edits)
    return whole, passing


@dataclass(frozen=True)
class _Fails:
    """The owner itself fails on these inputs."""

    why: str


@contextmanager
def changed(module: nn.Module, change: Change) -> Iterator[Passing]:
    """Change a module for a while, with an identity child."""
    kind, passing = type(module), Passing()
    edits = edits_with(module, change, TRIED)
    module._modules[TRIED] = passing
    try:
        put_edits(module, edits)
        yield passing
    finally:
        module.__class__ = kind
        del module._modules[TRIED]


def _shape_of(forward: Forward | None) -> tuple[str, ...]:
    """Return the steps of a forward without the numbers in them."""
    if forward is None:
        return ()
    lines = []
    for graph in (forward.training, forward.evaluation):
        numbers = {node: number for number, node in enumerate(graph.nodes)}
        lines += [
            f"{node.op} {told(node.target)} {[numbers[n] for n in node.all_input_nodes]}"
            for node in graph.nodes
        ]
    return tuple(lines)


def _place(end: Branch) -> tuple[Any, ...]:
    order = {node: number for number, node in enumerate(end.end.graph.nodes)}
    return order[end.end], tuple(order[reader] for reader in end.readers)


def _same(wanted: Any, got: Any) -> bool:
    if not isinstance(wanted, Tensor) or not isinstance(got, Tensor):
        return bool(wanted == got)
    numbers = (torch.nan_to_num(t.detach().float()) for t in (wanted, got))
    return wanted.shape == got.shape and torch.equal(*numbers)

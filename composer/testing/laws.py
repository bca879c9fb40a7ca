"""The laws of an op's value: its axes, values and cost, in any layout and at any size."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, fx

from composer.certificate.draw import random
from composer.errors import ComposerError
from composer.graph.costs import node_costs
from composer.language.expressions import evaluate, parse
from composer.primitives.pick import Pick
from composer.testing.case import Sizes
from composer.testing.counting import counted
from composer.testing.trial import Trial

_OFF = 1e-9
RIDING = "ride"  # the name of an axis that no op names


def parameters(trial: Trial) -> None:
    """The module has the expected number of parameters, and the op declares `draws_weights`."""
    count = trial.case.count
    have = sum(p.numel() for p in trial.module.parameters())
    if count is not None:
        want = count(trial.sizes)
        assert have == want, f"it has {have:,} parameters, but the case expects {want:,}"
    name = trial.graph.output
    own = any(path == name or path.startswith(f"{name}.") for path in trial.module.state_dict())
    says = "two nodes that read the same would share weights: set draws_weights = True"
    assert trial.op.draws_weights or not own, says


def axes(trial: Trial) -> None:
    """The inferred axes are those of the real value, with known and with open sizes."""
    graph = trial.graph
    values = values_of(trial.module, trial.x, graph.output)
    picks = [str(node.op.x) for node in graph.nodes if isinstance(node.op, Pick)]
    sliced = {name for name in picks if picks.count(name) > 1}
    own = graph.axes_of(graph.output)
    assert own is not None
    if trial.case.out:
        foretold = sizes_out(trial.case.out, trial.sizes)
        assert own.names == tuple(foretold), (
            f"infer returns {own}, but the case expects {[*foretold]}"
        )
        assert tuple(values[graph.output].shape) == tuple(foretold.values())
    for open_or_known in (graph, trial.analysed({})):
        for node, value in values.items():
            inferred = open_or_known.axes_of(node)
            assert inferred is not None
            told = [evaluate(s, trial.sizes) or 0 for _, s in inferred.sizes]
            real = list(value.shape)
            if node in sliced:  # sliced before its axes were reordered
                told, real = sorted(map(int, told)), sorted(real)
            assert told == real, f"{node}: infer returns {inferred} as {told}, but it is {real}"


def values(trial: Trial) -> None:
    """The value equals the reference to 1e-9 in float64."""
    if trial.case.reference is None:
        return
    weights = trial.module.state_dict(keep_vars=True)
    want = trial.case.reference(weights, trial.x)
    _same(trial.y, want.contiguous(), "compared with the reference: ")


def layouts(trial: Trial) -> None:
    """The values are the same in any memory order of the axes, including channels last."""
    names = trial.names
    own = trial.graph.axes_of(trial.graph.output)
    assert own is not None
    orders = [
        order
        for order in itertools.permutations(names)
        if order[0] == names[0] or not trial.case.batch_first
    ]
    last = (names[0], *names[2:], names[1])
    for order in dict.fromkeys([last, *orders[1 :: len(orders) // 4 + 1]]):
        graph = trial.analysed(trial.known, order).sound()
        there = graph.axes_of(graph.output)
        assert there is not None and set(there) == set(own), f"in {order} its axes are {there}"
        moved = trial.x.permute([names.index(axis) for axis in order])
        with torch.no_grad():
            back = trial.like(graph)(moved).permute([there.index(axis) for axis in own])
        _same(back, trial.y, f"in the layout {', '.join(order)}: ")
    if trial.x.dim() == 4:
        with torch.no_grad():
            y = trial.module(trial.x.contiguous(memory_format=torch.channels_last))
        _same(y, trial.y, "in memory_format=channels_last: ")


def other_axes(trial: Trial) -> None:
    """An axis that the op does not name rides along: each slice gives the same as on its own."""
    if not trial.case.rides:
        return
    names = (trial.names[0], RIDING, *trial.names[1:])
    text = trial.case.text(names)
    graph = trial.analysed({**trial.known, RIDING: 2}, text=text).sound()
    own = graph.axes_of(graph.output)
    assert own is not None and RIDING in own, (
        f"the value for [{', '.join(names)}] has the axes {own}"
    )
    module = trial.like(graph).eval()
    alone = trial.like(trial.graph).eval()
    x = random(*(2 if axis == RIDING else trial.sizes[axis] for axis in names))
    with torch.no_grad():
        y = module(x)
        for place in range(2):
            one = y.select(own.index(RIDING), place)
            _same(one, alone(x.select(1, place)), f"slice {place}: ")


def open_sizes(trial: Trial) -> None:
    """One module works on maps of any size, or reports which size it needs when lowered."""
    places = [axis for axis in trial.names[1:] if axis != "c"]
    known = {axis: size for axis, size in trial.known.items() if axis not in places}
    try:
        module = trial.like(trial.analysed(known))
    except ComposerError as failure:
        codes = {problem.code for problem in failure.diagnostics}
        assert codes <= {"open-size"}, f"with {places} open: {failure}"
        return
    for seed in (1, 2):
        more = {axis: size for axis, size in trial.case.drawn(seed).items() if axis in places}
        x = trial.input(more, seed)
        with torch.no_grad():
            same = trial.like(trial.analysed({**trial.known, **more}))(x)
            _same(module(x), same, f"at {more}: ")


def cost(trial: Trial) -> None:
    """`cost` equals torch's count: parameters and multiply-adds of one image."""
    told, found = node_costs(trial.graph), counted(trial.graph, {})
    for node in found:
        says, counts = told.get(node), found[node]
        assert says == counts, f"{node}: cost returns {says}, but torch counts {counts}"


def sizes_out(out: str, sizes: Sizes) -> dict[str, int]:
    """Return the axes that a case expects, each with its size."""
    told = (part.partition("=") for part in out.split())
    return {axis: _size(size, sizes) if size else sizes[axis] for axis, _, size in told}


def _size(size: str, sizes: Sizes) -> int:
    value = evaluate(parse(size), sizes)
    assert value is not None, f"{size} is not known from {', '.join(sizes)}"
    return int(value)


def _same(found: Tensor, want: Tensor, where: str) -> None:
    """Check that two float64 tensors are equal."""
    torch.testing.assert_close(found, want, rtol=_OFF, atol=_OFF, msg=lambda said: f"{where}{said}")


def values_of(module: fx.GraphModule, x: Tensor, last: str) -> dict[str, Tensor]:
    """Return the value of every node of the spec that emits one, and of the `last`."""
    values: dict[str, Tensor] = {}

    class Keeping(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Tensor:
            value: Tensor = super().run_node(n)
            if "composer" in n.meta:
                values[n.meta["composer"]["node"]] = value
            return value

    with torch.no_grad():
        values[last] = Keeping(module).run(x)
    return values

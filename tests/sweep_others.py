"""Models outside timm and torchvision, at blocks and at stages, with all promises.

``python tests/sweep_others.py`` writes the table of `tests/other_coverage.md`;
`test_other_models.py` checks the same rows, one test each. Whether a site is on a residual branch
is judged by numbers alone: with zero in place of what was inserted, and with every matrix and
kernel of the block at zero.
"""

from __future__ import annotations

import copy
import importlib
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from other_models import MODELS, image, made
from sweep import Scale, check_state
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

import composer
from composer.errors import ComposerError
from composer.surgery.insert import apply

planning = importlib.import_module("composer.surgery.plan")
HERE = Path(__file__).parent
TABLE = HERE / "other_coverage.md"
_MAPS = {"min_width": 1}


@dataclass(frozen=True)
class Row:
    """What came of one model at one kind of place.

    `blocks` counts those of each stage that has sites, `missed` what was passed over, by reason.
    """

    model: str
    at: str
    blocks: str = ""
    positions: str = ""
    missed: str = ""
    refused: str = ""

    def __str__(self) -> str:
        cells = (self.model, self.at, self.blocks, self.positions, self.missed,
                 self.refused or "ok")  # fmt: skip
        return f"| {' | '.join(cells)} |"


def rows(name: str) -> list[Row]:
    """Return what comes of one model; its anatomy, which no plan changes, is looked at once.

    Raises:
        AssertionError: a promise is not kept.
    """
    model, inputs = _made(name)
    try:
        known = planning.anatomy(model, _read(model, inputs))
    except ComposerError as refusal:
        return [Row(name, at, refused=_said(refusal)) for at in ("stage", "block")]
    with mock.patch.object(planning, "anatomy", lambda *_: known):
        return [row(name, model, inputs, at) for at in ("stage", "block")]


def _made(name: str) -> tuple[nn.Module, Mapping[str, Any] | None]:
    given = made(name)
    return given if isinstance(given, tuple) else (given, None)


def _read(model: nn.Module, inputs: Mapping[str, Any] | None) -> Any:
    return None if inputs is None else planning.Inputs.examples(model, inputs)


def row(name: str, model: nn.Module, inputs: Mapping[str, Any] | None, at: Any) -> Row:
    """Insert SE, check every promise, and return what came of it.

    Raises:
        AssertionError: a promise is not kept.
    """
    given: dict[str, Any] = {"at": at, "params": _MAPS, "example_inputs": inputs}
    try:
        plan = composer.plan(model, "se", **given, init="identity")
    except ComposerError as refusal:
        return Row(name, at, refused=_said(refusal))
    entry = plan.entry
    runs_on = inputs if inputs is not None else {"": image(*plan.input_shape)}
    composed = apply(copy.deepcopy(model), plan, backbone_of(name))
    check_state(model, composed)
    check_same(model, composed, entry, runs_on)
    if at == "block":
        check_saved(composed, entry, runs_on)
    back = composer.eject(composed)
    check_ejected(model, back)
    check_same(model, back, entry, runs_on)
    plan = composer.plan(model, "se", **given)
    composed = apply(copy.deepcopy(model), plan)
    check_positions(model, composed, plan, entry, runs_on)
    counts = Counter(site.stage for site in plan.sites)
    missed = Counter(miss.reason for miss in plan.near_misses)
    return Row(
        name,
        at,
        "+".join(map(str, counts.values())),
        ", ".join(sorted({_position(site) for site in plan.sites})),
        "; ".join(f"{count}: {reason}" for reason, count in missed.items()),
    )


def _position(site: Any) -> str:
    return f"{site.position} ({site.note})" if site.note else site.position


def run(model: nn.Module, entry: str, inputs: Mapping[str, Any]) -> list[Tensor]:
    """Return every tensor that a model gives in evaluation; what it remembers of that is lost."""
    with torch.no_grad():
        entered = copy.deepcopy(model).eval().get_submodule(entry)
        torch.manual_seed(0)
        given = tree_map_only(Tensor, Tensor.clone, dict(inputs))
        out = entered(given[""]) if "" in given else entered(**given)
    found = _tensors(out)
    assert found
    return found


def check_same(model: nn.Module, other: nn.Module, entry: str, inputs: Mapping[str, Any]) -> None:
    """Assert that two models give the same bits in evaluation."""
    pairs = zip(run(model, entry, inputs), run(other, entry, inputs), strict=True)
    for number, (a, b) in enumerate(pairs):
        assert a.isfinite().any(), "the model itself gives no numbers"
        same = a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
        assert same, f"output {number} differs by {(a - b).abs().max()}"


def check_ejected(model: nn.Module, back: nn.Module) -> None:
    """Assert that a model is what it was, bit for bit."""
    assert type(back) is type(model)
    now, was = back.state_dict(), model.state_dict()
    assert list(now) == list(was)
    for key, tensor in was.items():
        assert torch.equal(now[key], tensor), key


def backbone_of(name: str) -> str:
    """Return the MODEL string of a model."""
    return f"{HERE / 'other_models.py'}:made?name={name}"


def check_saved(composed: nn.Module, entry: str, inputs: Mapping[str, Any]) -> None:
    """Assert that a composition comes back from a folder, its model made by a factory."""
    with tempfile.TemporaryDirectory() as folder:
        where = composer.save(composed, Path(folder) / "saved")
        check_same(composed, composer.load(where, trust_code=True), entry, inputs)


# ------------------------------------------------------------------- what is a residual branch


def check_positions(
    model: nn.Module, composed: nn.Module, plan: Any, entry: str, inputs: Mapping[str, Any]
) -> None:
    """Assert that what was inserted holds a residual branch, or the whole, and nothing else.

    With the inserted module at zero, a residual site lets the block's input through its shortcut,
    and some of the block's weights, those of the branch, make no difference any more; at an
    output nothing goes through. A block that is said to have no skip gives nothing of its input
    once every matrix and kernel in it is zero.
    """
    calls = calls_of(composed, [site.path for site in plan.sites], entry, inputs)
    for site in plan.sites:
        assert site.path in calls, f"{site.path}: it does not run"
        args, kwargs = calls[site.path]
        block = composed.get_submodule(site.path)
        alive, through = influence(block, args, kwargs, site.name, 1.0)
        left, passes = influence(block, args, kwargs, site.name, 0.0)
        assert through, f"{site.path}: its input makes no difference"
        assert alive - left or not any(p.dim() > 1 for p in block.parameters()), (
            f"{site.path}: no weight is silent with the module at zero"
        )
        if site.position == "output":
            assert not passes and not left, f"{site.path}: something goes past the output"
            continue
        skips = has_skip(model.get_submodule(site.path), args, kwargs)
        if (site.note or "").startswith("no skip"):
            assert not passes and not left, f"{site.path}: something goes past the output"
            assert not skips, f"{site.path}: it has a skip, and is said to have none"
        else:
            assert passes, f"{site.path}: nothing goes past the branch"


def has_skip(block: nn.Module, args: Any, kwargs: Any) -> bool:
    """Return whether a block gives something of its input with every weight in it at zero."""
    block = copy.deepcopy(block)
    with torch.no_grad():
        for p in block.parameters():
            if p.dim() > 1:
                p.zero_()
    return influence(block, args, kwargs)[1]


def influence(
    block: nn.Module, args: Any, kwargs: Any, name: str = "", by: float = 1.0
) -> tuple[set[str], bool]:
    """Return the weights, and whether the inputs, that make a difference to what a block gives.

    The child `name`, where there is one, gives `by` times what it takes.
    """
    block = copy.deepcopy(block)
    if name:
        block._modules[name] = Scale(by)
    # a detector's backbone may be frozen
    named = [(n, p.requires_grad_()) for n, p in block.named_parameters() if p.dim() > 1]
    given: list[Tensor] = []

    def ready(t: Tensor) -> Tensor:
        if not t.is_floating_point():
            return t
        given.append(t.detach().clone().requires_grad_())
        return given[-1].clone()  # a forward may write into what it is given

    its, by_name = tree_map_only(Tensor, ready, (args, kwargs))
    out = _value(block(*its, **by_name), its)
    wanted = [*(p for _, p in named), *given]
    grads: Any = [None] * len(wanted)
    if out.requires_grad:
        loss = (out * torch.randn_like(out)).sum()
        grads = torch.autograd.grad(loss, wanted, allow_unused=True)
    moved = [g is not None and bool(g.count_nonzero()) for g in grads]
    alive = {n for (n, _), m in zip(named, moved, strict=False) if m}
    return alive, any(moved[len(named) :])


def _value(out: Any, args: Any) -> Tensor:
    """Return the map that a block gives: of several values the first that it makes."""
    if isinstance(out, Tensor):
        return out
    maps = [v for v in out if isinstance(v, Tensor) and v.dim() > 2]
    passed = {id(leaf) for leaf in tree_leaves(args)}
    return next((v for v in maps if id(v) not in passed), maps[0])


def _tensors(given: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]


def calls_of(
    model: nn.Module, paths: list[str], entry: str, inputs: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return what modules are given as the model runs."""
    seen: dict[str, tuple[Any, Any]] = {}
    copied = copy.deepcopy(model)

    def watch(path: str) -> None:
        def note(_: nn.Module, args: Any, kwargs: Any) -> None:
            seen.setdefault(path, tree_map_only(Tensor, Tensor.clone, (args, kwargs)))

        watched = copied.get_submodule(path)
        watched.register_forward_pre_hook(note, with_kwargs=True)

    for path in dict.fromkeys(paths):
        watch(path)
    run(copied, entry, inputs)
    return seen


# ------------------------------------------------------------------------------------- the table


def table(found: list[Row]) -> str:
    """Return the table with its totals."""
    head = ["| model | at | by stage | positions | passed over | |", "|---|---|---|---|---|---|"]
    lines = ["# Models outside timm and torchvision", ""]
    lines += [f"- {line}" for line in totals(found)]
    return "\n".join([*lines, "", *head, *map(str, found)]) + "\n"


def totals(found: list[Row]) -> list[str]:
    """Return what is covered, in sentences; a wrong row is none of what is covered."""
    said = []
    not_run = {row.model for row in found if row.refused.startswith("not run")}
    for package in dict.fromkeys(row.package for row in MODELS.values()):
        mine = [n for n, row in MODELS.items() if row.package == package and n not in not_run]
        counts = [
            f"{sum(r.at == at and r.model in mine and not r.refused for r in found)} at {at}s"
            for at in ("stage", "block")
        ]
        said.append(f"{package}: of {len(mine)} models {' and '.join(counts)}")
    return said


def _said(refusal: ComposerError) -> str:
    return refusal.diagnostics[0].message.replace("|", "/")


def sweep(names: list[str]) -> Iterator[Row]:
    """Yield the rows of models."""
    for name in names:
        wanted = (MODELS[name].package, *MODELS[name].also)
        if missing := [package for package in wanted if find_spec(package) is None]:
            yield Row(name, "", refused=f"not run: {', '.join(missing)} was not installed")
            continue
        try:
            yield from rows(name)
        except AssertionError as broken:
            said = (str(broken).splitlines() or ["a promise is not kept"])[0]
            yield Row(name, "", refused=f"WRONG: {said}")
        except Exception as fault:
            said = f"{type(fault).__name__}: {(str(fault).splitlines() or [''])[0][:150]}"
            yield Row(name, "", refused=f"FAULT: {said}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    found: list[Row] = []
    for one in sweep(sys.argv[1:] or list(MODELS)):
        print(one, flush=True)
        found.append(one)
    if not sys.argv[1:]:
        TABLE.write_text(table(found))

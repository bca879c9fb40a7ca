"""Where exactly a module goes inside a block or a stage, and why not where it was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from composer.backbones.anatomy import Part
from composer.backbones.forward import (
    Branch,
    Forward,
    Traces,
    Untraceable,
    branch_ends,
    code,
    disagreement,
)
from composer.rewrite.composition import Position


@dataclass(frozen=True)
class Place:
    """A position inside a part; at the end of a branch, with the forwards and the branch's end."""

    position: Position
    note: str | None = None
    forward: Forward | None = None
    ends: tuple[Branch, Branch] | None = None  # in training, in evaluation


@dataclass
class Placer:
    """Finds places in the blocks of one model; blocks of equal structure are tried once."""

    model: nn.Module
    traces: Traces
    _tried: dict[tuple[Any, ...], str | None] = field(default_factory=dict)

    def place(self, part: Part, position: Position) -> Place:
        """Return where `position` is in a part.

        Where a block's forward can't be traced, or its branch can't be told from its shortcut,
        this is the block's output, and the note says why.
        """
        if position == "output":
            return Place("output")
        module = self.model.get_submodule(part.path)
        try:
            forward = self.traces.of(part.call)
        except Untraceable as why:
            return Place("output", f"the forward can't be traced ({why}); after the block instead")
        ends = branch_ends(module, forward)
        if ends is None:
            return Place(
                "output",
                "the residual branch can't be told from the shortcut; after the block instead",
            )
        reason = self._disagreement(module, forward, ends, part)
        if reason:
            return Place("output", f"{reason}; after the block instead")
        return Place("residual", _remark(ends[1]), forward, ends)

    def _disagreement(
        self, module: nn.Module, forward: Forward, ends: tuple[Branch, Branch], part: Part
    ) -> str | None:
        if any(p.is_meta for p in module.parameters()):
            return None  # a model without numbers has none to compare
        codes = code(forward.training), code(forward.evaluation)
        key = (type(module), *codes, *(branch.end.name for branch in ends))
        if key not in self._tried:
            assert part.shape is not None
            spatial = tuple(map(part.shape.layout.index, ("h", "w")))
            self._tried[key] = disagreement(module, forward, ends, part.call, spatial)
        return self._tried[key]


def _remark(branch: Branch) -> str | None:
    if branch.add is None:
        return "no skip: the whole block is the branch"
    return f"the last of {branch.of} residual branches" if branch.of > 1 else None

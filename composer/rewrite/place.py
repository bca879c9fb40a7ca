"""Where exactly a module goes inside a block or a stage, and why not where it was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from composer.backbones.anatomy import Part
from composer.backbones.forward import (
    Branch,
    Forward,
    Traces,
    Untraceable,
    branch_ends,
)
from composer.rewrite.composition import Position
from composer.rewrite.trials import Trials


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
    trials: Trials = field(default_factory=Trials)

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
        assert part.shape is not None
        spatial = tuple(map(part.shape.layout.index, ("h", "w")))
        reason = self.trials.disagreement(module, forward, ends, part.call, spatial)
        if reason:
            return Place("output", f"{reason}; after the block instead")
        return Place("residual", _remark(ends[1]), forward, ends)


def _remark(branch: Branch) -> str | None:
    if branch.add is None:
        return "no skip: the whole block is the branch"
    return f"the last of {branch.of} residual branches" if branch.of > 1 else None

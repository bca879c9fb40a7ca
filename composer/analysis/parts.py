"""The contents of an anatomy: parts, stages, and queries on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from composer.analysis.maps import MapShape, NotAMap
from composer.analysis.paths import around, is_inside
from composer.analysis.probe import Call, Probe
from composer.analysis.traces import Traces

#: Of weights, at the least.
LAYERS_OF_A_BLOCK = 2


@dataclass(frozen=True)
class Part:
    """A block, or a stage as a whole: its path, its class, and its output.

    `shape` is None where the value is not a feature map with identified axes; `refusal` then says
    what was seen. `times` is how often it runs in one pass.
    """

    path: str
    kind: str
    call: Call
    shape: MapShape | None
    refusal: str | None = None
    times: int = 1


@dataclass(frozen=True)
class Stage:
    """A stage: the module whose output is its output, and its blocks in the order they run."""

    number: int
    whole: Part
    blocks: tuple[Part, ...]


@dataclass(frozen=True)
class Anatomy:
    """The stages of a backbone, in the order they run."""

    stages: tuple[Stage, ...]
    others: tuple[Part, ...]  # blocks that give no map, such as those of a class token alone
    probe: Probe
    larger: Probe | None  # on a larger image, where the model takes one
    traces: Traces
    skips: Callable[[Call], bool]  # whether the forward that was called ends in a residual add
    knows: Callable[[str], bool]  # whether a module runs, and is the backbone's own
    layers: Callable[[str], int]  # how many layers of weights a module holds
    is_norm: Callable[[str], bool]  # whether a module has parameters, and no layer of weights
    part: Callable[[str], Part]  # any module that runs, with what it gives
    given_to: Callable[[str], MapShape]  # what a module takes; raises NotAMap
    is_traced: bool = False  # by torch.fx, so that its blocks and stages no longer run as modules

    @property
    def stem(self) -> Part | None:
        """The module whose output is the first stage's input: the stem, or its last module."""
        entrance = self.entrance
        whole = self.stages[0].whole if self.stages else None
        if whole is None or entrance is None or not is_inside(entrance.path, whole.path):
            whole = None
        for first in (entrance, whole):
            feeding = [p for p in self.modules if first and p.shape and _feeds(p, first)]
            if feeding:
                return feeding[-1]
        return None

    @property
    def entrance(self) -> Part | None:
        """The outermost module of the first stage, from its first block on, with maps of one size.

        So what comes before the blocks inside a cross-stage-partial module is not a stem.
        """
        found = self.first
        if found is None:
            return None
        whole = self.stages[0].whole.path
        for path in around(found.path):
            if path == found.path or not is_inside(path, whole) or not self.knows(path):
                continue
            part = self.part(path)
            try:
                given = self.given_to(path)
            except NotAMap:
                break
            if part.shape is None or given.size != part.shape.size:
                break
            found = part
        return found

    @property
    def first(self) -> Part | None:
        """The first block, or the first stage if it has none."""
        if not self.stages:
            return None
        return self.stages[0].blocks[0] if self.stages[0].blocks else self.stages[0].whole

    @property
    def last(self) -> Part | None:
        """The module whose output is the head's input: the last stage, or a norm after it."""
        found = next((s.whole for s in reversed(self.stages) if s.whole.shape is not None), None)
        if found is None:
            return None
        for part in self.modules:
            behind = part.call.given is found.call.value and part.call.order > found.call.order
            if behind and part.shape == found.shape and self.is_norm(part.path):
                found = part
        return found

    @cached_property
    def modules(self) -> tuple[Part, ...]:
        """Every module that runs, in the order they end; of two with the same output, the outer."""
        seen = dict.fromkeys(c.path for c in self.probe.calls if c.path and self.knows(c.path))
        return tuple(map(self.part, seen))

    def place_of(self, path: str) -> tuple[int | None, int | None]:
        """Return the numbers of the stage and the block that a path is in."""
        places = (self._places.get(above) for above in around(path))
        return next((place for place in places if place is not None), (None, None))

    @cached_property
    def _places(self) -> dict[str, tuple[int, int | None]]:
        """The numbers of each stage and block, by their paths."""
        found: dict[str, tuple[int, int | None]] = {}
        for stage in self.stages:
            found[stage.whole.path] = stage.number, None
        for stage in self.stages:
            numbered = enumerate(stage.blocks, start=1)
            found |= {block.path: (stage.number, number) for number, block in numbered}
        return found

    def caller_of(self, path: str) -> Part:
        """Return the nearest enclosing module that runs, which is not a bare list."""
        above = path.rpartition(".")[0]
        while above and not self.knows(above):
            above = above.rpartition(".")[0]
        return self.part(above)

    @property
    def blocks(self) -> tuple[Part, ...]:
        """All blocks, in the order they run."""
        return tuple(block for stage in self.stages for block in stage.blocks)


def _feeds(part: Part, first: Part) -> bool:
    """Return whether a part's output is another's input; parts inside that other don't count."""
    gives = part.call.value is not None and part.call.value is first.call.given
    before = part.call.order < first.call.order
    return gives and before and not is_inside(part.path, first.path)

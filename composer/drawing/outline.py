"""A backbone for a picture: its stages, their parts, and the insertions; plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from composer.graph.graph import Graph

#: The location of something that several insertions of a block share.
SHARED = "shared in the block"

StepKind = Literal["layer", "reduce", "combine", "plain"]


@dataclass(frozen=True)
class Spent:
    """Parameters, and multiply-adds for one image."""

    parameters: int = 0
    flops: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.parameters + other.parameters, self.flops + other.flops)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.parameters - other.parameters, self.flops - other.flops)


@dataclass(frozen=True)
class Insertion:
    """An insertion: its spec, its path, its location, and what it replaced.

    `where` is in words, such as ``before the add``; `name` is the path from its part. `digest`
    identifies its graph, and `code` has the Python of its nodes.
    """

    spec: str
    name: str
    where: str
    spent: Spent
    graph: Graph = field(compare=False)
    digest: str = ""
    instead: tuple[Step, ...] = ()
    code: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def is_shared(self) -> bool:
        """Whether it only serves others of its block."""
        return self.where == SHARED

    @property
    def added(self) -> Spent:
        """What the insertion adds, minus what it replaced."""
        return self.spent - sum((step.spent for step in self.instead), Spent())


@dataclass(frozen=True)
class Step:
    """One step inside a part: a module that runs, or an operation between values.

    `name` identifies the step; `reads` are the names of the steps that it reads, where an empty
    name is the input of the part.
    """

    name: str
    title: str
    lines: tuple[str, ...]
    kind: StepKind
    reads: tuple[str, ...]
    spent: Spent = Spent()
    insertion: Insertion | None = None


@dataclass(frozen=True)
class DrawnPart:
    """A block, another module beside the blocks, or something inserted between them.

    Two parts are equal if they differ only in their paths. `steps` are what runs inside it; the
    last one gives its output. There are none where its forward can't be read, and `note` says why.
    `reads` are the paths of the parts whose outputs it takes; it runs `runs` times.
    """

    path: str = field(compare=False)
    kind: str
    gives: str
    spent: Spent
    is_block: bool
    inserted: tuple[Insertion, ...] = ()
    steps: tuple[Step, ...] = ()
    note: str | None = None
    runs: int = 1
    own: tuple[tuple[str, int], ...] = ()
    reads: tuple[str, ...] = field(default=(), compare=False)

    @property
    def whole(self) -> Insertion | None:
        """The insertion, if the part is just that."""
        alone = len(self.inserted) == 1 and self.inserted[0].name == ""
        return self.inserted[0] if alone else None

    @property
    def before(self) -> DrawnPart | None:
        """The part as it was before all insertions; None if it did not exist."""
        if self.whole is not None and not self.whole.instead:
            return None
        added = sum((one.added for one in self.inserted), Spent())
        names: dict[str, str] = {}
        steps: list[Step] = []
        for step in self.steps:
            reads = tuple(dict.fromkeys(names.get(name, name) for name in step.reads))
            if step.insertion is None:
                steps.append(replace(step, reads=reads))
            elif step.insertion.instead:
                steps.append(replace(_one(step.insertion.instead), name=step.name, reads=reads[:1]))
            else:
                names[step.name] = reads[0] if reads else ""
        kind = self.whole.instead[0].title if self.whole is not None else self.kind
        return replace(self, kind=kind, spent=self.spent - added, inserted=(), steps=tuple(steps))


def _one(steps: tuple[Step, ...]) -> Step:
    """Return a layer and what follows it as one step."""
    return replace(
        steps[0],
        title=" · ".join(step.title for step in steps),
        lines=(" · ".join(line for step in steps for line in step.lines),),
        spent=sum((step.spent for step in steps), Spent()),
    )


@dataclass(frozen=True)
class DrawnStage:
    """A stage: its number, its path, and the parts inside it in the order they run."""

    number: int
    path: str
    parts: tuple[DrawnPart, ...]

    @property
    def spent(self) -> Spent:
        """Of all its parts."""
        return sum((part.spent for part in self.parts), Spent())

    @property
    def added(self) -> Spent:
        """What insertions added to it."""
        return sum((one.added for part in self.parts for one in part.inserted), Spent())


@dataclass(frozen=True)
class Outline:
    """A model: its name, its input image, and its stages with what is around them.

    `unseen` are the parameters outside all parts, with their sizes.
    """

    name: str
    specs: tuple[str, ...]
    input_shape: tuple[int, ...]
    rows: tuple[DrawnStage | tuple[DrawnPart, ...], ...]
    spent: Spent
    unseen: tuple[tuple[str, int], ...] = ()

    @property
    def parts(self) -> Iterator[DrawnPart]:
        """All parts in the order they run."""
        for row in self.rows:
            yield from row.parts if isinstance(row, DrawnStage) else row

    @property
    def added(self) -> Spent:
        """What all insertions added."""
        return sum((one.added for part in self.parts for one in part.inserted), Spent())

    @property
    def before(self) -> Outline:
        """The backbone as it was before all insertions."""
        rows: list[DrawnStage | tuple[DrawnPart, ...]] = []
        gone: dict[str, tuple[str, ...]] = {}
        for row in self.rows:
            parts = []
            for part in row.parts if isinstance(row, DrawnStage) else row:
                reads = tuple(p for path in part.reads for p in gone.get(path, (path,)))
                before = part.before
                if before is None:
                    gone[part.path] = reads
                else:
                    parts.append(replace(before, reads=reads))
            if isinstance(row, DrawnStage):
                rows.append(replace(row, parts=tuple(parts)))
            elif parts:
                rows.append(tuple(parts))
        return replace(self, specs=(), rows=tuple(rows), spent=self.spent - self.added)

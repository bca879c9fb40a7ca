"""Groups the blocks of a backbone into stages; `composer.analysis.anatomy` explains how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from composer.analysis.explorer import Explorer, Found
from composer.analysis.parts import Part, Stage
from composer.analysis.paths import around, is_inside
from composer.analysis.probe import Call
from composer.analysis.recording import Untraceable
from composer.analysis.residual import joins_ways


class Staging:
    """Finds the stages of one model, whose blocks an explorer has found."""

    def __init__(self, seen: Explorer) -> None:
        self.seen = seen

    def stages(self) -> tuple[tuple[Stage, ...], tuple[Part, ...]]:
        """Return the stages in the order they run, and blocks in no stage, which output no map."""
        seen = self.seen
        blocks = sorted(
            seen.explore(seen.root) or [], key=lambda found: seen.calls[found.path][0].order
        )
        in_a_row = [] if blocks or seen.is_traced else self._plain()
        wholes = self._grouped(blocks) if blocks else in_a_row
        parts = [(seen.part(whole), tuple(map(seen.part, paths))) for whole, paths in wholes]
        mapped = [(whole, inside) for whole, inside in parts if _any_map(whole, *inside)]
        stages = tuple(
            Stage(number, whole, inside)
            for number, (whole, inside) in enumerate(mapped or parts, start=1)
        )
        taken = {part.path for stage in stages for part in (stage.whole, *stage.blocks)}
        others = [part for whole, inside in parts for part in inside or (whole,)]
        return stages, tuple(part for part in others if part.path not in taken)

    def _grouped(self, blocks: Sequence[Found]) -> list[tuple[str, list[str]]]:
        """Return the path of each stage, and those of its blocks."""
        groups = _by(self._stage_of, blocks)
        if len(groups) == 1:  # a name for all of them does not separate stages
            groups = _by(lambda found: found.container, blocks)
        if len(groups) > 1 and self._is_a_row(groups):
            return self._row(groups)
        wholes: list[tuple[str, list[str]]] = []
        for container, paths in groups.items():
            if len(groups) == 1 or not container or self._gives_features(container):
                wholes += [(run[-1], run) for run in self._runs(paths)]
            else:
                wholes.append((self._climb(container, groups), paths))
        return wholes

    def _gives_features(self, path: str) -> bool:
        """Return whether a module outputs maps of several sizes, like an encoder for a decoder."""
        if path not in self.seen.calls or path in self.seen.named_stages:
            return False
        output, given = self.seen.calls[path][0].output, self.seen.calls[path][0].given
        if not isinstance(output, (tuple, list)) or given is None:
            return False  # one that also takes several works on parallel maps, as in HRNet
        axes = 2 + self.seen.first.dimensions
        maps = [value for value in output if isinstance(value, Tensor) and value.dim() == axes]
        return len({value.shape[2:] for value in maps}) > 1

    def _stage_of(self, block: Found) -> str:
        """Return the stage that the model declares around a block, else what contains the block.

        Where blocks are on one of the two paths of a cross-stage-partial module, use that module.
        """
        around = [path for path in self.seen.named_stages if is_inside(block.container, path)]
        if around:
            return max(around, key=len)
        holder = block.container
        path = inside = holder if holder in self.seen.calls else block.path
        while path := path.rpartition(".")[0]:
            if path not in self.seen.calls:
                continue
            same = self.seen.gives(path) == self.seen.gives(inside)
            if not same and not self._keeps_size(path, inside):
                break
            if self._joins(path, inside):
                holder = path
            inside = path
        return holder

    def _keeps_size(self, path: str, inside: str) -> bool:
        """Return whether a module's map is as large as one inside it, and none inside is smaller.

        A U-Net does contain smaller ones, between the paths that it joins.
        """
        whole, part = (self.seen.calls[p][0].shape for p in (path, inside))
        rank = 2 + self.seen.first.dimensions
        if whole is None or part is None or len(whole) != rank or whole[2:] != part[2:]:
            return False
        shapes = [
            call.shape for calls in self.seen.first.inside(path).values() for call in calls
            if is_inside(call.caller, path)  # an activation may be shared in all of the model
        ]  # fmt: skip
        sizes = {shape[2:] for shape in shapes if shape is not None and len(shape) == rank}
        smaller = (min(size) < min(whole[2:]) for size in sizes if max(size) > 1)
        return not any(smaller)

    def _climb(self, container: str, groups: dict[str, list[str]]) -> str:
        """Return the outermost module with the container's output, and no more stages."""
        if any(is_inside(other, container) for other in groups if other != container):
            return groups[container][-1]  # as in a U-Net, whose inner part is another stage
        best = container if container in self.seen.calls else groups[container][-1]
        outputs = self.seen.gives(best)
        path = container
        while path:
            path = path.rpartition(".")[0]
            others = [c for c in groups if c != container and is_inside(c, path)]
            if others or not path:
                break
            if path in self.seen.calls and self.seen.gives(path) == outputs:
                best = path
        return best

    def _joins(self, path: str, inside: str) -> bool:
        """Return whether a module joins the output of an inner one with a path that bypasses it."""
        whole, part = (self.seen.calls[p][0] for p in (path, inside))
        known = whole.given is not None and part.value is not None
        if not known or not self.seen.may_be_a_map(whole.shape):
            return False
        try:
            graph = self.seen.traces.evaluation(whole)
        except Untraceable:
            return False
        return joins_ways(graph, inside.removeprefix(f"{path}."))

    def _is_a_row(self, groups: dict[str, list[str]]) -> bool:
        """Return whether each block is in a module of its own, and these are siblings.

        As in ``Sequential(Residual(…), ReLU())``, again and again.
        """
        alone = all(len(paths) == 1 and container for container, paths in groups.items())
        beside = {container.rpartition(".")[0] for container in groups}
        return alone and len(beside) == 1 and all(map(self.seen.calls.__contains__, groups))

    def _row(self, groups: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
        """Return the stages of such blocks: consecutive ones with equal maps."""
        stages: list[tuple[str, list[str]]] = []
        last = None
        for container, (block,) in groups.items():
            shape = self.seen.part(container).shape
            if stages and shape is not None and shape == last:
                stages[-1] = container, [*stages[-1][1], block]
            else:
                stages.append((self._climb(container, groups), [block]))
            last = shape
        return stages

    def _runs(self, paths: Sequence[str]) -> list[list[str]]:
        runs: list[list[str]] = []
        last = None
        for path in paths:
            shape = self.seen.part(path).shape
            if not runs or (shape is not None and last not in (None, shape.size)):
                runs.append([])
            runs[-1].append(path)
            last = shape.size if shape is not None else last
        return runs

    def _plain(self) -> list[tuple[str, list[str]]]:
        """Return stages and blocks of a network whose layers form one row.

        A stage ends where the resolution falls, a block before the next layer of weights; there
        are no blocks where the layers don't follow one another. Its last module stands for each.
        """
        trunk = [
            call
            for call in self.seen.trunk
            if len(call.shape or ()) == 2 + self.seen.first.dimensions
            and self._is_element(call.path)
            and is_inside(call.path, self.seen.root)
        ]
        in_a_row = all(self.seen.follow(a, b) for a, b in pairwise(trunk))
        stages: list[tuple[str, list[str]]] = []
        blocks: list[str] = []
        in_stage = in_block = 0
        for call, following in pairwise(trunk):
            layers = self.seen.layers(call.path)
            in_stage, in_block = in_stage + layers, in_block + layers
            falls = _falls(call.shape, following.shape)
            if in_block and (falls or self.seen.layers(following.path)):
                blocks.append(call.path)
                in_block = 0
            if falls and in_stage and self.seen.follow(call, following):
                stages.append((call.path, blocks if in_a_row else []))
                blocks, in_stage = [], 0
        if not stages and in_stage:  # it never falls
            last = trunk[-1]
            if blocks and self._is_image(last):
                stages.append((blocks[-1], blocks if in_a_row else []))
            else:
                stages.append((last.path, [*blocks, last.path] if in_a_row else []))
        return stages

    def _is_element(self, path: str) -> bool:
        """Return whether a module is one layer of weights with its norm, or has no weights.

        A module that holds no other, or a layer in a module of its own: ``Conv(conv, norm, act)``.
        """
        if self._has_layers(path):
            return False
        return not any(
            above in self.seen.calls and above and not self._has_layers(above)
            for above in around(path)[1:-1]
        )

    def _has_layers(self, path: str) -> bool:
        return bool(self.seen.children(path)) and self.seen.layers(path) != 1

    def _is_image(self, call: Call) -> bool:
        """Return whether a call outputs an image, as the output layer of an image restorer does."""
        channels = (call.shape or (0, 0))[1]
        return channels in (1, 3, self.seen.first.input_shape[0])


def _by(holder: Callable[[Found], str], blocks: Sequence[Found]) -> dict[str, list[str]]:
    """Return the paths of the blocks that each module contains, by its path."""
    groups: dict[str, list[str]] = {}
    for found in blocks:
        groups.setdefault(holder(found), []).append(found.path)
    return groups


def _falls(shape: tuple[int, ...] | None, following: tuple[int, ...] | None) -> bool:
    """Return whether a map is much smaller than the one before; a lost border does not count."""
    if shape is None or following is None:
        return False
    sizes = zip(shape[2:], following[2:], strict=True)
    return any(4 * after <= 3 * before for before, after in sizes)


def _any_map(*parts: Part) -> bool:
    return any(part.shape is not None for part in parts)

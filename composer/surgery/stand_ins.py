"""Which layers a spec replaces: those that match, and whose surroundings allow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, fx, nn

from composer.analysis.maps import MapShape, NotAMap
from composer.analysis.parts import Anatomy, Part
from composer.analysis.probe import Call
from composer.analysis.recording import Untraceable
from composer.analysis.traces import Forward
from composer.errors import ComposerError, Diagnostic, counted, listing
from composer.language.expressions import bind
from composer.lower.frozen_norm import is_frozen_norm
from composer.lower.identity import check_can_be_identical
from composer.lower.inputs import input_shapes
from composer.measure.cost import parameters
from composer.primitives.base import whole
from composer.primitives.places import PLACES
from composer.surgery.absorbed import NotAbsorbed, NotThere, absorbed_in_both
from composer.surgery.layers import Layer, attention_modules, convolutions, listed
from composer.surgery.make import Made, Maker, with_size
from composer.surgery.match import reason_against
from composer.surgery.near_miss import NearMiss
from composer.surgery.nothing import none_matches, nothing_found
from composer.surgery.placement import Placement
from composer.surgery.replace import Replacement, sharing_fault
from composer.surgery.site import SharedSite, Site
from composer.surgery.source import NoSource


class _Passed(Exception):  # noqa: N818 - a finding, which the plan reports
    """A layer that a spec can't replace; the message says why."""


@dataclass
class Found:
    """The sites in the order they run, what they share, and the skipped places."""

    sites: list[Site] = field(default_factory=list)
    shared: list[SharedSite] = field(default_factory=list)
    misses: list[NearMiss] = field(default_factory=list)


class StandIns:
    """Finds the layers of one model that a spec is to replace."""

    def __init__(
        self, model: nn.Module, known: Anatomy, placement: Placement, maker: Maker
    ) -> None:
        self.model, self.known, self.placement, self.maker = model, known, placement, maker
        insert = maker.spec.insert
        here = insert if insert is not None and insert.at == placement.at else None
        self.absorb = here.absorb if here else ()
        self.share = here.share if here else None
        layers = attention_modules if placement.at == "attention" else convolutions
        self.layers = layers(model, known)
        self.blocks = {block.path: block for block in known.blocks}
        self.failures: list[tuple[Layer, ComposerError]] = []

    def found(self) -> Found:
        """Return the sites.

        Raises:
            ComposerError: there are none; or the spec can't start as it should.
        """
        found = Found()
        for layer in self._chosen(found.misses):
            try:
                found.sites.append(self._site(layer))
            except _Passed as why:
                found.misses.append(NearMiss(layer.path, str(why), by_choice=False))
        found.sites, others = self.placement.thinned(found.sites, lambda site: site.path)
        found.misses += others
        if not found.sites:
            raise self._nothing(found.misses)
        if self.maker.init == "identity":
            for site in found.sites:
                check_can_be_identical(site.graph, site.path)
        if self.share is not None:
            found.shared += self._shared(found.sites)
        return found

    def _chosen(self, misses: list[NearMiss]) -> list[Layer]:
        """Return the layers that match and may be replaced."""
        counts = [len(stage.blocks) for stage in self.known.stages]
        numbers = sum(layer.number is not None for layer in self.layers)
        self.placement.check_range(counts, numbers)
        chosen = []
        for layer in self.layers:
            reason = self.placement.reason_against(layer.stage, layer.block, layer.path, counts)
            reason = reason or reason_against(
                self.placement.match, layer.facts, layer.number, numbers
            )
            if reason or layer.refusal:
                misses.append(NearMiss(layer.path, reason or layer.refusal or "", bool(reason)))
            else:
                chosen.append(layer)
        return chosen

    # ---------------------------------------------------------------------------------- a site

    def _site(self, layer: Layer) -> Site:
        inside = self.known.probe.inside(layer.caller.path)
        how = Replacement(
            layer.path, layer.call, layer.caller, layer.name, at=self.placement.at, inside=inside
        )
        note = None
        if self.absorb:
            how, note = self._absorbing(layer, how)
        module = self.model.get_submodule(layer.path)
        if self.placement.at == "attention":
            lost = _more_than_projections(module)
            weights = "gives no attention weights" if isinstance(layer.call.output, tuple) else None
            note = "; ".join(filter(None, (lost, weights))) or None
        taken = self._map_of(layer)
        if taken is not None and taken.prefix and self.maker.prefix_tokens == "pass":
            passed = f"its {counted(taken.prefix, 'prefix token')} {_take(taken.prefix)} no part"
            note = "; ".join(filter(None, (note, passed)))
        made = self._made(layer, module, taken)
        if self.share is not None:
            self._check_sharing(layer, made)
        shape = layer.call.shape
        assert shape is not None
        tokens = self.placement.at == "attention"
        channels, *size = (shape[2], shape[1]) if tokens else shape[1:]
        if taken is not None:
            size = [*taken.size]
        gone = [module, *(self.model.get_submodule(path) for path in how.absorbed)]
        return Site(
            path=layer.path,
            name=None,
            position="replace",
            channels=channels,
            size=tuple(size),
            stage=layer.stage,
            block=layer.block,
            spec=self.maker.spec.name,
            layout=made.graph.input_axes.names if taken is None else taken.layout,
            parameters=made.parameters,
            flops=made.flops,
            note=with_size(note, made),
            replaced=sum(map(parameters, gone)),
            how=how,
            graph=made.graph,
        )

    def _map_of(self, layer: Layer) -> MapShape | None:
        """Return the map that attention's tokens form, where the spec works on a map."""
        if self.placement.at != "attention" or "n" in self.maker.spec.input:
            return None
        try:
            return self.known.given_to(layer.path)
        except NotAMap as why:
            raise _Passed(f"its tokens form no map: {why}") from None

    def _made(self, layer: Layer, module: nn.Module, taken: MapShape | None) -> Made:
        shape = layer.call.args[0].shape
        try:
            if taken is not None:
                return self.maker.attending(module, taken)
            tokens = self.placement.at == "attention"
            return self.maker.like(module, shape[1:2] if tokens else shape[2:])
        except ComposerError as failure:
            if any(d.code == "unknown-param" for d in failure.diagnostics):
                raise
            self.failures.append((layer, failure))
            raise _Passed(failure.diagnostics[0].message) from None

    def _absorbing(self, layer: Layer, how: Replacement) -> tuple[Replacement, str]:
        """Return how a layer is replaced with what follows it, and the remark on that."""
        caller = self.model.get_submodule(layer.caller.path)
        forward = self._traced(layer.caller)
        try:
            found = absorbed_in_both(caller, forward, layer.name, self.absorb)
        except NotThere as why:
            raise _Passed(f"{why}, and {self.maker.spec.name} includes its own") from None
        except NotAbsorbed as why:
            raise _Passed(str(why)) from None
        alone = [p for node in found[1].nodes if (p := self._called_once(layer, forward, node))]
        bypasses = len(alone) < len(found[1].nodes)
        how = replace(how, absorb=self.absorb, absorbed=tuple(alone), bypasses=bypasses)
        if bypasses:
            self._check_edit(layer.caller, lambda: how.bypass_fault(caller, self.known.traces))
        note = f"{_gone(caller, found[1].nodes)} with it"
        norm = found[1].norm
        if norm is not None and is_frozen_norm(caller.get_submodule(str(norm.target))):
            note = f"{note}; {self._thawed()}"
        return how, note

    def _thawed(self) -> str:
        """Return the remark on a frozen norm that is removed."""
        name = self.maker.spec.name
        said = f"the norms of {name} are not frozen, and in training use each batch's statistics"
        if self.maker.init == "identity":
            return f"{said}, so it starts equal to what it replaces only in evaluation mode"
        return said

    def _called_once(self, layer: Layer, forward: Forward, node: fx.Node) -> str | None:
        """Return the path of the module that a node calls, where nothing else calls that."""
        if node.op != "call_module":
            return None
        path = f"{layer.caller.path}.{node.target}" if layer.caller.path else str(node.target)
        module = self.model.get_submodule(path)
        runs = [
            call for call in self.known.probe.calls if self.model.get_submodule(call.path) is module
        ]
        graphs = (forward.training, forward.evaluation)
        calls = [len(g.find_nodes(op="call_module", target=node.target)) for g in graphs]
        return path if len(runs) == 1 and calls == [1, 1] else None

    def _traced(self, call: Call) -> Forward:
        try:
            return self.known.traces.of(call)
        except Untraceable as why:
            raise _Passed(f"the forward that calls it can't be traced ({why})") from None

    def _check_edit(self, call: Call, fault: Callable[[], str | None]) -> None:
        """Refuse a forward that can't be edited as is needed."""
        if not call.path:
            raise _Passed("what follows it runs in the model's own forward, which is not edited")
        try:
            reason = fault()
        except NoSource as why:
            reason = f"the forward that calls it can't be edited ({why})"
        if reason is not None:
            raise _Passed(reason)

    # -------------------------------------------------------------------------- what is shared

    def _check_sharing(self, layer: Layer, made: Made) -> None:
        """Refuse a layer that can't take a value made from its block's input."""
        block = self.blocks.get(layer.caller.path)
        if layer.block is None:
            raise _Passed(f"it is not in a block that could share {self.share}")
        if block is None or layer.stage is None:
            raise _Passed("the forward of its block does not call it directly")
        forward = self._traced(block.call)
        for graph in (forward.training, forward.evaluation):
            if len(graph.find_nodes(op="call_module", target=layer.name)) != 1:
                raise _Passed("the forward of its block does not call it directly")
        given = self._shared_made(block)
        wants = input_shapes(made.graph)[1:]
        node = given.graph.by_name[given.graph.output]
        assert node.axes is not None
        planned = given.graph.settings.planned
        sizes = [(axis, bind(size, planned)) for axis, size in node.axes.sizes]
        gives = [tuple(1 if axis == "b" else whole(size) for axis, size in sizes)]
        if list(wants) != gives:
            raise _Passed(f"it can't take the {self.share} that is made from its block's input")
        owner, traces = self.model.get_submodule(block.path), self.known.traces
        users = [layer.name]
        self._check_edit(block.call, lambda: sharing_fault(owner, block.call, traces, users))

    def _shared_made(self, block: Part) -> Made:
        given = block.call.args[0] if block.call.args else None
        layout = ("b", "c", *PLACES[self.known.probe.dimensions])
        if not isinstance(given, Tensor) or block.shape is None or block.shape.layout != layout:
            raise _Passed(f"its block does not take [{', '.join(layout)}]")
        _, channels, *size = given.shape
        return self.maker.shared(MapShape(layout, channels, tuple(size)))

    def _shared(self, sites: Sequence[Site]) -> list[SharedSite]:
        """Return what the sites of each block share."""
        users: dict[str, list[str]] = {}
        for site in sites:
            assert isinstance(site.how, Replacement)
            users.setdefault(site.how.caller.path, []).append(site.path)
        name = free_name(self.model, list(users), self.maker.spec.name)
        shared = []
        for path, paths in users.items():
            block = self.blocks[path]
            made = self._shared_made(block)
            _, channels, *size = block.call.args[0].shape
            shared.append(
                SharedSite(
                    path=path,
                    name=name,
                    channels=channels,
                    size=tuple(size),
                    parameters=made.parameters,
                    flops=made.flops,
                    users=tuple(paths),
                    block=block,
                    inside=self.known.probe.inside(path),
                    graph=made.graph,
                )
            )
        return shared

    # ------------------------------------------------------------------------------ nothing found

    def _nothing(self, misses: list[NearMiss]) -> ComposerError:
        """Return the error for no site: a problem of the spec, or what there is instead."""
        if self.failures:
            layer, failure = self.failures[0]
            message = f"{layer.path} is the first such place; it is {layer.facts}"
            note = Diagnostic("at-site", message, severity="note")
            return ComposerError((*failure.diagnostics, note))
        noun = self.placement.noun
        if not self.layers:
            seen = f"{counted(len(self.known.blocks), 'block')} seen"
            name = self.maker.spec.name
            return nothing_found(noun, seen, f"{name} replaces one, so choose another backbone")
        return none_matches(noun, len(self.layers), misses, listed(self.layers))


def _gone(caller: nn.Module, nodes: Sequence[fx.Node]) -> str:
    """Return what is removed, in words: ``its BatchNorm2d and ReLU go``."""
    names = [
        type(caller.get_submodule(str(node.target))).__name__
        if node.op == "call_module"
        else getattr(node.target, "__name__", str(node.target))
        for node in nodes
    ]
    return f"its {listing(names)} {'goes' if len(names) == 1 else 'go'}"


def _take(count: int) -> str:
    return "takes" if count == 1 else "take"


def _more_than_projections(attention: nn.Module) -> str | None:
    """Return what an attention module has besides its linear layers, and is removed with it."""
    own = [name for name, _ in attention.named_parameters(recurse=False)]
    own = [name for name in own if not name.startswith(("in_proj", "bias_k", "bias_v"))]
    inner = [
        name
        for name, child in attention.named_children()
        if not isinstance(child, nn.Linear) and next(child.parameters(), None) is not None
    ]
    names = [*own, *inner]
    return f"its {listing(names)} {'goes' if len(names) == 1 else 'go'} with it" if names else None


def free_name(model: nn.Module, paths: Sequence[str], name: str) -> str:
    """Return `name`, with a number appended if an owner already has such an attribute."""
    owners = [model.get_submodule(path) for path in paths]
    free, number = name, 1
    while any(hasattr(owner, free) for owner in owners):
        number += 1
        free = f"{name}_{number}"
    return free

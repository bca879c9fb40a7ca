"""Modules that a mechanism replaces as a whole: by path, by class, or by kind.

A module can be replaced if it maps one feature map to one of the same shape, and nothing uses more
of it than its output: its caller is tried with another module in its place. A global pool outputs
one value per channel instead.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence

from torch import Tensor, nn

from composer.analysis.attribute_reads import read_besides
from composer.analysis.edited import class_before_edits, is_edited, is_stand_in
from composer.analysis.maps import MapShape, NotAMap
from composer.analysis.parts import Anatomy, Part
from composer.analysis.paths import around
from composer.analysis.probe import Call
from composer.errors import ComposerError, Diagnostic, counted, error, suggestion
from composer.language.stand_in import STANDS_FOR
from composer.measure.cost import parameters
from composer.surgery.kinds import activation_of, class_names, may_be, pooled, pools_all
from composer.surgery.make import Maker, with_size
from composer.surgery.near_miss import NearMiss
from composer.surgery.nothing import none_matches, nothing_found
from composer.surgery.placement import Placement
from composer.surgery.replace import Replacement
from composer.surgery.site import Site
from composer.surgery.swap_trial import swap_fault


class _Stays(Exception):  # noqa: N818 - a finding, which the plan reports
    """A module that can't be replaced; the message says why."""


class Swaps:
    """Finds the modules of one model that a mechanism is to replace."""

    def __init__(
        self, model: nn.Module, known: Anatomy, placement: Placement, maker: Maker
    ) -> None:
        self.model, self.known, self.placement, self.maker = model, known, placement, maker
        self.kind = STANDS_FOR.get(placement.at)
        self.names: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self.names.setdefault(module, []).append(path)

    def found(self) -> tuple[list[Site], list[NearMiss]]:
        """Return the sites in the order they run, and the skipped places.

        Raises:
            ComposerError: there are none; or the spec does not suit the first of them.
        """
        chosen, misses = self._chosen()
        if self.placement.types and not chosen:
            self._check_types()
        paths = [part.path for part in chosen]
        read = read_besides(self.model, paths, self.known.probe) if paths else {}
        possible: list[tuple[Part, MapShape]] = []
        for part in chosen:
            try:
                outer = next((p for p, _ in possible if p.path in around(part.path)[1:]), None)
                if outer is not None:
                    raise _Stays(f"it is inside {outer.path}, which is replaced")
                if part.path in read:
                    raise _Stays(f"its {read[part.path]} is read by other modules")
                possible.append((part, self._map_of(part)))
            except _Stays as why:
                misses.append(NearMiss(part.path, str(why), by_choice=False))
        possible.sort(key=lambda one: one[0].call.order)
        possible, others = self.placement.thinned(possible, lambda one: one[0].path)
        misses += others
        if not possible:
            raise self._nothing(len(chosen), misses)
        return [self._site(part, shape) for part, shape in possible], misses

    def _chosen(self) -> tuple[list[Part], list[NearMiss]]:
        """Return the chosen modules, outer ones first, and all others."""
        counts = [len(stage.blocks) for stage in self.known.stages]
        self.placement.check_range(counts)
        chosen, misses = [], []
        for part in self.known.modules:
            if self.kind is not None and not self._is_kind(part):
                continue
            stage, block = self.known.place_of(part.path)
            reason = self.placement.reason_against(stage, block, part.path, counts)
            if reason is None and not self.placement.takes(part.path):
                reason = "it was not one of the sites"
            reason = reason or self._other_class(part)
            if reason is not None:
                misses.append(NearMiss(part.path, reason, by_choice=True))
            else:
                chosen.append(part)
        if self.kind == "pool":  # the innermost: an outer one may also contain a norm
            inside = {path for part in chosen for path in around(part.path)[1:]}
            chosen = [part for part in chosen if part.path not in inside]
        return sorted(chosen, key=lambda part: part.path.count(".")), misses

    def _is_kind(self, part: Part) -> bool:
        """Return whether a module is a norm, an MLP or the global pool, whichever is replaced."""
        assert self.kind is not None
        if self.kind == "pool" and self.known.place_of(part.path) != (None, None):
            return False  # it pools for a gate
        if not may_be(self.kind, self.model.get_submodule(part.path)):
            return False
        return self.kind != "pool" or pools_all(part.call, self._taken(part))

    def _other_class(self, part: Part) -> str | None:
        types = self.placement.types
        if not types or not set(types).isdisjoint(class_names(self.model.get_submodule(part.path))):
            return None
        return f"its class is {part.kind}, not {' or '.join(types)}"

    def _taken(self, part: Part) -> MapShape | None:
        try:
            return self.known.given_to(part.path)
        except NotAMap:
            return None

    # ------------------------------------------------------------------------- what can go

    def _map_of(self, part: Part) -> MapShape:
        """Return the map that is the module's input and output.

        Raises:
            _Stays: it can't be replaced.
        """
        module, call = self.model.get_submodule(part.path), part.call
        names = self.names[module]
        if is_stand_in(module):
            raise _Stays("it is already replaced")
        if is_edited(module):
            raise _Stays("something was inserted into it")
        if len(names) > 1:
            raise _Stays(f"it is one module under {len(names)} names: {', '.join(names)}")
        if (runs := len(self.known.probe.of(part.path))) > 1:
            raise _Stays(f"it runs {runs} times in one pass")
        given = [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, Tensor)]
        if len(given) != 1:
            raise _Stays(f"it takes {counted(len(given), 'tensor')}, not one map")
        if not call.args or call.args[0] is not given[0]:
            by_name = any(value is given[0] for value in call.kwargs.values())
            how = "by keyword" if by_name else "with something else before the map"
            raise _Stays(f"it is called {how}")
        if (more := _not_taken(module, call)) is not None:
            raise _Stays(f"it also gets {more!r}, which its forward does not name")
        if not isinstance(call.output, Tensor):
            raise _Stays(f"it returns a {type(call.output).__name__}, not one map")
        try:
            taken = self.known.given_to(part.path)
        except NotAMap as why:
            raise _Stays(f"its input is not a map: {why}") from None
        if self.kind == "norm" and (act := activation_of(module)) is not None:
            raise _Stays(f"its activation {act} would be removed with it")
        if self.kind == "pool":
            if taken.is_tokens and "n" not in self.maker.spec.input:
                raise _Stays("it takes tokens [b, n, c], and the spec takes a map")
            if fault := swap_fault(self.model, self.known, part, pooled(call)):
                raise _Stays(fault)
            return taken
        if part.shape is None:
            raise _Stays(f"its output is not a map: {part.refusal}")
        if taken != part.shape:
            raise _Stays(f"its input is {_shown(taken)} and its output {_shown(part.shape)}")
        if fault := swap_fault(self.model, self.known, part):
            raise _Stays(fault)
        return taken

    def _site(self, part: Part, shape: MapShape) -> Site:
        stage, block = self.known.place_of(part.path)
        caller = self.known.caller_of(part.path).call
        name = part.path.removeprefix(f"{caller.path}.") if caller.path else part.path
        module = self.model.get_submodule(part.path)
        try:
            made = self.maker.at(shape)
        except ComposerError as failure:
            if any(d.code == "unknown-param" for d in failure.diagnostics):
                raise
            message = f"{part.path} is the first such place; it takes {_shown(shape)}"
            note = Diagnostic("at-site", message, severity="note")
            raise ComposerError((*failure.diagnostics, note)) from None
        return Site(
            path=part.path,
            name=None,
            position="replace",
            channels=shape.channels,
            size=shape.size,
            stage=stage,
            block=block,
            spec=self.maker.spec.name,
            layout=shape.layout,
            parameters=made.parameters,
            flops=made.flops,
            note=with_size(f"in place of {class_before_edits(module).__name__}", made),
            replaced=parameters(module),
            how=Replacement(part.path, part.call, caller, name, at=self.placement.at),
            graph=made.graph,
        )

    # ----------------------------------------------------------------------- nothing found

    def _nothing(self, chosen: int, misses: Sequence[NearMiss]) -> ComposerError:
        """Return the error for no site: why the chosen ones can't be replaced, or what there is."""
        there = f"modules of class {', '.join(self._kinds())}"
        if not chosen and not misses and self.kind is not None:
            seen = f"none of {counted(len(self.known.modules), 'module')} is one"
            way_out = "choose what it replaces: at='module', replace=True, with select or type"
            if self.kind == "pool":
                way_out = (
                    "its forward may pool itself; use at='head' for a mechanism that keeps the map"
                )
            return nothing_found(self.placement.noun, seen, way_out)
        if not chosen:
            return none_matches("module", len(misses), misses, there)
        reasons = Counter(miss.reason for miss in misses if not miss.by_choice).most_common()
        reason, times = reasons[0]
        more = f" ({times} of them)" if len(reasons) > 1 else ""
        which = "the module" if chosen == 1 else f"none of the {chosen} modules"
        message = f"{which} chosen can{'not' if chosen == 1 else ''} be replaced: {reason}{more}"
        return error("no-sites", message, f"there are {there}")

    def _check_types(self) -> None:
        """Refuse a class that no module here has.

        Raises:
            ComposerError: with the classes of replaceable modules.
        """
        modules = [self.model.get_submodule(part.path) for part in self.known.modules]
        there = {name for module in modules for name in class_names(module)}
        for kind in self.placement.types:
            if kind not in there:
                way_out = suggestion(kind, self._kinds(), "Replaceable classes")
                raise error("unknown-class", f"no module here is of class {kind!r}", way_out)

    def _kinds(self) -> Sequence[str]:
        """Return the classes of modules with parameters that take a map and give one like it."""
        kinds: dict[str, None] = {}
        for part in self.known.modules:
            has_some = parameters(self.model.get_submodule(part.path)) > 0
            if has_some and part.kind not in kinds and self._keeps_its_shape(part):
                kinds[part.kind] = None
        return sorted(kinds)

    def _keeps_its_shape(self, part: Part) -> bool:
        try:
            return part.shape is not None and self.known.given_to(part.path) == part.shape
        except NotAMap:
            return False


def _not_taken(module: nn.Module, call: Call) -> str | None:
    """Return an argument of a call that the forward takes only through *args or **kwargs."""
    taken = inspect.signature(module.forward).parameters.values()
    named = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    others = [name for name in call.kwargs if name not in named]
    return "*args" if len(call.args) > len(named) else next(iter(others), None)


def _shown(shape: MapShape) -> str:
    prefix = f" and {counted(shape.prefix, 'prefix token')}" if shape.prefix else ""
    return "×".join(map(str, (shape.channels, *shape.size))) + prefix

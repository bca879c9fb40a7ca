"""The insertions of a model, as classes and the arguments at each site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx, nn

from composer.exporting.python.interface import interface_of
from composer.exporting.python.layers import arguments_of
from composer.exporting.python.mechanism import MechanismClass, mechanism_class
from composer.exporting.python.names import class_name
from composer.exporting.python.samples import known_under, on_meta
from composer.exporting.python.written import Written, written
from composer.graph.graph import Settings
from composer.language.expressions import Expr, Value, evaluate
from composer.lower.build import compiled
from composer.primitives import Spec
from composer.surgery.composition import Composition, Edit, EditedSite


@dataclass(frozen=True)
class Placed:
    """One inserted module: its path, its class, and its arguments by their names in Python.

    `settings` are those of its layers that the arguments don't cover, such as the epsilon of a norm
    that started as the backbone's.
    """

    path: str
    kind: MechanismClass
    arguments: Mapping[str, Value]
    settings: Mapping[str, Mapping[str, Value]]


def placed(model: nn.Module, record: Composition) -> tuple[Placed, ...]:
    """Return all insertions, in order.

    Raises:
        ComposerError: part of it has no form in plain torch.
    """
    classes: list[tuple[Spec, MechanismClass]] = []
    lowered: dict[str, _Lowered] = {}
    return tuple(
        _placed(model, edit, site, classes, lowered)
        for edit in record.edits
        for site in edit.inserted
    )


@dataclass(frozen=True)
class _Lowered:
    """A spec lowered once for all sites with the same settings."""

    module: nn.Module
    written: Written
    numbers: tuple[Value, ...]
    known: Mapping[str, Value]


def _lowered(spec: Spec, settings: Settings, made: dict[str, _Lowered]) -> _Lowered:
    key = f"{id(spec)} {settings}"
    if key not in made:
        graph = compiled(spec, settings)
        module = on_meta(graph)
        made[key] = _Lowered(module, *written(module, graph), known_under(spec, settings))
    return made[key]


def _placed(
    model: nn.Module,
    edit: Edit,
    site: EditedSite,
    classes: list[tuple[Spec, MechanismClass]],
    made: dict[str, _Lowered],
) -> Placed:
    spec, settings = edit.spec, edit.settings_at(site).closed
    module = model.get_submodule(site.module)
    assert isinstance(module, fx.GraphModule)
    interface = interface_of(module, 2 if settings.part == "rest" else 1)
    lowered = _lowered(spec, settings, made)
    known = lowered.known
    alike = (one for own, one in classes if own is spec and one.interface == interface)
    kind = next((one for one in alike if _suits(one, lowered)), None)
    if kind is None:
        name = _name(spec, settings, [one.name for _, one in classes])
        kind = mechanism_class(spec, settings, name, interface)
        classes.append((spec, kind))
    given = {
        word: known[name]
        for name, word in kind.arguments.items()
        if name in known and not _is_default(kind, name, known)
    }
    return Placed(site.module, kind, given, _other_settings(module, lowered.module))


def _suits(kind: MechanismClass, lowered: _Lowered) -> bool:
    """Return whether a class with its arguments is the module at a site."""
    if lowered.written != kind.samples.written:
        return False
    asked = kind.samples.asked
    wanted = (
        asked.numbers[place] if expr is None else evaluate(expr, lowered.known)
        for place, expr in enumerate(kind.expressions)
    )
    return all(_equal(a, b) for a, b in zip(lowered.numbers, wanted, strict=True))


def _equal(one: Value, other: Value | None) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-12 * abs(one)
    return one == other


def _is_default(kind: MechanismClass, name: str, known: Mapping[str, Value]) -> bool:
    default = kind.defaults.get(name)
    if isinstance(default, str):  # an expression over the others
        param = kind.samples.spec.params[name]
        expr: Expr = param.expression(default)
        return not param.choices and evaluate(expr, known) == known[name]
    return default is not None and default == known[name]


def _name(spec: Spec, settings: Settings, taken: Sequence[str]) -> str:
    part = {"whole": "", "shared": "Shared", "rest": "Rest"}[settings.part]
    name, count = f"{class_name(spec.name)}{part}", 1
    while (numbered := name if count == 1 else f"{name}{count}") in taken:
        count += 1
    return numbered


def _other_settings(module: nn.Module, fresh: nn.Module) -> dict[str, dict[str, Value]]:
    """Return the settings of layers that differ from those of the lowered module."""
    found: dict[str, dict[str, Value]] = {}
    for path, layer in module.named_modules():
        if not any(True for _ in layer.children()) and path and hasattr(layer, "eps"):
            own = {name: value for name, value, _ in arguments_of(layer)[1]}
            other = {n: v for n, v, _ in arguments_of(fresh.get_submodule(path))[1]}
            differ = {n: v for n, v in own.items() if other.get(n) != v}
            if differ:
                found[path] = differ
    return found

"""What was inserted into a model, as classes and the arguments that each site has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import fx, nn

from composer.errors import error
from composer.export.python.layers import arguments_of
from composer.export.python.mechanism import MechanismClass, mechanism_class
from composer.export.python.names import class_name
from composer.export.python.samples import known_under, on_meta
from composer.export.python.written import written
from composer.graph.graph import Settings
from composer.language.expressions import Expr, Value, evaluate
from composer.lower.build import compiled
from composer.primitives import Spec
from composer.surgery.composition import Composition, EditedSite


@dataclass(frozen=True)
class Placed:
    """One inserted module: its path, its class, and its arguments by their names in Python.

    `settings` are those of its layers that the arguments do not say, such as the epsilon of a norm
    that began as the backbone's.
    """

    path: str
    kind: MechanismClass
    arguments: Mapping[str, Value]
    settings: Mapping[str, Mapping[str, Value]]


def placed(model: nn.Module, record: Composition) -> tuple[Placed, ...]:
    """Return everything that was inserted, in the order that was done.

    Raises:
        ComposerError: something of it has no form in plain torch.
    """
    classes: list[tuple[Spec, MechanismClass]] = []
    return tuple(
        _placed(model, edit.spec, site, classes) for edit in record.edits for site in edit.inserted
    )


def _placed(
    model: nn.Module, spec: Spec, site: EditedSite, classes: list[tuple[Spec, MechanismClass]]
) -> Placed:
    settings = site.settings.closed
    module = model.get_submodule(site.module)
    assert isinstance(module, fx.GraphModule)
    _need_plain_call(module, site)
    known = known_under(spec, settings)
    kind = next((one for own, one in classes if own is spec and _suits(one, spec, settings)), None)
    if kind is None:
        kind = mechanism_class(spec, settings, _name(spec, settings, [k.name for _, k in classes]))
        classes.append((spec, kind))
    given = {
        word: known[name]
        for name, word in kind.arguments.items()
        if name in known and not _is_default(kind, name, known)
    }
    return Placed(site.module, kind, given, _other_settings(module, spec, settings))


def _suits(kind: MechanismClass, spec: Spec, settings: Settings) -> bool:
    """Return whether a class is what stands at a site, with the arguments that it has there."""
    graph = compiled(spec, settings)
    found, numbers = written(on_meta(graph), graph)
    if found != kind.samples.written or len(numbers) != len(kind.expressions):
        return False
    known = known_under(spec, settings)
    asked = kind.samples.asked
    wanted = (
        asked.numbers[place] if expr is None else evaluate(expr, known)
        for place, expr in enumerate(kind.expressions)
    )
    return all(_equal(a, b) for a, b in zip(numbers, wanted, strict=True))


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


def _need_plain_call(module: fx.GraphModule, site: EditedSite) -> None:
    """Refuse what is called with further arguments, or gives several values.

    Raises:
        ComposerError: code ``no-plain-form``.
    """
    given = [node for node in module.graph.nodes if node.op == "placeholder"]
    extra = given[1:] if site.settings.part != "rest" else given[2:]
    if extra or not isinstance(module.graph.output_node().args[0], fx.Node):
        raise error(
            "no-plain-form",
            f"what stands at {site.path} is called as the layer was whose place it takes, with "
            "further arguments or values, and there is no Python of that yet",
            "export it to pt2 or onnx",
        )


def _other_settings(
    module: fx.GraphModule, spec: Spec, settings: Settings
) -> dict[str, dict[str, Value]]:
    """Return the settings of layers that are others than the spec's."""
    fresh = on_meta(compiled(spec, replace(settings)))
    found: dict[str, dict[str, Value]] = {}
    for path, layer in module.named_modules():
        if not any(True for _ in layer.children()) and path and hasattr(layer, "eps"):
            own = {name: value for name, value, _ in arguments_of(layer)[1]}
            other = {n: v for n, v, _ in arguments_of(fresh.get_submodule(path))[1]}
            differ = {n: v for n, v in own.items() if other.get(n) != v}
            if differ:
                found[path] = differ
    return found

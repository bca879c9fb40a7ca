"""What was done to a model, kept on the model itself as a plain value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from composer.errors import error
from composer.graph.graph import Init, Settings
from composer.language.expressions import Value
from composer.language.place import Place
from composer.lower.paths import module_at
from composer.primitives import Spec
from composer.surgery.edited_class import Edits

At = Place

#: How tokens without a place in the map, such as a class token, are handled.
PrefixTokens = Literal["pass", "join"]

_ATTRIBUTE = "_composition"


@dataclass(frozen=True, kw_only=True)
class Inserted:
    """One inserted module, planned or done.

    It is the child `name` of the module at `path`; a stand-in, which has no name of its own, is
    at the path itself. Its `position` is as written, or ``replace``, in place of a layer, or
    ``shared``, at a block's input, for all its stand-ins. `channels` and `size` are those of its
    output.
    """

    path: str
    name: str | None
    position: str
    channels: int
    size: tuple[int, ...]

    @property
    def module(self) -> str:
        """The path of the inserted module."""
        return inserted_path(self.path, self.name)


@dataclass(frozen=True, kw_only=True)
class EditedSite(Inserted):
    """An insertion, and what was there before.

    `edits` are the earlier ones of the edited modules' classes, and `replaced` the modules that it
    replaced, by path; they are kept only here. `settings` are those of its graph.
    """

    edits: tuple[tuple[str, Edits], ...]
    settings: Settings
    replaced: tuple[tuple[str, nn.Module], ...] = ()


def inserted_path(path: str, name: str | None) -> str:
    """Return the path of the module inserted at a site."""
    return path if name is None else f"{path}.{name}"


@dataclass(frozen=True)
class Edit:
    """One insertion of a spec, as requested, with all its sites.

    `shared` are the modules that several of its sites share.
    """

    spec: Spec
    at: At
    position: str
    params: Mapping[str, Value]
    init: Init
    prefix_tokens: PrefixTokens
    sites: tuple[EditedSite, ...]
    shared: tuple[EditedSite, ...] = ()

    @property
    def inserted(self) -> tuple[EditedSite, ...]:
        """All modules that it inserted, in order."""
        return (*self.shared, *self.sites)

    def settings_at(self, site: EditedSite) -> Settings:
        """Return the settings to lower the module of a site again.

        Under ``init="identity"`` an added module is blended in as f(x); a stand-in starts from the
        weights of the layer that it replaces.
        """
        beside = site.name is not None and site in self.sites
        return replace(site.settings, init=self.init if beside else "paper")


@dataclass(frozen=True)
class Composition:
    """The edits of a model in order, and the MODEL string of its origin, if known.

    `shapes` are those of the backbone's state dict at the first edit, and `modules` the kinds of
    its modules.
    """

    backbone: str | None
    edits: tuple[Edit, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)


def composition(model: nn.Module) -> Composition | None:
    """Return the record of a model's edits, or None for an unedited one."""
    found = vars(model).get(_ATTRIBUTE)
    return found if isinstance(found, Composition) else None


def composed(model: nn.Module) -> Composition:
    """Return the record of a model's edits.

    Raises:
        ComposerError: nothing was inserted.
    """
    record = composition(model)
    if record is None:
        raise error(
            "not-composed",
            f"nothing was inserted into this {type(model).__name__}",
            "give a model returned by composer.insert or composer.load",
        )
    return record


def remember(model: nn.Module, record: Composition | None) -> None:
    """Keep the record on the model; None forgets it."""
    if record is None:
        vars(model).pop(_ATTRIBUTE, None)
    else:
        vars(model)[_ATTRIBUTE] = record


def inserted_sites(model: nn.Module) -> tuple[EditedSite, ...]:
    """Return all insertions, in order."""
    record = composition(model)
    return tuple(site for edit in record.edits for site in edit.inserted) if record else ()


def inserted_prefixes(model: nn.Module) -> tuple[str, ...]:
    """Return the key prefixes of all inserted modules, such as ``layer1.0.cbam.``.

    A block that a model holds under two names has state-dict keys under both.
    """
    paths = [site.module for site in inserted_sites(model)]
    modules = dict(model.named_modules(remove_duplicate=False)) if paths else {}
    inserted = {id(modules[path]) for path in paths if path in modules}
    others = (path for path, module in modules.items() if id(module) in inserted)
    return tuple(f"{path}." for path in dict.fromkeys((*paths, *others)))


def replaced_modules(model: nn.Module) -> nn.Module:
    """Return the replaced layers, each at the path that it had."""
    root = nn.Module()
    for site in inserted_sites(model):
        for path, module in site.replaced:
            parent, _, name = path.rpartition(".")
            module_at(root, parent).add_module(name, module)
    return root


def parameters_before(model: nn.Module) -> int:
    """Return the number of parameters that the model had before every edit."""
    modules = [model.get_submodule(site.module) for site in inserted_sites(model)]
    inserted = {id(p) for module in modules for p in module.parameters()}
    kept = (p for p in model.parameters() if id(p) not in inserted)
    own = {id(p): p.numel() for p in (*kept, *replaced_modules(model).parameters())}
    return sum(own.values())


def own_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's state dict, as if nothing had been inserted."""
    inserted = inserted_prefixes(model)
    kept = {k: t for k, t in model.state_dict().items() if not k.startswith(inserted)}
    own = {**kept, **replaced_modules(model).state_dict()}
    return {key: tuple(tensor.shape) for key, tensor in own.items()}


def difference_of_shapes(
    now: Mapping[str, tuple[int, ...]], then: Mapping[str, tuple[int, ...]]
) -> str | None:
    """Return the first difference of two state dicts in words, or None where all agree."""
    for key in [*then, *now]:
        if now.get(key) != then.get(key):
            sizes = ["×".join(map(str, s[key])) if key in s else "missing" for s in (now, then)]
            return f"{key!r} is {sizes[0]} here and {sizes[1]} there"
    return None

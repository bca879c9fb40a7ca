"""`recipe`: all that is needed to make a composition again, in one YAML file."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from composer.artifact.identify import identify, with_its_head
from composer.artifact.other_ops import owners_of_ops
from composer.artifact.recipe_read import parse_recipe, placed, problems_of, wrong_field
from composer.artifact.recipe_text import OneLine, written
from composer.errors import ComposerError, Diagnostic, error
from composer.language.models import Model
from composer.language.source import Source
from composer.measure.cost import floating_dtype
from composer.measure.inputs import described, remembered_inputs
from composer.models.model_string import ModelString
from composer.surgery.composition import (
    At,
    Edit,
    PrefixTokens,
    composed,
    difference_of_shapes,
    inserted_prefixes,
    own_shapes,
)
from composer.surgery.origin import check_origin
from composer.surgery.own_modules import difference_of_modules, own_modules

#: Of the recipes that are written; earlier versions can be read as well.
VERSION = 1


Count = Annotated[int, Field(strict=True, ge=0)]


class RecipeSite(Model):
    """One inserted module: ``path.name`` in the model; in place of a layer, at its path."""

    path: str
    name: str | None = None
    position: str
    channels: Count
    size: tuple[Count, ...]


class RecipeEdit(Model):
    """One insertion: the spec's own text, its params, and every site.

    `uses` are the texts of the specs that it uses or extends, by the words that refer to them.
    """

    spec: str
    sha256: str
    at: At
    position: str
    init: Literal["paper", "identity"]
    prefix_tokens: PrefixTokens = "pass"
    params: Mapping[str, int | float | bool | str] = Field(default_factory=dict)
    sites: tuple[RecipeSite, ...]
    text: str
    uses: Mapping[str, str] = Field(default_factory=dict)


class RecipeInputs(Model):
    """The inputs of the backbone, if more than one image: its arguments.

    A tensor is ``{shape: [1, 4, 64, 64], dtype: float32}``.
    """

    args: list[Any]
    kwargs: dict[str, Any]


class Recipe(Model):
    """A composition: the backbone, the edits in order, and the versions that made it.

    `ops` are those of other distributions, each with its distribution and version.
    """

    composer: Literal[1] = 1
    backbone: str
    dtype: str
    inputs: RecipeInputs | None = None
    edits: tuple[RecipeEdit, ...]
    ops: Mapping[str, str] = Field(default_factory=dict)
    versions: dict[str, str]

    _source: Source = PrivateAttr(default_factory=lambda: Source("<recipe>", ""))

    @property
    def origin(self) -> Source:
        """The text that it was read from, with the position of each value."""
        return self._source

    def __eq__(self, other: object) -> bool:
        """Return whether all fields agree, whatever text they were read from."""
        return isinstance(other, Recipe) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash((self.backbone, self.dtype, len(self.edits)))

    def to_yaml(self) -> str:
        """Return the recipe as YAML."""
        data = as_data(self)
        for edit in data["edits"]:
            edit["sites"] = [OneLine(_told(site)) for site in edit["sites"]]
            if not edit["uses"]:
                del edit["uses"]
        if data["inputs"] is None:
            del data["inputs"]
        return written(data)

    @classmethod
    def from_yaml(cls, text: str, file: str) -> Recipe:
        """Read a recipe.

        Raises:
            ComposerError: it is not a recipe, or a spec's text does not match its hash.
        """
        data, source = parse_recipe(text, file)
        _refuse_newer(data, source, file)
        try:
            recipe = cls.model_validate(data)
        except ValidationError as failure:
            raise ComposerError(
                [wrong_field(d, source, file, _FIELDS) for d in failure.errors(include_url=False)]
            ) from None
        with placed(source, ("backbone",)):
            ModelString.parse(recipe.backbone)
        if problems := list(problems_of(data, source, file)):
            raise ComposerError(problems)
        recipe._source = source
        for index, edit in enumerate(recipe.edits):
            if _sha256(edit.text, edit.uses) != edit.sha256:
                raise ComposerError(
                    Diagnostic(
                        "changed-spec",
                        f"the text of the spec {edit.spec!r} is not the one that was inserted",
                        "insert the changed spec into the backbone again; "
                        "a recipe is a record, not a file to edit",
                        source.at(("edits", index, "text")),
                        file,
                    )
                )
        return recipe


_FIELDS = {
    "": tuple(Recipe.model_fields),
    "edits": tuple(RecipeEdit.model_fields),
    "sites": tuple(RecipeSite.model_fields),
    "inputs": tuple(RecipeInputs.model_fields),
}


def _refuse_newer(data: Any, source: Source, file: str) -> None:
    """Refuse a recipe of a version that this Composer does not know.

    Raises:
        ComposerError: code ``newer-recipe``.
    """
    number = data.get("composer") if isinstance(data, dict) else None
    if isinstance(number, int) and not isinstance(number, bool) and number > VERSION:
        raise ComposerError(
            Diagnostic(
                "newer-recipe",
                f"this recipe has version {number}, and this Composer reads up to {VERSION}",
                "upgrade: pip install --upgrade attention-composer",
                source.at(("composer",)),
                file,
            )
        )


def _told(site: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in site.items() if value is not None}


def recipe(model: nn.Module) -> Recipe:
    """Return the recipe of a composed model.

    Raises:
        ComposerError: nothing was inserted, or the origin of the backbone is unknown.
    """
    record = composed(model)
    _refuse_parametrized(model)
    changed = difference_of_shapes(own_shapes(model), record.shapes) or difference_of_modules(
        own_modules(model), record.modules
    )
    backbone = record.backbone
    if changed or not backbone:
        backbone = with_its_head(model) or identify(model)
    if backbone is None:
        reason = f"it is not known how this {type(model).__name__} was made"
        way_out = f"insert(model, spec, backbone='file.py:factory'){_like(model)}"
        if record.backbone and changed:
            reason = f"the model was changed after the insertion ({changed})"
            way_out = "save(model, folder, backbone='file.py:factory'), or save its state_dict()"
        raise error(
            "unknown-origin",
            f"{reason}, so a recipe could not make it again",
            f"name its MODEL: {way_out}",
        )
    return recipe_of(model, backbone)


def recipe_as(model: nn.Module, backbone: str) -> Recipe:
    """Return the recipe of a composed model whose backbone is declared to be MODEL.

    Raises:
        ComposerError: nothing was inserted, or MODEL makes a different model.
    """
    composed(model)
    _refuse_parametrized(model)
    check_origin(model, backbone)
    return recipe_of(model, str(ModelString.parse(backbone)))


def _refuse_parametrized(model: nn.Module) -> None:
    """Refuse inserted weights that are computed from others: no recipe restores their keys."""
    inside = inserted_prefixes(model)
    for path, module in model.named_modules():
        if not f"{path}.".startswith(inside):
            continue
        if is_parametrized(module) or any(name.endswith("_orig") for name in module._parameters):
            raise error(
                "parametrized",
                f"the weights of {path} are computed from others, as by spectral_norm or pruning, "
                "and a recipe has no such keys",
                "make them plain first with remove_parametrizations or prune.remove, or save the "
                "state_dict() yourself",
            )


def recipe_of(model: nn.Module, backbone: str) -> Recipe:
    """Return the recipe of a composed model whose backbone MODEL names.

    Raises:
        ComposerError: nothing was inserted.
    """
    record = composed(model)
    return Recipe(
        backbone=backbone,
        dtype=str(floating_dtype(model)).removeprefix("torch."),
        inputs=_recipe_inputs(model),
        edits=tuple(map(_recipe_edit, record.edits)),
        ops=owners_of_ops(edit.spec for edit in record.edits),
        versions=versions(backbone),
    )


def _recipe_inputs(model: nn.Module) -> RecipeInputs | None:
    given = remembered_inputs(model)
    if given is None or not given.are_examples:
        return None
    args, kwargs = described(given)
    return RecipeInputs(args=args, kwargs=kwargs)


def _like(model: nn.Module) -> str:
    config = getattr(model, "pretrained_cfg", None)
    name = config.get("architecture") if isinstance(config, dict) else None
    return f", or with its arguments as in '{name}?drop_path_rate=0.1'" if name else ""


def _recipe_edit(edit: Edit) -> RecipeEdit:
    text, uses = edit.spec.origin.text, edit.spec.texts
    return RecipeEdit(
        spec=edit.spec.name,
        sha256=_sha256(text, uses),
        at=edit.at,
        position=edit.position,
        init=edit.init,
        prefix_tokens=edit.prefix_tokens,
        params=dict(edit.params),
        sites=tuple(
            RecipeSite(
                path=s.path, name=s.name, position=s.position, channels=s.channels, size=s.size
            )
            for s in edit.sites
        ),
        text=text,
        uses=dict(uses),
    )


def versions(backbone: str) -> dict[str, str]:
    """Return the versions of the libraries that a composition depends on."""
    packages = ["attention-composer", "torch", "torchvision", "timm"]
    libraries = {"hf:": "transformers", "ultralytics:": "ultralytics"}
    packages += [name for prefix, name in libraries.items() if backbone.startswith(prefix)]
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _sha256(text: str, uses: Mapping[str, str]) -> str:
    """Return the hash of a spec's text and of the texts of the specs that it uses."""
    more = "".join(f"\0{word}\0{uses[word]}" for word in sorted(uses))
    return hashlib.sha256(f"{text}{more}".encode()).hexdigest()


def as_data(made: Recipe) -> dict[str, Any]:
    """Return the recipe as plain values."""
    data = made.model_dump(mode="json")
    return data if made.ops else {key: value for key, value in data.items() if key != "ops"}

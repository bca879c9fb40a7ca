"""The differences of two compositions: backbone, edits, sites, params, specs, costs, weights."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from composer.artifact.folder import read_recipe
from composer.artifact.output import REPLACED, REPORT, WEIGHTS
from composer.artifact.recipe import Recipe, RecipeEdit, RecipeSite
from composer.looking.spec_diff import text_differences
from composer.looking.weight_diff import WeightDifference, weight_difference
from composer.models.inside import check_inside
from composer.models.weights_file import read_safetensors
from composer.surgery.composition import inserted_path

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class EditDifference:
    """Two edits by the same spec, or one that only one composition has.

    Attributes:
        spec: the name of the spec.
        numbers: its number in each, from 1; None where it is missing.
        fields: the differences in placement and init.
        params: the differences of the params that were set; None where one was not.
        only_a: the modules only in the first.
        only_b: the modules only in the second.
        moved: modules with different position, channels or size.
        texts: unified diffs of the spec's text, and of the specs that it uses.
    """

    spec: str
    numbers: tuple[int | None, int | None]
    fields: Mapping[str, Pair]
    params: Mapping[str, Pair]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    moved: Mapping[str, tuple[str, str]]
    texts: Mapping[str, str]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        rest = (self.fields, self.params, self.only_a, self.only_b, self.moved, self.texts)
        return None not in self.numbers and not any(rest)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "spec": self.spec,
            "edits": list(self.numbers),
            "fields": {key: list(pair) for key, pair in self.fields.items()},
            "params": {key: list(pair) for key, pair in self.params.items()},
            "sites": {
                "only_a": list(self.only_a),
                "only_b": list(self.only_b),
                "moved": {key: list(pair) for key, pair in self.moved.items()},
            },
            "texts": dict(self.texts),
        }


@dataclass(frozen=True)
class CompositionDifference:
    """The differences between two compositions; `versions` alone don't count as one.

    `costs` are parameters and multiply-adds of the whole model, from the reports.
    """

    fields: Mapping[str, Pair]
    edits: tuple[EditDifference, ...]
    costs: Mapping[str, Pair]
    weights: WeightDifference
    versions: Mapping[str, Pair]

    @property
    def is_same(self) -> bool:
        """Whether both have the same model and the same history."""
        return not self.fields and not self.edits and not self.costs and self.weights.is_same

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "fields": {key: list(pair) for key, pair in self.fields.items()},
            "edits": [edit.as_json() for edit in self.edits],
            "costs": {key: list(pair) for key, pair in self.costs.items()},
            "weights": self.weights.as_json(),
            "versions": {key: list(pair) for key, pair in self.versions.items()},
        }


def composition_difference(a: Path, b: Path) -> CompositionDifference:
    """Return the differences of two folders written by `insert` or `save`; no model is built.

    Raises:
        ComposerError: one is not a composition, or its weights can't be read.
    """
    recipes = read_recipe(a), read_recipe(b)
    one, other = recipes
    fields = {
        name: (getattr(one, name), getattr(other, name))
        for name in ("backbone", "dtype", "inputs", "ops")
    }
    told = {
        name: tuple(v.model_dump(mode="json") if hasattr(v, "model_dump") else v for v in pair)
        for name, pair in fields.items()
    }
    return CompositionDifference(
        {name: (x, y) for name, (x, y) in told.items() if x != y},
        _edits(recipes, (str(a), str(b))),
        _apart(_costs(a), _costs(b)),
        weight_difference(_weights(a), _weights(b)),
        _apart(one.versions, other.versions),
    )


def _apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    keys = dict.fromkeys((*a, *b))
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}


def _weights(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a composition; those of replaced layers are marked in their names."""
    for name in (WEIGHTS, REPLACED):
        check_inside(folder / name, folder)
    found = read_safetensors(folder / WEIGHTS)
    if (folder / REPLACED).is_file():
        replaced = read_safetensors(folder / REPLACED)
        found |= {f"(replaced) {name}": tensor for name, tensor in replaced.items()}
    return found


def _costs(folder: Path) -> dict[str, int]:
    """Return the parameters and multiply-adds of a report; nothing if it is not readable."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        costs = {"parameters": report["parameters"]["after"], "flops": report["flops"]["after"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: cost for name, cost in costs.items() if isinstance(cost, int)}


# ----------------------------------------------------------------------------------- edits


def _edits(recipes: tuple[Recipe, Recipe], names: tuple[str, str]) -> tuple[EditDifference, ...]:
    """Return the differences of the edits; those by the same spec are paired in order."""
    a, b = (recipe.edits for recipe in recipes)
    specs = [[edit.spec for edit in edits] for edits in (a, b)]
    found: list[EditDifference] = []
    matching = difflib.SequenceMatcher(None, specs[0], specs[1], autojunk=False)
    for kind, first, last, start, end in matching.get_opcodes():
        if kind == "equal":
            pairs = zip(range(first, last), range(start, end), strict=True)
            found += [_pair(a[i], b[j], (i + 1, j + 1), names) for i, j in pairs]
            continue
        found += [_alone(a[i], (i + 1, None)) for i in range(first, last)]
        found += [_alone(b[j], (None, j + 1)) for j in range(start, end)]
    return tuple(edit for edit in found if not edit.is_same)


def _alone(edit: RecipeEdit, numbers: tuple[int | None, int | None]) -> EditDifference:
    modules = tuple(map(_module, edit.sites))
    only_a, only_b = (modules, ()) if numbers[1] is None else ((), modules)
    return EditDifference(edit.spec, numbers, {}, {}, only_a, only_b, {}, {})


def _pair(
    a: RecipeEdit, b: RecipeEdit, numbers: tuple[int, int], names: tuple[str, str]
) -> EditDifference:
    fields = {
        name: (getattr(a, name), getattr(b, name))
        for name in ("at", "position", "init", "prefix_tokens")
    }
    sites = [{_module(site): site for site in edit.sites} for edit in (a, b)]
    both = [module for module in sites[0] if module in sites[1]]
    return EditDifference(
        a.spec,
        numbers,
        {name: pair for name, pair in fields.items() if pair[0] != pair[1]},
        _apart(a.params, b.params),
        _without(sites[0], sites[1]),
        _without(sites[1], sites[0]),
        {
            module: (_told(sites[0][module]), _told(sites[1][module]))
            for module in both if sites[0][module] != sites[1][module]
        },
        text_differences({"": a.text, **a.uses}, {"": b.text, **b.uses}, names),
    )  # fmt: skip


def _without(own: Mapping[str, RecipeSite], other: Mapping[str, RecipeSite]) -> tuple[str, ...]:
    return tuple(module for module in own if module not in other)


def _module(site: RecipeSite) -> str:
    return inserted_path(site.path, site.name)


def _told(site: RecipeSite) -> str:
    return f"{site.position}, {'×'.join(map(str, (site.channels, *site.size)))}"


def shown(names: Sequence[str], most: int = 4) -> str:
    """Return some names, and the number of the others."""
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"

"""A recipe on another backbone: the same specs, at the corresponding sites.

A recipe records the sites and not the options that chose them. So each edit is planned again on
its own backbone, with one choice after another, until one gives exactly the sites of the recipe:
the default of the spec; every place; some stages; some blocks of each stage; every n-th; for
modules, their paths with wildcards for numbers. That choice is applied to the other backbone.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from composer.artifact.folder import read_recipe
from composer.artifact.other_ops import check_ops
from composer.artifact.recipe import Recipe, RecipeEdit
from composer.artifact.recipe_backbone import backbone_of
from composer.errors import ComposerError, error, listing
from composer.graph.frontend import check_text
from composer.graph.graph import Init
from composer.language.expressions import Value
from composer.language.selection import Selection
from composer.language.source import read_text
from composer.primitives import Spec
from composer.surgery.composition import At, PrefixTokens
from composer.surgery.insert import apply
from composer.surgery.match import KEYS
from composer.surgery.plan import Plan, Site, plan, plan_again

_MOST_EVERY, _MOST_STAGES, _MOST_RULES = 6, 64, 3


@dataclass(frozen=True)
class Carried:
    """One edit of a recipe as a rule for any backbone; `choice` goes to `plan`.

    `others` are other choices, in words, that also give the recipe's sites on its own backbone.
    """

    spec: Spec
    at: At
    params: Mapping[str, Value]
    init: Init
    prefix_tokens: PrefixTokens
    choice: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        others = (
            f"; these choices give the same: {listing(self.others, 'or')}" if self.others else ""
        )
        return f"the recipe's sites follow from: {_words(self)}{others}"

    def planned(self, model: nn.Module) -> Plan:
        """Plan it on a model.

        Raises:
            ComposerError: no site matches, or the spec does not suit it.
        """
        return plan(
            model,
            self.spec,
            self.at,
            params=self.params,
            init=self.init,
            prefix_tokens=self.prefix_tokens,
            **self.choice,
        )


def carried(
    made: Recipe, beside: Path | None = None, *, trust_code: bool = False
) -> tuple[Carried, ...]:
    """Return the edits of a recipe by the rules that its sites follow.

    Args:
        made: the recipe.
        beside: the composition's folder, in which a relative file is also searched.
        trust_code: whether code or files that it names may be used to make its backbone.

    Raises:
        ComposerError: its backbone can't be made, an op is not installed, or the sites of an edit
            follow no rule that applies to other backbones.
    """
    check_ops(made.ops)
    model = backbone_of(made.backbone, made.origin, beside, trust_code)
    found = []
    for number, edit in enumerate(made.edits, 1):
        spec, problems = check_text(edit.text, f"the recipe's {edit.spec}", edit.uses)
        if spec is None:
            raise ComposerError([p for p in problems if p.severity == "error"])
        found.append(_ruled(model, spec, edit, number, made.backbone))
        if number < len(made.edits):
            paths = [site.path for site in edit.sites]
            again = plan_again(
                model, spec, edit.at, edit.position, paths, edit.params, edit.init,
                edit.prefix_tokens,
            )  # fmt: skip
            model = apply(model, again, made.backbone)
    return tuple(found)


def _ruled(model: nn.Module, spec: Spec, edit: RecipeEdit, number: int, backbone: str) -> Carried:
    """Return an edit as the first rule that gives its sites.

    Raises:
        ComposerError: code ``no-rule``.
    """
    asked = Carried(spec, edit.at, edit.params, edit.init, edit.prefix_tokens)
    wanted = {site.path for site in edit.sites}
    found: list[Carried] = []
    for choice in _choices(model, asked, edit):
        one = replace(asked, choice=choice)
        if {site.path for site in _sites(model, one)} == wanted:
            found.append(one)
            if edit.at == "module" or set(choice) <= {"position"} or len(found) == _MOST_RULES:
                break
    if found:
        return replace(found[0], others=tuple(map(_words, found[1:])))
    paths = listing([site.path or "the model" for site in edit.sites[:4]])
    raise error(
        "no-rule",
        f"edit {number} of the recipe puts {edit.spec} at {paths}"
        f"{' and others' if len(edit.sites) > 4 else ''}, and no rule of stages and blocks gives "
        f"exactly these places of {backbone}, so their counterparts elsewhere are unknown",
        f"insert it on its own: --spec {edit.spec} --at {edit.at}, with --stages, --blocks or "
        "--select",
    )


def _sites(model: nn.Module, asked: Carried) -> tuple[Site, ...]:
    try:
        return asked.planned(model).sites
    except ComposerError:  # such as for a missing stage
        return ()


def _choices(model: nn.Module, asked: Carried, edit: RecipeEdit) -> Iterator[dict[str, Any]]:
    """Yield choices that may give the sites, the simplest first."""
    position = {} if edit.position == "replace" else {"position": edit.position}
    if edit.at == "module":
        select = {"select": list(dict.fromkeys(_any_number(site.path) for site in edit.sites))}
        if edit.position != "replace":
            yield {**position, **select}
            return
        types = {type(model.get_submodule(site.path)).__name__ for site in edit.sites}
        kind = {"replace": True, "type": sorted(types)}
        yield from (kind, {**kind, **select}, {"replace": True, **select})
        return
    yield position
    wanted = {site.path for site in edit.sites}
    for match in _matches(model, edit):
        everywhere = {**position, **match, "stages": "1..-1"}
        sites = _sites(model, replace(asked, choice=everywhere))
        if wanted <= {site.path for site in sites}:
            found = (
                choice
                for choice in _thinnings(sites, len(wanted))
                if _left(sites, choice) == wanted
            )
            few = itertools.islice(found, _MOST_RULES)
            yield from ({**everywhere, **choice} for choice in few)


def _matches(model: nn.Module, edit: RecipeEdit) -> Iterator[dict[str, Any]]:
    """Yield which kinds of convolutions may have been chosen: a recipe does not record it."""
    yield {}
    if edit.at != "conv":
        return
    anything = dict.fromkeys(KEYS)
    yield {"match": anything}
    layers = [model.get_submodule(site.path) for site in edit.sites]
    facts = [{key: getattr(layer, f"{key}_size", getattr(layer, key, None))
              for key in ("kernel", "stride")} for layer in layers]  # fmt: skip
    shared = {
        key: value[0] for key, value in facts[0].items()
        if isinstance(value, tuple) and len(set(value)) == 1
        and all(one[key] == value for one in facts)
    }  # fmt: skip
    yield from ({"match": {**anything, key: value}} for key, value in shared.items())
    yield {"match": {**anything, **shared}}


def _thinnings(sites: Sequence[Site], wanted: int) -> Iterator[dict[str, Any]]:
    """Yield choices of stages, of blocks in them, and of every n-th site."""
    count = max((site.stage or 0 for site in sites), default=0)
    longest = max((site.block or 0 for site in sites), default=0)
    subsets = itertools.chain.from_iterable(
        itertools.combinations(range(1, count + 1), size) for size in range(count, 0, -1)
    )
    for stages in itertools.islice((_in_words(list(one), count) for one in subsets), _MOST_STAGES):
        yield {"stages": stages}
        for blocks in (*_BLOCKS, *map(str, range(2, longest))) if longest else ():
            yield {"stages": stages, "blocks": blocks}
        for every in (
            range(2, _MOST_EVERY + 1) if wanted > 2 else ()
        ):  # any two sites are every n-th
            yield {"stages": stages, "every": every}


def _left(sites: Sequence[Site], choice: Mapping[str, Any]) -> set[str]:
    """Return the paths of the sites that a choice leaves."""
    count = max((site.stage or 0 for site in sites), default=0)
    stages = Selection.parse(choice["stages"]).of(count)
    kept = [site for site in sites if site.stage in stages]
    if "blocks" in choice:
        lengths = Counter[int | None]()
        for site in sites:
            lengths[site.stage] = max(lengths[site.stage], site.block or 0)
        blocks = Selection.parse(choice["blocks"])
        kept = [site for site in kept if site.block in blocks.of(lengths[site.stage])]
    return {site.path for site in kept[:: choice.get("every", 1)]}


_BLOCKS = ("1", "-1", "2..-1", "1..-2", "2..-2", "-2..-1", "1,-1")


def _in_words(stages: list[int], count: int) -> str:
    """Return stages as a selection: those up to the last as ``2..-1``."""
    if stages == list(range(stages[0], count + 1)):
        return "-1" if stages[0] == count > 1 else f"{stages[0]}..-1"
    return ",".join(map(str, stages))


def _words(one: Carried) -> str:
    choice = {key: value for key, value in one.choice.items() if value != "1..-1"}
    return ", ".join([f"at {one.at}", *(f"{key} {_said(value)}" for key, value in choice.items())])


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{k}={v}" for k, v in value.items() if v is not None) or "any"
    return " ".join(value) if isinstance(value, list) else str(value)


def _any_number(path: str) -> str:
    """Return a path as a glob with a wildcard for each of its numbers."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", path)


def read_recipe_at(path: Path) -> tuple[Recipe, Path]:
    """Return the recipe of a file, or of the folder of a composition, and that folder.

    Raises:
        ComposerError: there is none, or it is not valid.
    """
    if path.is_dir():
        return read_recipe(path), path
    return Recipe.from_yaml(read_text(path), str(path)), path.parent

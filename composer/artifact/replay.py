"""Replay a recipe: make its backbone, and repeat each edit at the recorded sites."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from composer.artifact.other_ops import check_ops
from composer.artifact.recipe import Recipe
from composer.artifact.recipe_backbone import backbone_of
from composer.artifact.recipe_read import placed
from composer.errors import ComposerError, Diagnostic, counted
from composer.graph.frontend import check_text
from composer.measure.inputs import from_description, remember_inputs, remembered_inputs
from composer.surgery.insert import apply
from composer.surgery.plan import Site, plan_again


def replay(made: Recipe, beside: Path | None = None, *, trust_code: bool = False) -> nn.Module:
    """Make the backbone and repeat every edit; the weights are fresh.

    Args:
        made: the recipe.
        beside: the composition's folder, in which a relative file is also searched.
        trust_code: whether code or files that the recipe names may be used for the backbone.

    Raises:
        ComposerError: the backbone can't be made, an op is not installed, or an edit no longer
            finds its sites.
    """
    with placed(made.origin, ("ops",)):
        check_ops(made.ops)
    model = backbone_of(made.backbone, made.origin, beside, trust_code)
    repeat_edits(model, made)
    return model


def repeat_edits(model: nn.Module, made: Recipe, *, as_recorded: bool = True) -> None:
    """Repeat every edit of a recipe on a fresh backbone, in place.

    Args:
        model: the backbone.
        made: the recipe.
        as_recorded: whether the sites must have the recorded channels and sizes; False where the
            backbone is made with other arguments.

    Raises:
        ComposerError: an edit no longer finds its sites, or finds them changed.
    """
    check_ops(made.ops)
    if made.inputs is not None and remembered_inputs(model) is None:
        remember_inputs(model, from_description(made.inputs.args, made.inputs.kwargs))
    for number, edit in enumerate(made.edits):
        spec, problems = check_text(edit.text, f"the recipe's {edit.spec}", edit.uses)
        if spec is None:
            raise ComposerError([p for p in problems if p.severity == "error"])
        if spec.name != edit.spec:
            where = made.origin.at(("edits", number, "spec"))
            message = f"the edit names {edit.spec!r}, and its text is the spec {spec.name!r}"
            raise ComposerError(Diagnostic("bad-recipe", message, "was the recipe edited?", where))
        with placed(made.origin, ("edits", number)):
            found = plan_again(
                model, spec, edit.at, edit.position, [site.path for site in edit.sites],
                edit.params, edit.init, edit.prefix_tokens,
            )  # fmt: skip
            _check_sites(made, number, found.sites, as_recorded)
            apply(model, found, made.backbone)


def _check_sites(made: Recipe, number: int, found: Sequence[Site], as_recorded: bool) -> None:
    """Refuse sites that differ from those that a recipe records.

    Raises:
        ComposerError: code ``changed-backbone``, at the first that differs.
    """
    wanted = made.edits[number].sites
    there = [(site.path, site.name, site.position) for site in found]
    recorded = [(site.path, site.name, site.position) for site in wanted]
    way_out = f"it was made with {_made_with(made.versions)}"
    if there != recorded:
        differing = sorted({str(x[0]) for x in set(there) ^ set(recorded)}) or [
            "in a different order"
        ]
        index = next((n for n, one in enumerate(recorded) if one not in there), 0)
        where = made.origin.at(("edits", number, "sites", index))
        message = f"{made.backbone} has different sites than the recipe: {', '.join(differing[:3])}"
        raise ComposerError(Diagnostic("changed-backbone", message, way_out, where))
    for index, (site, record) in enumerate(zip(found, wanted, strict=True)):
        for what in ("channels", "size") if as_recorded else ():
            now, then = getattr(site, what), getattr(record, what)
            if now != then:
                where = made.origin.at(("edits", number, "sites", index, what))
                message = (
                    f"{site.path or 'the model'} has {_shown(then)} in the recipe, and "
                    f"{_shown(now)} in {made.backbone}"
                )
                raise ComposerError(Diagnostic("changed-backbone", message, way_out, where))


def _shown(value: int | tuple[int, ...]) -> str:
    if isinstance(value, int):
        return counted(value, "channel")
    return f"the size {'×'.join(map(str, value))}" if value else "a single place"


def _made_with(made: dict[str, str]) -> str:
    return ", ".join(f"{package} {number}" for package, number in made.items())

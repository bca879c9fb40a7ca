"""The report of an insertion, for programs and for people."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from composer.analysis.copies import shell_of
from composer.analysis.probe import probe
from composer.artifact.recipe_backbone import needs_trust
from composer.artifact.report_json import (
    VERSION,
    InputJson,
    PairJson,
    ReportJson,
    SiteJson,
    WeightsJson,
)
from composer.errors import counted
from composer.graph.graph import Init
from composer.measure.cost import parameters
from composer.measure.numbers import giga
from composer.surgery.composition import Inserted, composed, parameters_before
from composer.surgery.eject import eject
from composer.surgery.site import Plan
from composer.visible import visible_line


@dataclass(frozen=True)
class Weights:
    """Where the backbone's numbers came from; `path` is that of a file or a composition."""

    source: Literal["default", "pretrained", "file", "composition", "model"] = "model"
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class SiteReport(Inserted):
    """One inserted module in the report."""

    spec: str
    parameters: int
    init: Init = "paper"

    @property
    def shown_size(self) -> str:
        """The size in words: ``14×14``."""
        return "×".join(map(str, self.size))


@dataclass(frozen=True)
class Report:
    """What an insertion did and what it costs; `flops` are multiply-adds of one image."""

    backbone: str
    sites: tuple[SiteReport, ...]
    parameters: tuple[int, int]
    flops: tuple[int, int]
    input_shape: tuple[int, ...]
    difference: float | None = None
    output: str | None = None
    notes: tuple[str, ...] = ()
    against: str = "the original"
    image: str | None = None
    weights: Weights = Weights()

    @property
    def init(self) -> Init | None:
        """How all sites begin; None where they differ."""
        found = {site.init for site in self.sites}
        return found.pop() if len(found) == 1 else None

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints and ``report.json`` holds."""
        return ReportJson(
            version=VERSION,
            backbone=self.backbone,
            sites=[
                SiteJson(
                    path=site.path,
                    position=site.position,
                    spec=site.spec,
                    channels=site.channels,
                    size=list(site.size),
                    parameters=site.parameters,
                    init=site.init,
                )
                for site in self.sites
            ],
            parameters=PairJson(before=self.parameters[0], after=self.parameters[1]),
            flops=PairJson(before=self.flops[0], after=self.flops[1]),
            difference=self.difference,
            output=self.output,
            init=self.init,
            input=InputJson(shape=list(self.input_shape), image=self.image),
            weights=WeightsJson(source=self.weights.source, path=self.weights.path),
            notes=list(self.notes),
        ).model_dump()

    def as_markdown(self) -> str:
        """Return the text of ``report.md``."""
        specs = " and ".join(dict.fromkeys(site.spec for site in self.sites))
        lines = [
            f"# {_markdown(specs)} in {_markdown(self.backbone)}",
            "",
            f"{counted(len(self.sites), 'site')}; an input of "
            f"{'×'.join(map(str, self.input_shape))}.",
            "",
            "| module | position | channels | size | parameters |",
            "| --- | --- | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {_code(site.module)} | {_markdown(site.position)} | {site.channels} | "
            f"{site.shown_size} | {site.parameters:,} |"
            for site in self.sites
        ]
        lines += ["", "| | before | after | change |", "| --- | ---: | ---: | ---: |"]
        lines += [
            f"| parameters | {self.parameters[0]:,} | {self.parameters[1]:,} | "
            f"{change(self.parameters)} |",
            f"| multiply-adds | {giga(self.flops[0])} | {giga(self.flops[1])} | "
            f"{change(self.flops)} |",
            "",
        ]
        if self.difference is not None:
            against = f"{_markdown(self.against)}'s output: {self.difference:.3g}"
            lines += [f"Largest difference from {against}.", ""]
        lines += [f"- {_markdown(note)}" for note in self.notes]
        lines += [""] if self.notes else []
        lines += ["```python", *map(visible_line, self.how_to_load()), "```", ""]
        return "\n".join(lines)

    def how_to_load(self) -> tuple[str, str, str]:
        """Return the three lines of Python that load the composition."""
        trust = ", trust_code=True" if needs_trust(self.backbone) else ""
        return "import composer", f"model = composer.load({self.output!r}{trust})", "model.eval()"

    def at(self, output: str) -> Report:
        """Return the report with the folder that was written."""
        return replace(self, output=output)


def change(pair: tuple[int, int]) -> str:
    """Return the change from before to after, as a percentage."""
    before, after = pair
    return f"{(after - before) / before:+.2%}" if before else f"{after:+,}"


def _markdown(text: str) -> str:
    """Return a text escaped for Markdown: no link, no HTML, no table cell."""
    return re.sub(r"[\\`\[\]<>|&]", r"\\\g<0>", visible_line(text))


def _code(text: str) -> str:
    """Return a text as code in a table cell."""
    shown = visible_line(text).replace("|", r"\|")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def describe(
    model: nn.Module,
    backbone: str,
    difference: float | None = None,
    flops_before: int | None = None,
    notes: tuple[str, ...] = (),
    against: str = "the original",
    done: Plan | None = None,
    image: str | None = None,
    weights: Weights = Weights(),
) -> Report:
    """Return the report of a composed model.

    Args:
        model: a model returned by `insert`.
        backbone: the MODEL string.
        difference: the largest difference of the outputs, if measured.
        flops_before: the original's multiply-adds if known; counted otherwise.
        notes: remarks on sites, for the reader.
        against: the model that the difference is measured from: the original, or an earlier
            composition.
        done: the last applied plan, if the model has run since: its counts are used again.
        image: the file that it was verified on; random numbers by default.
        weights: where the backbone's numbers came from; by default, the model that was given.

    Raises:
        ComposerError: nothing was inserted into the model.
    """
    record = composed(model)
    rows = []
    for edit in record.edits:
        for site in edit.sites:
            inserted = model.get_submodule(site.module)
            rows.append(
                SiteReport(
                    path=site.path,
                    name=site.name,
                    position=site.position,
                    channels=site.channels,
                    size=site.size,
                    spec=edit.spec.name,
                    parameters=parameters(inserted),
                    init=edit.init,
                )
            )
    flops_after = done.flops_after if done is not None else None
    if done is not None and flops_after is not None:
        inputs = done.inputs
    else:
        after = probe(shell_of(model))
        inputs, flops_after = after.inputs, after.flops
    if flops_before is None:
        flops_before = probe(eject(model), inputs).flops
    total = parameters(model)
    return Report(
        backbone,
        tuple(rows),
        (parameters_before(model), total),
        (flops_before, flops_after),
        inputs.shape,
        difference,
        None,
        notes,
        against,
        image,
        weights,
    )

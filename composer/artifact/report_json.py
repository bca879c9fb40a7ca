"""What `report.json` holds, as pydantic models, of which its JSON Schema is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from composer.graph.graph import Init
from composer.language.models import Model

#: The version of the object; a field may be added to one, and is never renamed or removed.
VERSION = 1
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def _open(schema: dict[str, Any]) -> None:
    """Let the schema accept fields that a later Composer adds."""
    schema.pop("additionalProperties")


class _Json(Model):
    model_config = ConfigDict(json_schema_extra=_open)


class SiteJson(_Json):
    """One inserted module."""

    path: str = Field(description="the module at which it was inserted")
    position: str = Field(description="where in that module, such as residual; replace in place")
    spec: str = Field(description="the name of the mechanism")
    channels: int = Field(description="the channels of what it gives")
    size: list[int] = Field(description="the size of what it gives, such as [14, 14]")
    parameters: int = Field(description="the parameters of the inserted module")
    init: Init = Field(description="paper, or identity: the model begins with unchanged outputs")


class PairJson(_Json):
    """A cost of the whole model, without every insertion and with all of them."""

    before: int
    after: int


class InputJson(_Json):
    """What the model was run and counted on."""

    shape: list[int] = Field(description="the shape of one image, such as [3, 224, 224]")
    image: str | None = Field(
        description="the file it was verified on; null for random numbers, and in a dry run"
    )


class WeightsJson(_Json):
    """Where the numbers of the backbone came from."""

    source: Literal["default", "pretrained", "file", "composition", "model"] = Field(
        description="default: as the backbone is made without further options; pretrained: "
        "published by its library; file: --weights; composition: the folder it was in; model: "
        "the model that composer.save was given"
    )
    path: str | None = Field(description="the file, or the folder of the composition")


class ReportJson(_Json):
    """The report of an insertion: what `composer insert --json` prints and `report.json` holds."""

    version: Literal[1] = Field(description="of this object")
    backbone: str = Field(description="the MODEL string")
    sites: list[SiteJson] = Field(description="every inserted module, of earlier insertions too")
    parameters: PairJson
    flops: PairJson = Field(description="multiply-adds of one image")
    difference: float | None = Field(
        description="the largest difference of the outputs from those before, where it was measured"
    )
    output: str | None = Field(description="the folder that was written; null in a dry run")
    init: Init | None = Field(description="that of all sites; null where they differ")
    input: InputJson
    weights: WeightsJson
    notes: list[str] = Field(description="remarks on sites, for the person who reads")


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of `report.json`, in the vocabulary of draft 2020-12."""
    return {"$schema": DRAFT, **ReportJson.model_json_schema(mode="serialization")}

"""What a study file holds, as pydantic models; unknown fields are refused."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from composer.language.expressions import Value
from composer.language.place import Place

Init = Literal["identity", "paper"]
Control = Literal["plain", "finetuned", "held", "matched"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Selected = int | str | list[int | str]


class StudyModel(BaseModel):
    """A frozen model that refuses unknown fields and converts no values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Data(StudyModel):
    """The fields that every kind of data has.

    `train` and `test` limit the number of images; the same images are drawn for every run.
    """

    size: Annotated[int, Field(ge=8)]
    train: Positive | None = None
    test: Positive | None = None


class Folder(Data):
    """Images in ``PATH/train/CLASS/*`` and ``PATH/val/CLASS/*``."""

    kind: Literal["folder"]
    path: str


class Torchvision(Data):
    """A data set of torchvision that is on disk; nothing is downloaded."""

    kind: Literal["torchvision"]
    name: str
    path: str


class HuggingFace(Data):
    """A data set that ``save_to_disk`` of Hugging Face's `datasets` wrote."""

    kind: Literal["huggingface"]
    path: str
    train_split: str = "train"
    test_split: str = "test"
    image: str = "image"
    label: str = "label"


class Idx(Data):
    """IDX files, gzipped or not, under the names of MNIST and Fashion-MNIST."""

    kind: Literal["idx"]
    path: str


class Digits(Data):
    """The 1,797 handwritten digits that ship with scikit-learn; every fifth is for the test."""

    kind: Literal["digits"]


AnyData = Annotated[Folder | Torchvision | HuggingFace | Idx | Digits, Field(discriminator="kind")]


class InsertAt(StudyModel):
    """A place, as the options of `composer insert` say it; by default where the spec says."""

    at: Place | None = None
    position: str | None = None
    stages: Selected | None = None
    blocks: Selected | None = None
    every: Positive | None = None
    select: str | list[str] | None = None
    match: dict[str, Any] | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the fields that are given, as keywords of `composer.plan`."""
        given = {key: value for key, value in dict(self).items() if value is not None}
        for key in ("stages", "blocks"):
            if isinstance(given.get(key), list):
                given[key] = ",".join(map(str, given[key]))
        return given

    def __str__(self) -> str:
        given = self.arguments()
        kind = given.pop("at", None)
        rest = [f"{key} {value}" for key, value in given.items()]
        return ", ".join([f"at {kind}"] * (kind is not None) + rest)


def _spec_alone(value: Any) -> Any:
    return {"spec": value} if isinstance(value, str) else value


class Mechanism(StudyModel):
    """A spec with its places, its params and its starts; each combination is an arm.

    `params` maps a param to a value or to a list of values, all of which are tried.
    """

    spec: str
    places: list[InsertAt] | None = Field(default=None, min_length=1)
    params: dict[str, Any] = Field(default_factory=dict)
    init: list[Init] | None = Field(default=None, min_length=1)

    def grid(self) -> list[dict[str, Value]]:
        """Return every combination of the params' values."""
        values = [v if isinstance(v, list) else [v] for v in self.params.values()]
        return [
            dict(zip(self.params, chosen, strict=True)) for chosen in itertools.product(*values)
        ]

    @field_validator("params")
    @classmethod
    def _plain(cls, params: dict[str, Any]) -> dict[str, Any]:
        for name, value in params.items():
            values = value if isinstance(value, list) else [value]
            if not values or not all(isinstance(v, (int, float, str, bool)) for v in values):
                raise ValueError(f"the param {name!r} takes a value or a list of values")
        return params


class Augmentation(StudyModel):
    """How training images are changed: the fields of timm's ``create_transform`` and ``Mixup``."""

    scale: list[float] = Field(default=[0.7, 1.0], min_length=2, max_length=2)
    ratio: list[float] = Field(default=[0.75, 4 / 3], min_length=2, max_length=2)
    hflip: Share = 0.5
    vflip: Share = 0.0
    color_jitter: Annotated[float, Field(ge=0)] = 0.0
    auto_augment: str | None = None
    re_prob: Share = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Training(StudyModel):
    """How every arm is trained; the names are those of timm's optimizers and schedules."""

    epochs: Positive
    batch: Annotated[int, Field(ge=2)] = 32
    optimizer: str = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    inserted_lr: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    schedule: Literal["cosine", "tanh", "poly", "constant"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    augmentation: Augmentation = Augmentation()
    freeze_norms: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _even_for_mixup(self) -> Training:
        if self.warmup_epochs >= self.epochs:
            raise ValueError("the warm-up is as long as the training; give it fewer epochs")
        if (self.augmentation.mixup or self.augmentation.cutmix) and self.batch % 2:
            raise ValueError("timm's Mixup needs an even batch")
        return self


class Budget(StudyModel):
    """How long all runs may take together, in hours of one worker."""

    worker_hours: Annotated[float, Field(gt=0)]


class Halving(StudyModel):
    """Successive halving over arms on a seed that the comparison does not use."""

    seed: Annotated[int, Field(ge=0)]
    min_epochs: Positive = 1
    reduction: Annotated[int, Field(ge=2)] = 3


def _range_of(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1000
    return list(range(value)) if is_count else value


class Study(StudyModel):
    """A study: a backbone, data, mechanisms and controls, seeds, and how all are trained."""

    study: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]
    backbone: str
    pretrained: bool = False
    weights: str | None = None
    data: AnyData
    mechanisms: list[Annotated[Mechanism, BeforeValidator(_spec_alone)]] = Field(min_length=1)
    places: list[InsertAt] = Field(default=[InsertAt()], min_length=1)
    init: list[Init] = Field(default=["identity"], min_length=1)
    controls: list[Control] = Field(default=["plain", "finetuned", "held", "matched"], min_length=1)
    matched_by: Literal["parameters", "multiply-adds"] = "parameters"
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_range_of)] = Field(
        min_length=2
    )
    training: Training
    budget: Budget | None = None
    halving: Halving | None = None

    @property
    def starts_trained(self) -> bool:
        """Whether the backbone starts from weights that were trained before."""
        return self.pretrained or self.weights is not None

    @field_validator("seeds", "init", "controls")
    @classmethod
    def _each_once(cls, values: list[Any]) -> list[Any]:
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise ValueError(f"{twice[0]} is listed twice")
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if self.pretrained and self.weights is not None:
            raise ValueError("'pretrained' and 'weights' exclude each other; omit one of them")
        if self.halving is not None and self.halving.seed in self.seeds:
            raise ValueError(
                f"the seed {self.halving.seed} of 'halving' is one of 'seeds'; arms that are "
                "selected on a seed look better on it, so give another"
            )
        return self

"""A study's images: a list to train on and one to test on, from wherever they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from composer.errors import listing, suggestion
from composer.study import study_file
from composer.study.extra import library
from composer.study.fault import data_error
from composer.study.idx import NAMES, find_idx, read_idx

_DRAWN = 20_240_101  # the seed of which images are drawn where a study limits their number


@dataclass(frozen=True)
class Images:
    """Labelled images, opened one at a time.

    Attributes:
        labels: the class of each.
        opened: gives the image at an index.
    """

    labels: tuple[int, ...]
    opened: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return len(self.labels)

    def limited(self, count: int | None) -> Images:
        """Return `count` of the images, drawn once for all runs; all where there are no more."""
        if count is None or count >= len(self):
            return self
        chosen = np.random.default_rng(_DRAWN).permutation(len(self))[:count].tolist()
        return Images(tuple(self.labels[i] for i in chosen), lambda i: self.opened(chosen[i]))


@dataclass(frozen=True)
class DataSet:
    """Images to train on, images to test on, and the names of their classes."""

    train: Images
    test: Images
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """A hash of the labels and of some images, which tells two data sets apart."""
        seen = hashlib.sha256()
        for images in (self.train, self.test):
            seen.update(np.asarray(images.labels, np.int64).tobytes())
            for index in np.linspace(0, len(images) - 1, 8).astype(int).tolist():
                seen.update(np.asarray(images.opened(index).convert("RGB")).tobytes())
        return seen.hexdigest()[:32]


def open_data(data: study_file.AnyData, beside: Path) -> DataSet:
    """Return a study's images, limited to the numbers that it gives.

    Args:
        data: what the study file says.
        beside: the folder of the study file, from which a relative path is followed.

    Raises:
        ComposerError: they are not there, or not in the form that their kind has.
        MissingPartError: a library that reads them is not installed.
    """
    path = beside / getattr(data, "path", ".")
    if not path.is_dir():
        way_out = "'path' is followed from the folder of the study file"
        raise data_error("there is no such folder", way_out, path)
    match data:
        case study_file.Folder():
            found = _folder(path)
        case study_file.Torchvision():
            found = _torchvision(data, path)
        case study_file.HuggingFace():
            found = _hugging_face(data, path)
        case study_file.Idx():
            found = _idx(path)
        case study_file.Digits():
            found = _digits()
    limited = DataSet(found.train.limited(data.train), found.test.limited(data.test), found.classes)
    if missing := set(range(len(found.classes))) - set(limited.train.labels):
        some = listing([repr(found.classes[i]) for i in sorted(missing)[:3]])
        way_out = "raise 'train'" if data.train else "add images of them"
        raise data_error(f"no training image shows {some}", way_out, path)
    if not len(limited.test):
        raise data_error("there are no images to test on", None, path)
    return limited


def _folder(path: Path) -> DataSet:
    image_folder = library("torchvision.datasets").ImageFolder
    parts = []
    for part in ("train", "val"):
        inner = path / part
        if not inner.is_dir():
            way_out = f"it holds {path.name}/{part}/CLASS/*.png, one folder for each class"
            raise data_error("there is no such folder", way_out, inner)
        try:
            parts.append(image_folder(str(inner)))
        except FileNotFoundError as failure:
            said = str(failure).partition(". Supported")[0]
            way_out = "it holds one folder for each class, with images in it"
            raise data_error(f"is not a folder of images: {said}", way_out, inner) from None
    train, test = parts
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        message = f"'train' and 'val' have different classes: {', '.join(odd[:3])} is in one alone"
        raise data_error(message, "give both the same folders", path)
    found = [_of_pairs(one, one.targets) for one in parts]
    return DataSet(found[0], found[1], tuple(train.classes))


def _torchvision(data: study_file.Torchvision, path: Path) -> DataSet:
    sets = library("torchvision.datasets")
    kind = getattr(sets, data.name, None) if data.name in sets.__all__ else None
    if kind is None:
        way_out = suggestion(data.name, [n for n in sets.__all__ if n[0].isupper()], "Data sets")
        raise data_error(f"torchvision has no data set {data.name!r}", way_out, path)
    parts = []
    for training in (True, False):
        try:
            parts.append(_constructed(kind, path, training))
        except (RuntimeError, FileNotFoundError, OSError) as failure:
            said = (str(failure).strip().splitlines() or ["it is not there"])[0]
            way_out = f"download it first: torchvision.datasets.{data.name}({str(path)!r}, …, "
            way_out += "download=True)"
            message = f"torchvision cannot read {data.name} here: {said}"
            raise data_error(message, way_out, path) from None
    names = tuple(map(str, getattr(parts[0], "classes", ())))
    found = [_of_pairs(one, _labels(one)) for one in parts]
    names = names or tuple(map(str, range(1 + max(found[0].labels))))
    return DataSet(found[0], found[1], names)


def _constructed(kind: Any, path: Path, training: bool) -> Any:
    """Make a data set of torchvision, which says by `train` or by `split` which part it is."""
    try:
        return kind(str(path), train=training)
    except TypeError:
        try:
            return kind(str(path), split="train" if training else "test")
        except ValueError:
            return kind(str(path), split="train" if training else "val")


def _labels(one: Any) -> Sequence[int]:
    for name in ("targets", "labels", "_labels"):
        if (found := getattr(one, name, None)) is not None:
            return [int(label) for label in found]
    return [int(one[i][1]) for i in range(len(one))]


def _hugging_face(data: study_file.HuggingFace, path: Path) -> DataSet:
    datasets = library("datasets")
    try:
        whole = datasets.load_from_disk(str(path))
    except (FileNotFoundError, ValueError, OSError) as failure:
        said = (str(failure).strip().splitlines() or ["it is not there"])[0]
        way_out = "write it with save_to_disk: load_dataset(NAME).save_to_disk(PATH)"
        raise data_error(f"is not a saved data set: {said}", way_out, path) from None
    parts = []
    for split in (data.train_split, data.test_split):
        if not isinstance(whole, dict) or split not in whole:
            known = list(whole) if isinstance(whole, dict) else []
            raise data_error(f"has no split {split!r}", suggestion(split, known, "Splits"), path)
        part = whole[split]
        for column in (data.image, data.label):
            if column not in part.column_names:
                way_out = suggestion(column, part.column_names, "Columns")
                raise data_error(f"has no column {column!r}", way_out, path)
        parts.append(part)
    labels = [[int(label) for label in part[data.label]] for part in parts]
    names = getattr(parts[0].features[data.label], "names", None)
    names = names or list(map(str, range(1 + max(map(max, labels)))))

    def images(part: Any, of: Sequence[int]) -> Images:
        return Images(tuple(of), lambda index: part[index][data.image])

    return DataSet(images(parts[0], labels[0]), images(parts[1], labels[1]), tuple(names))


def _idx(path: Path) -> DataSet:
    parts = []
    for stems in NAMES.values():
        files = [find_idx(path, stem) for stem in stems]
        pixels, labels = map(read_idx, files)
        if pixels.ndim != 3 or labels.ndim != 1 or len(pixels) != len(labels):
            message = f"{files[0].name} and {files[1].name} do not fit together"
            raise data_error(message, "images are [n, h, w], labels are [n]", path)
        parts.append(_of_arrays(pixels, labels))
    return DataSet(parts[0], parts[1], tuple(map(str, range(1 + max(parts[0].labels)))))


def _digits() -> DataSet:
    pixels, labels = library("sklearn.datasets").load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * 15.9375).astype(np.uint8)
    tested = np.arange(len(labels)) % 5 == 4
    return DataSet(
        _of_arrays(images[~tested], labels[~tested]),
        _of_arrays(images[tested], labels[tested]),
        tuple(map(str, range(10))),
    )


def _of_arrays(pixels: Any, labels: Any) -> Images:
    return Images(tuple(map(int, labels)), lambda index: Image.fromarray(pixels[index]))


def _of_pairs(one: Any, labels: Sequence[int]) -> Images:
    return Images(tuple(map(int, labels)), lambda index: one[index][0])

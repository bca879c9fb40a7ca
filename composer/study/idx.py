"""IDX files, the format of MNIST and its relatives: an array of unsigned bytes, often gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from composer.study.fault import data_error

#: The files of a set: images and labels to train on, and to test on.
NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_UNSIGNED_BYTE = 8


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes.

    Raises:
        ComposerError: the file cannot be read, or is damaged.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as failure:
        said = getattr(failure, "strerror", None) or failure
        raise data_error(f"cannot be read: {said}", None, path) from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise data_error("is not an IDX file of bytes", "is this the right folder?", path)
    axes, head = content[3], 4 + 4 * content[3]
    sizes = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    expected, found = int(np.prod(sizes)), len(content) - head
    if found != expected:
        message = f"says {expected:,} bytes of data and has {max(found, 0):,}"
        raise data_error(message, "the file was cut; copy it again", path)
    return np.frombuffer(content, np.uint8, offset=head).reshape(sizes)


def find_idx(folder: Path, stem: str) -> Path:
    """Return the file with a name, plain or gzipped.

    Raises:
        ComposerError: it is not in the folder.
    """
    for name in (stem, f"{stem}.gz", stem.replace("-idx", ".idx")):
        if (folder / name).is_file():
            return folder / name
    names = ", ".join(name for pair in NAMES.values() for name in pair)
    message = f"there is no {stem} or {stem}.gz in this folder"
    raise data_error(message, f"the files are named {names}", folder)

"""The tensors of a weights file, whose header is read and checked first.

The header of safetensors lists every tensor with its dtype and shape, and the directory of a
``torch.save`` file the size of every record; a file that claims more than it holds is not read.
Only tensors are read, never code or other objects.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from composer.errors import ComposerError, Diagnostic
from composer.turns import TURN

#: Keys under which training scripts store the state dict in a checkpoint.
WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
#: Most bytes of a header; enough for 50,000 tensors.
MAX_HEADER = 8_000_000
#: Most bytes of the pickle of ``torch.save``, which lists the tensors.
MAX_PICKLE = 64_000_000
_MAX_AXES = 64

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
    "BOOL": torch.bool, "C64": torch.complex64, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz, "F8_E8M0": torch.float8_e8m0fnu,
}  # fmt: skip
_WHOLE = "is it whole? Give a .safetensors file, or a state dict that torch.save wrote"

Check = Callable[[dict[str, Tensor]], object]


def read_weights(path: Path, check: Check | None = None) -> dict[str, Tensor]:
    """Return the tensors of a weights file, on the CPU.

    Args:
        path: safetensors, or a state dict or a checkpoint written by ``torch.save``.
        check: called with the tensors of a safetensors header, on the meta device, before any
            number is read; it raises where they don't fit.

    Raises:
        ComposerError: the file is missing, or holds something else.
    """
    return _read(path, check, only_safetensors=False)


def read_safetensors(path: Path, check: Check | None = None) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; see `read_weights`.

    Raises:
        ComposerError: the file is missing, or is not safetensors.
    """
    return _read(path, check, only_safetensors=True)


def header_at(path: Path) -> dict[str, Tensor]:
    """Return the tensors that a safetensors file names, on the meta device; no number is read.

    Raises:
        ComposerError: the file is missing, or is not safetensors; see `header_of`.
    """
    with _said(path):
        _check_regular(path)
        return header_of(path)


def _read(path: Path, check: Check | None, only_safetensors: bool) -> dict[str, Tensor]:
    with _said(path):
        _check_regular(path)
        if only_safetensors or _is_safetensors(path):
            header = header_of(path)
            if check is not None:
                check(header)
            loaded: dict[str, Tensor] = load_file(path)
            return loaded
        _check_packing(path)
        options: list[Any] = [argparse.Namespace]  # timm's train.py stores it
        with TURN, safe_globals(options), warnings.catch_warnings(action="ignore"):
            loaded = _tensors(torch.load(path, map_location="cpu", weights_only=True), path)
        check_kinds(loaded, path)
        return loaded


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Turn any failure with a file into a message."""
    try:
        yield
    except ComposerError:
        raise
    except FileNotFoundError:
        raise refused(path, "there is no such file", "check the path") from None
    except pickle.UnpicklingError as failure:
        raise refused(path, *_unpickled(str(failure))) from None
    except OSError as failure:
        raise refused(path, f"cannot be read: {failure.strerror or failure}", None) from None
    except Exception as failure:  # parsing untrusted bytes may raise anything
        said = " ".join(str(failure).split())[:160] or "it is empty"
        if isinstance(failure, MemoryError):
            said = "it does not fit into memory"
        raise _no_weights(path, said) from None


def _check_regular(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise refused(path, "this is a folder", "give a weights file")
    if not stat.S_ISREG(mode):
        raise refused(path, "this is not a regular file", "give a weights file")


def _is_safetensors(path: Path) -> bool:
    """Return whether the file starts like safetensors: a length, then a JSON object."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" or (path.suffix == ".safetensors" and head[:2] != b"PK")


# ------------------------------------------------------------------------------ safetensors


def header_of(path: Path) -> dict[str, Tensor]:
    """Return the tensors that a safetensors header names, on the meta device.

    Raises:
        ComposerError: it is not a header, claims what the file does not hold, or has a tensor
            of unsupported numbers.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10:
            raise _no_weights(path, f"{size:,} bytes are too few" if size else "it is empty")
        if length > min(MAX_HEADER, size - 8):
            limit = f"the file has {size:,}" if length > size - 8 else f"{MAX_HEADER:,} are allowed"
            raise _no_weights(path, f"its header would have {length:,} bytes, and {limit}")
        text = file.read(length)
    try:
        told = json.loads(text.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as failure:
        twice = failure.args[0] if isinstance(failure, _TwiceError) else None
        why = f"its header names {twice!r} twice" if twice else "its header is not JSON"
        raise _no_weights(path, why) from None
    if not isinstance(told, dict):
        raise _no_weights(path, "its header is not a JSON object")
    told.pop("__metadata__", None)
    found, ends = {}, []
    for name, entry in told.items():
        tensor, place = _named(path, name, entry, size - 8 - length)
        found[name] = tensor
        ends.append(place)
    last = 0
    for begin, end in sorted(ends):
        if begin != last:
            raise _no_weights(path, f"its header has tensors that overlap, or a gap, at {last:,}")
        last = end
    if last != size - 8 - length:
        held = size - 8 - length
        raise _no_weights(path, f"its header lists {last:,} bytes, and the file has {held:,}")
    check_kinds(found, path, on_meta=True)
    return found


class _TwiceError(ValueError):
    """A duplicate key of a header."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        times = Counter(key for key, _ in pairs)
        raise _TwiceError(next(key for key, count in times.items() if count > 1))
    return found


def _named(path: Path, name: str, entry: Any, held: int) -> tuple[Tensor, tuple[int, int]]:
    """Return a tensor of a header on the meta device, and its byte range."""
    keys = {"dtype", "shape", "data_offsets"}
    sound = isinstance(entry, dict) and entry.keys() == keys
    shape: Any = entry["shape"] if sound else None
    place: Any = entry["data_offsets"] if sound else None
    if not (_is_sizes(shape) and _is_sizes(place) and len(place) == 2 and len(shape) <= _MAX_AXES):
        raise _no_weights(path, f"its header has no valid entry for {_short(name)}")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise refused(
            path,
            f"{_short(name)} has the unknown dtype {_short(entry['dtype'])}",
            "save it as float32",
        )
    begin, end = place
    wanted = prod(shape) * dtype.itemsize
    if not begin <= end <= held or wanted != end - begin:
        raise _no_weights(
            path,
            f"its header says that {_short(name)} has {wanted:,} bytes, at {begin:,} to {end:,} "
            f"of {held:,}",
        )
    try:
        return torch.empty(shape, dtype=dtype, device="meta"), (begin, end)
    except (RuntimeError, OverflowError, ValueError, TypeError):  # a size beside one of 0
        raise _no_weights(path, f"its header has no valid entry for {_short(name)}") from None


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


# ------------------------------------------------------------------------------- torch.save


def _check_packing(path: Path) -> None:
    """Refuse an archive with compressed records: ``torch.save`` compresses none, a zip bomb does.

    Raises:
        ComposerError: with the unpacked size.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError):
        raise _no_weights(path, "its archive is incomplete") from None
    size, total = path.stat().st_size, sum(record.file_size for record in records)
    if total > size or any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise refused(
            path,
            f"its {size:,} bytes unpack to {total:,}, and torch.save compresses nothing",
            "give the original file written by torch.save",
        )
    largest = max((r.file_size for r in records if r.filename.endswith(".pkl")), default=0)
    if largest > MAX_PICKLE:
        raise refused(
            path,
            f"its list of tensors has {largest:,} bytes, and {MAX_PICKLE:,} are allowed",
            "save only the state dict",
        )


def _unpickled(said: str) -> tuple[str, str]:
    """Return what is wrong with a pickle that holds more than tensors, and the way out."""
    if named := re.search(r"GLOBAL (\S+)", said):
        return (
            f"this holds more than tensors ({named[1]}), and code in a file is never run",
            "if you trust the file, load it and save only its state dict",
        )
    return "this is not a weights file", "give a .safetensors file, or a state dict"


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    """Return the loaded state dict, or the one inside a loaded checkpoint."""
    for _ in WRAPPERS:
        for key in WRAPPERS:
            inner = loaded.get(key) if isinstance(loaded, Mapping) else None
            if isinstance(inner, Mapping):
                loaded = inner
                break
        else:
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise refused(path, f"this holds {_a(loaded)}, not a state dict", "save model.state_dict()")
    for key, value in loaded.items():
        if not isinstance(key, str):
            raise refused(
                path, f"the key {_short(key)} is {_a(key)}, not a string", "save model.state_dict()"
            )
        if not isinstance(value, Tensor):
            raise refused(
                path,
                f"{_short(key)} holds {_a(value)}, not a tensor",
                f"save only model.state_dict(), or put it under one of {', '.join(WRAPPERS)}",
            )
    return dict(loaded)


# ------------------------------------------------------------------------- contents of a file


def check_kinds(state: Mapping[str, Tensor], path: Path, on_meta: bool = False) -> None:
    """Refuse tensors that are not plain numbers in memory.

    Args:
        state: the contents of a file.
        path: the file.
        on_meta: whether they come from a header.

    Raises:
        ComposerError: one is quantised, sparse, nested, in eight bits, or on the meta device.
    """
    for name, tensor in state.items():
        if (odd := _odd_kind(tensor, on_meta)) is not None:
            what, way_out = odd
            raise refused(path, f"{_short(name)} {what}", way_out)


def _odd_kind(tensor: Tensor, on_meta: bool) -> tuple[str, str] | None:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        return f"is quantised ({dtype})", "save tensor.dequantize() instead"
    if tensor.is_nested:
        return "is a nested tensor", "save it padded, or as several tensors"
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        return f"is sparse ({layout})", "save tensor.to_dense() instead"
    if tensor.is_meta and not on_meta:
        return "is on the meta device, without numbers", "save it from a model with its weights"
    if dtype.startswith("float8"):
        return (
            f"is {dtype}, whose scale is kept elsewhere",
            "save it in float32 or bfloat16, with its scale multiplied in",
        )
    if tensor.dtype not in _PLAIN:
        return f"is {dtype}, which no model here uses", "save it in float32"
    return None


_PLAIN = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
    torch.complex128, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    torch.uint16, torch.uint32, torch.uint64,
}  # fmt: skip


def _a(thing: object) -> str:
    if isinstance(thing, (Mapping, list)) and not thing:
        return f"an empty {type(thing).__name__}"
    kind = type(thing).__name__
    return f"{'an' if kind[0].lower() in 'aeio' else 'a'} {kind}"


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 100 else f"{said[:99]}…"


def _no_weights(path: Path, why: str) -> ComposerError:
    return refused(path, f"this is not a weights file: {why}", _WHOLE)


def refused(path: Path, message: str, way_out: str | None) -> ComposerError:
    """Return the error for a faulty weights file."""
    return ComposerError(Diagnostic("weights", message, way_out, file=str(path)))

"""Weights files that hold what no model takes: one message each, and the model is as it was."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import NET, Command
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import composer
from composer.errors import ComposerError
from composer.models.weights import load_weights
from composer.models.weights_file import header_of, read_weights

WHOLE = "is it whole? Give a .safetensors file, or a state dict that torch.save wrote"


class Net(nn.Module):
    """Numbers of every kind that a model has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)
        self.filter = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
        self.register_buffer("index", torch.zeros(2, dtype=torch.int32))
        self.register_buffer("flag", torch.zeros(2, dtype=torch.bool))


def state() -> dict[str, Tensor]:
    return Net().state_dict()


def with_(key: str, tensor: object) -> dict[str, Any]:
    return {**state(), key: tensor}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("ran").exists()


def refused(path: str) -> str:
    """Return what is said of a file, and see that the model is as it was."""
    model = Net()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(ComposerError) as failure:
        load_weights(model, Path(path), "the net")
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key]) and tensor.dtype == before[key].dtype
    (said,) = failure.value.diagnostics
    assert said.code == "weights" and said.file == path
    told = str(failure.value)
    assert told.startswith(f"{path}: error[weights]: ")
    return told.removeprefix(f"{path}: error[weights]: ")


def no_file(why: str) -> str:
    return f"this is not a weights file: {why}\n  help: {WHOLE}"


def does_not_fit(kind: str, fit: int = 10) -> str:
    return (
        f"does not fit the net: {kind}\n  help: {fit} of 11 keys match; are these the weights "
        "of another model, or of one with another head (resnet50?num_classes=10)?"
    )


def test_what_fits_is_loaded():
    for number, given in enumerate([
        state(),
        {k: t.double() if t.is_floating_point() else t for k, t in state().items()},
        {k: t.bfloat16() if t.is_floating_point() else t for k, t in state().items()},
        with_("index", torch.ones(2, dtype=torch.int8)),
        with_("filter", torch.ones(2, dtype=torch.complex128)),
        with_("mask", torch.tensor([0.0, float("-inf")])),  # as the model's own
    ]):  # fmt: skip
        torch.save(given, f"{number}.pth")
        model = Net()
        load_weights(model, Path(f"{number}.pth"), "the net")
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, given[key].to(tensor.dtype))
            assert tensor.dtype == state()[key].dtype


NAN = float("nan")
AWAY = (
    "\n  help: use a checkpoint from before they appeared; or, to inspect this one anyway, load "
    "it in Python, replace them by numbers (torch.nan_to_num), and save that"
)
ODD = torch.tensor([[1.0, NAN], [float("inf"), 2.0], [float("-inf"), NAN]])

#: What a state dict holds in the place of a tensor, and what is said.
TENSORS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "NaN and infinity": (
        lambda: with_("layer.weight", ODD),
        "layer.weight holds 4 values of 6 that are not finite (NaN or infinity)" + AWAY,
    ),
    "one NaN": (
        lambda: with_("layer.bias", torch.tensor([0.0, NAN, 1.0])),
        "layer.bias holds 1 value of 3 that are not finite (NaN or infinity)" + AWAY,
    ),
    "NaN in several": (
        lambda: {**with_("layer.weight", ODD), "layer.bias": torch.full((3,), NAN)},
        "layer.weight holds 4 values of 6 that are not finite (NaN or infinity), and 1 other "
        "tensor as well" + AWAY,
    ),
    "NaN in half precision": (
        lambda: with_("layer.weight", ODD.half()),
        "layer.weight holds 4 values of 6 that are not finite (NaN or infinity)" + AWAY,
    ),
    "NaN in a complex number": (
        lambda: with_("filter", torch.tensor([complex(0, NAN), 0])),
        "filter holds 1 value of 2 that are not finite (NaN or infinity)" + AWAY,
    ),
    "NaN where a mask is infinite elsewhere": (
        lambda: with_("mask", torch.tensor([NAN, float("-inf")])),
        "mask holds 1 value of 2 that are not finite (NaN or infinity)" + AWAY,
    ),
    "whole numbers": (
        lambda: with_("layer.weight", torch.ones(3, 2, dtype=torch.int64)),
        does_not_fit("1 key of different dtype: layer.weight (int64 in the file, float32 "
                     "in the model)"),
    ),
    "flags": (
        lambda: with_("layer.bias", torch.ones(3, dtype=torch.bool)),
        does_not_fit("1 key of different dtype: layer.bias (bool in the file, float32 in "
                     "the model)"),
    ),
    "complex numbers": (
        lambda: with_("layer.weight", torch.ones(3, 2, dtype=torch.complex64)),
        does_not_fit("1 key of different dtype: layer.weight (complex64 in the file, "
                     "float32 in the model)"),
    ),
    "real numbers for complex ones": (
        lambda: with_("filter", torch.ones(2)),
        does_not_fit("1 key of different dtype: filter (float32 in the file, complex64 in "
                     "the model)"),
    ),
    "fractions for whole numbers": (
        lambda: with_("index", torch.ones(2)),
        does_not_fit("1 key of different dtype: index (float32 in the file, int32 in the "
                     "model)"),
    ),
    "longer whole numbers": (
        lambda: with_("index", torch.ones(2, dtype=torch.int64)),
        does_not_fit("1 key of different dtype: index (int64 in the file, int32 in the "
                     "model)"),
    ),
    "numbers for flags": (
        lambda: with_("flag", torch.ones(2, dtype=torch.uint8)),
        does_not_fit("1 key of different dtype: flag (uint8 in the file, bool in the "
                     "model)"),
    ),
    "another shape and another kind": (
        lambda: {**with_("index", torch.ones(2)), "layer.bias": torch.ones(4)},
        does_not_fit("1 key of different shape: layer.bias (4 in the file, 3 in the model); 1 "
                     "key of "
                     "different dtype: index (float32 in the file, int32 in the model)", 9),
    ),
    "float8": (
        lambda: with_("layer.weight", torch.ones(3, 2).to(torch.float8_e4m3fn)),
        "'layer.weight' is float8_e4m3fn, whose scale is kept elsewhere\n"
        "  help: save it in float32 or bfloat16, with its scale multiplied in",
    ),
}  # fmt: skip
#: Those that safetensors can't hold.
PICKLED: dict[str, tuple[Callable[[], Any], str]] = {
    "a sparse tensor": (
        lambda: with_("layer.weight", torch.ones(3, 2).to_sparse()),
        "'layer.weight' is sparse (sparse_coo)\n  help: save tensor.to_dense() instead",
    ),
    "a sparse tensor by rows": (
        lambda: with_("layer.weight", torch.ones(3, 2).to_sparse_csr()),
        "'layer.weight' is sparse (sparse_csr)\n  help: save tensor.to_dense() instead",
    ),
    "a quantised tensor": (
        lambda: with_("layer.weight",
                      torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.qint8)),
        "'layer.weight' is quantised (qint8)\n  help: save tensor.dequantize() instead",
    ),
    "a tensor without numbers": (
        lambda: with_("layer.weight", torch.ones(3, 2, device="meta")),
        "'layer.weight' is on the meta device, without numbers\n"
        "  help: save it from a model with its weights",
    ),
    "a tensor of terabytes that holds one number": (
        lambda: with_("layer.weight", torch.ones(1).expand(10**12)),
        does_not_fit("1 key of different shape: layer.weight (1000000000000 in the file, "
                     "3×2 in the model)"),
    ),
    "a key that is a number": (
        lambda: {**state(), 3: torch.ones(1)},
        "the key 3 is an int, not a string\n  help: save model.state_dict()",
    ),
    "a value that is no tensor": (
        lambda: with_("layer.weight", [1.0]),
        "'layer.weight' holds a list, not a tensor\n  help: save only model.state_dict(), or "
        "put it under one of state_dict, model, model_state_dict, state_dict_ema, model_ema",
    ),
    "an empty state dict": (
        dict, "this holds an empty dict, not a state dict\n  help: save model.state_dict()",
    ),
    "a number": (lambda: 3, "this holds an int, not a state dict\n  help: save model.state_dict()"),
    "one tensor": (
        lambda: torch.ones(1),
        "this holds a Tensor, not a state dict\n  help: save model.state_dict()",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TENSORS)
@pytest.mark.parametrize("end", ["pth", "safetensors"])
def test_an_odd_tensor(case, end):
    make, message = TENSORS[case]
    (torch.save if end == "pth" else save_file)(make(), f"w.{end}")
    assert refused(f"w.{end}") == message


@pytest.mark.parametrize("case", PICKLED)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_an_odd_pickle(case, zipped):
    make, message = PICKLED[case]
    torch.save(make(), "w.pth", _use_new_zipfile_serialization=zipped)
    assert refused("w.pth") == message


def test_a_checkpoint_that_holds_itself():
    inside: dict[str, Any] = {}
    inside["model"] = inside
    torch.save(inside, "w.pth")
    assert refused("w.pth").startswith("'model' holds a dict, not a tensor\n")


class Runs:
    """What leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


class Evaluates:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("open('ran', 'w')",)


@pytest.mark.parametrize(("what", "named"), [(Runs, "posix.system"), (Evaluates, "eval")])
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "inside"])
def test_code_in_a_pickle_is_not_run(what, named, how):
    if how == "pickle":
        Path("w.pth").write_bytes(pickle.dumps(what()))
    else:
        held = what() if how != "inside" else {"state_dict": state(), "args": what()}
        torch.save(held, "w.pth", _use_new_zipfile_serialization=how == "zip")
    if how == "pickle":
        assert refused("w.pth").startswith("this ")
        return
    assert refused("w.pth") == (
        f"this holds more than tensors ({named}), and code in a file is never run\n"
        "  help: if you trust the file, load it and save only its state dict"
    )


# --------------------------------------------------------------------------------- safetensors


def header(entries: object, held: int = 0, length: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(held)


def entry(dtype: object = "F32", shape: object = (1,), place: object = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


UNSOUND = no_file("its header has no valid entry for 'a'")
HEADERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", no_file("it is empty")),
    "a few bytes": (b"\x02\x00\x00", no_file("3 bytes are too few")),
    "a header of exabytes": (
        header(b"{}", length=2**60),
        no_file("its header would have 1,152,921,504,606,846,976 bytes, and the file has 10"),
    ),
    "a header of all bits": (
        b"\xff" * 8 + b"{}",
        no_file("its header would have 18,446,744,073,709,551,615 bytes, and the file has 10"),
    ),
    "a header of nine million bytes": (
        header(b"{" + b" " * 9_000_000 + b"}"),
        no_file("its header would have 9,000,002 bytes, and 8,000,000 are allowed"),
    ),
    "a header that is cut": (
        header({"a": entry()}, 4)[:30],
        no_file("its header would have 61 bytes, and the file has 30"),
    ),
    "no JSON": (header(b"{nonsense}"), no_file("its header is not JSON")),
    "no UTF-8": (header(b'{"\xff":1}'), no_file("its header is not JSON")),
    "deep JSON": (header(b'{"a":' + b"[" * 90_000), no_file("its header is not JSON")),
    "a list": (header(b"[ ]"), no_file("its header is not a JSON object")),
    "a name twice": (
        header(b'{"a":1,"a":2}'), no_file("its header names 'a' twice"),
    ),
    "no entry": (header({"a": 3}), UNSOUND),
    "no shape": (header({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, 4), UNSOUND),
    "more in an entry": (header({"a": {**entry(), "code": "x"}}, 4), UNSOUND),
    "a shape below nothing": (header({"a": entry(shape=[-1])}, 4), UNSOUND),
    "a shape of flags": (header({"a": entry(shape=[True])}, 4), UNSOUND),
    "a shape of fractions": (header({"a": entry(shape=[1.0])}, 4), UNSOUND),
    "a shape of a hundred axes": (header({"a": entry(shape=[1] * 100)}, 4), UNSOUND),
    "places that are three": (header({"a": entry(place=[0, 4, 8])}, 4), UNSOUND),
    "a size that no machine counts": (
        header({"a": entry(shape=[2**64], place=[0, 0])}), UNSOUND,
    ),
    "no numbers of a huge size": (
        header({"a": entry(shape=[0, 2**62, 2**62], place=[0, 0])}), UNSOUND,
    ),
    "a dtype that is none": (
        header({"a": entry("F33")}, 4),
        "'a' has the unknown dtype 'F33'\n  help: save it as float32",
    ),
    "a dtype that is a list": (
        header({"a": entry([])}, 4),
        "'a' has the unknown dtype []\n  help: save it as float32",
    ),
    "terabytes that are not there": (
        header({"a": entry(shape=[10**12], place=[0, 4 * 10**12])}, 4),
        no_file("its header says that 'a' has 4,000,000,000,000 bytes, at 0 to 4,000,000,000,000 "
                "of 4"),
    ),
    "a shape of more than its place": (
        header({"a": entry(shape=[2])}, 4),
        no_file("its header says that 'a' has 8 bytes, at 0 to 4 of 4"),
    ),
    "a place that goes back": (
        header({"a": entry(shape=[0], place=[4, 0])}, 4),
        no_file("its header says that 'a' has 0 bytes, at 4 to 0 of 4"),
    ),
    "tensors that overlap": (
        header({"a": entry(), "b": entry()}, 4),
        no_file("its header has tensors that overlap, or a gap, at 4"),
    ),
    "a gap": (
        header({"a": entry(place=[4, 8])}, 8),
        no_file("its header has tensors that overlap, or a gap, at 0"),
    ),
    "more than the header says": (
        header({"a": entry()}, 5), no_file("its header lists 4 bytes, and the file has 5"),
    ),
    "other tensors": (
        header({"a": entry()}, 4),
        "does not fit the net: 10 keys missing: filter, mask, index and 7 more; "
        "1 key unexpected: a\n  help: 0 of 11 keys match; are these the weights of another "
        "model, or of one with another head (resnet50?num_classes=10)?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_an_odd_header(case):
    content, message = HEADERS[case]
    Path("w.safetensors").write_bytes(content)
    assert refused("w.safetensors") == message


def test_the_header_is_judged_before_a_number_is_read(monkeypatch):
    reads = []
    monkeypatch.setattr(
        "composer.models.weights_file.load_file", lambda path: reads.append(path) or load_file(path)
    )
    save_file(with_("layer.weight", torch.ones(4, 2)), "w.safetensors")
    assert refused("w.safetensors").startswith("does not fit the net: 1 key of different shape")
    assert reads == []
    save_file(state(), "w.safetensors")
    load_weights(Net(), Path("w.safetensors"), "the net")
    assert reads == [Path("w.safetensors")]


def test_a_header_says_what_safetensors_says():
    given = {
        "f": torch.ones(2, 3), "h": torch.ones(0, 3, dtype=torch.float16), "s": torch.tensor(1.0),
        "i": torch.ones(2, dtype=torch.int64), "b": torch.ones(2, dtype=torch.bool),
        "c": torch.ones(2, dtype=torch.complex64), "u": torch.ones(3, dtype=torch.uint16),
        "d": torch.ones(2, dtype=torch.float64), "n": torch.ones(2, dtype=torch.bfloat16),
    }  # fmt: skip
    save_file(given, "w.safetensors", metadata={"format": "pt"})
    found, loaded = header_of(Path("w.safetensors")), load_file("w.safetensors")
    assert found.keys() == loaded.keys()
    for key, tensor in loaded.items():
        assert found[key].is_meta
        assert (found[key].shape, found[key].dtype) == (tensor.shape, tensor.dtype)


# ------------------------------------------------------------------------------------ archives


def repacked(compression: int, more: dict[str, bytes] | None = None) -> None:
    """Write a state dict as torch.save does, and pack it."""
    torch.save(state(), "plain.pth")
    with zipfile.ZipFile("plain.pth") as plain, zipfile.ZipFile("w.pth", "w") as packed:
        for record in plain.infolist():
            packed.writestr(record.filename, plain.read(record), compression)
        for name, content in (more or {}).items():
            packed.writestr(name, content, compression)


def test_a_deflate_bomb_is_not_unpacked():
    repacked(zipfile.ZIP_DEFLATED, {"plain/data/99": bytes(200_000_000)})
    size = Path("w.pth").stat().st_size
    assert size < 300_000
    told = refused("w.pth")
    assert told.startswith(f"its {size:,} bytes unpack to 200,0")
    assert told.endswith(
        ", and torch.save compresses nothing\n  help: give the original file written by torch.save"
    )


def test_records_that_lie_over_one_another():
    """The directory names the same bytes again and again: 30 times what there is."""
    repacked(zipfile.ZIP_STORED, {"plain/data/99": bytes(1000)})
    content = Path("w.pth").read_bytes()
    with zipfile.ZipFile("w.pth") as archive:
        start = archive.start_dir
    end = content.rindex(b"PK\x05\x06")
    directory, tail = content[start:end], bytearray(content[end:])
    last = directory[directory.rindex(b"PK\x01\x02") :]
    count = struct.unpack("<H", tail[8:10])[0]
    tail[8:12] = struct.pack("<HH", count + 30, count + 30)
    tail[12:16] = struct.pack("<I", len(directory) + 30 * len(last))
    Path("w.pth").write_bytes(content[:start] + directory + last * 30 + bytes(tail))
    assert "bytes unpack to" in refused("w.pth")


def test_a_pickle_of_names_without_end(monkeypatch):
    monkeypatch.setattr("composer.models.weights_file.MAX_PICKLE", 100)
    torch.save(state(), "w.pth")
    told = refused("w.pth")
    assert told.startswith("its list of tensors has ")
    assert told.endswith(" bytes, and 100 are allowed\n  help: save only the state dict")


@pytest.mark.parametrize("kept", [0, 1, 4, 30, 200, 0.5, 0.9, -1])
@pytest.mark.parametrize("how", ["zip", "legacy", "safetensors"])
def test_a_file_that_is_cut(kept, how):
    if how == "safetensors":
        save_file(state(), "w.safetensors")
    else:
        torch.save(state(), "w.pth", _use_new_zipfile_serialization=how == "zip")
    path = Path("w.safetensors" if how == "safetensors" else "w.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    told = refused(str(path))
    cut = (
        "this holds more than tensors"
        if how == "legacy" and kept == 200
        else ("this is not a weights file")
    )  # fmt: skip - within a name of torch's own
    assert told.startswith(cut) and "\n  help: " in told
    if how == "zip" and kept not in (0, 1):
        assert told == no_file("its archive is incomplete")


def test_bytes_by_chance(request):
    """No bytes at all make anything else than one message."""
    draw = torch.Generator().manual_seed(0)
    torch.save(state(), "w.pth")
    save_file(state(), "w.safetensors")
    for path in (Path("w.pth"), Path("w.safetensors")):
        content = bytearray(path.read_bytes())
        for _ in range(40):
            changed = bytearray(content)
            for at in torch.randint(len(content), (3,), generator=draw).tolist():
                changed[at] ^= 1 << int(torch.randint(8, (1,), generator=draw))
            path.write_bytes(changed)
            try:
                load_weights(Net(), path, "the net")  # a number alone may have changed
            except ComposerError as failure:
                assert len(failure.diagnostics) == 1


# ------------------------------------------------------------------------------- other things


def test_what_is_no_file():
    assert refused("nowhere.pth") == "there is no such file\n  help: check the path"
    Path("w.pth").mkdir()
    assert refused("w.pth") == "this is a folder\n  help: give a weights file"
    os.mkfifo("pipe.pth")
    assert refused("pipe.pth") == "this is not a regular file\n  help: give a weights file"
    assert refused("/dev/zero") == "this is not a regular file\n  help: give a weights file"
    Path("loop.pth").symlink_to("loop.pth")
    assert refused("loop.pth").startswith("cannot be read: Too many levels of symbolic links")


def test_an_archive_of_something_else():
    with zipfile.ZipFile("w.pth", "w") as archive:
        archive.writestr("a.txt", "x")
    assert refused("w.pth").startswith("this is not a weights file: ")
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), buffer)
    Path("w.pth").write_bytes(buffer.getvalue())
    assert refused("w.pth").startswith(("its ", "this is not a weights file"))


def test_an_honest_checkpoint_is_found():
    import argparse

    inside = {"state_dict": OrderedDict(state()), "args": argparse.Namespace(lr=0.1), "epoch": 3}
    torch.save(inside, "w.pth")
    assert read_weights(Path("w.pth")).keys() == state().keys()


@pytest.mark.long
def test_a_composition_and_the_command_line(capsys):
    """`load`, `load_weights` and ``insert --weights`` say the same words."""
    Path("net.py").write_text(NET)
    model = composer.insert("net.py:tiny", "eca")
    composer.save(model, "it")
    weights = load_file("it/model.safetensors")
    key = "stage1.0.conv1.bias"
    for tensor, words in (
        (torch.full((16,), NAN), f"{key} holds 16 values of 16 that are not finite"),
        (torch.ones(16, dtype=torch.int32), f"{key} (int32 in the file, float32 in the model)"),
        (torch.ones(17), f"{key} (17 in the file, 16 in the model)"),
    ):
        save_file({**weights, key: tensor}, "it/model.safetensors")
        with pytest.raises(ComposerError) as failure:
            composer.load("it", trust_code=True)
        assert words in str(failure.value)
        with pytest.raises(ComposerError) as failure:
            composer.load_weights(model, "it/model.safetensors")
        assert words in str(failure.value)
        plain = {k: t for k, t in weights.items() if ".eca." not in k}
        save_file({**plain, key: tensor}, "w.safetensors")
        told = Command(capsys)("insert", "--spec", "eca", "--into", "net.py:tiny", "--weights",
                               "w.safetensors", "-o", "x")  # fmt: skip
        assert told.status == 1 and words in told.err and not Path("x").exists()


def test_a_pickle_by_the_name_of_safetensors(capsys):
    """A composition holds safetensors, whatever the file calls itself."""
    composer.save(composer.insert("resnet18?input_size=3,32,32", "se", stages=1), "it")
    torch.save(Runs(), "it/model.safetensors")
    with pytest.raises(ComposerError) as failure:
        composer.load("it")
    assert "error[weights]: this is not a weights file: its header would have" in str(failure.value)
    assert "posix" not in sys.argv

"""`composer export`: files that run without Composer, and give what the model gives."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from backbones import enlivened
from command import Command
from export_table import OPEN, PAGE, cells, written
from shipped import SIZED
from timm import create_model
from torch import Tensor, nn

import composer
from composer import ComposerError
from composer.exporting import aoti, proof
from composer.exporting.exported import FORMATS
from composer.exporting.made import made
from composer.exporting.subject import subject_of
from composer.language.library import shipped_names

ALL = ("batch", "height", "width")


def said(call: Any) -> str:
    with pytest.raises(ComposerError) as failure:
        call()
    return str(failure.value)


def by_onnx(file: Path, x: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (name,) = [taken.name for taken in session.get_inputs()]
    return torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


# ------------------------------------------------------------------------- what is written


@pytest.mark.long
def test_a_network_as_onnx(tmp_path: Path) -> None:
    model = enlivened(composer.insert(create_model("test_resnet"), "se")).eval()
    file = tmp_path / "se.onnx"
    found = composer.export(model, file)
    assert (found.format, found.dynamic, found.fixed) == ("onnx", ALL, {})
    assert 0 < found.difference < 1e-4 and found.bytes == file.stat().st_size
    for shape in ((4, 3, 64, 64), (1, 3, 80, 50)):
        x = torch.randn(shape)
        close(by_onnx(file, x), model(x).detach())
    (taken,) = onnx.load(str(file)).graph.input
    names = [size.dim_param or size.dim_value for size in taken.type.tensor_type.shape.dim]
    assert names == ["batch", 3, "height", "width"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["cond_conv", "dynamic_conv", "od_conv"])
@pytest.mark.quick(1)
def test_kernels_of_each_sample_keep_any_batch(name: str, tmp_path: Path) -> None:
    """Each sample has another kernel, and the batch is none of those that the proof tries."""
    file = tmp_path / "it.onnx"
    module = enlivened(composer.build(name, 16)).eval()
    assert composer.export(module_of(module, 16), file).dynamic == ALL
    x = torch.randn(5, 16, 9, 12)
    close(by_onnx(file, x), module(x).detach())


def module_of(module: nn.Module, channels: int) -> nn.Module:
    """Return a module in a network that takes images."""
    first = nn.Conv2d(channels, channels, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.eye(channels)[..., None, None])
    network = nn.Sequential(first, module)
    network.default_cfg = {"input_size": (channels, 12, 10)}  # type: ignore[assignment]
    return network.eval()


@pytest.mark.long
def test_one_size_is_said(tmp_path: Path) -> None:
    found = composer.export("bot_mhsa", tmp_path / "it.onnx", channels=16, size=(4, 5))
    assert found.dynamic == ("batch",)
    assert set(found.fixed) == {"height", "width"}
    assert found.fixed["height"].startswith(
        "the model takes no other size (bot_mhsa here was built for maps of 4×5, but this one is "
    )


@pytest.mark.long
def test_tokens(tmp_path: Path) -> None:
    found = composer.export("sa", tmp_path / "it.pt2", channels=16, size=(3, 4))
    assert (found.format, found.dynamic, found.shape) == ("pt2", ("batch", "tokens"), (1, 12, 16))
    program = torch.export.load(tmp_path / "it.pt2").module()
    assert program(torch.randn(2, 7, 16)).shape == (2, 7, 16)


@pytest.mark.slow
def test_a_network_as_machine_code(tmp_path: Path) -> None:
    model = enlivened(composer.insert(create_model("test_resnet"), "se")).eval()
    file = tmp_path / "se.pt2"
    found = composer.export(model, file, "aoti")
    assert "batch" in found.dynamic and set(found.dynamic) | set(found.fixed) == set(ALL)
    x = torch.randn(5, *found.shape[1:])
    close(torch._inductor.aoti_load_package(str(file))(x).detach(), model(x).detach())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cond_conv", "triplet", "bot_mhsa"])
@pytest.mark.quick(1)
def test_a_package_of_machine_code(name: str, tmp_path: Path) -> None:
    """`kernels` of cond_conv is a word of AOTInductor's own, and its batch was another."""
    file = tmp_path / "it.pt2"
    found = composer.export(name, file, "aoti", channels=16, size=(6, 5))
    assert found.dynamic == (("batch",) if name in SIZED else ALL)
    package: Any = torch._inductor.aoti_load_package(str(file))
    for batch in (2, 5):
        x = torch.randn(batch, 16, 6, 5)
        assert package(x).shape[0] == batch


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", shipped_names())
@pytest.mark.slow
def test_every_mechanism(name: str, format_: str, tmp_path: Path) -> None:
    cell = cells(PAGE.read_text(encoding="utf-8"))[name][format_]
    if cell == OPEN:
        pytest.skip("not in the table yet")
    assert written(name, format_, tmp_path) == cell


def test_the_page_lists_every_mechanism() -> None:
    assert sorted(cells(PAGE.read_text(encoding="utf-8"))) == sorted(shipped_names())


# ------------------------------------------------------------------------------- the proof


@pytest.mark.long
def test_other_numbers_are_never_handed_over(tmp_path: Path) -> None:
    class Other(nn.Module):
        """Gives other numbers where it is traced, as a faulty compiler would."""

        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if torch.compiler.is_exporting() else x + 1

    subject = replace(subject_of("se", 16, (4, 4), None), model=Other())
    text = said(lambda: FORMATS["pt2"].write(subject, tmp_path / "it.pt2"))
    assert text.startswith(
        "error[no-export]: se can't be exported as pt2: on an input of 1×16×4×4 it differs by "
    )


@pytest.mark.long
def test_another_batch_is_never_handed_over(tmp_path: Path) -> None:
    """A file that is right for one sample alone is written as one for one sample."""

    def write(program: Any, opened: Any, file: Path) -> None:
        file.write_text("b" if "b" in opened else "1")

    opening = """
call = lambda args, kwargs: args[0] if open(file).read() == "1" else args[0].repeat(2, 1, 1, 1)
"""
    subject = replace(subject_of("se", 16, (4, 4), None), model=nn.Identity())
    found = made(subject, tmp_path / "it", "onnx", write, opening)
    assert (found.dynamic, found.difference) == ((), 0.0)
    assert found.fixed["batch"] == (
        "on an input of 1×16×4×4 its output is 2×16×4×4, and the model's 1×16×4×4"
    )


@pytest.mark.long
def test_what_runs_the_file_has_no_composer(tmp_path: Path) -> None:
    subject = subject_of("se", 16, (4, 4), None)
    with pytest.raises(proof.UnprovenError) as failure:
        proof.difference(subject, tmp_path, "import composer", [subject.given(1)])
    assert str(failure.value) == (
        "it does not run: ModuleNotFoundError: No module named 'composer'"
    )


# ------------------------------------------------------------------------------- messages


@pytest.mark.long
def test_what_has_no_words_in_onnx_is_named(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.matrix_exp(x)

    subject = replace(subject_of("se", 16, (4, 4), None), name="odd", model=Odd())
    text = said(lambda: FORMATS["onnx"].write(subject, tmp_path / "it.onnx"))
    assert (
        text
        == """\
error[no-export]: odd can't be exported as onnx: aten.linalg_matrix_exp has no counterpart in ONNX
  help: try another format: see docs/export.md"""
    )


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        (("se",), 2, """\
error[usage]: neither --to nor -o gives the format
  help: write --to python, onnx, pt2 or aoti
"""),
        (("se", "-o", "se.bin"), 2, """\
error[usage]: 'se.bin' has no suffix that gives the format
  help: use .py, .onnx or .pt2, or to='onnx'
"""),
        (("se", "--to", "pt2", "-o", "se.onnx"), 2, """\
error[usage]: 'se.onnx' does not end in .pt2, as files of pt2 do
  help: name it 'se.pt2'
"""),
        (("se", "--to", "onnx", "-o", "there.onnx"), 1, """\
there.onnx: error[output]: exists already
  help: replace it with --force, or choose another with -o
"""),
        (("empty", "--to", "onnx", "--channels", "64"), 2, """\
error[usage]: channels is only for a spec, and empty has its own
  help: omit channels
"""),
        (("empty", "--to", "onnx"), 1, """\
empty: error[not-a-composition]: this is not a composition: it has no recipe.yaml
  help: give a folder written by 'composer insert' or composer.save
"""),
    ],
)  # fmt: skip
def test_wrong_calls(
    run: Command, tmp_path: Path, args: tuple[str, ...], status: int, text: str
) -> None:
    (tmp_path / "there.onnx").write_text("kept")
    (tmp_path / "empty").mkdir()
    found = run("export", *args)
    assert (found.status, found.err) == (status, text)
    assert (tmp_path / "there.onnx").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "there.onnx"]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, run: Command) -> None:
    from composer.exporting import onnx as to_onnx

    monkeypatch.setattr(to_onnx, "find_spec", lambda name: None if name != "onnx" else name)
    found = run("export", "se", "--to", "onnx")
    assert (found.status, found.err) == (
        3,
        """\
error[missing-library]: ONNX needs onnxscript and onnxruntime, which are not installed
  help: pip install 'attention-composer[export]'
""",
    )
    monkeypatch.setenv("CXX", "no-compiler-at-all")
    assert (
        said(aoti.check)
        == """\
error[no-compiler]: AOTInductor needs a C++ compiler, and no-compiler-at-all is not installed
  help: install one, for example with 'apt install g++', or choose another with \
CXX=clang++; --to onnx and --to pt2 need none"""
    )


@pytest.mark.long
def test_the_command(run: Command, tmp_path: Path) -> None:
    found = run.fine("export", "se", "--to", "pt2", "--channels", "16", "--set", "reduction=4")
    size = (tmp_path / "se.pt2").stat().st_size
    assert (
        found.out
        == f"""\
se as pt2: {size:,} bytes, written to se.pt2
  input       1×16×14×14
  dynamic     batch, height, width
  difference  0 at most, in a process without Composer
"""
    )
    again = run.fine("export", "se", "--to", "pt2", "--channels", "16", "--force", "--json")
    assert json.loads(again.out) == {
        "version": 1, "format": "pt2", "output": "se.pt2",
        "bytes": (tmp_path / "se.pt2").stat().st_size, "difference": 0.0,
        "dynamic": list(ALL), "fixed": {}, "shape": [1, 16, 14, 14],
    }  # fmt: skip


@pytest.mark.slow
def test_a_composition(run: Command, tmp_path: Path) -> None:
    run.fine("insert", "--spec", "eca", "--into", "test_resnet", "-o", "made")
    run.fine("export", "made", "--to", "onnx")
    model = composer.load(tmp_path / "made").eval()
    x = torch.randn(2, 3, 96, 64)
    close(by_onnx(tmp_path / "made.onnx", x), model(x).detach())


@pytest.mark.long
def test_the_call_survives_its_package() -> None:
    code = "import composer.exporting.onnx, composer; print(callable(composer.export))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_command_knows_every_format() -> None:
    from composer.cli.export_command import _SUFFIXES

    assert {name: one.suffix for name, one in FORMATS.items()} == _SUFFIXES

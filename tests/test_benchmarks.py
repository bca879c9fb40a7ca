"""The benchmarks run, and print a row for each case; what they measure is for people to read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "benchmarks"
sys.path.append(str(FOLDER))

from apart import ROUNDS, measured  # noqa: E402
from cases import SHAPES, Case, cases  # noqa: E402
from modes import Setting  # noqa: E402
from results import Row, means  # noqa: E402
from rivals import copy_weights, difference, draw, rivals  # noqa: E402
from speed import main  # noqa: E402
from table import ranked  # noqa: E402

from composer.language.library import shipped_names  # noqa: E402
from composer.measure.cost import parameters  # noqa: E402
from composer.measure.latency import Timing  # noqa: E402


def _wide(name: str) -> int:
    return max(64, Case(name, 1, ()).claimed.width)


#: For each case a small shape, of maps or of tokens.
SMALL = {
    name: (_wide(name), 6, 6) if shapes[0].count("x") == 2 else (12, _wide(name))
    for name, shapes in SHAPES.items()
} | {
    "outlook": (192, 6, 6),  # six heads
    "swin_window_shifted": (96, 8, 9),  # more than one window
}


@pytest.mark.slow
def test_depth() -> None:
    page = ROOT.joinpath("docs", "performance.md").read_text()
    command = re.search(r"^python (tests/benchmarks/depth.py) --depths 50 200$", page, re.M)
    assert command is not None
    run = [sys.executable, str(ROOT / command[1]), "--depths", "4", "9"]
    printed = subprocess.run(run, check=True, capture_output=True, text=True, timeout=200).stdout
    heading, *rows = (line.split() for line in printed.splitlines())
    assert heading == ["blocks", "seconds", "ms/block", "MiB", "KiB/block"]
    assert [row[0] for row in rows] == ["4", "9"]
    assert all(float(row[1]) > 0 for row in rows)


BRIEF = ("--seconds", "0.001", "--threads", "1", "--processes", "2")


def speed(*options: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, str(FOLDER / "speed.py"), *BRIEF, *options]
    return subprocess.run(run, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
def test_speed(tmp_path: Path) -> None:
    modes = ("eager", "training", "memory")
    small = ("--specs", "se,mhsa", "--batches", "2", "--shapes", "32x8x8,16x32")
    options = (*small, "--modes", ",".join(modes), "-o", str(tmp_path))
    done = speed(*options)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["speed.json", "speed.png", "speed.svg"]
    found = json.loads((tmp_path / "speed.json").read_text())
    assert list(found) == ["version", "machine", "versions", "device", "rows", "means"]
    assert found["versions"]["torch"] == torch.__version__
    rows = found["rows"]
    assert [(r["mode"], r["heap"], r["spec"], r["batch"], r["shape"]) for r in rows] == [
        (mode, heap, spec, 2, shape)
        for mode in modes
        for heap in (("default",) if mode == "memory" else ("fresh", "kept"))
        for spec, shape in (("se", [32, 8, 8]), ("mhsa", [16, 32]))
    ]
    for row in rows:
        if row["mode"] != "memory":
            assert row["seconds"]["ours"]["runs"] >= 2 * ROUNDS
        shown = row["bytes"] if row["mode"] == "memory" else row["seconds"]
        torch_s = ["torch"] if row["spec"] == "mhsa" else []
        assert list(shown) == ["ours", "timm", *torch_s, "plain", "limit"]
        ratios = row["ratios"]
        assert (ratios.pop("torch/ours") is None) == (row["spec"] == "se")
        assert all(ratio > 0 for ratio in ratios.values())
        assert row["difference"] < 1e-5
        assert len(set(row["parameters"].values())) == 1
    out_and_gradient = 2 * 4 * 2 * 32 * 8 * 8
    of_memory = rows[-2]["bytes"]
    assert of_memory["limit"] == pytest.approx(out_and_gradient, abs=64)
    assert of_memory["ours"] > out_and_gradient
    here = ("se", "eager, nchw, float32, memory kept")
    means_of_se = [m for m in found["means"] if (m["name"], m["setting"]) == here]
    assert [m["ratio"] for m in means_of_se] == ["timm/ours", "plain/ours", "ours/limit"]
    assert means_of_se[0]["at"] == "se 2x32x8x8"
    with pytest.raises(SystemExit, match=r"already; replace with --force$"):
        main([*BRIEF, *options])


@pytest.mark.slow
def test_speed_compiled() -> None:
    options = ("--specs", "se,cbam_spatial", "--batches", "2", "--shapes", "32x8x8")
    done = speed(*options, "--modes", "compiled,compiled-training", "--processes", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("se 2x32x8x8") >= 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--specs", "sse"), "argument --specs: 'sse' is none of se, "),
        (("--batches", "0"), "argument --batches: '0' is not numbers such as 1,8"),
        (("--processes", "0"), "argument --processes: '0' is not a number such as 3"),
        (("--shapes", "7"), "argument --shapes: '7' is neither CxHxW nor NxC"),
        (("--modes", "cuda-graphs"), "cuda-graphs needs --device cuda"),
    ],
)
def test_speed_used_wrongly(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(options)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_every_shipped_spec_is_timed() -> None:
    assert {case.spec for case in cases()} == set(shipped_names())


def test_cases_of_some_shapes() -> None:
    chosen = cases(["se", "sk", "mhsa"], [1], ["2048x7x7", "512x7x7", "9x16"])
    assert [str(case) for case in chosen] == ["se 1x2048x7x7", "sk 1x512x7x7", "mhsa 1x9x16"]


@pytest.mark.quick(24, then="long")
@pytest.mark.parametrize("name", SHAPES)
def test_plain_modules_compute_what_ours_do(name: str) -> None:
    """Values and gradients in float64, in training."""
    case = Case(name, 3, SMALL[name])
    modules = rivals(case)
    ours, plain = (modules[n].double().train() for n in ("ours", "plain"))
    given = torch.randn(case.batch, *case.shape, dtype=torch.float64)
    found = []
    for module in (ours, plain):
        x = given.clone().requires_grad_()
        out = module(x)
        (out * torch.arange(out.numel()).reshape(out.shape).sin()).sum().backward()
        found.append([out, x.grad, *(p.grad for p in module.parameters())])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine.reshape(theirs.shape), theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.quick(38, then="long")
@pytest.mark.parametrize("name", SHAPES)
def test_rivals_are_as_large_and_give_the_same_shape(name: str) -> None:
    case = Case(name, 2, SMALL[name])
    modules = rivals(case)
    assert next(iter(modules)) == "ours"
    assert len({parameters(module) for module in modules.values()}) == 1
    apart = difference(case, modules)
    assert apart is not None
    assert apart < 1e-5


def test_other_weights_are_refused() -> None:
    ours = nn.Linear(3, 4)
    draw(ours)
    with pytest.raises(ValueError, match=r"parameters of \[12, 4\] and \[12\] elements"):
        copy_weights(ours, nn.Linear(3, 4, bias=False))


def test_means_name_the_worst_case() -> None:
    def row(batch: int, ours: float, timm: float) -> Row:
        timings = {"ours": Timing((ours,)), "timm": Timing((timm,)), "limit": Timing((0.5,))}
        return Row(Case("se", batch, (32, 8, 8)), Setting(), {}, None, timings, {})

    found = {(m.name, m.ratio): m for m in means([row(1, 1.0, 4.0), row(8, 2.0, 2.0)])}
    assert set(found) == {(n, r) for n in ("se", "all") for r in ("timm/ours", "ours/limit")}
    timm = found["se", "timm/ours"]
    assert (timm.mean, timm.worst, timm.at, timm.rows) == (2.0, 1.0, "se 8x32x8x8", 2)
    assert (found["se", "ours/limit"].worst, found["se", "ours/limit"].at) == (4.0, "se 8x32x8x8")


def test_the_worst_case_stands_first() -> None:
    def row(batch: int, **seconds: float) -> Row:
        timings = {name: Timing((taken,)) for name, taken in seconds.items()}
        return Row(Case("se", batch, (32, 8, 8)), Setting(), {}, 0.0, timings, {})

    rows = [row(1, ours=2, timm=4, plain=3), row(8, ours=2, plain=1), row(32, ours=2, timm=2)]
    assert [line.split()[:4] for line in list(ranked(rows))[1:]] == [
        ["0.50", "plain", "se", "8x32x8x8"],
        ["1.00", "timm", "se", "32x32x8x8"],
        ["1.50", "plain", "se", "1x32x8x8"],
    ]


def test_a_rival_that_fails_is_named() -> None:
    case = Case("se", 2, (0, 8, 8))
    with pytest.raises(RuntimeError, match=r"^se 2x0x8x8, ours: ComposerError: "):
        measured(case, Setting())


def test_one_sample_is_not_trained_behind_a_norm_of_pooled() -> None:
    training = Setting("training")
    assert not training.suits(Case("sk", 1, (64, 6, 6)))
    assert training.suits(Case("sk", 2, (64, 6, 6)))
    assert Setting("eager").suits(Case("sk", 1, (64, 6, 6)))
    assert not Setting(layout="channels-last").suits(Case("mhsa", 2, (12, 64)))


@pytest.mark.slow
def test_faults() -> None:
    run = [sys.executable, str(FOLDER / "faults.py"), "--specs", "se", "--shapes", "32x8x8"]
    run += ["--steps", "2"]
    printed = subprocess.run(run, check=True, capture_output=True, text=True, timeout=300).stdout
    heading, *rows = printed.splitlines()
    assert heading.split()[:2] == ["MiB", "faults"]
    assert [row.split()[:4] for row in rows] == [
        ["se", "8x32x8x8", name, "0.1"] for name in ("ours", "timm", "plain")
    ]


@pytest.mark.slow
def test_pictures() -> None:
    page = ROOT.joinpath("docs", "performance.md").read_text()
    command = re.search(r"^python (tests/benchmarks/pictures.py)$", page, re.M)
    assert command is not None
    run = [sys.executable, str(ROOT / command[1]), "--rounds", "1", "--specs", "se", "eca"]
    run += ["--formats", "svg", "--backbones", "resnet18"]
    printed = subprocess.run(run, check=True, capture_output=True, text=True, timeout=200).stdout
    heading, *rows = printed.splitlines()
    assert heading.split() == ["median", "slowest", "(seconds)"]
    assert [re.split(r"\s{2,}", line)[0] for line in rows] == [
        "a spec as svg, whole process", "a backbone as svg, once it is made",
        "1,000 blocks, collapsed",
    ]  # fmt: skip
    assert rows[1].split()[-1] == "resnet18"
    assert all(float(line.split()[-2]) > 0 for line in rows)

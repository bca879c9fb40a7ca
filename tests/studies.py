"""What the tests of studies share: a tiny network, images in IDX files, and synthetic results."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from command import NET

from composer.study.arms import Arm, arms
from composer.study.outcome import Epoch, Outcome
from composer.study.read import read_study
from composer.study.runs import Run
from composer.study.store import Store
from composer.study.study_file import Study

CLASSES = 4
TEXT = """\
study: 1
name: tiny
backbone: net.py:tiny?width=16&classes=4
data: {kind: idx, path: images, size: 32}
mechanisms: [se]
seeds: 2
training: {epochs: 2, batch: 8, lr: 1e-2}
"""
MACHINE = {"name": "a machine", "cores": 2, "threads": 1, "date": "2026-01-01",
           "versions": {"composer": "0.1.0", "torch": "2.0"}}  # fmt: skip


def write_images(folder: Path, train: int = 24, test: int = 12, zipped: bool = True) -> None:
    """Write IDX files of 8×8 images, a bright corner for each class, with noise."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(0)
    for stem, count in (("train", train), ("t10k", test)):
        labels = np.arange(count) % CLASSES
        pixels = drawn.integers(0, 120, (count, 8, 8))
        for index, label in enumerate(labels):
            pixels[index, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 100
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim])
            head += b"".join(int(size).to_bytes(4, "big") for size in array.shape)
            content = head + array.astype(np.uint8).tobytes()
            name = f"{stem}-{kind}-ubyte" + (".gz" if zipped else "")
            (folder / name).write_bytes(gzip.compress(content, mtime=0) if zipped else content)


def write_study(folder: Path, text: str = TEXT, **changed: str) -> Path:
    """Write a study with its network and its images; `changed` are other lines, by their fields."""
    (folder / "net.py").write_text(NET)
    write_images(folder / "images")
    lines = {line.partition(":")[0]: line for line in text.splitlines()}
    lines |= {field: f"{field}: {value}" for field, value in changed.items()}
    path = folder / "study.yaml"
    path.write_text("\n".join(lines.values()) + "\n")
    return path


def write_results(
    study_file: Path, accuracy: dict[str, float], deviation: float = 0.01, epochs: int = 3
) -> tuple[Study, Store]:
    """Write results in which each arm has a known mean accuracy, and seeds have a common effect."""
    study, _ = read_study(study_file)
    store = Store(study_file.with_suffix(".results.sqlite"))
    store.create(study.name)
    for name, value in (("test images", "1000"), ("train images", "2000"), ("classes", "10")):
        store.write_meta(name, value)
    drawn = np.random.default_rng(7)
    common = drawn.normal(0, 0.02, 1000)
    for number, arm in enumerate(arms(study)):
        store.write_facts(arm.name, _facts(study, arm, number))
        for seed in study.seeds:
            last = accuracy[arm.name] + common[seed] + drawn.normal(0, deviation)
            curve = [
                Epoch(e, 1.0 / e, float(np.round(last - 0.1 * (epochs - e), 3)), 1.2 / e)
                for e in range(1, epochs + 1)
            ]
            store.write_result(Run(study, arm, seed), Outcome(curve, 10.0 + number), MACHINE)
    return study, store


def _facts(study: Study, arm: Arm, number: int) -> dict[str, object]:
    facts: dict[str, object] = {
        "key": Run(study, arm, -1).key, "parameters": 1_000_000 + 1000 * number,
        "flops": 20_000_000 + 10_000 * number, "sites": 4, "wanted": None, "reached": None,
        "gates": 0,
    }  # fmt: skip
    if arm.kind == "matched":
        facts |= {"wanted": 3000, "reached": 2990}
    return facts

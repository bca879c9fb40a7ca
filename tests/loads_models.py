"""Run in a fresh process: loads what `test_whole_models.py` saved, and says what it computes."""

from __future__ import annotations

import sys
from pathlib import Path

import torch


def main(folder: str, threads: str) -> None:
    torch.set_num_threads(int(threads))  # sums are split by them: other threads, other last bits
    for file in sorted(Path(folder).glob("*.pt")):
        model, x, y = torch.load(file, weights_only=False)
        with torch.no_grad():
            same = torch.equal(model(x), y)
        print(file.stem, same)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What large specs and deep models cost: ``python tests/benchmarks/scale.py`` prints two tables.

Seconds of the CPU, and after each its ratio to what n log n makes of the size before: at most about
1 where the cost grows with n log n, 3 where it is squared from 1,000 to 3,000.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import composer
from composer.cli import main as command_line

NODES = (1_000, 3_000, 10_000)
BLOCKS = (500, 1_000, 2_000)
HEAD = "name: it\ninput: [b, c, h, w]\nnodes:\n"
GATE = f"""{HEAD}  z: {{op: pool, over: [h, w]}}
  g: {{op: gate}}
  out: {{op: reweight, x: input, by: g}}
"""


class Block(nn.Module):
    """A residual block of a few channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x and a convolution of it, added."""
        sum_: Tensor = x + self.conv(x)
        return sum_


def blocks(count: int = 500) -> nn.Module:
    """Return a chain of residual blocks."""
    return nn.Sequential(nn.Conv2d(3, 4, 1), *(Block() for _ in range(count)))


def large_spec(count: int, op: str = "op: gate") -> str:
    """Return a spec of so many nodes, each written."""
    return HEAD + "".join(f"  n{i}: {{{op}}}\n" for i in range(count))


def _run(*words: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        command_line(list(words))


def of_specs(folder: Path, op: str) -> dict[str, Callable[[int], object]]:
    """Return what is done with a spec of n nodes, by name."""
    file = folder / "it.yaml"
    small = blocks(2)

    def on(count: int) -> str:
        file.write_text(large_spec(count, op), encoding="utf-8")
        return str(file)

    dot = str(folder / "it.dot")
    return {
        "check": lambda n: _run("check", on(n)),
        "show": lambda n: _run("show", on(n)),
        "render .dot": lambda n: _run("render", on(n), "-o", dot, "--force"),
        "build": lambda n: composer.build(on(n), channels=4, size=(8, 8)),
        "plan": lambda n: composer.plan(small, on(n), at="block"),
        "insert": lambda n: composer.insert(small, on(n), at="block"),
    }


def of_models(folder: Path) -> dict[str, Callable[[int], object]]:
    """Return what is done with a model of n blocks, by name; `load` is of what `insert` saved."""
    origin = f"{Path(__file__).resolve()}:blocks"

    def composed(count: int) -> nn.Module:
        return composer.insert(blocks(count), GATE, at="block")

    def loaded(count: int) -> float:
        model = composer.insert(blocks(count), GATE, at="block", backbone=f"{origin}?count={count}")
        composer.save(model, folder / f"of {count}")
        begin = time.process_time()
        composer.load(folder / f"of {count}", trust_code=True)
        return time.process_time() - begin

    return {
        "sites": lambda n: composer.sites(blocks(n)),
        "plan": lambda n: composer.plan(blocks(n), GATE, at="block"),
        "insert": composed,
        "load": loaded,
        "render": lambda n: composer.render(composed(n), folder / "it.svg", force=True),
    }


def rows(what: dict[str, Callable[[int], object]], sizes: Sequence[int]) -> Iterable[str]:
    """Yield a table's rows: the seconds of each command at each size, with the ratios.

    A function that returns seconds has taken the time itself.
    """
    for name, run in what.items():
        run(8)  # what is imported, or made once
        cells, before = [], None
        for size in sizes:
            begin = time.process_time()
            told = run(size)
            seconds = told if isinstance(told, float) else time.process_time() - begin
            cell = f"{seconds:7.2f} s"
            if before is not None:
                by = size * math.log(size) / (before[0] * math.log(before[0]))
                cell += f" ({seconds / before[1] / by:.2f})"
            cells.append(cell)
            before = size, seconds
        yield f"{name:12} " + "  ".join(f"{cell:16}" for cell in cells)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", nargs="*", type=int, default=NODES)
    parser.add_argument("--blocks", nargs="*", type=int, default=BLOCKS)
    parser.add_argument("--op", default="op: gate", help="the fields of each node")
    told = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        for unit, sizes, what in (
            ("nodes", told.nodes, of_specs(Path(place), told.op)),
            ("blocks", told.blocks, of_models(Path(place))),
        ):
            if sizes:
                print(f"{unit:12} " + "  ".join(f"{size:<16,}" for size in sizes), flush=True)
                for row in rows(what, sizes):
                    print(row, flush=True)


if __name__ == "__main__":
    main()

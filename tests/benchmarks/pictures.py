"""What a picture takes: each spec as a whole process, and backbones beyond building them.

``python tests/benchmarks/pictures.py`` draws, round after round, every spec in the formats asked
for by ``composer render``, and backbones with SE in each block by ``composer.render``; it prints
the median seconds and the slowest. The last row is the layout of 1,000 blocks, collapsed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

BACKBONES = ("resnet50", "vit_base_patch16_224", "efficientnet_b7", "hrnet_w64", "densenet201")
FORMATS = ("svg", "png", "pdf")


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def row(what: str, times: dict[str, list[float]]) -> None:
    """Print the median over all, and the slowest median of one."""
    middle = {name: median(found) for name, found in times.items()}
    slowest = max(middle, key=lambda name: middle[name])
    print(
        f"{what:<34} {median(middle.values()):>8.2f} {middle[slowest]:>9.2f}  {slowest}", flush=True
    )


def specs(folder: Path, form: str, names: list[str], rounds: int) -> dict[str, list[float]]:
    """Draw each spec in turn, each time in a process of its own."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            command = [sys.executable, "-m", "composer", "render", name, "--force"]
            command += ["-o", str(folder / f"spec.{form}")]
            times[name].append(
                seconds(lambda run=command: subprocess.run(run, check=True, capture_output=True))
            )
    return times


def backbones(folder: Path, names: list[str], rounds: int) -> dict[str, list[float]]:
    """Draw each composed backbone in turn; making it does not count."""
    import timm

    import composer

    times: dict[str, list[float]] = {}
    for name in names:
        model = composer.insert(timm.create_model(name), "se", inplace=True)
        times[name] = [
            seconds(lambda m=model: composer.render(m, folder / "net.svg", force=True))
            for _ in range(rounds)
        ]
    return times


def thousand(rounds: int) -> dict[str, list[float]]:
    """Lay out a network of 1,000 blocks of which no two are equal, its blocks in one group."""
    from composer.drawing.layout import lay_out
    from composer.drawing.network import network
    from composer.drawing.outline import DrawnPart, DrawnStage, Outline, Spent

    parts = tuple(
        DrawnPart(f"b.{n}", "Block", "8×4×4", Spent(n, n), True, reads=(f"b.{n - 1}",) if n else ())
        for n in range(1000)
    )
    outline = Outline("net", (), (3, 32, 32), (DrawnStage(1, "b", parts),), Spent(1, 1))

    def draw() -> None:
        diagram = network(outline)
        lay_out([diagram.opened(diagram.to_depth(2))])

    return {"net": [seconds(draw) for _ in range(rounds)]}


def main() -> None:
    """Print a row for each kind of picture."""
    from composer.language.library import shipped_names

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--specs", nargs="+", default=shipped_names(), metavar="SPEC")
    parser.add_argument("--formats", nargs="+", default=FORMATS, metavar="FORMAT")
    parser.add_argument("--backbones", nargs="*", default=BACKBONES, metavar="MODEL")
    told = parser.parse_args()
    print(f"{'':<34} {'median':>8} {'slowest':>9}  (seconds)")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for form in told.formats:
            row(f"a spec as {form}, whole process", specs(folder, form, told.specs, told.rounds))
        if told.backbones:
            row("a backbone as svg, once it is made",
                backbones(folder, told.backbones, told.rounds))  # fmt: skip
    row("1,000 blocks, collapsed", thousand(told.rounds))


if __name__ == "__main__":
    main()

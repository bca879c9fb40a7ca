"""What an insertion costs against the depth of a network, from 50 to 2,000 blocks.

``python tests/benchmarks/depth.py`` inserts SE into plain residual networks, each in a process of
its own, and prints seconds and memory for each block: where the cost grows in a straight line, a
column stays as it is.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

DEPTHS = (50, 100, 200, 500, 1000, 2000)
STAGES = 4


def measure(blocks: int) -> dict[str, float]:
    """Return what it takes to insert SE into a network of so many blocks."""
    import torch
    from torch import Tensor, nn

    import composer

    torch.set_num_threads(1)

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)

        def forward(self, x: Tensor) -> Tensor:
            y = self.bn1(self.conv1(x)).relu()
            return (x + self.bn2(self.conv2(y))).relu()

    def stage(number: int) -> nn.Sequential:
        count = blocks // STAGES + (number < blocks % STAGES)
        down = nn.Conv2d(16, 16, 3, 2, 1)
        return nn.Sequential(down, nn.Sequential(*(Block(16) for _ in range(count))))

    def network() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), *map(stage, range(STAGES)))

    small = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), *(Block(16) for _ in range(4)))
    composer.insert(small, "se")  # what is loaded and made once does not count
    model = network()
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    composed = composer.insert(model, "se", inplace=True)
    seconds = time.perf_counter() - begin
    sites = sum(name.endswith(".se") for name, _ in composed.named_modules())
    assert sites == blocks, f"{sites} sites, not {blocks}"
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held
    return {"blocks": blocks, "seconds": seconds, "kilobytes": kilobytes}


def main() -> None:
    """Print a row for each depth, measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS, metavar="N")
    parser.add_argument("--one", type=int, metavar="N", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.one is not None:
        print(json.dumps(measure(told.one)))
        return
    print(f"{'blocks':>8} {'seconds':>9} {'ms/block':>9} {'MiB':>8} {'KiB/block':>10}")
    for blocks in told.depths:
        run = [sys.executable, __file__, "--one", str(blocks)]
        found = json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout)
        seconds, kilobytes = found["seconds"], found["kilobytes"]
        print(
            f"{blocks:>8} {seconds:>9.2f} {1000 * seconds / blocks:>9.1f} "
            f"{kilobytes / 1024:>8.1f} {kilobytes / blocks:>10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

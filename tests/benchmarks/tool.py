"""What the tool itself costs: commands as whole processes, and the passes against a spec's size.

``python tests/benchmarks/tool.py`` runs each command in turn, round after round, so that whatever
else the machine does falls on all of them; the ratio is to importing timm and creating the same
backbone. Then it times every pass on chains of nodes: a column of microseconds for each node that
stays as it is says that the cost grows in a straight line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROUNDS = 7
SIZES = (100, 1_000, 10_000)
BACKBONE = "resnet50"

HEAD = "name: large\ninput: [b, c, h, w]\n"


# ----------------------------------------------------------------------------- specs of any size


def _chain(size: int) -> Iterator[str]:
    for n in range(size):
        ops = ("{op: gate}", f"{{op: mul, of: [n{n - 1}, input]}}",
               f"{{op: add, of: [n{n - 1}, n{n - 2}]}}")  # fmt: skip
        yield f"  n{n}: {ops[n % 3]}\n"


def chain(size: int) -> str:
    """Return a spec of so many nodes in a row."""
    return f"{HEAD}nodes:\n{''.join(_chain(size))}"


def wide(size: int) -> str:
    """Return a spec of nodes that all read the input, and the sum of them all."""
    nodes = "".join(f"  n{n}: {{op: gate, x: input}}\n" for n in range(size - 1))
    names = ", ".join(f"n{n}" for n in range(size - 1))
    return f"{HEAD}nodes:\n{nodes}  out: {{op: add, of: [{names}]}}\n"


def repeats(size: int) -> str:
    """Return a spec of a few nodes that stand for so many."""
    each = "each: {op: gate}"
    nodes = "".join(
        f"  n{n}: {{op: repeat, times: 20, {each}}}\n" for n in range(max(1, size // 21))
    )
    return f"{HEAD}nodes:\n{nodes}"


def uses(size: int) -> str:
    """Return a spec of other specs, of so many nodes in all."""
    nodes = "".join(f"  n{n}: {{op: use, spec: cbam_channel}}\n" for n in range(max(1, size // 10)))
    return f"{HEAD}nodes:\n{nodes}"


def params(size: int) -> str:
    """Return a spec of as many params as nodes, most of which hang on another."""
    told = "".join(f"  p{n}: {f'p{n - 1} + 0' if n % 9 else 3}\n" for n in range(size // 2))
    nodes = "".join(f"  n{n}: {{op: linear, over: c, out: p{n}}}\n" for n in range(size // 2))
    return f"{HEAD}params:\n{told}nodes:\n{nodes}"


def misspelt(size: int) -> str:
    """Return a spec of nodes that all read another that there is not."""
    nodes = "".join(f"  n{n}: {{op: gate, x: m{n}}}\n" for n in range(size))
    return f"{HEAD}nodes:\n{nodes}"


def circles(size: int) -> str:
    """Return a spec of pairs of nodes that wait for one another."""
    nodes = "".join(f"  n{n}: {{op: gate, x: n{n ^ 1}}}\n" for n in range(size // 2 * 2))
    return f"{HEAD}nodes:\n{nodes}"


#: By name, whether it is sound, and what writes it.
SHAPES: dict[str, tuple[bool, Callable[[int], str]]] = {
    "chain": (True, chain), "wide": (True, wide), "repeats": (True, repeats), "uses": (True, uses),
    "params": (True, params), "misspelt": (False, misspelt), "circles": (False, circles),
}  # fmt: skip


def steps(text: str, sound: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each step from a text to a graph that can be lowered; each must run before the next.

    Of a spec that is not sound these are the checks alone.
    """
    from composer.graph import passes
    from composer.graph.frontend import check_text, graph_of
    from composer.graph.graph import Settings

    kept: list[Any] = []

    def keep(value: Any) -> None:
        kept[:] = [value]

    yield "check", lambda: keep(check_text(text, "large.yaml"))
    spec, problems = kept[0]
    assert (spec is not None) == sound, problems
    if not sound:
        return
    yield "graph_of", lambda: keep(graph_of(spec, Settings({"c": 16, "h": 8, "w": 8})))
    rewrites = (*passes.REWRITES, *getattr(passes, "SPEEDUPS", ()))
    for step in (*passes.CHECKS, *rewrites):
        yield step.__name__, lambda step=step: keep(step(kept[0]))
        if step in rewrites:
            graph = kept[0]
            yield "verify", lambda graph=graph: passes.verify(graph, after="a pass")


# ------------------------------------------------------------------------------------- measuring


def commands(backbone: str, folder: str) -> dict[str, list[str]]:
    """Return what is timed, by what it is called; the second is what others are compared with."""
    composer = [sys.executable, "-m", "composer"]
    if not Path(__file__).parents[2].joinpath("composer", "__main__.py").exists():
        composer = [sys.executable, "-c", "from composer.cli import main; main()"]
    insert = [*composer, "insert", "--spec", "cbam", "--into", backbone]
    return {
        "composer --help": [*composer, "--help"],
        f"timm's {backbone}": [
            sys.executable, "-c", f"import timm; timm.create_model({backbone!r})",
        ],
        "composer check cbam": [*composer, "check", "cbam"],
        f"composer insert --spec cbam --into {backbone} --dry-run": [*insert, "--dry-run"],
        f"composer insert --spec cbam --into {backbone}": [*insert, "-o", folder, "--force"],
    }  # fmt: skip


def run(command: Sequence[str]) -> dict[str, float]:
    """Run a command; return its seconds by the clock, those of the CPU, and its peak memory."""
    begin = time.perf_counter()
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(started.pid, 0)
    seconds = time.perf_counter() - begin
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        sys.exit(f"this ended with status {started.returncode}: {' '.join(command)}")
    kilobytes = used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "MiB": kilobytes / 1024}


def time_commands(backbone: str, rounds: int) -> list[dict[str, Any]]:
    """Return the medians of each command, all run in turn."""
    with tempfile.TemporaryDirectory() as folder:
        told = commands(backbone, str(Path(folder, "composed")))
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in told}
        for _ in range(rounds):
            for name, command in told.items():
                runs[name].append(run(command))
    rows = [
        {"command": name, **{of: statistics.median(r[of] for r in found) for of in found[0]}}
        for name, found in runs.items()
    ]
    whole = rows[1]
    for row in rows:
        row |= {"ratio": row["seconds"] / whole["seconds"], "of_cpu": row["cpu"] / whole["cpu"]}
    return rows


def time_passes(size: int) -> dict[str, float]:
    """Return the seconds of each pass on a chain; of those that run often, all together."""
    found: dict[str, float] = {}
    for name, step in steps(chain(size), sound=True):
        begin = time.perf_counter()
        step()
        found[name] = found.get(name, 0.0) + time.perf_counter() - begin
    return found


def main() -> None:
    """Print the tables, and write what they hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--backbone", default=BACKBONE, metavar="NAME", help="one of timm's")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, metavar="N", help="nodes")
    parser.add_argument("--json", metavar="FILE", help="write every number there")
    told = parser.parse_args()

    rows = time_commands(told.backbone, told.rounds) if told.rounds else []
    for row in rows:
        print(
            f"{row['command']:<56} {row['seconds']:>7.2f} s {row['ratio']:>6.2f}x "
            f"{row['cpu']:>7.2f} s of CPU {row['of_cpu']:>6.2f}x {row['MiB']:>7.0f} MiB",
            flush=True,
        )
    passes = {size: time_passes(size) for size in told.sizes}
    print(f"\n{'µs for each node of':<24}" + "".join(f"{size:>10,}" for size in passes))
    names = dict.fromkeys(name for found in passes.values() for name in found)
    for name in names:
        cells = (f"{1e6 * found[name] / size:>10.1f}" for size, found in passes.items())
        print(f"{name:<24}" + "".join(cells))
    print(f"{'seconds of check':<24}" + "".join(f"{p['check']:>10.2f}" for p in passes.values()))

    from composer.measure.machine import Machine

    machine = Machine.here()
    print(f"\n{machine}; medians of {told.rounds}")
    if told.json:
        said = {
            "version": 1,
            "machine": machine.as_json(),
            "versions": machine.versions,
            "commands": rows,
            "passes": [{"nodes": size, "seconds": found} for size, found in passes.items()],
        }
        Path(told.json).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

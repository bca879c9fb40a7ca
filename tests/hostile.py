"""What hostile specs cost: ``python tests/hostile.py`` prints the worst time and memory of each.

Each is given to each command in a process of its own, forked from one that has imported what the
commands need and run each of them once, so that what is measured is the spec's alone: seconds of
the CPU, and the peak of memory beyond what the process began with.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from hostile_specs import Files, generated, mutations

SECONDS, MEBIBYTES = 2.0, 300
PATIENCE = 60  # seconds of the CPU, after which a process is ended, and ten times that of a clock
FORMATS = ("svg", "dot", "html")


@dataclass(frozen=True)
class Cost:
    """What one command did with one spec."""

    command: str
    spec: str
    seconds: float
    mebibytes: float
    outcome: str  # "accepted", "refused", or what went wrong


def _silently(args: list[str]) -> int:
    from composer.cli import main

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main(args)
    except SystemExit as ended:
        if "error[fault]" in out.getvalue():
            where = out.getvalue().index("error[fault]")
            raise RuntimeError(out.getvalue()[where:][:200]) from None
        return int(ended.code or 0)
    return 0


def _network() -> Any:
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(16, 16, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return x + self.conv(x)

    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), Block(), Block())


def _planned(file: str) -> int:
    import composer

    try:
        composer.plan(_network(), file, at="block")
    except composer.ComposerError:
        return 1
    return 0


def _loaded(file: str) -> int:
    """Load the composition whose recipe has the spec's text, and those it uses."""
    import composer
    from composer.artifact.recipe import Recipe, RecipeEdit, _sha256, versions

    text = Path(file).read_text(encoding="utf-8")
    others = Path(file).parent.glob("*.yaml")
    uses = {one.name: one.read_text(encoding="utf-8") for one in others if one.name != "it.yaml"}
    edit = RecipeEdit(
        spec="it", sha256=_sha256(text, uses), at="block", position="residual", init="paper",
        sites=({"path": "layer1.0", "name": "it", "position": "residual", "channels": 16,
                "size": (40, 40)},),
        text=text, uses=uses,
    )  # fmt: skip
    backbone = "test_resnet"
    folder = Path(file).parent / "composed"
    folder.mkdir()
    whole = Recipe(backbone=backbone, dtype="float32", edits=(edit,), versions=versions(backbone))
    (folder / "recipe.yaml").write_text(whole.to_yaml(), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    try:
        composer.load(folder)
    except composer.ComposerError:
        return 1
    return 0


COMMANDS: dict[str, Callable[[str], int]] = {
    "check": lambda file: _silently(["check", file]),
    "show": lambda file: _silently(["show", file]),
    **{
        f"render {form}": lambda file, form=form: _silently(
            ["render", file, "-o", f"{file}.{form}"]
        )
        for form in FORMATS
    },
    "plan": _planned,
    "load": _loaded,
}


def measured(command: str, spec: str, files: Files) -> Cost:
    """Return what a command costs on a spec, in a process of its own."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8", errors="surrogatepass")
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE))
            os.chdir(folder)
            told = _run(command, str(Path(folder, "it.yaml")))
            os.write(writing, json.dumps(told).encode())
            os._exit(0)
        os.close(writing)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
        signal.alarm(10 * PATIENCE)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
        os.waitpid(pid, 0)
        signal.alarm(0)
    if not said:
        return Cost(command, spec, float(PATIENCE), 0.0, "ended: no answer")
    return Cost(command, spec, **json.loads(said))


def _run(command: str, file: str) -> dict[str, Any]:
    def used() -> resource.struct_rusage:
        return resource.getrusage(resource.RUSAGE_SELF)

    held = used().ru_maxrss
    begin = time.process_time()
    try:
        outcome = "refused" if COMMANDS[command](file) else "accepted"
    except BaseException as failure:
        where = traceback.extract_tb(failure.__traceback__)[-1]
        said = str(failure).split("\n")[0][:150]
        place = f"{Path(where.filename).name}:{where.lineno}"
        outcome = f"fault: {type(failure).__name__}: {said} ({place})"
    return {
        "seconds": time.process_time() - begin,
        "mebibytes": (used().ru_maxrss - held) / (1024 if sys.platform != "darwin" else 1 << 20),
        "outcome": outcome,
    }


def warm() -> None:
    """Import and run once what every command needs."""
    import torch

    torch.set_num_threads(1)
    gates = "name: it\ninput: [b, c, h, w]\nnodes:\n  out: {op: gate}\n"
    for files in ({"it.yaml": gates}, {"it.yaml": gates.replace("gate}", "gat}")}):
        with tempfile.TemporaryDirectory() as folder:
            here = Path.cwd()
            os.chdir(folder)
            file = Path(folder, "it.yaml")
            file.write_text(files["it.yaml"], encoding="utf-8")
            for command in COMMANDS.values():
                command(str(file))
            os.chdir(here)


def costs(specs: dict[str, Files], commands: Iterable[str]) -> Iterable[Cost]:
    """Yield what each command costs on each spec."""
    for command in commands:
        for spec, files in specs.items():
            yield measured(command, spec, files)


def passes(cost: Cost) -> bool:
    """Return whether a cost is within the bounds, and the answer one of Composer's own."""
    known = cost.outcome in ("accepted", "refused")
    return known and cost.seconds <= SECONDS and cost.mebibytes <= MEBIBYTES


def main() -> None:
    """Print the worst of each command, and every cost that passes a bound."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutations", type=int, default=200, metavar="N")
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    parser.add_argument("--only", default="", metavar="WORD", help="specs whose name has it")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="of all, each Nth")
    parser.add_argument("--json", metavar="FILE", help="write every cost there")
    told = parser.parse_args()
    specs = generated() | dict(mutations(told.mutations))
    names = [name for name in specs if told.only in name][:: told.one_in]
    specs = {name: specs[name] for name in names}
    warm()
    every = []
    for command in told.commands:
        mine = []
        for cost in costs(specs, [command]):
            mine.append(cost)
            if not passes(cost):
                print(f"  {cost.seconds:6.2f} s {cost.mebibytes:5.0f} MiB  {command}: "
                      f"{cost.spec}: {cost.outcome}", flush=True)  # fmt: skip
        slowest = max(mine, key=lambda c: c.seconds)
        largest = max(mine, key=lambda c: c.mebibytes)
        faults = sum(cost.outcome not in ("accepted", "refused") for cost in mine)
        print(f"{command:12} {len(mine):5} specs, {faults} faults; worst {slowest.seconds:.2f} s "
              f"({slowest.spec}), {largest.mebibytes:.0f} MiB ({largest.spec})",
              flush=True)  # fmt: skip
        every += mine
    print(
        f"{len(every)} inputs in all: worst {max(c.seconds for c in every):.2f} s, "
        f"{max(c.mebibytes for c in every):.0f} MiB"
    )
    if told.json:
        Path(told.json).write_text(json.dumps([asdict(c) for c in every], indent=1), "utf-8")


if __name__ == "__main__":
    main()

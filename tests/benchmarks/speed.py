"""Our modules beside timm's layers, plain modules, and the memory traffic that none can avoid.

``python tests/benchmarks/speed.py`` times each shipped spec at the sizes of the networks it is
meant for. On a CPU each rival of a case has a process of its own, and they take turns, at least
nine each; then the same in new processes, twice. All of it once with fresh memory for every large
map, and once with memory that is kept, since that decides more than the code does. A ratio above 1
means that ours is faster; ours/limit says how many times as long it takes as reading the map twice
and writing it once. At the end stands the table of all cases, the worst first. On two cores the
cases of one mode take hours; compiling takes several times that: say --quick --processes 1 too.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from apart import alone, measured
from cases import BATCHES, SHAPES, Case, cases
from heap import HEAPS
from modes import DTYPES, LAYOUTS, MODES, Setting
from output import check_free, write
from results import Row, means
from rivals import SLACK, difference, rivals
from table import heading, line, ranked, summary

from composer.measure.cost import parameters
from composer.measure.machine import Machine

#: The largest and the smallest map, of gates and of convolutions; one of VOLO; tokens of ViT-S.
QUICK = ("256x56x56", "2048x7x7", "64x56x56", "512x7x7", "192x28x28", "196x384")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write where told; return 1 where ours and plain do not agree."""
    told = _parser().parse_args(arguments)
    if "cuda-graphs" in told.modes and torch.device(told.device).type != "cuda":
        _parser().error("cuda-graphs needs --device cuda")
    if told.output is not None:
        check_free(told.output, told.force)
    machine = Machine.here(told.device)
    if told.threads:
        machine = replace(machine, threads=told.threads)
    print(machine, flush=True)
    rows = list(_measured(told))
    found = means(rows)
    print("\n".join([*ranked(rows), *summary(found)]))
    if told.output is not None:
        write(told.output, machine, rows, found)
    apart = {str(r.case): r.difference for r in rows if not r.difference <= SLACK}
    for case, size in apart.items():
        print(f"{case}: ours and plain lie {size:.2g} apart", file=sys.stderr)
    return 1 if apart else 0


def _measured(told: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows, each printed as it is there."""
    shapes = told.shapes or (QUICK if told.quick else ())
    batches = told.batches or ((8,) if told.quick else BATCHES)
    for mode, layout, dtype in itertools.product(told.modes, told.layouts, told.dtypes):
        on_cpu = torch.device(told.device).type == "cpu"
        for heap in told.heaps if on_cpu and mode != "memory" else ("default",):
            setting = Setting(
                mode, layout, told.device, dtype, heap, told.seconds, told.threads or 0,
                told.processes,
            )  # fmt: skip
            yield from _rows(setting, told, batches, shapes)


def _rows(
    setting: Setting, told: argparse.Namespace, batches: Sequence[int], shapes: Sequence[str]
) -> Iterator[Row]:
    """Yield the rows of one setting."""
    print(f"\n{setting}\n{heading(setting.mode == 'memory')}", flush=True)
    for case in cases(told.specs, batches, shapes):
        if setting.suits(case):
            row = _row(case, setting, told.least)
            print(line(row), flush=True)
            yield row


def _row(case: Case, setting: Setting, least: bool) -> Row:
    if setting.mode == "memory":
        return alone(_in_memory, case, setting)  # type: ignore[no-any-return]
    if torch.device(setting.device).type == "cpu":
        counts, apart, timings = measured(case, setting)
        return Row(case, setting, counts, apart, timings, {}, least)
    modules = rivals(case)
    counts = {name: parameters(module) for name, module in modules.items()}
    apart = difference(case, modules)
    return Row(case, setting, counts, apart, setting.seconds_of(case, modules), {}, least)


def _in_memory(case: Case, setting: Setting) -> Row:
    modules = rivals(case)
    counts = {name: parameters(module) for name, module in modules.items()}
    apart = difference(case, modules)
    return Row(case, setting, counts, apart, {}, setting.bytes_of(case, modules))


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--specs", type=_some(SHAPES), default=(), metavar="S,S", help="all unless told")
    add("--batches", type=_numbers, default=(), metavar="N,N", help="1,8,32 unless told")
    add("--shapes", type=_shapes, default=(), metavar="CxHxW,NxC", help="maps, and tokens")
    add("--modes", type=_some(MODES), default=("eager",), metavar="M,M", help=", ".join(MODES))
    add("--layouts", type=_some(LAYOUTS), default=("nchw",), metavar="L,L",
        help=", ".join(LAYOUTS))  # fmt: skip
    add("--device", default="cpu")
    add("--dtypes", type=_some(DTYPES), default=("float32",), metavar="D,D",
        help=f"{', '.join(DTYPES)}; the half ones by autocast")  # fmt: skip
    add("--heaps", type=_some(HEAPS), default=("fresh", "kept"), metavar="H,H",
        help=f"{', '.join(HEAPS)}: what becomes of freed memory, on a CPU")  # fmt: skip
    add("--threads", type=int, metavar="N", help="of torch on the CPU; its own choice unless told")
    add("--processes", type=_number, default=3, metavar="N",
        help="of each rival on the CPU, one after the other: 3 unless told")  # fmt: skip
    add("--seconds", type=float, default=0.2, metavar="S", help="for each rival of a case")
    add("--least", action="store_true", help="show the fastest rounds: for a busy machine")
    add("--quick", action="store_true", help="the largest and the smallest map, a batch of 8")
    add("-o", "--output", metavar="FOLDER", help="write speed.json and speed.svg there")
    add("--force", action="store_true", help="replace those that are there")
    return parser


def _some(known: Sequence[str] | dict[str, object]) -> object:
    def some(text: str) -> tuple[str, ...]:
        words = tuple(text.split(","))
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
        return words

    return some


def _numbers(text: str) -> tuple[int, ...]:
    if not all(word.isdecimal() and int(word) > 0 for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers such as 1,8")
    return tuple(map(int, text.split(",")))


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 3")
    return int(text)


def _shapes(text: str) -> tuple[str, ...]:
    for shape in text.split(","):
        sizes = shape.split("x")
        if len(sizes) not in (2, 3) or not all(s.isdecimal() and int(s) > 0 for s in sizes):
            raise argparse.ArgumentTypeError(f"{shape!r} is neither CxHxW nor NxC")
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.exit(main())

"""Whole networks for inference: composed and optimised by us, beside timm's own, compiled.

``python tests/benchmarks/networks.py`` inserts SE and CBAM into a ResNet-50 and gives the result to
`composer.optimize`; the rival is timm's network with the same attention (``seresnet50`` for SE)
under plain ``torch.compile``. Both are compiled anew for each batch size and then run in turn. A
ratio above 1 means that ours is faster: the median over the rounds, and that of the fastest ones.
What differs is that timm's is compiled as it comes, and its numbers are its own; ours are compared
with those of our network before it was optimised. On two cores it takes ten minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from timm import create_model
from torch import Tensor, nn

import composer
from composer.measure.cost import parameters
from composer.measure.latency import Timing, interleaved
from composer.measure.machine import Machine

HEADING = (
    f"{'network':<18} {'batch':>5} {'ours ms':>9} {'timm ms':>9} {'timm/ours':>9} {'fastest':>8} "
    f"{'cold s':>12} {'apart':>8}"
)
SLACK = 1e-4


def measure(told: argparse.Namespace, spec: str, batch: int) -> dict[str, Any]:
    """Return what one attention takes at one batch size, in both networks."""
    torch.compiler.reset()
    torch.manual_seed(0)
    ours = lively(composer.insert(create_model(told.into), spec)).eval().to(told.device)
    theirs = create_model(told.into, block_args={"attn_layer": spec}).eval().to(told.device)
    x = torch.randn(batch, 3, told.size, told.size, device=told.device)
    fast = composer.optimize(ours, for_="inference")
    runs = {"ours": fast, "timm": torch.compile(theirs)}
    with torch.no_grad():
        cold = {name: seconds(run, x) for name, run in runs.items()}
        wanted = ours(x)
        apart = float((fast(x) - wanted).abs().max() / wanted.abs().max())
        calls = {name: lambda run=run: run(x) for name, run in runs.items()}
        timings = interleaved(calls, told.device, told.seconds)
    return {
        "network": f"{told.into}+{spec}",
        "batch": batch,
        "parameters": {"ours": parameters(ours), "timm": parameters(theirs)},
        "difference": apart,
        "first_call": cold,
        "seconds": {name: summary(timing) for name, timing in timings.items()},
        "ratio": timings["timm"].ratio(timings["ours"]),
        "ratio_of_fastest": timings["timm"].least / timings["ours"].least,
    }


def lively(model: nn.Module) -> nn.Module:
    """Draw the norms' weights and statistics: timm begins a branch at zero, which hides it."""
    for key, tensor in model.state_dict().items():
        if tensor.dim() == 1 and tensor.is_floating_point():
            near = 0.0 if key.endswith(("bias", "mean")) else 1.0
            tensor.copy_(near + 0.2 * (torch.rand(tensor.shape) - 0.5))
    return model


def seconds(run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Return what the first call takes, which compiles."""
    begin = time.perf_counter()
    run(x)
    return time.perf_counter() - begin


def summary(timing: Timing) -> dict[str, Any]:
    """Return a timing as plain numbers."""
    found = {"median": timing.median, "quartiles": list(timing.quartiles), "least": timing.least}
    return found | {"runs": timing.runs}


def line(row: dict[str, Any]) -> str:
    """Return a row for people to read."""
    ours, timm = (row["seconds"][name]["median"] * 1000 for name in ("ours", "timm"))
    cold = f"{row['first_call']['ours']:.0f}, {row['first_call']['timm']:.0f}"
    return (
        f"{row['network']:<18} {row['batch']:>5} {ours:>9.1f} {timm:>9.1f} {row['ratio']:>9.2f} "
        f"{row['ratio_of_fastest']:>8.2f} {cold:>12} {row['difference']:>8.1g}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write where told; return 1 where the optimised network is another."""
    told = _parser().parse_args(arguments)
    if told.output is not None and Path(told.output).exists() and not told.force:
        sys.exit(f"{told.output}: exists already; replace it with --force")
    if told.threads:
        torch.set_num_threads(told.threads)
    machine = Machine.here(told.device)
    print(f"{machine}\n{HEADING}", flush=True)
    rows = []
    for spec in told.specs:
        for batch in told.batches:
            rows.append(measure(told, spec, batch))
            print(line(rows[-1]), flush=True)
    if told.output is not None:
        said = {"version": 1, "machine": machine.as_json(), "versions": machine.versions}
        said |= {"device": told.device, "size": told.size, "rows": rows}
        Path(told.output).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    apart = [row for row in rows if not row["difference"] <= SLACK]
    for row in apart:
        print(f"{row['network']}: {row['difference']:.2g} from itself uncompiled", file=sys.stderr)
    return 1 if apart else 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--into", default="resnet50", metavar="NAME", help="one of timm's ResNets")
    add("--specs", nargs="+", default=["se", "cbam"], metavar="S", help="se, cbam or eca")
    add("--batches", nargs="+", type=int, default=[1, 8], metavar="N")
    add("--size", type=int, default=224, metavar="PIXELS")
    add("--seconds", type=float, default=20.0, metavar="S", help="for each network")
    add("--device", default="cpu")
    add("--threads", type=int, metavar="N", help="of torch on the CPU; its own choice unless told")
    add("-o", "--output", metavar="FILE", help="write every number there, as JSON")
    add("--force", action="store_true", help="replace that file")
    return parser


if __name__ == "__main__":
    sys.exit(main())

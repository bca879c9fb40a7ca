"""A file is run in a process of its own, where Composer can't be imported, beside the model."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from composer.analysis.probe import probe
from composer.errors import ComposerError, error
from composer.measure.inputs import remembered_inputs
from composer.models.weights import save_weights

_ALLOWED = 1e-6  # of the largest output, in float64

_RUN = """
import importlib.util, sys
class NoComposer:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "composer":
            raise ModuleNotFoundError("Composer is not there", name="composer")
sys.meta_path.insert(0, NoComposer())
import torch
from safetensors.torch import load_model
from torch.utils._pytree import tree_leaves
file, given, found = sys.argv[1:]
spec = importlib.util.spec_from_file_location("exported", file)
exported = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exported)
net = exported.model(pretrained=True).double().eval()
load_model(net, file.removesuffix(".py") + ".safetensors")  # in float64, unrounded
args, kwargs = torch.load(given, weights_only=True)
with torch.no_grad():
    out = net(*args, **kwargs)
torch.save([t for t in tree_leaves(out) if isinstance(t, torch.Tensor)], found)
"""


def largest_difference(model: nn.Module, file: Path) -> float:
    """Return how far the outputs of a written file are from the model's, in float64.

    It is asked of weights that are moved a little: fresh models have branches that a zero keeps
    silent, and what is wrong there would not be seen. They are left beside the file.

    Raises:
        ComposerError: code ``other-numbers``: it fails, or is further off than rounding is.
    """
    twin = copy.deepcopy(model).to("cpu", torch.float64).eval()
    move(twin)
    save_weights(twin, file.with_suffix(".safetensors"))
    inputs = (remembered_inputs(model) or probe(model).inputs).on(twin).filled().batch(2)
    args, kwargs = inputs.args, dict(inputs.kwargs)
    with torch.no_grad():
        wanted = [t for t in tree_leaves(twin(*args, **kwargs)) if isinstance(t, Tensor)]
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.pt", Path(folder) / "found.pt"
        torch.save((args, kwargs), given)
        command = [sys.executable, "-c", _RUN, str(file), str(given), str(found)]
        path = os.pathsep.join(sys.path)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        if done.returncode or not found.exists():
            last = done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
            raise _refused(f"it does not run by itself: {last[0]}")
        made = torch.load(found, weights_only=True)
    return _compared(wanted, made)


def move(model: nn.Module) -> None:
    """Add something to each weight that belongs to one channel, or to none."""
    draw = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() <= 1:
            parameter.data += 0.1 + 0.1 * torch.rand(
                parameter.shape, generator=draw, dtype=parameter.dtype
            )


def _compared(wanted: list[Tensor], made: list[Tensor]) -> float:
    shapes = [[tuple(t.shape) for t in tensors] for tensors in (wanted, made)]
    if shapes[0] != shapes[1]:
        raise _refused(f"it gives {shapes[1]}, and the model {shapes[0]}")
    worst = 0.0
    for one, other in zip(wanted, made, strict=True):
        if not one.numel():
            continue
        gap = float((one.double() - other.double()).abs().max())
        worst = max(worst, gap)
        if not gap <= _ALLOWED * max(1.0, float(one.abs().max())):
            raise _refused(f"its outputs are {gap:.2g} off the model's")
    return worst


def _refused(why: str) -> ComposerError:
    return error(
        "other-numbers",
        f"the Python of this model was made and is not written: {why}",
        "export to pt2 or onnx, and report this with the recipe",
    )

"""Modules carried to another process, and what is compared there; run as a script, it loads them.

`python tests/carried.py FOLDER` reads `*.sent` of a folder, and writes `facts.json` beside them.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

#: What reads each way of writing; cloudpickle and dill write what pickle and dill read.
LOADERS = {
    "pickle": "pickle",
    "pickle of protocol 0": "pickle",
    "torch.save": "torch",
    "cloudpickle": "pickle",
    "dill": "dill",
}


def doubled(module: nn.Module, args: Any, given: Tensor) -> Tensor:
    """A hook of a forward."""
    return 2 * given


def facts(module: Any, shape: list[int]) -> dict[str, Any]:
    """Return all that a copy of a module has alike, as JSON has it."""
    found = {
        "class": [f"{kind.__module__}.{kind.__name__}" for kind in type(module).__mro__],
        "call": type(module).__call__ is nn.Module.__call__,
        "code": module.code,
        "nodes": [
            [n.op, n.name, named(n.target), str(n.args), str(n.kwargs), str(n.type), str(n.meta)]
            for n in module.graph.nodes
        ],
        "owner": module.graph.owning_module is module,
        "meta": str(module.meta),
        "training": [part.training for part in module.modules()],
        "kept": [name for name, _ in module.named_buffers()],
        "trained": [name for name, p in module.named_parameters() if p.requires_grad],
        "state": {key: digest(tensor) for key, tensor in module.state_dict().items()},
        "attributes": sorted(vars(module)),
    }
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found["output"] = digest(module.eval()(x))
    return found


def named(target: Any) -> str:
    """Return what is called, without its address in memory."""
    return target if isinstance(target, str) else f"{target.__module__}.{target.__qualname__}"


def digest(tensor: Tensor) -> str:
    """Return what tells a tensor, to the bit."""
    data = tensor.detach().contiguous().numpy().tobytes()
    return f"{list(tensor.shape)} {hashlib.sha256(data).hexdigest()}"


def facts_of_all(modules: dict[str, Any], shapes: dict[str, list[int]]) -> dict[str, Any]:
    """Return the facts of several modules by name."""
    torch.set_num_threads(1)
    return {name: facts(module, shapes[name]) for name, module in modules.items()}


def read(file: Path, way: str) -> Any:
    """Load what was written in a way."""
    match LOADERS[way]:
        case "torch":
            return torch.load(file, weights_only=False)
        case "dill":
            import dill

            return dill.loads(file.read_bytes())
    return pickle.loads(file.read_bytes())


def error_without_composer(file: Path) -> str:
    """Return what a process says that has no Composer."""
    path, finders = sys.path[:], sys.meta_path[:]
    sys.path[:] = [folder for folder in path if not Path(folder, "composer").is_dir()]
    sys.meta_path[:] = [one for one in finders if "editable" not in str(one)]
    try:
        read(file, "torch.save")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        sys.path[:], sys.meta_path[:] = path, finders
    return "no error"


def main(folder: Path) -> None:
    shapes = json.loads((folder / "shapes.json").read_text())
    found = {"without composer": error_without_composer(folder / "torch.save.sent")}
    for way in LOADERS:
        found[way] = facts_of_all(read(folder / f"{way}.sent", way), shapes)
    (folder / "facts.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

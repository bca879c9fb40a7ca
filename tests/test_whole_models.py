"""A composed model goes where any model goes: saved whole, to other processes, into tracers."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dill
import pytest
import torch
from timm import create_model
from torch import Tensor, fx, nn
from torch.multiprocessing import get_context
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import composer

HERE = Path(__file__).parent


def timm(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    return lambda: create_model(name, num_classes=5, **arguments)


def torchvision(name: str) -> Callable[[], nn.Module]:
    return lambda: get_model(name, weights=None)


#: name: the backbone, and the edits one after another
MODELS: dict[str, tuple[Callable[[], nn.Module], list[dict[str, Any]]]] = {
    "residual": (timm("resnet18"), [{"spec": "cbam"}]),
    "stacked": (timm("resnet18"), [
        {"spec": "se"}, {"spec": "eca", "at": "block", "position": "output"},
        {"spec": "eca", "at": "block", "position": "input"}, {"spec": "bam"},
        {"spec": "se", "at": "block"},
    ]),
    "after": (torchvision("resnet18"), [{"spec": "eca", "at": "block", "position": "after:conv1"}]),
    "stand-in": (torchvision("resnet18"), [{"spec": "sk", "stages": "3"}]),
    "shared": (timm("efficientnet_b0"), [{"spec": "cond_conv", "params": {"experts": 2}}]),
    "tokens": (timm("test_vit"), [{"spec": "cbam", "params": {"min_width": 1}}]),
}  # fmt: skip


def composed(name: str) -> tuple[nn.Module, Tensor]:
    make, edits = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    for edit in edits:
        model = composer.insert(model, **edit)
    return model.eval(), torch.randn(2, 3, 160 if name == "tokens" else 64, 64 if name != "tokens"
                                     else 160)  # fmt: skip


def saved(model: nn.Module) -> nn.Module:
    held = io.BytesIO()
    torch.save(model, held)
    held.seek(0)
    found = torch.load(held, weights_only=False)
    assert isinstance(found, nn.Module)
    return found


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": saved,
    "deepcopy": copy.deepcopy,
    "cloudpickle": lambda model: pickle.loads(cloudpickle.dumps(model)),
    "dill": lambda model: dill.loads(dill.dumps(model)),
    "twice": lambda model: pickle.loads(pickle.dumps(copy.deepcopy(saved(model)))),
}


@pytest.mark.quick(1)
@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_a_composed_model_pickles(name: str) -> None:
    model, x = composed(name)
    want = model(x)
    for way, carry in WAYS.items():
        other = carry(model)
        assert torch.equal(other(x), want), way
        classes = [type(m) for m in model.modules() if not isinstance(m, fx.GraphModule)]
        assert [type(m) for m in other.modules() if not isinstance(m, fx.GraphModule)] == classes
        assert str(other.state_dict().keys()) == str(model.state_dict().keys())
        back = composer.eject(other)
        assert type(back) is type(composer.eject(model))
        assert list(back.state_dict()) == list(composer.eject(model).state_dict())


@pytest.mark.slow
def test_a_model_is_loaded_in_a_fresh_process(tmp_path: Path) -> None:
    for name in MODELS:
        model, x = composed(name)
        with torch.no_grad():
            torch.save((model, x, model(x)), tmp_path / f"{name}.pt")
    done = subprocess.run(
        [sys.executable, HERE / "loads_models.py", tmp_path, str(torch.get_num_threads())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"{name} True" for name in sorted(MODELS)], done.stderr


def answer(model: nn.Module, x: Tensor, threads: int, queue: Any) -> None:
    torch.set_num_threads(threads)  # sums are split by them: other threads, other last bits
    with torch.no_grad():
        queue.put(model(x).numpy())


@pytest.mark.long
def test_a_model_is_sent_to_a_spawned_process() -> None:
    model, x = composed("residual")
    context = get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=answer, args=(model, x, torch.get_num_threads(), queue))
    process.start()
    given = queue.get(timeout=120)
    process.join()
    with torch.no_grad():
        assert torch.equal(torch.from_numpy(given), model(x))


def test_a_pickle_of_another_source_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from composer.errors import ComposerError
    from composer.surgery import edited_class

    model, _ = composed("residual")
    edits = edited_class.edits_of(model.layer1[0])
    (method,) = edits.methods
    other = edits.with_method(edited_class.Method(method.name, method.text, "of another version"))
    with pytest.raises(ComposerError) as failure:
        edited_class.put_edits(create_model("resnet18").layer1[0], other)
    assert str(failure.value) == (
        "error[other-source]: timm.models.resnet.BasicBlock.forward can't be edited again: it "
        "is not the one that was edited\n"
        "  help: install the version that the model was composed with, or insert again"
    )


# ------------------------------------------------------------------------------------ tracers

TRACED = [
    (torchvision("resnet18"), "layer1.1.se", {}),
    (torchvision("mobilenet_v2"), "features.3.se", {}),
    (torchvision("efficientnet_b0"), "features.2.1.se", {}),
    (torchvision("regnet_y_400mf"), None, {}),
    (torchvision("convnext_tiny"), None, {}),
    (torchvision("densenet121"), None, {"at": "stage"}),
    (timm("resnet18"), None, {}),
    (timm("mobilenetv2_050"), None, {}),
]


@pytest.mark.quick(1)
@torch.no_grad()
@pytest.mark.parametrize(("make", "path", "where"), TRACED)
def test_a_composed_model_is_traced_and_taken_apart(
    make: Callable[[], nn.Module], path: str | None, where: dict[str, Any]
) -> None:
    plain = make().eval()
    model = composer.insert(plain, "se", init="identity", params={"reduction": 4}, **where).eval()
    x = torch.randn(2, 3, 64, 64)
    traced = fx.symbolic_trace(model)
    assert torch.equal(traced(x), model(x))
    names = get_graph_node_names(model)[1]
    inserted = [name for name in names if ".se" in name and name.count(".se") == 1]
    assert inserted
    nodes = {inserted[-1]: "inserted"}
    given = create_feature_extractor(model, return_nodes=nodes)(x)
    assert isinstance(given["inserted"], Tensor)


# ------------------------------------------------------------------------------------ threads


@pytest.mark.long
def test_an_insertion_leaves_other_threads_alone() -> None:
    """Nothing of torch is patched while a forward is looked at."""
    unrelated = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    x = torch.randn(1, 3, 8, 8)
    want = unrelated(x)
    failures: list[str] = []
    stop = threading.Event()
    rounds = 0

    def run() -> None:
        nonlocal rounds
        while not stop.is_set():
            try:
                assert torch.equal(unrelated(x), want)
            except Exception as failure:
                failures.append(repr(failure))
                return
            rounds += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        backbone = timm("test_resnet")()
        for _ in range(3):
            composer.insert(backbone, "se", params={"min_width": 1})
    finally:
        stop.set()
        thread.join()
    assert not failures and rounds > 100

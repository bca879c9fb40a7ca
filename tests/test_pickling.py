"""What `build` returns is carried as any module is: pickled in every way, spawned, copied."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import carried
import cloudpickle
import dill
import pytest
import torch
from probe import random, randomise
from shipped import TYPICAL
from torch import Tensor, fx, nn

import composer
from composer.analysis.edited import MARK, STAND_IN, Before
from composer.graph.frontend import load_spec
from composer.lower.mechanism import Mechanism

pytestmark = pytest.mark.xdist_group("pickling")

WIDTH, SIZE = 32, (7, 7)
SPECS = sorted(TYPICAL)
WRITERS: dict[str, Callable[[Any], bytes]] = {
    "pickle": pickle.dumps,
    "pickle of protocol 0": lambda modules: pickle.dumps(modules, protocol=0),
    "cloudpickle": cloudpickle.dumps,
    "dill": dill.dumps,
}
WAYS = [*carried.LOADERS, "spawn", "deepcopy"]


def made(name: str) -> fx.GraphModule:
    """Return a spec's module as an edit leaves it: marked, hooked, in either mode."""
    spec = load_spec(name)
    if spec.stands_for == "conv2d" and name != "bot_mhsa":
        module = composer.build(spec, like=nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
    else:
        module = composer.build(spec, WIDTH, size=SIZE)
    randomise(module, seed=len(name))
    module.register_forward_hook(carried.doubled)
    module.meta[MARK] = name
    module.meta[STAND_IN] = Before(WIDTH, 2, "conv")
    for parameter in list(module.parameters())[:1]:
        parameter.requires_grad_(False)
    return module.train(len(name) % 2 == 0)


def shape_of(name: str) -> list[int]:
    places = SIZE[0] * SIZE[1]
    return [2, places, WIDTH] if "n" in load_spec(name).input else [2, WIDTH, *SIZE]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the facts of every spec's module, of itself and by every way of carrying it."""
    modules = {name: made(name) for name in SPECS}
    shapes = {name: shape_of(name) for name in SPECS}
    folder = tmp_path_factory.mktemp("sent")
    for way, write in WRITERS.items():
        (folder / f"{way}.sent").write_bytes(write(modules))
    torch.save(modules, folder / "torch.save.sent")
    (folder / "shapes.json").write_text(json.dumps(shapes))
    subprocess.run([sys.executable, carried.__file__, folder], check=True)
    found: dict[str, dict[str, Any]] = json.loads((folder / "facts.json").read_text())
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found["spawn"] = pool.submit(carried.facts_of_all, modules, shapes).result()
    found["deepcopy"] = carried.facts_of_all(copy.deepcopy(modules), shapes)
    found["itself"] = carried.facts_of_all(modules, shapes)
    return found


@pytest.mark.long
@pytest.mark.quick(60)
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("way", WAYS)
def test_all_is_as_before(facts: dict[str, dict[str, Any]], name: str, way: str) -> None:
    assert facts[way][name] == facts["itself"][name]


def test_a_process_without_composer_says_so(facts: dict[str, Any]) -> None:
    assert facts["without composer"] == "ModuleNotFoundError: No module named 'composer'"


# --------------------------------------------------------------------- what the facts don't show


def pickled(module: Any) -> Any:
    return pickle.loads(pickle.dumps(module))


COPIES = [copy.deepcopy, pickled, lambda m: cloudpickle.loads(cloudpickle.dumps(m))]
by_copy = pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle", "cloudpickle"])


@by_copy
def test_a_copy_has_a_graph_and_weights_of_its_own(copied: Callable[[Any], Any]) -> None:
    module = composer.build("se", WIDTH).eval()
    twin, x = copied(module), random(2, WIDTH, *SIZE).float()
    expected = module(x)
    nn.init.zeros_(twin.excite.fc2.weight)
    (output,) = twin.graph.find_nodes(op="output")
    with twin.graph.inserting_before(output):
        output.args = (twin.graph.call_function(torch.zeros_like, output.args),)
    twin.recompile()
    assert not twin(x).any() and torch.equal(module(x), expected)
    assert not pickled(twin)(x).any()  # of the graph as it is now


@by_copy
def test_a_module_in_two_places_stays_one(copied: Callable[[Any], Any]) -> None:
    module = composer.build("eca", WIDTH)
    twin = copied(nn.ModuleList([module, nn.Sequential(module)]))
    assert twin[0] is twin[1][0] is not module and isinstance(twin[0], Mechanism)


@by_copy
def test_a_hook_bound_to_the_module_is_bound_to_the_copy(copied: Callable[[Any], Any]) -> None:
    module = composer.build("eca", WIDTH)
    module.register_forward_hook(module.add_module)
    twin = copied(module)
    (hook,) = twin._forward_hooks.values()
    assert hook.__self__ is twin is twin.graph.owning_module


@by_copy
def test_nothing_is_traced(copied: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace patches `nn.Module` for all threads while it lasts."""
    module = composer.build("cbam", WIDTH)
    monkeypatch.delattr(fx.Tracer, "trace")
    assert copied(module).code == module.code


def test_compiled_code_stays_behind() -> None:
    module = composer.build("se", WIDTH)
    module._compiled_call_impl = module._call_impl
    for copied in COPIES:
        assert copied(module)._compiled_call_impl is None


def test_a_shallow_copy_shares_its_weights() -> None:
    module = composer.build("se", WIDTH).eval()
    module.register_forward_hook(carried.doubled)
    module.meta[MARK] = "se"
    twin, x = copy.copy(module), random(2, WIDTH, *SIZE).float()
    assert isinstance(twin, Mechanism) and twin.excite is module.excite
    assert twin.meta == module.meta and torch.equal(twin(x), module(x))


def test_a_replica_of_data_parallel_runs() -> None:
    module = composer.build("se", WIDTH).eval()
    replica, x = module._replicate_for_data_parallel(), random(2, WIDTH, *SIZE).float()
    replica._modules["excite"] = copy.deepcopy(module.excite)  # as on another device
    assert torch.equal(replica(x), module(x)) and replica.excite is not module.excite


def in_capitals(body: list[str]) -> list[str]:
    return [*body, "# SHOUTED\n"]


def test_what_else_writes_the_code() -> None:
    module = composer.build("se", WIDTH)
    module.graph.on_generate_code(lambda _: in_capitals)
    module.recompile()
    assert "SHOUTED" in module.code
    for copied in COPIES:
        assert copied(module).code == module.code


class Long(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3000):
            x = x + 1
        return x


@pytest.mark.quick(1, then="long")
@by_copy
def test_a_long_graph(copied: Callable[[Any], Any]) -> None:
    module = Mechanism(nn.Module(), fx.Tracer().trace(Long()))
    assert float(copied(module)(torch.zeros(()))) == 3000


def test_what_cannot_be_carried_is_left() -> None:
    """Such as fake tensors, which a pass over the shapes leaves at the nodes."""
    module = composer.build("se", WIDTH)
    for node in module.graph.nodes:
        node.meta["val"] = lambda: None
    assert all("val" not in node.meta for node in pickled(module).graph.nodes)
    assert all("val" in node.meta for node in copy.deepcopy(module).graph.nodes)

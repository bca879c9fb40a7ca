"""Whatever was done to a composed model in training: `save` writes it, and `load` opens the same.

Each row makes a plain model, changes it, inserts, and changes it again; what can't be made again
is refused before anything is written, with the way out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import timm
import torch
import torch.distributed as dist
import torchvision
from command import NET, files
from probe import randomise
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

import composer
from composer.errors import ComposerError, UnknownOriginWarning

Change = Callable[[nn.Module], Any]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def nothing(model: nn.Module) -> None:
    pass


def resnet(**arguments: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model("resnet18", **arguments)


def head(width: int = 512, classes: int = 7) -> Change:
    return lambda model: setattr(model, "fc", nn.Linear(width, classes))


def trained(model: nn.Module) -> nn.Module:
    """Return a model after a step of an optimizer, in which no number is a default."""
    channels = next(model.parameters()).shape[1]
    randomise(model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(torch.randn(2, channels, 64, 64)).float().square().mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    optimizer.step()
    return model


def out(model: nn.Module) -> torch.Tensor:
    channels = next(model.parameters()).shape[1]
    x = torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return model.eval()(x.to(next(model.parameters()).dtype))


def same(model: nn.Module, again: nn.Module) -> None:
    first, second = model.state_dict(), again.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(out(model), out(again))


def schedule_drop_path(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.3


#: How the model is made, what is done before the insertion, what after it, and the backbone of
#: the recipe.
ACCEPTED: dict[str, tuple[Callable[[], nn.Module], Change, Change, str]] = {
    "in_chans": (resnet(in_chans=1), nothing, nothing, "resnet18?in_chans=1"),
    "drop path": (resnet(drop_path_rate=0.2), nothing, schedule_drop_path,
                  "resnet18?drop_path_rate=0.2"),
    "dropout": (resnet(drop_rate=0.2), nothing, nothing, "resnet18?drop_rate=0.2"),
    "all at once": (resnet(in_chans=1, num_classes=9, drop_path_rate=0.1), nothing, head(),
                    "resnet18?in_chans=1&num_classes=7&drop_path_rate=0.1"),
    "other arguments": (resnet(act_layer="silu", output_stride=8), nothing, nothing,
                        "resnet18?act_layer=silu&output_stride=8"),
    "reset_classifier before": (resnet(), lambda m: m.reset_classifier(7), nothing,
                                "resnet18?num_classes=7"),
    "reset_classifier after": (resnet(), nothing, lambda m: m.reset_classifier(7),
                               "resnet18?num_classes=7"),
    "no classifier": (resnet(), nothing, lambda m: m.reset_classifier(0),
                      "resnet18?num_classes=0"),
    "linear head before": (resnet(), head(), nothing, "resnet18?num_classes=7"),
    "linear head after": (resnet(), nothing, head(), "resnet18?num_classes=7"),
    "both": (resnet(num_classes=5), head(classes=6), head(), "resnet18?num_classes=7"),
    "of torchvision before": (torchvision.models.resnet18, head(), nothing,
                              "torchvision:resnet18?num_classes=7"),
    "of torchvision after": (torchvision.models.resnet18, nothing, head(),
                             "torchvision:resnet18?num_classes=7"),
    "checkpointing": (resnet(), nothing, lambda m: m.set_grad_checkpointing(True), "resnet18"),
    "checkpointing and a head": (resnet(), lambda m: m.set_grad_checkpointing(True), head(),
                                 "resnet18?num_classes=7"),
    "synchronised norms": (resnet(), nothing, nn.SyncBatchNorm.convert_sync_batchnorm, "resnet18"),
    "compiled in place": (resnet(), nothing, lambda m: m.compile(backend="eager"), "resnet18"),
    "half precision": (resnet(), nothing, lambda m: m.bfloat16(), "resnet18"),
}  # fmt: skip


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_saved_is_loaded(name: str) -> None:
    make, before, after, backbone = ACCEPTED[name]
    plain = make()
    before(plain)
    with warnings.catch_warnings(action="error", category=UnknownOriginWarning):
        model = composer.insert(plain, "cbam", stages=4, init="identity")
    after(model)
    if name not in ("half precision", "synchronised norms"):
        model = trained(model)
    composer.save(model, "it")
    assert composer.recipe(model).backbone == backbone
    if name == "synchronised norms":  # which the CPU does not run in training
        model.eval()
    same(model, composer.load("it", trust_code=True))


def test_a_model_of_ones_own_is_saved_with_another_head() -> None:
    model = composer.insert("net.py:tiny", "se")
    model.head = nn.Linear(32, 6)
    message = (
        "error[unknown-origin]: the model was changed after the insertion ('head.weight' is 6×32 "
        "here and 5×32 there), so a recipe could not make it again\n"
        "  help: name its MODEL: save(model, folder, backbone='file.py:factory'), or save "
        "its state_dict()"
    )
    assert refusal(model) == message
    composer.save(randomise(model), "it", backbone="net.py:tiny?classes=6")
    same(model, composer.load("it", trust_code=True))
    assert refusal(model, folder="other", backbone="net.py:tiny?classes=7") == (
        "error[another-backbone]: net.py:tiny?classes=7 makes a different model than the Net "
        "given: "
        "'head.weight' is 6×32 here and 7×32 there\n"
        "  help: name the MODEL of the given model, with its arguments"
    )


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": DistributedDataParallel,
    "compiled": lambda m: torch.compile(m, backend="eager"),
    "compiled and distributed": lambda m: DistributedDataParallel(
        torch.compile(m, backend="eager")  # type: ignore[arg-type]
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_taken_off(name: str, one_process: None) -> None:
    model = randomise(composer.insert("resnet18", "se", stages=4))
    wrapped = WRAPPERS[name](model)
    composer.save(wrapped, "it")
    same(model, composer.load("it", trust_code=True))
    composer.save(model, "from its state", state=wrapped.state_dict())
    same(model, composer.load("from its state", trust_code=True))


@pytest.mark.long
@pytest.mark.parametrize("spec", ["cbam", "sk"])
def test_a_sharded_model_is_saved_by_its_full_state_dict(spec: str, one_process: None) -> None:
    plain = timm.create_model("resnet18", num_classes=5)
    model = randomise(composer.insert(plain, spec, stages=4))
    wanted, before = out(model), {k: t.clone() for k, t in model.state_dict().items()}
    mesh = init_device_mesh("cpu", (1,))
    for block in (*model.layer4, model):
        fully_shard(block, mesh=mesh)
    assert refusal(model) == (
        "error[sharded]: conv1.weight is sharded, and a composition holds whole tensors\n"
        "  help: on every rank run state = get_model_state_dict(model, "
        "options=StateDictOptions(full_state_dict=True, cpu_offload=True)), and on the first "
        "one composer.save(model, folder, state=state)"
    )
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    composer.save(model, "it", state=get_model_state_dict(model, options=options))
    again = composer.load("it", trust_code=True)
    assert {k: torch.equal(t, before[k]) for k, t in again.state_dict().items()} == dict.fromkeys(
        before, True
    )
    assert torch.equal(out(again), wanted)
    assert composer.eject(again).state_dict().keys() == plain.state_dict().keys()


FLAT = (
    "error[sharded]: FullyShardedDataParallel keeps the parameters flattened and sharded, so "
    "they have no names of their own\n"
    "  help: load its full state dict into the unwrapped model, and pass that; or shard with "
    "fully_shard (FSDP2), which keeps every name"
)
FLAT_CALLS: dict[str, Callable[[nn.Module], Any]] = {
    "save": lambda m: composer.save(m, "it"),
    "insert": lambda m: composer.insert(m, "se"),
    "insert in place": lambda m: composer.insert(m, "se", inplace=True),
    "plan": lambda m: composer.plan(m, "se"),
    "sites": composer.sites,
    "inserted_parameters": lambda m: list(composer.inserted_parameters(m)),
    "parameter_groups": lambda m: composer.parameter_groups(m, lr=1, weight_decay=1),
    "reset": composer.reset,
}


@pytest.mark.long
def test_a_model_of_flat_parameters_is_refused(one_process: None) -> None:
    """FSDP1: whatever has to know which parameter is which."""
    flat = FullyShardedDataParallel(
        composer.insert("test_resnet", "se"), device_id=torch.device("cpu")
    )
    for name, call in FLAT_CALLS.items():
        with pytest.raises(ComposerError) as refused:
            call(flat)
        assert str(refused.value) == FLAT, name


def test_a_sharded_model_is_reset_in_its_shards(one_process: None) -> None:
    model = composer.insert("resnet18", "se", stages=4)
    mesh = init_device_mesh("cpu", (1,))
    fully_shard(model, mesh=mesh)
    name, parameter = next(composer.inserted_parameters(model))
    with torch.no_grad():
        parameter.fill_(float("nan"))
    composer.reset(model)
    assert parameter.full_tensor().isfinite().all(), name  # type: ignore[attr-defined]
    assert len(composer.parameter_groups(model, lr=1, weight_decay=1)) == 4


def refusal(model: nn.Module, folder: str = "it", **wish: Any) -> str:
    """Return what `save` says, which wrote nothing."""
    there = files(Path())
    with pytest.raises(ComposerError) as refused:
        composer.save(model, folder, **wish)
    assert files(Path()) == there
    return str(refused.value)


def changed(what: str) -> str:
    return (
        f"error[unknown-origin]: the model was changed after the insertion ({what}), so a recipe "
        "could not make it again\n"
        "  help: name its MODEL: save(model, folder, backbone='file.py:factory'), or save "
        "its state_dict()"
    )


def stride(model: nn.Module) -> None:
    model.conv1.stride = (1, 1)


#: What is done after the insertion, and what `save` says.
REFUSED: dict[str, tuple[Change, str]] = {
    "a head of several layers": (
        lambda m: setattr(m, "fc", nn.Sequential(nn.Dropout(), nn.Linear(512, 7))),
        changed("'fc.weight' is missing here and 1000×512 there")),
    "a head without bias": (
        lambda m: setattr(m, "fc", nn.Linear(512, 7, bias=False)),
        changed("'fc.weight' is 7×512 here and 1000×512 there")),
    "a stride": (stride, changed(
        "'conv1' is Conv2d(3, 64, kernel_size=(7, 7), stride=(1, 1), padding=(3, 3), bias=False) "
        "here and Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False) "
        "there")),
    "a pool taken out": (
        lambda m: setattr(m, "maxpool", nn.Identity()),
        changed("'maxpool' is missing here and MaxPool2d(kernel_size=3, stride=2, padding=1, "
                "dilation=1, ceil_mode=False) there")),
    "no numbers": (
        lambda m: m.to("meta"),
        "error[no-numbers]: conv1.weight is on the meta device, without numbers\n"
        "  help: load the model's weights first, or pass them: composer.save(model, folder, "
        "state=state_dict)"),
}  # fmt: skip


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_made_again_is_refused(name: str) -> None:
    change, said = REFUSED[name]
    model = composer.insert(timm.create_model("resnet18"), "se", stages=4)
    change(model)
    assert refusal(model) == said


@pytest.mark.long
def test_a_state_dict_of_another_model_is_refused() -> None:
    model = composer.insert("resnet18", "se", stages=4)
    state = model.state_dict()
    del state["fc.bias"]
    assert refusal(model, state=state).startswith(
        "state: error[weights]: does not fit resnet18: 1 key missing: fc.bias\n"
    )


#: A model whose origin can't be found.
UNKNOWN: dict[str, Change] = {
    "a stride": stride,
    "a forward": lambda m: setattr(
        m, "forward", MethodType(lambda self, x: self.forward_features(x), m)
    ),
    "a head": lambda m: setattr(m, "fc", nn.Sequential(nn.Linear(512, 7))),
}


@pytest.mark.long
@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_origin_is_reported_when_composing(name: str) -> None:
    plain = timm.create_model("resnet18")
    UNKNOWN[name](plain)
    with pytest.warns(UnknownOriginWarning) as caught:
        model = composer.insert(plain, "se", stages=4)
    assert [str(one.message) for one in caught] == [
        "it is not known how this ResNet was made, so composer.save will refuse it: name its "
        "MODEL, as in insert(model, spec, backbone='file.py:factory'); its state_dict() can be "
        "saved in either case"
    ]
    assert Path(caught[0].filename) == Path(__file__)
    with warnings.catch_warnings(action="error", category=UnknownOriginWarning):
        composer.insert(model, "eca", stages=4)  # once is enough
    assert refusal(model).startswith("error[unknown-origin]: it is not known how this ResNet was")

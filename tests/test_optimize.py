"""`optimize`: the same numbers, one graph, nothing stale, and the model kept as it was."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import enlivened
from timm import create_model
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils.flop_counter import FlopCounterMode

import composer
from composer import ComposerError, optimize

pytestmark = pytest.mark.slow  # compiling takes most of its time


@pytest.fixture(autouse=True)
def nothing_compiled_yet() -> None:
    torch.manual_seed(0)
    torch.compiler.reset()
    counters.clear()


@pytest.fixture
def eagerly(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let dynamo do its part and no other compiler; return the graphs that it finds."""
    graphs: list[Any] = []
    compile_ = torch.compile

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    def instead(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        compiled: Callable[..., Any] = compile_(function, backend=backend, **options)
        return compiled

    monkeypatch.setattr(torch, "compile", instead)
    return graphs


class Net(nn.Module):
    """A convolution whose norm is its only reader, and one that another reads too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        y = self.conv2(x)
        return self.fc((self.bn2(y) + y + x).mean((2, 3)))

    def features(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv1(x))


def net() -> nn.Module:
    return enlivened(Net())


def images(batch: int = 2, side: int = 16) -> Tensor:
    return torch.randn(batch, 3, side, side)


def close(ours: Tensor, theirs: Tensor, relative: float = 1e-4) -> None:
    assert (ours - theirs).abs().max() <= relative * theirs.abs().max()


def said(call: Callable[[], Any]) -> str:
    with pytest.raises(ComposerError) as failure:
        call()
    return str(failure.value)


# ------------------------------------------------------------------------------- inference


def test_the_numbers_stay_and_norms_are_folded() -> None:
    model = net().eval()
    fast = optimize(model, for_="inference")
    for batch in (2, 3, 5):
        x = images(batch)
        close(fast(x), model(x))
    assert counters["stats"]["unique_graphs"] == 2  # one size, then any
    assert counters["inductor"]["binary_folding_conv"] > 0
    assert not torch._inductor.config.freezing


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda y: y[:1], "returns 1×5 instead of 2×5 on an input of 2×3×16×16"),
        (lambda y: y + y.abs().max(), "from the model, whose values reach "),
        (lambda y: y * 1e-3, "from the model, whose values reach "),
    ],
)
def test_other_numbers_are_an_error(
    wrong: Callable[[Tensor], Tensor], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda call, **_: lambda *args: wrong(call(*args)))
    fast = optimize(net().eval(), for_="inference")
    for _ in range(2):  # the second time, too
        message = said(lambda: fast(images()))
        assert message.startswith("error[compiled-differs]: this Net, compiled, ")
        assert text in message


def test_a_second_batch_is_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda call, **_: lambda *args: call(*args)[:2])
    fast = optimize(net().eval(), for_="inference")
    fast(images(2))
    assert "returns 2×5 instead of 3×5" in said(lambda: fast(images(3)))


def test_more_kinds_of_inputs_than_dynamo_keeps(eagerly: list[Any]) -> None:
    class Counts(nn.Module):
        def forward(self, x: Tensor, times: str) -> Tensor:
            return x * len(times)

    fast, x = optimize(Counts(), for_="inference"), torch.ones(2)
    for times in range(1, 12):
        assert fast(x, "a" * times).tolist() == [times, times]


@pytest.mark.parametrize("name", ["cond_conv", "dynamic_conv", "od_conv"])
def test_more_batches_than_dynamo_keeps(name: str, eagerly: list[Any]) -> None:
    module = enlivened(composer.build(name, 16)).eval()
    fast = optimize(module, for_="inference")
    for batch in range(1, 12):
        x = torch.randn(batch, 16, 6, 5)
        close(fast(x), module(x))
    assert len(eagerly) <= 3  # one batch, any, and a batch of one


@pytest.mark.parametrize("name", ["sk", "cond_conv"])
@pytest.mark.slow
def test_the_numbers_of_networks_stay(name: str) -> None:
    model = enlivened(composer.insert(create_model("test_resnet"), name)).eval()
    fast = optimize(model, for_="inference")
    for batch in (1, 2, 3):
        x = images(batch, 64)
        close(fast(x), model(x))


@pytest.mark.slow
def test_the_numbers_of_tokens_stay() -> None:
    model = enlivened(composer.insert(create_model("test_vit"), "mhsa")).eval()
    x = images(2, 160)
    close(optimize(model, for_="inference")(x), model(x))


def test_doubles_stay_doubles() -> None:
    model = net().double().eval()
    x = images().double()
    close(optimize(model, for_="inference")(x), model(x), 1e-10)


@pytest.mark.slow
def test_halves_stay_halves() -> None:
    model = net().bfloat16().eval()
    x = images().bfloat16()
    made = optimize(model, for_="inference")(x)
    assert made.dtype is torch.bfloat16
    close(made, model(x), 0.03)


def test_the_model_given_is_left_alone(eagerly: list[Any]) -> None:
    model = net().train()
    before, attributes = copy.deepcopy(model.state_dict()), dict(vars(model))
    fast = optimize(model, for_="inference")
    made = fast(images())
    assert fast is not model and type(fast) is type(model)
    assert not made.requires_grad and not fast.training and model.training
    assert vars(model) == attributes
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())
    assert all(torch.equal(t, before[key]) for key, t in fast.state_dict().items())
    assert not {t.data_ptr() for t in model.parameters()} & {
        t.data_ptr() for t in fast.parameters()
    }
    assert list(fast.state_dict()) == list(before)


def test_no_gradients_inference_mode_or_neither(eagerly: list[Any]) -> None:
    fast, x = optimize(net(), for_="inference"), images()
    fast(x)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            assert not fast(x).requires_grad
            assert not fast(x).is_inference()
    assert len(eagerly) == 1


@pytest.mark.parametrize("purpose", ["inference", "training"])
def test_more_models_of_one_class_than_dynamo_keeps(eagerly: list[Any], purpose: Any) -> None:
    class Wide(nn.Sequential):
        pass

    for width in range(1, 11):
        model = optimize(Wide(*(nn.Linear(4, 4) for _ in range(width))), for_=purpose)
        model(torch.randn(2, 4))
    assert len(eagerly) == 10


def test_what_insert_build_and_load_give(eagerly: list[Any], tmp_path: Path) -> None:
    module = composer.build("se", 32, compile=True)
    x = torch.randn(2, 32, 8, 8)
    close(optimize(module, for_="inference")(x), module(x))
    model = composer.insert("test_resnet", "se").eval()
    fast = optimize(model, for_="inference")
    x = images(2, 64)
    expected = model(x)
    close(fast(x), expected)
    composer.save(fast, tmp_path / "saved")
    close(composer.load(tmp_path / "saved").eval()(x), expected)
    plain = composer.eject(fast)
    assert plain._compiled_call_impl is None
    assert list(plain.state_dict()) == list(create_model("test_resnet").state_dict())
    again = composer.insert(fast, "eca", at="stage", stages=1)
    assert again._compiled_call_impl is None


@pytest.mark.parametrize("purpose", ["inference", "training"])
def test_what_traces_or_counts_reads_the_model_itself(eagerly: list[Any], purpose: Any) -> None:
    x, base = images(2, 64), create_model("test_resnet").eval()
    model = optimize(base, for_=purpose)
    assert str(composer.sites(model)) == str(composer.sites(copy.deepcopy(base)))
    with FlopCounterMode(display=False) as count:
        model(x)
    assert count.get_total_flops() > 0
    torch.export.export(optimize(net(), for_=purpose), (x,))
    assert eagerly == []


def test_other_methods_are_as_they_were(eagerly: list[Any]) -> None:
    model = net().eval()
    fast, x = optimize(model, for_="inference"), images()
    assert torch.equal(fast.features(x), model.features(x))  # type: ignore[operator]
    assert eagerly == []


def change_in_place(model: nn.Module) -> None:
    with torch.no_grad():
        model.get_parameter("fc.weight").zero_()


def new_tensor(model: nn.Module) -> None:
    model.fc.weight = nn.Parameter(torch.zeros(5, 8))  # type: ignore[union-attr]


def new_data(model: nn.Module) -> None:
    model.get_parameter("fc.weight").data = torch.zeros(5, 8)


@pytest.mark.parametrize("change", [change_in_place, new_tensor, new_data])
def test_weights_that_changed_are_not_passed_over(
    change: Callable[[nn.Module], None], eagerly: list[Any]
) -> None:
    fast, x = optimize(net(), for_="inference"), images()
    fast(x)
    change(fast)
    assert (
        said(lambda: fast(x))
        == """\
error[frozen]: 'fc.weight' of this Net changed after it was compiled
  help: optimise it again: composer.optimize(model, for_="inference")"""
    )
    again = optimize(fast, for_="inference")
    assert torch.equal(again(x), again.fc.bias.expand(2, 5))  # type: ignore


def test_weights_may_come_before_the_first_call(eagerly: list[Any]) -> None:
    model, x = net().eval(), images()
    fast = optimize(Net(), for_="inference")
    fast.load_state_dict(model.state_dict())
    close(fast(x), model(x))
    fast.load_state_dict(model.state_dict())
    assert "changed after it was compiled" in said(lambda: fast(x))


def test_a_schedule_that_moves_on_is_not_passed_over(eagerly: list[Any]) -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    fast = optimize(composer.build("dynamic_conv", like=conv), for_="inference")
    x = torch.randn(2, 8, 8, 8)
    fast(x)
    composer.advance(fast)
    assert "changed after it was compiled" in said(lambda: fast(x))


def test_training_mode_is_refused(eagerly: list[Any]) -> None:
    fast = optimize(net(), for_="inference").train()
    assert (
        said(lambda: fast(images()))
        == """\
error[frozen]: this Net is optimised for inference, but is in training mode
  help: train the original model, or a copy: copy.deepcopy(model)"""
    )
    copy.deepcopy(fast)(images()).sum().backward()


# -------------------------------------------------------------------------------- training


def a_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_training_is_the_same_in_place(eagerly: list[Any]) -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), composer.build("dynamic_conv", like=conv), nn.BatchNorm2d(8)
    )
    plain, keys = copy.deepcopy(model), list(model.state_dict())
    before = torch.optim.SGD(model.parameters(), lr=0.01)
    assert optimize(model, for_="training") is model
    x = images(4)
    other = torch.optim.SGD(plain.parameters(), lr=0.01)
    for step in range(3):
        after = torch.optim.SGD(model.parameters(), lr=0.01)
        a_step(model, before if step % 2 else after, x)
        a_step(plain, other, x)
        assert composer.advance(model) == composer.advance(plain) == 1
    assert list(model.state_dict()) == keys
    for key, tensor in plain.state_dict().items():  # a bias before a norm learns from rounding
        apart = (model.state_dict()[key].double() - tensor.double()).abs().max()
        assert apart <= 1e-3 * tensor.double().abs().max() + 1e-8, key
    assert len(eagerly) == 1
    model.eval()(x)
    assert len(eagerly) == 2


@pytest.mark.parametrize("training", [True, False])
def test_other_numbers_in_training_are_an_error(
    training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda call, **_: lambda *args: call(*args) * 1.5)
    model = optimize(net().train(training), for_="training")
    assert "from the model, whose values reach " in said(lambda: model(images()))


def test_what_draws_at_random_is_compared_in_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda call, **_: lambda *args: call(*args)[:3])
    model = optimize(nn.Sequential(net(), nn.Dropout(0.5)).train(), for_="training")
    assert model(images(3)).shape == (3, 5)
    assert "returns 3×5 instead of 4×5" in said(lambda: model(images(4)))


@pytest.mark.parametrize("dropped", [0.0, 0.5])
def test_the_comparison_leaves_nothing_behind(dropped: float, eagerly: list[Any]) -> None:
    """The statistics of norms move once, and the next random number is the one it was."""
    model = nn.Sequential(net(), nn.Dropout(dropped)).train()
    plain, x = copy.deepcopy(model), images(4)
    optimize(model, for_="training")
    for other in (model, plain):
        torch.manual_seed(1)
        other(x).sum().backward()
        other.after = torch.rand(1)  # type: ignore[assignment]
    assert torch.equal(model.after, plain.after)
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], tensor, msg=key)
    for key, parameter in plain.named_parameters():
        if key != "0.conv2.bias":  # before a norm: rounding alone
            torch.testing.assert_close(model.get_parameter(key).grad, parameter.grad, msg=key)


def test_gradients_flow_under_autocast(eagerly: list[Any]) -> None:
    model, x = optimize(net().train(), for_="training"), images(4)
    with torch.autocast("cpu", torch.bfloat16):
        model(x).float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_trained_then_saved_and_put_to_work(eagerly: list[Any], tmp_path: Path) -> None:
    model = composer.insert("test_resnet", "se").train()
    x = images(4, 64)
    a_step(optimize(model, for_="training"), torch.optim.SGD(model.parameters(), lr=0.01), x)
    composer.save(model, tmp_path / "trained")
    expected = composer.load(tmp_path / "trained").eval()(x)
    close(optimize(model, for_="inference")(x), expected)


@pytest.mark.slow
def test_the_benchmark_of_networks_runs(tmp_path: Path) -> None:
    script = Path(__file__).parent / "benchmarks" / "networks.py"
    said = tmp_path / "networks.json"
    small = ["--into=test_resnet", "--size=64", "--specs=se", "--batches=2", "--seconds=0.1", "-o"]
    run = [sys.executable, str(script), *small, str(said)]
    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert "test_resnet+se" in printed.splitlines()[-1]
    [row] = json.loads(said.read_text())["rows"]
    assert row["ratio"] > 0
    again = subprocess.run(run, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "exists already; replace it with --force" in again.stderr


@pytest.mark.slow
def test_a_training_step_by_inductor() -> None:
    model = net().train()
    plain, x = copy.deepcopy(model), images(4)
    optimize(model, for_="training")
    for other in (model, plain):
        a_step(other, torch.optim.SGD(other.parameters(), lr=0.01), x)
    for key, tensor in plain.state_dict().items():
        close(model.state_dict()[key].double(), tensor.double(), 1e-3)


# ------------------------------------------------------------------------------ wrong calls


def already() -> nn.Module:
    model = Net()
    model.compile()
    return model


def unlike_any_copy() -> nn.Module:
    model = Net()
    model.kept = model.conv1.weight * 2  # type: ignore[assignment]
    return model


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a purpose": (lambda: optimize(Net(), for_="speed"), """\
error[invalid-value]: a model can't be optimised for 'speed'
  help: Purposes: inference, training"""),  # type: ignore[arg-type]
    "a purpose misspelt": (lambda: optimize(Net(), for_="trainng"), """\
error[invalid-value]: a model can't be optimised for 'trainng'
  help: did you mean 'training'? Purposes: inference, training"""),  # type: ignore[arg-type]
    "a name": (lambda: optimize("resnet50", for_="inference"), """\
error[not-a-module]: expected an nn.Module, but got 'resnet50'
  help: give the result of composer.insert, composer.load or composer.build"""),  # type: ignore
    "what torch.compile made": (lambda: optimize(torch.compile(Net()), for_="inference"), """\
error[compiled-model]: this OptimizedModule is the output of torch.compile
  help: give the original model"""),  # type: ignore[arg-type]
    "compiled": (lambda: optimize(already(), for_="training"), """\
error[compiled-model]: this Net is already compiled
  help: train it directly, or give a copy: copy.deepcopy(model) is not compiled"""),
    "optimised": (lambda: optimize(optimize(Net(), for_="inference"), for_="training"), """\
error[compiled-model]: this Net is already compiled
  help: train it directly, or give a copy: copy.deepcopy(model) is not compiled"""),
    "no copy": (lambda: optimize(unlike_any_copy(), for_="inference"), """\
error[no-copy]: this Net can't be copied: Only Tensors created explicitly by the user (graph \
leaves) support the deepcopy protocol at the moment
  help: give a fresh model with the same state dict"""),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    call, expected = WRONG[name]
    assert said(call) == expected


def test_a_model_that_only_compiles_itself_may_be_put_to_work(eagerly: list[Any]) -> None:
    x, model = images(), already()
    close(optimize(model, for_="inference")(x), copy.deepcopy(model).eval()(x))

"""A schedule: what it is worth at each step, and what torch does to it."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch
from probe import random, spec_text
from torch import nn

import composer
from composer.errors import ComposerError
from composer.lower.build import build
from composer.lower.schedule import advance

HEAT = spec_text("""heat: {op: schedule, begin: 30, end: 1, steps: 10}
    out: {op: mul, of: [input, heat]}""")
TWO = spec_text("""heat: {op: schedule, begin: 0.1, end: 0.3, steps: 3}
    cold: {op: schedule, begin: 0.1, end: 0.3, steps: 3}
    sum: {op: add, of: [heat, cold]}
    out: {op: mul, of: [input, sum]}""")
X = random(2, 4, 3, 3)


def worth(module: nn.Module) -> float:
    """Return the number that the module multiplies by."""
    return float((module(X.to(module.get_buffer("heat.value").dtype)) / X).mean())


def test_it_moves_evenly_and_is_exact_at_both_ends() -> None:
    module = build(HEAT, 4, dtype=torch.float64)
    assert list(module.state_dict()) == ["heat.value", "heat.step"]
    seen = [module.get_buffer("heat.value").item()]
    for _ in range(12):
        assert advance(module) == 1
        seen.append(module.get_buffer("heat.value").item())
    assert seen[0] == 30 and seen[10:] == [1, 1, 1]
    assert seen[:11] == pytest.approx([30 - 2.9 * i for i in range(11)], rel=1e-12)
    assert module.get_buffer("heat.step").item() == 10
    assert worth(module) == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_leave_no_rounding_behind(dtype: torch.dtype) -> None:
    module = build(TWO, 4, dtype=dtype)
    ends = torch.tensor([0.1, 0.3], dtype=dtype)
    assert torch.equal(module.get_buffer("heat.value"), ends[0])
    for _ in range(3):
        advance(module)
    assert torch.equal(module.get_buffer("heat.value"), ends[1])
    assert module.get_buffer("heat.step").dtype == torch.int64


def test_each_has_a_step_of_its_own() -> None:
    module = build(TWO, 4)
    assert advance(module, 2) == 2
    assert [module.get_buffer(f"{n}.step").item() for n in ("heat", "cold")] == [2, 2]
    assert advance(nn.Sequential(module, build(HEAT, 4), module)) == 3  # one module counts once


def test_no_step_changes_nothing() -> None:
    module = build(HEAT, 4)
    assert advance(module, 0) == 1
    assert module.get_buffer("heat.value").item() == 30


def test_the_state_round_trips() -> None:
    module, later = build(HEAT, 4), build(HEAT, 4)
    advance(module, 4)
    later.load_state_dict(module.state_dict())
    assert worth(later) == pytest.approx(worth(module)) == pytest.approx(18.4)
    advance(later)
    assert worth(later) == pytest.approx(15.5)


def test_copies_and_files_keep_what_it_is() -> None:
    module = build(HEAT, 4)
    twin = copy.deepcopy(module)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    read = torch.load(file, weights_only=False)
    advance(module, 10)
    for other in (twin, read):
        assert worth(other) == pytest.approx(30)
        assert advance(other, 5) == 1
        assert worth(other) == pytest.approx(15.5)


def test_it_follows_the_device() -> None:
    module = build(HEAT, 4).to("meta")
    assert {b.device.type for b in module.buffers()} == {"meta"}
    assert {b.device.type for b in build(HEAT, 4, device="meta").buffers()} == {"meta"}


def test_a_compiled_model_reads_it_anew_and_is_not_compiled_again() -> None:
    torch.compiler.reset()
    compilations = 0

    def backend(graph, inputs):  # type: ignore[no-untyped-def]
        nonlocal compilations
        compilations += 1
        return graph.forward

    module = build(HEAT, 4)
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    x = X.float()
    for expected in (30, 27.1, 24.2):
        assert float((compiled(x) / x).mean()) == pytest.approx(expected)
        assert advance(compiled) == 1
    assert compilations == 1


def test_an_exported_program_keeps_it_as_a_buffer() -> None:
    module = build(HEAT, 4)
    program = torch.export.export(module, (X.float(),))
    assert set(program.state_dict) >= {"heat.value"}
    torch.testing.assert_close(program.module()(X.float()), module(X.float()))


def test_it_is_no_parameter() -> None:
    module = build(HEAT, 4)
    assert list(module.parameters()) == []
    assert "30 to 1 in 10 steps" in str(module.get_submodule("heat"))


WRONG = {
    "no schedule": (nn.Linear(2, 2), 1, """\
error[no-schedule]: this Linear has no schedule, so there is nothing to advance
  help: omit the call, or insert a spec that has one, such as dynamic_conv"""),
    "back": (build(HEAT, 4), -1, """\
error[invalid-steps]: the number of steps must be a whole number from 0, not -1
  help: call advance(model) for one step; a schedule can't go backwards"""),
    "a half": (build(HEAT, 4), 0.5, """\
error[invalid-steps]: the number of steps must be a whole number from 0, not 0.5
  help: call advance(model) for one step; a schedule can't go backwards"""),
    "a flag": (build(HEAT, 4), True, """\
error[invalid-steps]: the number of steps must be a whole number from 0, not True
  help: call advance(model) for one step; a schedule can't go backwards"""),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    model, steps, said = WRONG[name]
    with pytest.raises(ComposerError) as failure:
        advance(model, steps)  # type: ignore[arg-type]
    assert str(failure.value) == said


def test_inside_a_backbone_saved_and_loaded(tmp_path: Path) -> None:
    scale = "  scale: {op: parameter, axes: {}, init: 1}\n"
    spec = HEAT.replace("  out:", f"{scale}  out:").replace("heat]", "heat, scale]")
    spec += "insert: {at: stage}\n"
    model = composer.insert("resnet10t", spec).eval()
    assert advance(model, 3) == 4
    composer.save(model, tmp_path / "made")
    later = composer.load(tmp_path / "made").eval()
    x = random(1, 3, 64, 64).float()
    torch.testing.assert_close(later(x), model(x))
    before = model(x)
    assert advance(later, 2) == advance(model, 2) == 4
    torch.testing.assert_close(later(x), model(x))
    assert not torch.allclose(before, model(x))


@pytest.mark.parametrize("steps", [0, 1])
def test_in_double_precision_it_is_exact_however_it_comes_there(steps: int) -> None:
    """A number of single precision is off by 1e-8, which a wider dtype must not keep."""
    module = build(TWO, 4)
    advance(module, steps)
    want = torch.tensor((1 - steps / 3) * 0.1 + steps / 3 * 0.3, dtype=torch.float64)
    assert torch.equal(module.bfloat16().double().get_buffer("heat.value"), want)
    fixed = build(TWO, 4)
    fixed.get_buffer("heat.value").fill_(0.75)
    assert fixed.double().get_buffer("heat.value") == 0.75  # what a user put there stays

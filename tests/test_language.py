"""Specs made of specs, repeated ops, several values, what depends on params, and stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probe import lowered, random, randomise, spec_text
from torch import Tensor, fx, nn

from composer.errors import ComposerError
from composer.graph.frontend import check_text, graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import compile_graph
from composer.lower.build import build, lower

SIZES = {"c": 4, "h": 5, "w": 3}


def said(text: str, file: str = "it.yaml") -> str:
    """Return all that is said of a text."""
    return "".join(problem.render() + "\n" for problem in check_text(text, file)[1])


def with_weights_of(module: fx.GraphModule, other: nn.Module) -> fx.GraphModule:
    """Give a module the weights of another, in the order of their keys."""
    mine, its = module.state_dict(), other.state_dict()
    assert [t.shape for t in mine.values()] == [t.shape for t in its.values()]
    module.load_state_dict(dict(zip(mine, its.values(), strict=True)))
    return module


# ---------------------------------------------------------------- the same, written out by hand

#: What is written, the same without structures, and the keys of the weights it has.
SAME: list[tuple[str, str, list[str]]] = [
    ("out: {op: branch, axis: k, times: 2, each: {op: conv2d, kernel: 3, dilation: k + 1}}",
     """a: {op: conv2d, kernel: 3}
        b_: {op: conv2d, x: input, kernel: 3, dilation: 2}
        out: {op: stack, of: [a, b_], axis: k}""",
     ["out.0.conv", "out.1.conv"]),
    ("""z: {op: pool, over: [h, w]}
        out: {op: branch, axis: k, times: 1, x: input,
            each: {op: conv2d, kernel: 1, out: 2 + k}}""",
     """a: {op: conv2d, kernel: 1, out: 2}
        out: {op: stack, of: [a], axis: k}""",
     ["out.0.conv"]),
    ("out: {op: repeat, times: 3, each: {op: linear, over: c, out: 5 + i}}",
     """a: {op: linear, over: c, out: 5}
        b_: {op: linear, over: c, out: 6}
        out: {op: linear, over: c, out: 7}""",
     ["out.0.linear", "out.1.linear", "out.2.linear"]),
    ("""z: {op: gate}
        y: {op: repeat, times: 0, each: {op: linear, over: c}}
        out: {op: pool, over: h}""",
     """z: {op: gate}
        out: {op: pool, over: h}""",
     []),
    ("""out: {op: branch, axis: k, times: 2, each: {op: repeat, times: k + 1, index: n,
            each: {op: conv1d, along: c, kernel: 2 * (k + n) + 1}}}""",
     """a: {op: conv1d, along: c, kernel: 1}
        b_: {op: conv1d, x: input, along: c, kernel: 3}
        d: {op: conv1d, along: c, kernel: 5}
        out: {op: stack, of: [a, d], axis: k}""",
     ["out.0.0.conv", "out.1.0.conv", "out.1.1.conv"]),
    ("""out: {op: branch, axis: k, times: 2,
            each: {op: use, spec: eca, params: {kernel: 2 * k + 1}}}""",
     """a: {op: use, spec: eca, params: {kernel: 1}}
        b_: {op: use, x: input, spec: eca, params: {kernel: 3}}
        out: {op: stack, of: [a, b_], axis: k}""",
     ["out.0.interact.conv", "out.1.interact.conv"]),
    ("""z: {op: linear, over: c, out: {part: 3, d: 2}}
        q, k, v: {op: unstack, axis: part}
        out: {op: sub, of: [q, v]}
        more: {op: add, of: [out, k]}""",
     """z: {op: linear, over: c, out: {part: 3, d: 2}}
        q: {op: pick, axis: part, index: 0}
        k: {op: pick, x: z, axis: part, index: 1}
        v: {op: pick, x: z, axis: part, index: 2}
        out: {op: sub, of: [q, v]}
        more: {op: add, of: [out, k]}""",
     ["z.linear"]),
    ("out: {op: use, spec: se, params: {reduction: c // 2}}",
     """squeeze: {op: pool, over: [h, w]}
        excite: {op: mlp, over: c, hidden: 2}
        gate: {op: gate}
        out: {op: reweight, x: input, by: gate}""",
     ["out.excite.fc1", "out.excite.fc2"]),
    ("""k2: {op: stack, of: [input, input], axis: k}
        out: {op: use, spec: se_var3}""",
     """k2: {op: stack, of: [input, input], axis: k}
        squeeze: {op: pool, over: [h, w]}
        excite: {op: linear, over: c, bias: false}
        gate: {op: gate}
        out: {op: reweight, x: k2, by: gate}""",
     ["out.excite.linear"]),
]  # fmt: skip


@pytest.mark.parametrize(("written", "by_hand", "keys"), SAME, ids=lambda v: str(v)[:40])
def test_a_structure_is_what_it_stands_for(written: str, by_hand: str, keys: list[str]) -> None:
    ours = randomise(lowered(spec_text(written), SIZES))
    theirs = with_weights_of(lowered(spec_text(by_hand), SIZES), ours)
    x = random(2, 4, 5, 3)
    assert torch.equal(ours(x), theirs(x))
    found = list(dict.fromkeys(key.rpartition(".")[0] for key in ours.state_dict()))
    assert found == keys


STEPS = [
    "{op: linear, over: c}", "{op: gate, fn: tanh}", "{op: conv1d, along: c, kernel: 3}",
    "{op: mlp, over: c, hidden: 2}", "{op: use, spec: se, params: {reduction: 2}}",
]  # fmt: skip


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_chain_and_any_fork_is_what_it_stands_for(data: st.DataObject) -> None:
    step = data.draw(st.sampled_from(STEPS))
    times, forks = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 3))
    text = (
        f"out: {{op: branch, axis: k, times: {forks}, "
        f"each: {{op: repeat, times: {times}, each: {step}}}}}"
    )
    lines, ends = ["start: {op: pool, over: z, x: input}"], []
    for fork in range(forks):
        above = "start"
        for nth in range(times):
            here = f"n{fork}_{nth}"
            lines.append(f"{here}: {step.replace('{op', f'{{x: {above}, op', 1)}")
            above = here
        ends.append(above)
    lines.append(f"out: {{op: stack, of: [{', '.join(ends)}], axis: k}}")
    axes = "b, c, h, w, z"
    sizes = {**SIZES, "z": 2}
    first = "start: {op: pool, over: z, x: input}\n" + text
    ours = randomise(lowered(spec_text(first, axes), sizes))
    theirs = with_weights_of(lowered(spec_text("\n".join(lines), axes), sizes), ours)
    x = random(2, 4, 5, 3, 2)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_steps_that_share_weights() -> None:
    text = "out: {op: repeat, times: 3, shared: true, each: {op: linear, over: c, bias: false}}"
    module = randomise(lowered(spec_text(text), SIZES))
    assert list(module.state_dict()) == ["out.0.linear.weight"]
    x, w = random(2, 4, 5, 3), module.state_dict()["out.0.linear.weight"]
    expected = torch.einsum("oi,bihw->bohw", w @ w @ w, x)
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)
    used = "out: {op: repeat, times: 2, shared: true, each: {op: use, spec: cbam_spatial}}"
    assert {k.split(".")[1] for k in lowered(spec_text(used), SIZES).state_dict()} == {"0"}


# ------------------------------------------------------------------------------ specs of specs


def test_a_spec_beside_is_found_from_the_file_that_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "twice.yaml").write_text(
        "name: twice\ninput: [b, c, h, w]\nparams: {by: 2}\nnodes:\n"
        "  f: {op: parameter, axes: {}, init: by}\n  out: {op: mul, of: [input, f]}\n"
    )
    outer = tmp_path / "outer.yaml"
    outer.write_text(
        "name: outer\ninput: [b, c, h, w]\nnodes:\n"
        "  a: {op: use, spec: inner/twice.yaml}\n"
        "  out: {op: use, spec: inner/twice, params: {by: 3}}\n"
    )
    monkeypatch.chdir("/")
    spec = load_spec(outer)
    x = random(1, 2, 2, 2).float()
    assert torch.equal(build(spec, 2)(x), 6 * x)
    assert set(spec.texts) == {"inner/twice.yaml", "inner/twice"}
    text = outer.read_text()
    for path in sorted(tmp_path.rglob("*.yaml")):
        path.unlink()
    again, problems = check_text(text, "the recipe", spec.texts)
    assert again is not None and not problems
    assert torch.equal(build(again, 2)(x), 6 * x)


def test_all_texts_of_a_shipped_spec_are_known() -> None:
    spec = load_spec("cbam")
    assert list(spec.texts) == ["cbam_channel", "cbam_spatial"]
    variant = load_spec("name: mine\nextends: cbam\nparams: {kernel: 3}\n")
    assert list(variant.texts) == ["cbam", "cbam_channel", "cbam_spatial"]
    assert build(variant, 32).get_parameter("spatial.locate.conv.weight").shape[-1] == 3


VARIANTS: list[tuple[str, Callable[[Tensor, dict[str, Tensor]], Tensor]]] = [
    ("name: v\nextends: se\nnodes:\n  gate: {fn: tanh}\nparams: {reduction: 2, bias: false}\n",
     lambda x, p: x * ((x.mean((2, 3)) @ p["excite.fc1.weight"].T).relu()
                       @ p["excite.fc2.weight"].T).tanh()[..., None, None]),
    ("name: v\nextends: se\nnodes:\n  excite: {op: linear, over: c, bias: false}\n",
     lambda x, p: x * (x.mean((2, 3)) @ p["excite.linear.weight"].T).sigmoid()[..., None, None]),
    ("name: v\nextends: se_var1\nparams: {power: 2}\nnodes:\n  squeeze: {reduce: max}\n"
     "  gate: {op: mul, of: [squeeze, squeeze]}\noutput: out if power == 2 else gate\n",
     lambda x, p: x * x.amax((2, 3), keepdim=True) ** 2),
]  # fmt: skip


@pytest.mark.parametrize(("text", "formula"), VARIANTS, ids=["field", "op", "params"])
def test_a_variant_says_what_it_changes(text: str, formula: Callable[..., Tensor]) -> None:
    spec, problems = check_text(text, "v.yaml")
    assert spec is not None, problems
    assert not problems  # params that the variant reads no more are not its fault
    module = randomise(build(spec, 4).double())
    x = random(2, 4, 5, 3)
    torch.testing.assert_close(module(x), formula(x, module.state_dict()), rtol=1e-12, atol=1e-12)
    assert spec.insert is not None and spec.insert.at == "block"


def test_a_variant_has_a_name_of_its_own() -> None:
    assert said("extends: se\n") == (
        "it.yaml:1:1: error[missing-field]: a spec needs the field 'name'\n"
        "    1 | extends: se\n      | ^\n  help: add 'name: my_attention'\n"
    )


# ----------------------------------------------------------------------- what depends on params


@pytest.mark.parametrize("extent", [0, 2, 4])
def test_a_node_that_is_not_reached_needs_no_value(extent: int) -> None:
    assert build("ge_theta_minus", 8, params={"extent": extent})(torch.ones(1, 8, 8, 8)).shape


def test_what_is_not_reached_is_read_all_the_same() -> None:
    text = spec_text(
        """a: {op: pool, over: [h, w], kernel: 2 * extnt - 1}
        b_: {op: pool, x: input, over: [h, w]}
        g: {op: gate, x: a if extent > 0 else b_}
        out: {op: reweight, x: input, by: g}""",
        params="{extent: 0}",
    )
    assert "no size or param named 'extnt'" in said(text)


@pytest.mark.parametrize(("wide", "sizes"), [(True, (2, 4, 5, 3)), (False, (2, 4))])
def test_the_output_may_depend_on_a_param(wide: bool, sizes: tuple[int, ...]) -> None:
    text = spec_text("a: {op: pool, over: [h, w]}\nb_: {op: gate, x: input}", params="{wide: true}")
    spec = load_spec(f"{text}output: b_ if wide else a\n")
    assert build(spec, 4, params={"wide": wide})(torch.ones(2, 4, 5, 3)).shape == sizes


# ------------------------------------------------------------------------------------ stand-ins

STAND_IN = (
    "name: plain\ninput: [b, c, h, w]\nstands_for: conv2d\nnodes:\n"
    "  out: {op: conv2d, kernel: kernel, stride: stride, padding: padding, dilation: dilation, "
    "groups: groups, out: out, bias: bias}\n"
)
LAYERS: list[dict[str, Any]] = [
    {"kernel_size": 1}, {"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": 0},
    {"kernel_size": 5, "stride": 2, "padding": 4, "dilation": 2, "groups": 2, "bias": False},
    {"kernel_size": 4, "stride": 4}, {"kernel_size": 3, "padding": 1, "groups": 8},
]  # fmt: skip


@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_a_stand_in_knows_its_convolution(options: dict[str, Any]) -> None:
    layer = nn.Conv2d(8, 16, **options).double()
    module = build(STAND_IN, like=layer).double()
    with_weights_of(module, layer)
    x = random(2, 8, 13, 9)
    torch.testing.assert_close(module(x), layer(x), rtol=1e-12, atol=1e-12)


def test_a_stand_in_is_told_without_a_layer() -> None:
    module = build(STAND_IN, 8, params={"stride": 2, "kernel": 5, "out": 4, "bias": True})
    assert module(torch.ones(1, 8, 9, 9)).shape == (1, 4, 5, 5)
    assert module.get_submodule("out.conv").bias is not None
    with pytest.raises(ComposerError, match="'strid'"):
        build(STAND_IN, 8, params={"strid": 2})


def test_channels_and_the_layer_must_agree() -> None:
    with pytest.raises(ComposerError) as failure:
        build(STAND_IN, 4, like=nn.Conv2d(8, 8, 1))
    assert str(failure.value) == (
        "error[size-conflict]: channels is 4, but the layer in `like` takes 8\n"
        "  help: omit channels: it follows from the layer"
    )


@pytest.mark.parametrize("layout", [("b", "c", "h", "w"), ("b", "h", "w", "c")])
@pytest.mark.parametrize("name", ["sa", "mhsa", "transformer_layer"])
def test_tokens_of_a_map(name: str, layout: tuple[str, ...]) -> None:
    tokens = randomise(build(name, 16).double())
    folded = build(name, 16, size=(5, 3), layout=layout).double()
    folded.load_state_dict(tokens.state_dict())
    x = random(2, 15, 16)
    place = [("b", "h", "w", "c").index(axis) for axis in layout]
    image = x.unflatten(1, (5, 3)).permute(place)
    expected = tokens(x).unflatten(1, (5, 3)).permute(place)
    torch.testing.assert_close(folded(image), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("parts", [3, 7, 49, 11])
def test_what_divides_exactly_multiplies_back(parts: int) -> None:
    text = f"""apart: {{op: split, axis: c, into: {{g: {parts}, d: c / {parts}}}}}
        whole: {{op: merge, axes: [g, d], into: c}}
        out: {{op: add, of: [input, whole]}}"""
    x = random(2, 11 * 49 * 3, 2, 2)
    module = build(spec_text(text), 11 * 49 * 3).double()
    torch.testing.assert_close(module(x), 2 * x, rtol=0, atol=0)


def test_a_learned_value_is_kept_as_written_in_any_layout() -> None:
    text = spec_text("p: {op: parameter, axes: {w: w, c: c, h: h}, init: conv}\n"
                     "out: {op: add, of: [input, p]}")  # fmt: skip
    ours = build(text, 4, size=(2, 3)).double()
    other = build(text, 4, size=(2, 3), layout=("b", "h", "w", "c")).double()
    other.load_state_dict(ours.state_dict())
    assert ours.get_parameter("p").shape == (3, 4, 2)
    x = random(2, 4, 2, 3)
    assert torch.equal(other(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), ours(x))


@pytest.mark.parametrize("bias", [False, True])
def test_what_sites_share_and_the_rest_are_the_whole(bias: bool) -> None:
    spec = load_spec("cond_conv")
    sizes = {"c": 4, "out": 6, "kernel": 3, "stride": 2, "padding": 1, "dilation": 1, "groups": 2,
             "bias": bias}  # fmt: skip

    def made(part: Any) -> fx.GraphModule:
        return lower(compile_graph(graph_of(spec, Settings(sizes, part=part)))).double()

    whole, shared, rest = made("whole"), made("shared"), made("rest")
    state = randomise(whole).state_dict()
    for module in (shared, rest):
        module.load_state_dict({k: state[k] for k in module.state_dict()})
    assert {*shared.state_dict(), *rest.state_dict()} == set(state)
    assert not {*shared.state_dict()} & {*rest.state_dict()}
    x = random(3, 4, 7, 5)
    torch.testing.assert_close(rest(x, shared(x)), whole(x), rtol=1e-12, atol=1e-12)


SHARING = """\
name: sharing
input: [b, c, h, w]
stands_for: conv2d
nodes:
  z:    {op: pool, over: [h, w]}
  one:  {op: linear, over: c, out: {}}
  y:    {op: conv2d, x: input, kernel: kernel, padding: padding, dilation: dilation,
         stride: stride, groups: groups, out: out}
  out:  {op: reweight, x: y, by: one}
insert: {at: conv, share: one}
"""


@pytest.mark.parametrize(("text", "shape"), [("cond_conv", (2, 8)), (SHARING, (2,))])
def test_the_shared_part_does_not_ask_what_the_rest_needs(
    text: str, shape: tuple[int, ...]
) -> None:
    sizes = {"c": 3, "out": 40, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1,
             "groups": 40, "bias": False}  # fmt: skip
    graph = graph_of(load_spec(text), Settings(sizes, part="shared"))
    assert lower(compile_graph(graph))(torch.ones(2, 3, 4, 4)).shape == shape


FIELDS = [
    ("name: v\nextends: bam\nparams: {combine: total}\n",
     lambda s: (s.params["combine"].default, s.params["combine"].choices)
     == ("total", ("product", "total"))),
    ("name: v\nextends: se\nparams: {reduction: {help: mine}}\n",
     lambda s: (s.params["reduction"].default, s.params["reduction"].help) == (16, "mine")),
    ("name: v\nextends: sk\ninsert: {match: {stride: 2}}\n",
     lambda s: (s.insert.match.stride, s.insert.match.kernel, s.insert.absorb)
     == (2, 3, ("norm", "act"))),
    ("name: v\nextends: bam\ninsert: {at: block}\n",
     lambda s: (s.insert.at, s.insert.stages) == ("block", None)),
    ("name: v\nextends: bam\ninsert: {stages: -1}\n",
     lambda s: (s.insert.at, str(s.insert.stages)) == ("stage", "-1")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "holds"), FIELDS)
def test_a_variant_changes_the_fields_it_names(text: str, holds: Callable[[Any], bool]) -> None:
    spec, problems = check_text(text, "v.yaml")
    assert spec is not None and not problems, problems
    assert holds(spec)


WRONG_PARAMS = [
    ("se", {"reduction": True}, "the param 'reduction' cannot be true",
     "it is a number; its default is 16"),
    ("se", {"bias": 1}, "the param 'bias' cannot be 1",
     "it is true or false; its default is true"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "params", "message", "way_out"), WRONG_PARAMS)
def test_a_flag_is_no_number(spec: str, params: dict[str, Any], message: str, way_out: str) -> None:
    with pytest.raises(ComposerError) as failure:
        build(spec, 64, params=params)
    assert [(d.message, d.help) for d in failure.value.diagnostics] == [(message, way_out)]

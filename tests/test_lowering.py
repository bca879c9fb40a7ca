"""The module that a spec becomes: its code, its keys, where its nodes come from, what it bears."""

from __future__ import annotations

import ast
import copy
import keyword
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from probe import random, randomise, spec_text
from shipped import BLENDED, OWN_ZERO, SHIPPED, SIZED, STANDS_FOR, TOKENS
from torch import fx, nn
from torch.nn import functional

from composer.errors import ComposerError
from composer.graph.frontend import check_text
from composer.language.library import shipped_folder
from composer.language.names import TAKEN
from composer.lower.build import build

WIDTH = 32
MAP = ("b", "c", "h", "w")
#: What is built for one size of the map alone, or here folds a map into tokens.
OF_ONE_SIZE = SIZED | TOKENS

#: What ends in a product of its own, or in a fold: the order in memory is the one that these give.
BY_PRODUCTS = {"axial_height", "global_filter", "outlook"}


def made(name: str, size: tuple[int, int] = (5, 3), **options: Any) -> fx.GraphModule:
    """Return a shipped spec's module for maps; of one size where it must be."""
    sized = size if name in OF_ONE_SIZE else None
    return build(name, WIDTH, size=sized, layout=MAP, **options)


def norm(key: str) -> list[str]:
    return [f"{key}.{s}" for s in (
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked")]  # fmt: skip


def layer(key: str) -> list[str]:
    return [f"{key}.weight", f"{key}.bias"]


KEYS = {
    "se": [*layer("excite.fc1"), *layer("excite.fc2")],
    "se_var1": [],
    "se_var2": ["weight"],
    "se_var3": ["excite.linear.weight"],
    "ese": layer("excite.linear"),
    "eca": ["interact.conv.weight"],
    "cbam": [*layer("channel.excite.fc1"), *layer("channel.excite.fc2"),
             "spatial.locate.conv.weight", *norm("spatial.locate.norm")],
    "cbam_channel": [*layer("excite.fc1"), *layer("excite.fc2")],
    "cbam_spatial": ["locate.conv.weight", *norm("locate.norm")],
    "bam": [*layer("channel.fc1"), *norm("channel.norm"), *layer("channel.fc2"),
            *layer("reduce.conv"), *norm("reduce.norm"), *layer("context1.conv"),
            *norm("context1.norm"), *layer("context2.conv"), *norm("context2.norm"),
            *layer("spatial.conv")],
    "ge_theta_minus": [],
    "ge_theta": ["filter", *norm("all.norm")],
    "ge_theta_plus": ["filter", *norm("all.norm"), *layer("excite.fc1"), *layer("excite.fc2")],
    "sk": ["split.0.conv.weight", *norm("split.0.norm"), "split.1.conv.weight",
           *norm("split.1.norm"), "z.linear.weight", *norm("z.norm"), "logits.linear.weight"],
    "split_attention": ["splits.conv.weight", *norm("splits.norm"), *layer("z.linear"),
                        *norm("z.norm"), *layer("logits.linear")],
    "cond_conv": ["kernels", *layer("logits.linear")],
    "dynamic_conv": ["kernels", *layer("logits.fc1"), *layer("logits.fc2"), "heat.value",
                     "heat.step"],
    "sa": [*layer("qkv.linear"), *layer("out.linear")],
    "mhsa": [*layer("qkv.linear"), *layer("out.linear")],
    "bot_mhsa": ["qkv.linear.weight", "attend.height", "attend.width"],
    "transformer_layer": [*layer("norm1.norm"), *layer("attend.qkv.linear"),
                          *layer("attend.out.linear"), *layer("norm2.norm"), *layer("mlp.fc1"),
                          *layer("mlp.fc2")],
    "lka": [*layer("local.conv"), *layer("long_range.conv"), *layer("attention.linear")],
    "lsk": [*layer("near.conv"), *layer("far.conv"), *layer("near_u.linear"),
            *layer("far_u.linear"), *layer("logits.conv"), *layer("mix.linear")],
    "grn": ["gamma", "beta"],
    "mix_conv": [f"conv{size}.conv.weight" for size in (3, 5, 7, 9)],
    "epsa": [*(f"pyramid.{k}.conv.weight" for k in range(4)), *layer("excite.fc1"),
             *layer("excite.fc2")],
    "od_conv": ["kernels", "z.linear.weight", *norm("z.norm"), "heat.value", "heat.step",
                *layer("logits_c.linear"), *layer("logits_f.linear"), *layer("logits_s.linear"),
                *layer("logits_w.linear")],
    "involution": ["reduce.linear.weight", *norm("reduce.norm"), *layer("kernels.linear")],
    "cot": ["static.conv.weight", *norm("static.norm"), "theta.linear.weight",
            *norm("theta.norm"), *layer("delta.linear"), *layer("attend.norm"),
            "values.linear.weight", *norm("values.norm"), *norm("dynamic.norm"),
            *layer("z.linear"), *norm("z.norm"), *layer("logits.linear")],
    "outlook": ["values.linear.weight", *layer("logits.linear"), *layer("out.linear")],
}  # fmt: skip


@pytest.mark.quick(28, then="long")
@pytest.mark.parametrize("name", KEYS)
def test_keys_of_the_checkpoint(name: str) -> None:
    assert list(made(name).state_dict()) == KEYS[name]
    blend = set() if name in OWN_ZERO else {"blend"}
    assert set(made(name, init="identity").state_dict()) == {*blend, *KEYS[name]}


def test_code_is_readable() -> None:
    said = [line.split(";")[0].strip() for line in build("se", 64).code.strip().splitlines()]
    assert said == [
        "def forward(self, x : torch.Tensor) -> torch.Tensor:",
        "squeeze_flatten = x.flatten(2, 3)",
        "squeeze_mean = composer_kernels_mean_mean(squeeze_flatten, 2)",
        "excite_fc1 = self.excite.fc1(squeeze_mean)",
        "excite_relu_ = torch.relu_(excite_fc1)",
        "excite_fc2 = self.excite.fc2(excite_relu_)",
        "gate_sigmoid = torch.sigmoid(excite_fc2)",
        "out_unflatten = gate_sigmoid.unflatten(1, (-1, 1, 1))",
        "out_weighed = composer_kernels_weighed_sum_weighed(x, out_unflatten)",
        "return out_weighed",
    ]


@pytest.mark.parametrize(
    ("spec", "class_name"),
    [("se", "Se"), ("se_var1", "SeVar1"), (spec_text("a: {op: gate}"), "Probe"),
     (spec_text("a: {op: gate}").replace("probe", "myNet_2x"), "MyNet2x")],
)  # fmt: skip
def test_class_is_named_after_the_spec(spec: str, class_name: str) -> None:
    module = build(spec, 64)
    assert type(module).__name__ == class_name and isinstance(module, fx.GraphModule)


@pytest.mark.parametrize("init", ["paper", "identity"])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_fx_node_knows_its_line(name: str, init: str) -> None:
    module = made(name, init=init)
    for node in module.graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        come_from = node.meta["composer"]
        assert come_from["spec"] == name
        used, shipped = come_from["file"].split(" ")
        assert shipped == "(shipped)"
        file = shipped_folder() / f"{used}.yaml"
        line = file.read_text(encoding="utf-8").splitlines()[come_from["line"] - 1].lstrip()
        assert node.name.startswith(come_from["node"].replace(".", "_") + "_")
        own = [part for part in come_from["node"].split(".") if not part.isdigit()][-1]
        written = re.match(r"[\w, ]+(?=:)|op", line)
        if own not in ("tokens", "map", "input") and not own.startswith("blend"):
            assert written and {own, "op", "each"} & set(written[0].split(", "))
        assert f'"{come_from["file"]}", line {come_from["line"]},' in node.meta["stack_trace"]


def test_a_spec_without_a_text_has_no_lines() -> None:
    from composer.primitives import Spec

    spec = Spec.model_validate(
        {"name": "probe", "input": ["b", "c"], "nodes": {"out": {"op": "linear", "over": "c"}}}
    )
    module = build(spec, 4)
    (node,) = (n for n in module.graph.nodes if n.op == "call_module")
    assert node.meta["composer"] == {"spec": "probe", "node": "out", "file": None, "line": None}


@pytest.mark.parametrize("name", SHIPPED)
def test_deepcopy(name: str) -> None:
    module = randomise(made(name).double()).eval()
    twin = copy.deepcopy(module)
    assert {p.data_ptr() for p in twin.parameters()}.isdisjoint(
        p.data_ptr() for p in module.parameters()
    )
    x = random(2, WIDTH, 5, 3)
    assert torch.equal(twin(x), module(x))
    for mine, its in zip(module.graph.nodes, twin.graph.nodes, strict=True):
        assert its.meta.get("composer") == mine.meta.get("composer")


@pytest.mark.parametrize("name", SHIPPED)
def test_each_build_has_weights_of_its_own(name: str) -> None:
    one, two = made(name), made(name)
    assert {id(p) for p in one.parameters()}.isdisjoint(id(p) for p in two.parameters())


# ------------------------------------------------------------------------ what torch does to it


@pytest.mark.quick(3)
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", SHIPPED)
def test_compile_as_one_graph(name: str, mode: str) -> None:
    module = randomise(made(name).double()).train(mode == "train")
    twin = copy.deepcopy(module)
    torch.compiler.reset()
    compiled = torch.compile(twin, fullgraph=True, backend="eager")
    x = random(2, WIDTH, 5, 3)
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-12, atol=1e-12)


def test_build_can_compile() -> None:
    assert build("se", WIDTH)._compiled_call_impl is None
    assert build("se", WIDTH, compile=True)._compiled_call_impl is not None


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", SHIPPED)
def test_export_with_any_batch_and_size(name: str) -> None:
    # torch takes a map of a single window for a case of its own
    example, *others = ((15, 20), (22, 9)) if name == "swin_window" else ((6, 5), (7, 9), (4, 3))
    module = randomise(made(name, size=example).double()).eval()
    dynamic = torch.export.Dim.DYNAMIC  # refuses to fix what shall be open
    free = {} if name in OF_ONE_SIZE else {2: dynamic, 3: dynamic}
    given = (random(2, WIDTH, *example),)
    program = torch.export.export(module, given, dynamic_shapes={"x": {0: dynamic, **free}})
    assert set(program.state_dict) == set(module.state_dict())
    for batch, size in zip((3, 5), others if free else (example, example), strict=False):
        x = random(batch, WIDTH, *size)
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-10, atol=1e-10)


def test_extra_axes_export_with_any_batch() -> None:
    nodes = """both: {op: stack, of: [input, input], axis: k}
        seen: {op: conv2d, kernel: 3, out: {m: 2, c: c}, norm: batch}
        mixed: {op: mlp, over: c, hidden: 2, norm: batch}
        out: {op: conv1d, along: c, kernel: 3}"""
    module = build(spec_text(nodes), 4).double().eval()
    shapes = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(module, (random(2, 4, 6, 5),), dynamic_shapes=shapes)
    x = random(3, 4, 6, 5)
    torch.testing.assert_close(program.module()(x), module(x))
    compiled = torch.compile(module, fullgraph=True, backend="eager", dynamic=True)
    torch.testing.assert_close(compiled(x), module(x))


# ------------------------------------------------------------------------------- its beginning


@pytest.mark.quick(35, then="long")
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", BLENDED)
def test_identity_gives_back_its_input(name: str, dtype: torch.dtype, mode: str) -> None:
    module = randomise(made(name, init="identity"))
    with torch.no_grad():
        module.get_parameter("blend").zero_()
    module = module.to(dtype).train(mode == "train")
    x = (10 * random(2, WIDTH, 5, 3)).to(dtype)
    assert torch.equal(module(x), x)


@pytest.mark.quick(19, then="long")
@pytest.mark.parametrize("blend", [1.0, 0.25])
@pytest.mark.parametrize("name", BLENDED)
def test_identity_goes_towards_the_paper(name: str, blend: float) -> None:
    paper = randomise(made(name).double()).eval()
    module = made(name, init="identity").double().eval()
    missing, unexpected = module.load_state_dict(paper.state_dict(), strict=False)
    assert (missing, unexpected) == (["blend"], [])
    with torch.no_grad():
        module.get_parameter("blend").fill_(blend)
    x = random(2, WIDTH, 5, 3)
    torch.testing.assert_close(module(x), x.lerp(paper(x), blend), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", BLENDED)
def test_identity_learns(name: str) -> None:
    module = made(name, init="identity").double().train()
    blend = module.get_parameter("blend")
    assert blend.shape == (1,) and blend.item() == 0
    others = {k: p.clone() for k, p in module.named_parameters() if k != "blend"}
    step = torch.optim.SGD(module.parameters(), lr=0.1)
    x, target = random(2, WIDTH, 5, 3), random(2, WIDTH, 5, 3, seed=2)
    for _ in range(2):
        step.zero_grad()
        (module(x) * target).sum().backward()
        step.step()
    assert blend.item() != 0
    assert not torch.equal(module(x), x)
    # once the blend has moved, so does what is behind it; CBAM's gates reach all but its norm's
    moved = [k for k, p in others.items() if not torch.equal(p, module.get_parameter(k))]
    assert moved or not others


# ------------------------------------------------------------------------ number types, layouts


@pytest.mark.quick(30, then="long")
@pytest.mark.parametrize("init", ["paper", "identity"])
@pytest.mark.parametrize("name", SHIPPED)
def test_autocast(name: str, init: str) -> None:
    module = randomise(made(name, init=init)).train()  # type: ignore[arg-type]
    x = random(2, WIDTH, 5, 3).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.shape == x.shape and y.isfinite().all()
    torch.testing.assert_close(y.float(), module(x), rtol=1, atol=5.0)
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_number_type(name: str, dtype: torch.dtype) -> None:
    module = randomise(made(name, dtype=dtype)).eval()
    assert {p.dtype for p in module.parameters()} <= {dtype}
    x = random(2, WIDTH, 5, 3)
    y = module(x.to(dtype))
    assert y.dtype == dtype
    wanted = module.double()(x)
    coarse = 0.6 if name in TOKENS else 0.3  # a softmax of large logits
    near = {"rtol": 0.1, "atol": coarse * max(1.0, wanted.std().item())}
    if dtype is torch.float64:
        near = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(y.double(), wanted, **near)


@pytest.mark.parametrize("init", ["paper", "identity"])
@pytest.mark.parametrize("name", [p for p in SHIPPED if STANDS_FOR[p.values[0]] != "conv2d"])
def test_channels_last_stays_so(name: str, init: str) -> None:
    module = randomise(made(name, init=init).double()).eval()  # type: ignore[arg-type]
    x = random(2, WIDTH, 5, 3)
    y = module(x.contiguous(memory_format=torch.channels_last))
    assert name in BY_PRODUCTS or y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, module(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_node_changes_its_input(name: str) -> None:
    module = randomise(made(name).double())
    x = random(2, WIDTH, 5, 3)
    kept = x.clone()
    module(x)
    assert torch.equal(x, kept)


# -------------------------------------------------------------------------------- hostile names

FREE = ["x", "self", "input_1", "torch", "match", "print", "operator", "device", "nn", "math", "fx"]
MIXED = ["forward", "train", "type", "float", "meta", "graph", "input"]
REFUSED = [*MIXED, "lambda", "class", "for", "None", "_modules", "__init__"]


@pytest.mark.parametrize("op", ["{op: linear, over: c}", "{op: gate}",
                                "{op: parameter, axes: {c: c}, init: 1}"])  # fmt: skip
@pytest.mark.parametrize("name", FREE)
def test_odd_names_work(name: str, op: str) -> None:
    text = spec_text(f"{name}: {op}\nout: {{op: mul, of: [input, {name}]}}")
    module = build(text, 4, init="identity").double()
    ast.parse(module.code.strip())
    assert all(key == "blend" or key.split(".")[0] == name for key in module.state_dict())
    x = random(2, 4, 3, 3)
    assert torch.equal(module(x), x)
    assert torch.equal(copy.deepcopy(module)(x), x)


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_a_module_cannot_have(name: str) -> None:
    spec, problems = check_text(spec_text(f"{name}: {{op: linear, over: c}}"), "probe.yaml")
    assert spec is None
    assert [p.code for p in problems] == ["bad-name"]
    assert name in problems[0].message and problems[0].help
    assert problems[0].where is not None
    assert problems[0].where.text.strip().startswith(f"{name}:")


def test_the_names_taken_are_those_of_torch() -> None:
    module = fx.GraphModule(nn.Module(), fx.Graph())
    theirs = {name for name in dir(module) if not name.startswith("_")}
    theirs -= {"smart_apply"}  # put there by transformers, where another test has imported it
    assert theirs <= TAKEN, "add these to composer/language/names.py"
    assert not any(map(keyword.iskeyword, TAKEN))


def test_names_are_checked_without_torch() -> None:
    source = Path(shipped_folder().parent / "composer/language/names.py")
    if source.is_file():
        assert "import torch" not in source.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------ wrong arguments


@pytest.mark.parametrize(
    ("spec", "arguments", "code"),
    [
        ("se", {}, "missing-size"),
        ("se", {"channels": 0}, "invalid-size"),
        ("se", {"channels": 64.0}, "invalid-size"),
        ("se", {"channels": True}, "invalid-size"),
        ("se", {"channels": 64, "size": (7, 7, 7, 7)}, "invalid-size"),
        ("se", {"channels": 64, "size": (7, 0)}, "invalid-size"),
        ("se", {"channels": 8}, "size-too-small"),
        ("se", {"channels": 64, "layout": ("b", "c", "h")}, "invalid-layout"),
        ("se", {"channels": 64, "layout": ("b", "c", "h", "q")}, "invalid-layout"),
        ("se", {"channels": 64, "params": {"reducton": 4}}, "unknown-param"),
        ("se", {"channels": 64, "params": {"reduction": 0}}, "division-by-zero"),
        ("bam", {"channels": 64, "params": {"combine": "most"}}, "invalid-value"),
        ("cbam", {"channels": 64, "params": {"kernel": 4}}, "even-kernel"),
        ("se", {"channels": 64, "init": "identiy"}, "invalid-init"),
        ("sse", {"channels": 64}, "unknown-spec"),
    ],
)
def test_wrong_arguments(spec: str, arguments: dict[str, object], code: str) -> None:
    with pytest.raises(ComposerError) as failure:
        build(spec, **arguments)  # type: ignore[arg-type]
    assert [p.code for p in failure.value.diagnostics] == [code]


def test_slices_are_taken_at_once_and_before_they_are_moved() -> None:
    """So that their gradient is one stack, which lies in memory as the layer's output does."""
    said = build("mhsa", 64).code
    assert said.count(".unbind(2)") == 1 and ".select(" not in said
    assert "qkv_unflatten.unbind(2)" in said and "qkv_permute" not in said
    wide = "y: {op: linear, over: c, out: {k: 2, c: 4}}"
    code = build(spec_text(f"{wide}\nout: {{op: pick, axis: k, index: 0}}"), 4).code
    assert ".unbind(" not in code and ".select(1, 0)" in code


@pytest.mark.parametrize("kernel", ["{op: scale, x: w, by: 2}", "{op: mul, of: [mean, w]}"])
def test_a_kernel_that_lies_in_another_order_is_learned(kernel: str) -> None:
    """Torch's backward refuses one that makes one channel and whose channels lie last."""
    module = build(spec_text(f"""mean: {{op: pool, x: input, over: [c, h, w]}}
        w: {{op: parameter, axes: {{kh: 3, kw: 3, i: c, o: 1}}, init: conv}}
        kernel: {kernel}
        out: {{op: conv2d, x: input, weight: kernel}}"""), 4, dtype=torch.float64)  # fmt: skip
    x = random(2, 4, 6, 5).contiguous(memory_format=torch.channels_last)
    module(x).sum().backward()
    w = module.get_parameter("w")
    by = [one.mean() if "mul" in kernel else 2 for one in x]
    windows = functional.unfold(x, 3, padding=1).sum(-1)  # the sum of y is w times these
    want = sum(factor * one for factor, one in zip(by, windows, strict=True))
    torch.testing.assert_close(w.grad, want.reshape(4, 3, 3).permute(1, 2, 0)[..., None])


def test_steps_that_share_their_weights_do_the_same() -> None:
    text = spec_text("""out: {op: repeat, times: 2, shared: true,
        each: {op: conv2d, kernel: 3, dilation: i + 1}}""")  # fmt: skip
    with pytest.raises(ComposerError) as failure:
        build(text, 4)
    assert (
        failure.value.diagnostics[0].render()
        == """\
<spec>:6:9: error[invalid-value]: 'out.1' shares the weights of 'out.0', but is Conv2d(4, 4, \
kernel_size=(3, 3), stride=(1, 1), padding=(2, 2), dilation=(2, 2)), not Conv2d(4, 4, \
kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    6 |   each: {op: conv2d, kernel: 3, dilation: i + 1}}
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: make each step the same layer, or omit 'shared'"""
    )


def test_steps_that_share_their_weights_drop_as_each_says() -> None:
    module = build(spec_text("""out: {op: repeat, times: 2, shared: true,
        each: {op: dropout, p: i}}"""), 4)  # fmt: skip
    x = random(2, 4, 3, 3)
    assert not module(x).any()
    assert torch.equal(module.eval()(x), x)


@pytest.mark.parametrize(
    ("inner", "keys"),
    [
        ("op: repeat, times: 2, index: j, each: {op: linear, over: c}", ["0.0", "0.1"]),
        ("op: repeat, times: 2, index: j, shared: true, each: {op: linear, over: c}", ["0.0"]),
    ],
)
def test_steps_share_the_weights_of_what_is_inside_them(inner: str, keys: list[str]) -> None:
    text = f"out: {{op: repeat, times: 3, shared: true, each: {{{inner}}}}}"
    module = randomise(build(spec_text(text), 4, dtype=torch.float64))
    kept = [f"out.{key}.linear.{local}" for key in keys for local in ("weight", "bias")]
    assert list(module.state_dict()) == kept
    x = random(2, 4, 3, 5)
    y = x.movedim(1, -1)
    for key in (["0.0", "0.1"] if len(keys) > 1 else ["0.0", "0.0"]) * 3:
        layer = module.get_submodule(f"out.{key}.linear")
        y = functional.linear(y, layer.weight, layer.bias)
    torch.testing.assert_close(module(x), y.movedim(-1, 1))

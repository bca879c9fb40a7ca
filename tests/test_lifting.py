"""A module lifted and built again is the module: outputs and gradients, with copied weights.

The comparison here is this file's own, and knows nothing of that which `lift` makes.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml
from command import Command
from lifted_modules import Gate, Tokens
from torch import nn

import composer
from composer.errors import ComposerError
from composer.lifting import lift as lifting
from composer.lifting.formulas import Formulas

MODULES = str(Path(__file__).parent / "lifted_modules.py")

#: Where it is, its arguments, and the ops of its spec.
ROUND_TRIPS = [
    ("timm.layers:SEModule", {}, "pool linear linear gate reweight"),
    ("timm.layers:EcaModule", {}, "pool conv1d gate reweight"),
    ("timm.layers:SplitAttn", {}, "conv2d pool pool linear linear gate reweight"),
    ("timm.layers.cbam:CbamModule", {},
     "pool pool stack linear linear pool gate reweight pool pool stack conv2d gate reweight"),
    ("timm.layers:EffectiveSEModule", {}, "pool linear gate reweight"),
    ("timm.layers:CecaModule", {}, None),
    ("timm.layers.cbam:LightCbamModule", {}, None),
    ("timm.layers:GlobalContext", {}, None),
    ("timm.layers:SelectiveKernel", {}, None),
    ("timm.layers:NonLocalAttn", {}, "conv2d conv2d conv2d attention conv2d add"),
    ("timm.layers.coord_attn:CoordAttn", {}, None),
    ("timm.layers.coord_attn:EfficientLocalAttn", {}, None),
    ("timm.layers.coord_attn:StripAttn", {}, None),
    ("timm.layers:Attention", {}, "linear unstack attention merge linear"),
    ("timm.layers:MultiQueryAttention2d", {"dim": "c"}, None),
    ("timm.layers:Attention2d", {}, None),
    ("timm.models.xcit:XCA", {}, None),
    ("timm.models.xcit:ClassAttn", {}, None),
    ("timm.models.mobilevit:LinearSelfAttention", {}, None),
    ("timm.models.cait:TalkingHeadAttn", {}, None),
    ("timm.models.volo:OutlookAttention", {"num_heads": 4}, None),
    ("timm.models.volo:ClassAttention", {}, None),
    ("timm.models.focalnet:FocalModulation", {"focal_window": 7, "focal_level": 2}, None),
    ("timm.models.davit:ChannelAttention", {}, None),
    ("timm.models.edgenext:CrossCovarianceAttn", {}, None),
    ("timm.models.maxxvit:Attention2d", {}, None),
    ("timm.models.nest:Attention", {}, None),
    ("timm.models.crossvit:CrossAttention", {}, None),
    ("timm.models.shvit:SHSA", {"qk_dim": 16, "pdim": 32}, None),
    ("timm.models.mlp_mixer:SpatialGatingUnit", {"seq_len": 49, "size": (7, 7)}, None),
    ("timm.models.inception_next:InceptionDWConv2d", {}, None),
    ("timm.models.vision_transformer:Block", {"num_heads": 4}, None),
    ("timm.layers:AttentionPool2d", {"feat_size": 7, "size": (7, 7)}, None),
    ("timm.layers:AttentionPoolLatent", {}, None),
    ("timm.layers:MixedConv2d", {"out_channels": "c"}, None),
    ("timm.layers.grn:GlobalResponseNorm", {}, None),
    ("timm.layers:GluMlp", {"hidden_features": "4 * c"}, None),
    ("timm.layers:ConvMlp", {"hidden_features": "4 * c"}, "conv2d conv2d"),
    ("timm.layers:LayerScale2d", {}, "parameter mul"),
    ("timm.models.metaformer:Pooling", {}, "pool sub"),
    ("timm.models.convnext:ConvNeXtBlock", {}, None),
    ("torchvision.ops:SqueezeExcitation", {"squeeze_channels": "c // 16"},
     "pool linear linear gate reweight"),
    ("torch.nn:TransformerEncoderLayer", {"nhead": 4, "batch_first": True, "dropout": 0.0}, None),
    (f"{MODULES}:Gate", {}, "pool linear linear gate reweight"),
]  # fmt: skip


def lifted(where: str, arguments: dict) -> lifting.Lifted:
    given = dict(arguments)
    size = given.pop("size", None)
    return composer.lift(where, 64, size=size, arguments=given)


def module_of(where: str, arguments: dict, channels: int) -> nn.Module:
    from composer.lifting.opened import open_code

    given = {key: one for key, one in arguments.items() if key != "size"}
    return open_code(where, given).make(channels)


def with_noise(module: nn.Module) -> nn.Module:
    """Move all weights and statistics, so that no branch is silent."""
    torch.manual_seed(3)
    module = copy.deepcopy(module).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for key, buffer in module.named_buffers():
            if key.endswith("running_var"):
                buffer.uniform_(0.5, 2)
            if key.endswith("running_mean"):
                buffer.normal_()
    module.eval()
    return module


@pytest.mark.quick(1, then="long")
@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("where", "arguments", "ops"), ROUND_TRIPS,
    ids=[where.rpartition(":")[2] for where, _, _ in ROUND_TRIPS],
)  # fmt: skip
def test_what_is_lifted_and_built_computes_the_same(where, arguments, ops):
    found = lifted(where, arguments)
    assert found.difference < 1e-9
    data = yaml.safe_load(found.text)
    if ops is not None:
        assert " ".join(node["op"] for node in data["nodes"].values()) == ops
    module = with_noise(module_of(where, arguments, 64))
    h, w = arguments.get("size", (14, 7))
    shapes = {4: [(2, 64, h, w), (2, h, w, 64)], 3: [(2, h * w, 64)]}[len(data["input"])]
    layouts = {3: [tuple(data["input"])], 4: [("b", "c", "h", "w"), ("b", "h", "w", "c")]}
    for shape, order in zip(shapes, layouts[len(shapes[0])], strict=True):
        x, layout = torch.randn(shape, dtype=torch.float64), order
        try:
            y = module(x)
        except RuntimeError:  # the other layout
            continue
        break
    fixed = "size" in arguments and len(shape) == 3
    if fixed:  # tokens of one number are those of a map
        layout, x = ("b", "h", "w", "c"), x.unflatten(1, (h, w))
    built = composer.build(
        found.text, 64, layout=layout, size=(h, w) if len(x.shape) == 4 else None,
        dtype=torch.float64,
    ).eval()  # fmt: skip
    theirs, mine = dict(module.state_dict()), built.state_dict()
    assert {key for key in mine if "num_batches" not in key} <= set(found.weights)
    built.load_state_dict(
        {k: theirs[source].reshape(mine[k].shape) for k, source in found.weights.items()},
        strict=False,
    )
    z = built(x)
    assert z.numel() == y.numel()
    z = z.reshape(y.shape) if fixed or z.dim() < y.dim() else z
    assert torch.allclose(y, z, rtol=0, atol=1e-10 * max(1, float(y.detach().abs().max())))


@pytest.mark.long
def test_a_lifted_spec_holds_for_other_channels_and_params_of_the_class():
    found = composer.lift("timm.layers:SEModule", 64, arguments={"rd_ratio": 0.25})
    assert "out: c // 4" in found.text
    spec = composer.load_spec(found.text)
    built = composer.build(spec, channels=96)
    assert built.fc1.linear.weight.shape == (24, 96)


@pytest.mark.long
def test_a_module_with_its_weights_keeps_its_numbers():
    found = composer.lift(Gate(64), 64)
    assert found.name == "gate"
    nodes = yaml.safe_load(found.text)["nodes"]
    assert nodes == {
        "mean": {"op": "pool", "over": ["h", "w"]},
        "reduce": {"op": "linear", "over": "c", "out": 4, "bias": True, "norm": "batch",
                   "act": "relu"},
        "expand": {"op": "linear", "over": "c", "out": "c"},
        "gate": {"op": "gate", "fn": "sigmoid"},
        "out": {"op": "reweight", "x": "input", "by": "gate"},
    }  # fmt: skip
    assert found.weights["reduce.norm.running_var"] == "bn.running_var"


@pytest.mark.long
def test_attention_in_its_parts_is_attention_and_dropout_is_kept():
    found = composer.lift(Tokens, 64)
    nodes = yaml.safe_load(found.text)["nodes"]
    assert [node["op"] for node in nodes.values()] == [
        "linear", "unstack", "attention", "merge", "linear", "dropout", "add"
    ]  # fmt: skip
    assert nodes["qkv"]["out"] == {"part": 3, "head": 4, "d": "c / 4"}
    assert {one.training for one in found.compared} == {False}  # what is dropped is drawn


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((64, 128, 192, 320), "c"),
        ((16, 16, 16, 16), 16),
        ((4, 8, 12, 20), "c // 16"),
        ((256, 512, 768, 1280), "4 * c"),
        ((129, 257, 385, 641), "2 * c + 1"),
        ((8, 8, 12, 20), "max(c // 16, 8)"),
        ((8, 8, 16, 24), "max((c // 16 + 4) // 8 * 8, 8)"),
        ((3, 5, 5, 5), "odd((log2(c) + 1) / 2)"),
        ((96, 192, 288, 480), "3 * c // 2"),
        ((7, 11, 2, 40), 7),
    ],
)
def test_what_a_size_is_made_from(numbers, text):
    found = Formulas({"c": (64, 128, 192, 320)})
    assert found.size(numbers) == text
    assert bool(found.unexplained) == (numbers == (7, 11, 2, 40))


def test_what_parts_make_up_is_written_without_a_rest():
    found = Formulas({"c": (64, 128, 192, 320)})
    found.exact.add((16, 32, 48, 80))
    assert found.size((16, 32, 48, 80)) == "c / 4"
    assert found.number((0.25, 32**-0.5, 48**-0.5, 80**-0.5)) == "(c / 4) ** -0.5"


def test_a_wrong_rule_is_refused_and_never_written(monkeypatch):
    from composer.lifting import lifter

    rules = {**lifter.RULES, "sigmoid": lifter.RULES["tanh"]}
    monkeypatch.setattr(lifter, "RULES", rules)
    with pytest.raises(ComposerError) as failure:
        composer.lift("timm.layers:SEModule", 64)
    assert [d.code for d in failure.value.diagnostics] == ["differs"]


# ------------------------------------------------------------------------------ the command line


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Command:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(Path(MODULES).read_text())
    return Command(capsys)


SE = """\
# yaml-language-server: $schema=./composer.schema.json
composer: 1
name: se_module
title: SEModule
source: "lifted from timm.layers:SEModule"
input: [b, c, h, w]
nodes:
  mean: {op: pool, over: [h, w]}
  fc1:  {op: linear, over: c, out: "max((c // 16 + 4) // 8 * 8, 8)", act: relu}
  fc2:  {op: linear, over: c, out: c}
  gate: {op: gate, fn: sigmoid}
  out:  {op: reweight, x: input, by: gate}
"""


@pytest.mark.long
def test_the_spec_goes_to_stdout_or_to_a_file(run):
    found = run.fine("lift", "timm.layers:SEModule")
    assert found.out == SE
    assert found.err.startswith(
        "outputs and gradients match those of the module at 64×7×14, 128×14×14 and 448×14×28 in "
        "evaluation and training: "
    )
    assert ": largest difference " in found.err and found.err.endswith(" in float64\n")
    assert run.fine("lift", "timm.layers:SEModule", "-o", "se.yaml").out == "written to se.yaml\n"
    assert Path("se.yaml").read_text() == SE
    run.fine("check", "se.yaml")
    again = run("lift", "timm.layers:SEModule", "-o", "se.yaml")
    assert again.status == 1
    assert again.err == (
        "se.yaml: error[output]: exists already\n"
        "  help: replace it with --force, or choose another with -o\n"
    )


@pytest.mark.long
def test_a_class_in_a_file_and_json(run):
    found = run.fine("lift", "mine.py:Gate", "--with", "reduction=8", "--name", "mine", "--json")
    assert found.json["version"] == 1
    assert found.json["name"] == "mine"
    assert found.json["output"] is None
    assert "name: mine\n" in found.json["text"]
    assert "out: c // 8" in found.json["text"]
    assert found.json["weights"]["expand.linear.weight"] == "expand.weight"
    assert found.json["difference"] < 1e-9
    assert {one["training"] for one in found.json["compared"]} == {True, False}
    assert json.dumps(found.json["compared"][0]["size"]) == "[7, 14]"


FORMS = "write package.module:Class or path/to/file.py:Class, such as timm.layers:SEModule"
LINE = {text: number for number, text in enumerate(Path(MODULES).read_text().splitlines(), 1)}


def at(text: str, said: str, way_out: str) -> str:
    """Return a message that shows a line of the user's file."""
    line, column = LINE[text], len(text) - len(text.lstrip()) + 1
    return (
        f"{{cwd}}/mine.py:{line}:{column}: {said}\n{line:>5} | {text}\n      | "
        f"{' ' * (column - 1)}{'^' * len(text.strip())}\n  help: {way_out}\n"
    )


#: The arguments, the exit status, and what stands on stderr.
REFUSED = [
    (("timm.layers:SEModul",), 1,
     "error[unknown-module]: timm.layers has no class or function 'SEModul'\n"
     "  help: did you mean 'SEModule'? it has …\n"),
    (("resnet50",), 1, f"error[unknown-module]: 'resnet50' does not name a class\n  help: {FORMS}\n"),  # noqa: E501
    (("nowhere.at:All",), 1,
     f"error[unknown-module]: there is no module 'nowhere'\n  help: {FORMS}\n"),
    (("nowhere.py:All",), 1,
     f"error[unknown-module]: there is no file 'nowhere.py'\n  help: {FORMS}\n"),
    (("mine.py:Broken",), 1,
     "error[module-failed]: Broken(channels=64) cannot be built: ValueError: no weights here\n"
     "  help: raised at {cwd}/mine.py:"
     f"{LINE['        raise ValueError(' + chr(34) + 'no weights here' + chr(34) + ')']}\n"),
    (("mine.py:Positional",), 1,
     "error[module-failed]: Positional(channels=64) cannot be built: TypeError: "
     "Positional.__init__() missing 1 required positional argument: 'out'\n"
     "  help: give it with --with K=V, such as --with num_heads=4\n"),
    (("mine.py:number",), 1,
     "error[not-a-module]: number returned int, not a torch.nn.Module\n"
     "  help: name a class of modules, or a function that returns one\n"),
    (("mine.py:Pair",), 1,
     "error[not-a-tensor]: Pair returns tuple, but a spec has one output\n"
     "  help: lift a module whose forward returns one tensor\n"),
    (("mine.py:Same",), 1,
     "error[nothing-to-lift]: Same returns its input unchanged\n"
     "  help: lift a module that computes something\n"),
    (("mine.py:Branching",), 1,
     at("        return x if x.mean() > 0 else -x",
        "error[depends-on-data]: the forward depends on the values in a tensor: its truth value "
        "is used in a condition",
        "a spec does the same for every input: write it without reading values")),
    (("mine.py:Reading",), 1,
     at("        return x * x.max().item()",
        "error[depends-on-data]: the forward depends on the values in a tensor: its value is "
        "read",
        "a spec does the same for every input: write it without reading values")),
    (("mine.py:Sorting",), 1,
     at("        low = x.flatten(2).sort(-1).values",
        "error[no-counterpart]: 'sort' in Sorting has no counterpart",
        "'composer list ops' lists all ops")
     + at("        high = torch.cumsum(x, 1)",
          "error[no-counterpart]: 'cumsum' in Sorting has no counterpart",
          "'composer list ops' lists all ops")),
    (("mine.py:Sliced",), 1,
     "error[differs]: the spec lifted from Sliced gives different outputs at c = 64, h = 7, "
     "w = 14 in evaluation: they differ by …\n"
     "  help: some of it is not visible as torch calls, such as an in-place change; write the spec "
     "by hand: composer new\n"),
    (("mine.py:Float32",), 1,
     "error[differs]: the spec lifted from Float32 gives different gradients at c = 64, "
     "h = 7, w = 14 in evaluation: they differ by …\n"
     "  help: it computes in float32 internally, whatever its input; write the spec by hand: "
     "composer new\n"),
    (("timm.layers.coord_attn:SimpleCoordAttn",), 1,
     "error[no-counterpart]: 'fc1.weight' of SimpleCoordAttn is used 2 times, on values with "
     "different axes\n"
     "  help: each node has its own weights; make the module use them only once\n"
     "error[no-counterpart]: 'fc1.bias' of SimpleCoordAttn is used 2 times, on values with "
     "different axes\n"
     "  help: each node has its own weights; make the module use them only once\n"),
    (("timm.layers:Mlp", "--layout", "n,c"), 2,
     "error[usage]: --layout 'n,c' is not the layout of an input\n"
     "  help: write --layout b,c,h,w or b,n,c\n"),
    (("timm.layers:Mlp", "--with", "hidden"), 2,
     "error[usage]: --with 'hidden' is not K=V\n  help: write --with num_heads=4\n"),
    (("timm.layers:Mlp", "--size", "t=9"), 2,
     "error[usage]: --size 't=9' is not a height and a width\n  help: write --size 14x21\n"),
    (("timm.layers:Mlp", "--size", "7", "--layout", "b,c,h,w"), 1,
     "error[module-failed]: Mlp does not run on [b, c, h, w] with c = 64, h = 7, w = 7: "
     "RuntimeError: mat1 and mat2 shapes cannot be multiplied (896x7 and 64x64)\n"
     "  help: describe its input: --channels 64, --size 14x14, --layout b,n,c\n"),
    (("timm.layers:Mlp", "--name", "se"), 2,
     "error[usage]: --name 'se' is the name of a shipped spec, which would be read instead\n"
     "  help: choose another name, such as my_se\n"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "status", "said"), REFUSED, ids=[" ".join(r[0]) for r in REFUSED])
def test_what_is_refused_says_where_what_and_the_way_out(run, args, status, said):
    found = run("lift", *args)
    assert (found.status, found.out) == (status, "")
    wanted = said.replace("{cwd}", str(Path.cwd())).split("…")
    rest = found.err
    for part in wanted:
        assert part in rest, f"{part!r} is not in {found.err!r}"
        rest = rest.partition(part)[2]
    if len(wanted) == 1:
        assert found.err == wanted[0]

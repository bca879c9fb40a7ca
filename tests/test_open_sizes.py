"""What is built or inserted at one size runs at every other, or refuses it and names both."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isqrt

import pytest
import torch
from probe import random, randomise, spec_text
from shipped import ANYWHERE, SHIPPED, SIZED, STANDS_FOR
from timm import create_model
from torch import Tensor, fx, nn

import composer
from composer.analysis.maps import MapShape
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Init, Settings, Tokens
from composer.graph.passes import compile_graph
from composer.lower.build import lower, settings_for
from composer.lower.inputs import input_shapes
from composer.measure.cost import flops, parameters
from composer.primitives import Spec
from composer.surgery.composition import composition
from composer.surgery.make import Made, Maker

CHANNELS = 32


@pytest.fixture(autouse=True)
def the_same_numbers() -> None:
    torch.manual_seed(0)


def numbers_in_code(spec: Spec, settings: Settings) -> fx.GraphModule:
    """Return the module that is lowered with its sizes as numbers: what an open one is to equal."""
    return lower(compile_graph(graph_of(spec, settings.closed)))


def refusal(name: str, built: tuple[int, int], comes: tuple[int, int]) -> str:
    return (
        f"{name} here was built for maps of {built[0]}×{built[1]}, but this one is "
        f"{comes[0]}×{comes[1]}; insert it into a model made for that size, or build it for that "
        "size"
    )


def said(module: nn.Module, *x: Tensor) -> str:
    with pytest.raises(ValueError) as failure:
        module(*x)
    return str(failure.value)


# -------------------------------------------------------------------------- of shipped specs

SIZES = ((6, 6), (9, 9), (5, 10))


@pytest.mark.quick(15, then="long")
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_spec_built_for_one_size(name: str) -> None:
    spec, conv = load_spec(name), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
    like = conv if spec.stands_for == "conv2d" else None
    wide = None if like is not None else CHANNELS
    layout = ("b", "c", "h", "w")
    module = randomise(composer.build(spec, wide, like=like, size=(6, 6), layout=layout)).eval()
    for size in SIZES:
        x = torch.randn(2, CHANNELS, *size)
        if name in SIZED and size != (6, 6):
            assert said(module, x) == refusal(name, (6, 6), size)
            continue
        twin = numbers_in_code(spec, settings_for(spec, wide, like, size, layout=layout)).eval()
        twin.load_state_dict(module.state_dict())
        torch.testing.assert_close(module(x), twin(x))


SHAPES = {
    "a map": MapShape(("b", "c", "h", "w"), CHANNELS, (6, 6)),
    "channels last": MapShape(("b", "h", "w", "c"), CHANNELS, (6, 6)),
    "tokens": MapShape(("b", "n", "c"), CHANNELS, (6, 6), prefix=1),
}
OTHERS = ((9, 9), (3, 3))
ADDED = [p for p in SHIPPED if STANDS_FOR[p.values[0]] is None]


def input_at(shape: MapShape, size: tuple[int, int]) -> Tensor:
    height, width = size
    of = {"b": 2, "c": CHANNELS, "h": height, "w": width, "n": shape.prefix + height * width}
    return torch.randn([of[axis] for axis in shape.layout])


@pytest.mark.quick(7)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", ADDED)
def test_what_is_inserted_at_one_size(name: str, shape: MapShape) -> None:
    maker = Maker(load_spec(name), {}, "paper")
    made = maker.at(shape)
    module = randomise(lower(made.graph)).eval()
    assert made.needs_size == ((6, 6) if name in SIZED else None)
    for size in (shape.size, *OTHERS):
        x = input_at(shape, size)
        if name in SIZED and size != shape.size:
            assert said(module, x) == refusal(name, shape.size, size)
            continue
        there = maker.at(replace(shape, size=size)).graph.settings
        twin = numbers_in_code(maker.spec, there).eval()
        twin.load_state_dict(module.state_dict())
        torch.testing.assert_close(module(x), twin(x))


def planned(name: str, init: Init, size: tuple[int, int]) -> Iterator[Made]:
    """Yield what is made of a shipped spec, in every form, at a size."""
    spec = load_spec(name)
    maker = Maker(spec, {}, init)
    for shape in SHAPES.values() if STANDS_FOR[name] is None else ():
        yield maker.at(replace(shape, size=size))
    if spec.stands_for == "conv2d":
        yield maker.like(nn.Conv2d(CHANNELS, 64, 3, stride=2, padding=1), size)
    elif spec.stands_for == "attention":
        attention = nn.MultiheadAttention(CHANNELS, 4, batch_first=True)
        if "n" in spec.input:
            yield maker.like(attention, size[:1])
        else:
            yield maker.attending(attention, replace(SHAPES["tokens"], size=size))


@pytest.mark.quick(8, then="long")
@pytest.mark.parametrize(("init", "size"), [
    ("paper", (5, 10)),
    *(pytest.param(init, size, marks=pytest.mark.slow)
      for init in ("paper", "identity") for size in (*SIZES, (1, 7))),
])  # fmt: skip
@pytest.mark.parametrize("name", SHIPPED)
def test_a_plan_counts_as_torch_does(name: str, init: Init, size: tuple[int, int]) -> None:
    for made in planned(name, init, size):
        with torch.device("meta"):
            module = lower(made.graph).eval()
        counted = parameters(module), flops(module, *input_shapes(made.graph))
        assert (made.parameters, made.flops) == counted


def test_what_several_share_stays_open() -> None:
    maker = Maker(load_spec("cond_conv"), {}, "paper")
    made = maker.shared(SHAPES["a map"])
    module = lower(made.graph)
    assert made.needs_size is None and made.graph.settings.planned == {"h": 6, "w": 6}
    rest = maker.like(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), (6, 6))
    assert input_shapes(rest.graph) == ((1, CHANNELS, 6, 6), (1, 8))
    x = torch.randn(2, CHANNELS, 5, 7)
    assert lower(rest.graph)(x, module(x)).shape == x.shape


# ------------------------------------------------------------------------------ in backbones

IMAGES = {
    "resnet18": ((224, 224), (160, 160), (96, 192)),
    "vit_tiny_patch16_224": ((224, 224), (160, 160), (256, 256)),
}
MOST_TYPICAL = {
    "resnet18": ("cbam", "ge_theta", "sk"), "vit_tiny_patch16_224": ("bam", "ge_theta_plus"),
}  # fmt: skip
FEW = {"resnet18": None, "vit_tiny_patch16_224": ["blocks.[25]", "blocks.[25].attn"]}
#: Residual branches that are not silent, so that what is inserted there meets something.
OPTIONS = {
    "resnet18": {"zero_init_last": False}, "vit_tiny_patch16_224": {"dynamic_img_size": True},
}  # fmt: skip


#: What is of a number of tokens; what stands for depthwise convolutions, of which there are none;
#: what squares its numbers in each of 16 places.
SKIPPED = ("aft", "gmlp", "mix_conv", "involution")


def composed() -> Iterator[object]:
    for backbone in IMAGES:
        for name in (param.values[0] for param in ANYWHERE if param.values[0] not in SKIPPED):
            stands_for = load_spec(name).stands_for
            if stands_for == ("attention" if backbone == "resnet18" else "conv2d"):
                continue
            marks = () if name in MOST_TYPICAL[backbone] else pytest.mark.slow
            yield pytest.param(backbone, name, marks=marks, id=f"{name} in {backbone}")


@pytest.mark.quick(2)
@pytest.mark.parametrize(("backbone", "name"), composed())
def test_a_composed_model_at_other_sizes(backbone: str, name: str) -> None:
    """Each inserted module, given what it meets there, equals one lowered for that very size."""
    model = create_model(backbone, **OPTIONS[backbone])
    spec, at = load_spec(name), None
    if STANDS_FOR[name] is None:
        spec, at = spec.model_copy(update={"insert": None}), "block"
    model = composer.insert(model, spec, at=at, select=FEW[backbone], inplace=True).eval()
    record = composition(model)
    assert record is not None
    (edit,) = record.edits
    for site in edit.inserted:
        randomise(model.get_submodule(site.module))
        for weight in model.get_submodule(site.module).parameters():
            weight.data /= weight[0].numel() ** 0.5  # so that numbers don't grow with each block
    for image in IMAGES[backbone]:
        pixels = torch.randn(1, 3, *image)
        if name in SIZED and image != (224, 224):
            assert said(model, pixels) == refusal(name, *met_first(backbone, name, image))
            continue
        met = seen(model, [site.module for site in edit.inserted], pixels)
        for site in edit.inserted:
            x, y = met[site.module]
            settings = sized_as(site.settings, x[0])
            twin = numbers_in_code(edit.spec, settings).eval()
            twin.load_state_dict(model.get_submodule(site.module).state_dict())
            with torch.no_grad():
                torch.testing.assert_close(twin(*x), y)


Seen = dict[str, tuple[tuple[Tensor, ...], Tensor]]


def seen(model: nn.Module, paths: list[str], pixels: Tensor) -> Seen:
    """Return what modules are given and give; in copies, for a block may write into these."""
    met: Seen = {}

    def keeping(path: str) -> Callable[..., None]:
        def keep(_: nn.Module, x: tuple[Tensor, ...], y: Tensor) -> None:
            met[path] = tuple(value.clone() for value in x), y.clone()

        return keep

    hooks = [model.get_submodule(p).register_forward_hook(keeping(p)) for p in paths]
    with torch.no_grad():
        model(pixels)
    for hook in hooks:
        hook.remove()
    return met


def met_first(
    backbone: str, name: str, image: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the map of the first place, at the size planned for and at this one."""
    step = 16 if backbone != "resnet18" else 32 if name == "bot_mhsa" else 4
    step = 16 if (backbone, name) == ("resnet18", "bot_mhsa") else step  # before the stride
    return (224 // step, 224 // step), (image[0] // step, image[1] // step)


def sized_as(settings: Settings, x: Tensor) -> Settings:
    """Return settings with the sizes of an input; that of tokens is square."""
    settings = settings.closed
    if settings.tokens is not None:
        places = x.shape[1] - settings.tokens.prefix
        sizes = {"n": places, "h": isqrt(places), "w": isqrt(places)}
    else:
        layout = settings.layout
        assert layout is not None
        sizes = dict(zip(layout, x.shape, strict=True))
    known = {axis: sizes[axis] for axis in ("h", "w", "n") if axis in settings.sizes}
    return replace(settings, sizes={**settings.sizes, **known})


# ------------------------------------------------------------------- numbers made from sizes

NUMBERS = [
    "4 / (h * w - 1)", "(h * w) ** -0.5", "sqrt(h) / w", "log2(h)", "log(h + 1)", "ceil(h / 3)",
    "floor(w / 2.5)", "round(h / 3)", "odd(h / 2)", "min(h, w)", "max(h, w, 7)", "abs(h - w)",
    "h % 5 + 1", "h // 3", "-h", "c / h", "1 / (h - 6) if h > 6 else 2", "2 if h == w else 3",
    "exp(-h / w)", "sin(pi / h)", "cos(h)",
]  # fmt: skip
#: Where torch's export keeps the size that it saw, as its guard says.
KEPT_BY_EXPORT = ("sqrt", "log", "exp", "sin", "cos", "odd", "max", "if")


def scaled_by(number: str) -> str:
    return spec_text(f"""much: {{op: scale, by: "{number}"}}
        out: {{op: add, of: [input, much]}}""")


@pytest.mark.quick(7, then="long")
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_follows_the_size(number: str) -> None:
    text = scaled_by(number)
    module, spec = composer.build(text, 4), load_spec(text)
    torch.compiler.reset()
    whole = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager", dynamic=True)
    again = pickle.loads(pickle.dumps(module))
    for size in ((6, 9), (7, 7), (6, 8), (12, 5)):
        x = torch.randn(2, 4, *size)
        settings = Settings({"b": 2, "c": 4, "h": size[0], "w": size[1]})
        expected = numbers_in_code(spec, settings)(x)
        for one in (module, whole, again, copy.deepcopy(module)):
            torch.testing.assert_close(one(x), expected)
        sized = composer.build(text, 4, size=(10, 11))
        torch.testing.assert_close(sized(x), expected)


@pytest.mark.parametrize("number", [n for n in NUMBERS if not any(k in n for k in KEPT_BY_EXPORT)])
def test_a_number_follows_the_size_exported(number: str) -> None:
    module = composer.build(scaled_by(number), 4).double()
    auto = torch.export.Dim.AUTO
    x = random(2, 4, 6, 9)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    for shape in ((2, 4, 6, 9), (3, 4, 8, 9), (3, 4, 11, 13)):
        x = random(*shape)
        torch.testing.assert_close(program.module()(x), module(x))


def test_code_reads_the_size_as_one_would() -> None:
    lines = composer.build(scaled_by("4 / (h * w - 1)"), 4).code.splitlines()
    assert [line.split(";")[0].strip() for line in lines if "much" in line][:6] == [
        "much_size = x.size(2)",
        "much_size_1 = x.size(3)",
        "much_mul = much_size * much_size_1",
        "much_sub = much_mul - 1",
        "much_truediv = 4 / much_sub",
        "much_mul_1 = x.mul(much_truediv)",
    ]


#: Forms of a map that come back to it; each holds for any size.
FORMS = {
    "to tokens and back": """n: {op: merge, axes: [h, w], into: n}
        mix: {op: linear, over: c}
        out: {op: split, axis: n, into: {h: h, w: w}}""",
    "to tokens and back, columns first": """n: {op: merge, axes: [w, h], into: n}
        mix: {op: linear, over: c}
        out: {op: split, axis: n, into: {w: w, h: h}}""",
    "to tokens of channels and back": """n: {op: merge, axes: [c, h], into: n}
        mix: {op: gate}
        out: {op: split, axis: n, into: {c: c, h: h}}""",
    "halves of a side": """taken: {op: split, axis: h, into: {s: h / 2, t: 2}}
        mean: {op: pool, over: t}
        some: {op: pool, over: [s, w]}
        out: {op: reweight, x: input, by: some}""",
    "energy of each neuron": """mean: {op: pool, over: [h, w]}
        off: {op: sub, of: [input, mean]}
        square: {op: mul, of: [off, off]}
        sum: {op: pool, over: [h, w], reduce: sum}
        spread: {op: scale, by: 4 / (h * w - 1)}
        ratio: {op: div, of: [square, spread]}
        gate: {op: gate, fn: sigmoid}
        out: {op: reweight, x: input, by: gate}""",
    "attention of all places": """heads: {op: split, axis: c, into: {g: 2, d: c / 2}}
        met: {op: attention, q: heads, k: heads, v: heads, over: [h, w], along: d}
        out: {op: merge, axes: [g, d], into: c}""",
    "a mean by hand": """small: {op: conv2d, kernel: 3, stride: 2, groups: c}
        sum: {op: pool, over: [h, w], reduce: sum}
        mean: {op: scale, by: 1 / (((h - 1) // 2 + 1) * ((w - 1) // 2 + 1))}
        out: {op: reweight, x: input, by: mean}""",
}  # fmt: skip


@pytest.mark.quick(4, then="long")
@pytest.mark.parametrize("nodes", FORMS.values(), ids=FORMS)
def test_a_form_of_a_map_at_any_size(nodes: str) -> None:
    spec = load_spec(spec_text(nodes))
    maker = Maker(spec, {}, "paper")
    for shape in SHAPES.values():
        made = maker.at(shape)
        module = randomise(lower(made.graph)).eval()
        assert made.needs_size is None
        for size in (shape.size, (8, 8), (4, 4)):
            settings = maker.at(replace(shape, size=size)).graph.settings
            twin = numbers_in_code(spec, settings).eval()
            twin.load_state_dict(module.state_dict())
            x = input_at(shape, size)
            torch.testing.assert_close(module(x), twin(x))


def test_a_number_of_h_and_w_alone_takes_tokens_of_any_shape() -> None:
    shape, wide = SHAPES["tokens"], torch.randn(1, 1 + 5 * 8, CHANNELS)
    by_area = Maker(load_spec(scaled_by("1 / (h * w)")), {}, "paper").at(shape)
    assert lower(by_area.graph)(wide).shape == wide.shape
    by_side = Maker(load_spec(scaled_by("1 / h")), {}, "paper").at(shape)
    assert said(lower(by_side.graph), wide).startswith(
        "40 tokens do not form a grid of the aspect ratio 6×6"
    )


# ------------------------------------------------------------------------------ pruned layers


def halved(module: nn.Module, keep: int) -> None:
    """Keep the first channels of what reads and makes them, as a pruner does."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            rows = keep if layer.out_features == 2 * keep else layer.out_features
            columns = keep if layer.in_features == 2 * keep else layer.in_features
            layer.weight = nn.Parameter(layer.weight[:rows, :columns].detach())
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias[:rows].detach())


@pytest.mark.parametrize("name", ["se", "se_var3", "cbam_channel", "eca", "ese"])
def test_a_pruned_network_runs(name: str) -> None:
    module = randomise(composer.build(name, 64)).eval()
    halved(module, 32)
    x = torch.randn(2, 32, 8, 8)
    assert module(x).shape == x.shape
    if name == "se":
        excite = module.excite
        assert isinstance(excite, nn.Module)
        gate = excite.fc2(excite.fc1(x.mean((2, 3))).relu()).sigmoid()  # type: ignore[operator]
        torch.testing.assert_close(module(x), x * gate[..., None, None])


def test_no_size_of_an_operand_is_written() -> None:
    nodes = """row: {op: pool, over: [h, w]}
        split: {op: branch, x: input, axis: k, times: 2, each: {op: gate}}
        weigh: {op: reweight, x: split, by: row}
        heads: {op: split, axis: c, into: {g: 2, d: c / 2}}
        join: {op: merge, axes: [g, d], into: c}
        out: {op: pool, over: k}"""
    module = composer.build(spec_text(nodes), 64)
    assert "64" not in module.code and "32" not in module.code
    assert module(torch.randn(2, 32, 5, 4)).shape == (2, 32, 5, 4)


@pytest.mark.parametrize(("have", "want", "call"), [
    ("b c", "b c h w", "unflatten(1, (-1, 1, 1))"),
    ("c", "b c h w", "unflatten(0, (1, -1, 1, 1))"),
    ("b h w", "b k m h w", "unflatten(0, (-1, 1, 1))"),
    ("b w", "b c h w", "unflatten(0, (-1, 1, 1))"),
    ("h w", "b c h w", "unflatten(0, (1, 1, -1))"),
    ("b c", "b k c h w", "unflatten(1, (1, -1, 1, 1))"),
    ("b h", "b c h w k", "unflatten(1, (1, -1, 1, 1))"),
    ("b c h", "b k c h w", "unsqueeze"),
])  # fmt: skip
def test_spreading_is_one_step(have: str, want: str, call: str) -> None:
    from composer.lower.emitter import _around_one

    names, wanted = tuple(have.split()), tuple(want.split())
    found = _around_one(names, wanted)
    if found is None:
        assert call == "unsqueeze"
        return
    axis, sizes = found
    assert call == f"unflatten({names.index(axis)}, {sizes})"
    x = torch.arange(24).reshape(
        [[2, 3, 4][i] for i in range(len(names))]
        if len(names) == 3
        else [24 // 4, 4][: len(names)]
        if len(names) == 2
        else [24]
    )
    expected = x
    for place, axis in enumerate(wanted):
        if axis not in names:
            expected = expected.unsqueeze(place)
    assert torch.equal(x.unflatten(names.index(found[0]), sizes), expected)


def test_settings_open_and_close() -> None:
    settings = Settings({"c": 3, "h": 4, "w": 5}, tokens=Tokens(1))
    assert settings.opened.sizes == {"c": 3} and settings.opened.planned == {"h": 4, "w": 5}
    assert settings.opened.closed == settings

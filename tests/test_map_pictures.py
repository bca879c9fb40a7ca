"""`composer render DIR --input cat.png`: what is attended to, over the image."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from command import NET, Command
from geometry import SVG
from PIL import Image

import composer
from composer.drawing import heat
from composer.drawing.panels import panels
from composer.looking.attention_maps import AttentionMap

HREF = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Command:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    pixels = np.random.default_rng(0).integers(0, 255, (80, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("cat.png")
    return Command(capsys)


@pytest.fixture
def composed(run) -> Command:
    torch.manual_seed(0)
    model = composer.insert("net.py:tiny", "cbam", params={"min_width": 4})
    composer.save(model, "net-cbam")
    return run


@pytest.mark.long
@pytest.mark.parametrize("form", ["svg", "png", "pdf", "html"])
def test_every_format_that_holds_images(composed, form):
    file = Path(f"maps.{form}")
    told = composed.fine(
        "render", "net-cbam", "--input", "cat.png", "-o", file.name, "--trust-code"
    )
    assert told.out == f"written to {file}\n"
    content = file.read_bytes()
    if form == "svg":
        root = ET.fromstring(content)
        assert root.find(f"{SVG}title").text == "cbam in net.py:tiny, on cat.png"
        texts = {text.text for text in root.iter(f"{SVG}text")}
        assert {"input", "stage1.0.cbam", "channel.gate", "spatial.gate"} <= texts
        images = list(root.iter(f"{SVG}image"))
        assert len(images) == 2 + 4  # the scale, the input, and a map for each of four blocks
        assert all(image.get(HREF).startswith("data:image/") for image in images)
        assert len(list(root.iter(f"{SVG}polygon"))) == 4
    elif form == "png":
        assert Image.open(file).size[0] > 1000
    elif form == "html":
        rest = content.replace(b"http://www.w3.org/", b"").replace(b"http-equiv", b"")
        assert b"http" not in rest
    else:
        assert content.startswith(b"%PDF")


SPEC = "error[usage]: input is for a composed model, and this is a spec\n"


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    ("args", "status", "wanted"),
    [
        (("net-cbam", "--input", "cat.png", "-o", "x.tex"), 2,
         "error[unknown-format]: a .tex file can't contain the image of --input\n"
         "  help: use a name in .svg, .png, .pdf or .html\n"),
        (("net-cbam", "--input", "dog.png", "-o", "x.svg"), 1,
         "dog.png: error[image]: there is no such file\n  help: give a PNG or JPEG\n"),
        (("net-cbam", "--input", "net.py", "-o", "x.svg"), 1,
         "net.py: error[image]: this is not an image\n  help: give a PNG or JPEG\n"),
        (("net.py:tiny", "--input", "cat.png", "-o", "x.svg"), 1,
         "error[not-composed]: nothing was inserted into this Net\n"
         "  help: give a model returned by composer.insert or composer.load\n"),
        (("se", "--input", "cat.png", "-o", "x.svg"), 2,
         f"{SPEC}  help: give a folder written by insert\n"),
        (("net-cbam", "--input", "cat.png", "--depth", "2", "-o", "x.svg"), 2,
         "error[usage]: depth, expand, before_after, beside, channels, size, params, direction, "
         "width, title, sizes and legend do not apply to a picture on an image\n"
         "  help: omit them, or omit input\n"),
    ],
    ids=["tex", "no file", "no image", "plain", "spec", "options"],
)  # fmt: skip
def test_what_cannot_be_drawn_says_so(composed, args, status, wanted):
    told = composed("render", *args, "--trust-code")
    assert (told.status, told.err) == (status, wanted)
    assert not Path(args[-1]).exists()


def a_map(axes: str, *shape: int, size=(4, 4), keys="", kind="gate") -> AttentionMap:
    torch.manual_seed(0)
    values = torch.rand(shape)
    if kind == "attention":
        values = values / values.sum(-1, keepdim=True)
    return AttentionMap("at", "gate", kind, tuple(axes.split()), values, tuple(keys.split()), size)


@pytest.mark.parametrize(
    ("one", "looks", "said", "found"),
    [
        (a_map("b c", 2, 8), ["bars"], "c 8: ", lambda v: v[0]),
        (a_map("b c", 2, 64), ["bars"], "c 64, sorted: ", lambda v: v[0].sort().values.flip(0)),
        (a_map("b k c", 2, 2, 64), ["bars"], "k 2, mean over c: ", lambda v: v[0].mean(1)),
        (a_map("b h w", 2, 4, 4), ["heat"], "4×4: ", lambda v: v[0]),
        (a_map("b w h", 2, 4, 4), ["heat"], "4×4: ", lambda v: v[0].T),
        (a_map("b c h w", 2, 3, 4, 4), ["heat"], "4×4, mean over c: ", lambda v: v[0].mean(0)),
        (a_map("b k h w", 2, 2, 4, 4), ["heat", "heat"], "4×4: ", lambda v: v[0, 0]),
        (a_map("b c h", 2, 3, 4), ["heat"], "4×1, mean over c: ", lambda v: v[0].mean(0)[:, None]),
        (a_map("b c w", 2, 3, 4), ["heat"], "1×4, mean over c: ", lambda v: v[0].mean(0)[None]),
        (a_map("b h w", 2, 32, 4), ["matrix"], "h, w 32×4: ", lambda v: v[0]),
        (a_map("b n", 1, 17, size=(17,)), ["heat"], "4×4: ", lambda v: v[0, 1:].view(4, 4)),
        (a_map("b head n key_n", 1, 2, 17, 17, size=(17,), keys="key_n", kind="attention"),
         ["heat"], "4×4, attended to: ", lambda v: v[0].mean((0, 1))[1:].view(4, 4)),
        (a_map("b head h w key_h key_w", 1, 2, 4, 4, 4, 4, keys="key_h key_w", kind="attention"),
         ["heat"], "4×4, attended to: ", lambda v: v[0].mean((0, 1, 2))),
        (a_map("b head d key_d", 1, 2, 4, 4, keys="key_d", kind="attention"), ["matrix"],
         "d, key_d 4×4, mean over head: ", lambda v: v[0].mean(0)),
        (a_map("c", 3), ["bars"], "c 3: ", lambda v: v),
    ],
    ids=lambda one: " ".join(one.axes) if isinstance(one, AttentionMap) else "",
)  # fmt: skip
def test_what_each_map_is_drawn_as(one, looks, said, found):
    drawn = list(panels(one, (32, 32)))
    assert [panel.look for panel in drawn] == looks
    assert drawn[0].said.startswith(said)
    torch.testing.assert_close(drawn[0].values, found(one.values))


def test_a_softmax_over_an_axis_shows_its_largest_value_not_its_even_mean():
    one = a_map("b i h w", 1, 8, 4, 4)
    weights = one.values.softmax(1)
    (panel,) = panels(
        AttentionMap(one.path, one.node, "gate", one.axes, weights, (), one.size), (32, 32)
    )
    assert panel.said.startswith("4×4, largest over i: ")
    torch.testing.assert_close(panel.values, weights[0].amax(0))


def test_heat_lies_where_the_map_is_high_and_an_even_map_leaves_the_image_grey():
    image = torch.rand(3, 32, 32)
    values = torch.zeros(4, 4)
    values[0, 3] = 1.0
    drawn = heat.over(image, values)
    brightness = drawn.mean(0)
    assert brightness[:8, 24:].mean() > brightness[8:].mean() + 0.2
    grey = heat.over(image, torch.full((4, 4), 0.5))
    assert torch.equal(grey[0], grey[1])
    torch.testing.assert_close(grey[0], 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2])

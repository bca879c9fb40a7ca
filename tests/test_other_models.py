"""The sweep over models outside timm and torchvision, and the table that it writes."""

from __future__ import annotations

import pytest
from other_models import MODELS
from sweep_others import TABLE, rows

#: What is not right yet, by what is seen; each of these fails until it is.
WRONG = {
    "lightning-byol": "no gradient runs through the target network, and by one the sweep judges",
    "smp-unet-scse": "the attention of a decoder's block is taken for a block",
}
#: Where nothing can go, and why; everywhere else something must go in.
REFUSED = {
    ("hf-yolos", "stage"): "tokens without a place in the map come after",
    ("hf-yolos", "block"): "tokens without a place in the map come after",
    ("monai-unet-plain", "block"): "has no block that could be found",
    ("monai-attention-unet", "block"): "has no block that could be found",
    ("yolov3-tiny", "block"): "has no block that could be found",
}
#: How many blocks each stage has, as the configuration or the paper says.
BLOCKS = {
    "yolov8n": "1+2+2+1+1+1+1+1", "yolov8n-cls": "1+2+2+1",
    "hf-vit": "3", "hf-deit": "3", "hf-beit": "3", "hf-dinov2": "3", "hf-dinov3-vit": "3",
    "hf-clip-vision": "3", "hf-siglip-vision": "3", "hf-swin": "2+2", "hf-swinv2": "2+2",
    "hf-convnext": "2+2+2+2", "hf-convnextv2": "2+2+2+2", "hf-resnet": "2+2+2+2",
    "hf-resnet-basic": "2+2+2+2", "hf-regnet": "1+2+2+1", "hf-bit": "2+2+2+2",
    "hf-segformer": "2+2+2+2", "hf-pvt": "2+2+2+2", "hf-pvtv2": "2+2+2+2",
    "hf-poolformer": "2+2+6+2", "hf-cvt": "1+2+3", "hf-focalnet": "2+2+2+2", "hf-hiera": "1+2+2",
    "hf-upernet": "2+2+2+2", "hf-mask2former": "2+2+2+2", "smp-upernet": "2+2+2+2",
    "smp-unet-resnet18": "2+2+2+2+5",
    "smp-unet-scse": "2+2+2+2+5", "hf-clip": "3", "hf-siglip": "3", "clip-rn": "1+2+1+1",
    "clip-vit": "3", "monai-densenet121": "6+12+24+16",
    "smp-segformer": "2+2+2+2",
    "clip-rn-visual": "1+2+1+1", "clip-vit-visual": "3",
    "clip-timm": "6", "monai-resnet": "2+2+2+2", "monai-seresnet50": "3+4+6+3", "dit": "3",
    "lightning-classifier": "2+2+2+2", "lightning-segmenter": "2+2+2+2", "siamese": "2+2+2+2",
    "lightning-byol": "2+2+2+2+2+2+2+2",
}  # fmt: skip


def _marked(name: str) -> object:
    wrong = WRONG.get(name)
    marks = [pytest.mark.xfail(reason=wrong, raises=AssertionError, strict=True)] if wrong else []
    return pytest.param(name, marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("name", map(_marked, MODELS))
def test_goes_into(name: str) -> None:
    for package in (MODELS[name].package, *MODELS[name].also):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[zoo]'")
    for found in rows(name):
        wanted = REFUSED.get((name, found.at), "")
        assert bool(found.refused) is bool(wanted), found.refused
        assert wanted in found.refused
        if name in BLOCKS and found.at == "block":
            assert found.blocks == BLOCKS[name]


def test_the_table_holds_every_model() -> None:
    lines = TABLE.read_text().splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][1:]
    assert {row[0].strip() for row in cells} == set(MODELS)
    wrong = {row[0].strip() for row in cells if "WRONG" in row[-1] or "FAULT" in row[-1]}
    assert wrong <= set(WRONG)


def test_the_exceptions_are_of_models_in_the_table() -> None:
    named = {*WRONG, *BLOCKS, *(name for name, _ in REFUSED)}
    assert named <= set(MODELS)
    assert len(MODELS) >= 60

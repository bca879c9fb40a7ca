"""Post-training quantisation of every shipped mechanism by torchao's pt2e: the table of its page.

python tests/quantised.py -o docs/quantisation.md [--weights lite0.safetensors]
"""

from __future__ import annotations

import argparse
import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import composer
from composer.artifact.run import transform_for
from composer.errors import ComposerError
from composer.language.library import shipped_names

WIDTH, SIDE, SEEN = 64, 32, 8


class Block(nn.Module):
    def __init__(self, width: int, depthwise: bool) -> None:
        super().__init__()
        groups = width if depthwise else 1
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Net(nn.Module):
    """Two stages of two blocks each, of 128 and 256 channels at 8×8 and 4×4."""

    def __init__(self, depthwise: bool = False) -> None:
        super().__init__()
        self.default_cfg = {"input_size": (3, SIDE, SIDE)}
        self.stem = nn.Conv2d(3, 2 * WIDTH, 4, stride=4)
        self.stage1 = nn.Sequential(*(Block(2 * WIDTH, depthwise) for _ in range(2)))
        self.down = nn.Conv2d(2 * WIDTH, 4 * WIDTH, 2, stride=2)
        self.stage2 = nn.Sequential(*(Block(4 * WIDTH, depthwise) for _ in range(2)))
        self.head = nn.Linear(4 * WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage2(self.down(self.stage1(self.stem(x))))
        return self.head(x.mean((2, 3)))


def vit() -> nn.Module:
    return VisionTransformer(
        img_size=SIDE, patch_size=4, embed_dim=WIDTH, depth=2, num_heads=2, num_classes=10
    )


def depthwise() -> nn.Module:
    return Net(depthwise=True)


def composed(name: str) -> nn.Module:
    """Return a tiny network with a mechanism in it: as its spec says, else at each block.

    Raises:
        ComposerError: it goes into none of them.
    """
    everywhere = {"stages": "1..-1", "blocks": "1..-1"}
    ways = [(Net, {}), (vit, {}), (Net, everywhere), (vit, everywhere), (depthwise, {}),
            (Net, {"at": "block", "position": "residual", **everywhere}),
            (Net, {"position": None, **everywhere})]  # fmt: skip
    why: list[ComposerError] = []
    for make, options in ways:
        torch.manual_seed(0)
        try:
            model = composer.insert(make(), name, **options)
            break
        except ComposerError as failure:
            why.append(failure)
    else:
        raise why[0]
    for module in model.modules():  # a zero at the start would hide what is inserted
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
    for parameter in model.parameters():
        if not bool(parameter.any()):
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def quantised(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a model in int8 by its static post-training quantisation for inductor on x86.

    Its activations are seen on these images.
    """
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        exported = torch.export.export(model, (images[:2],), strict=False, dynamic_shapes=(
            {0: torch.export.Dim("batch", min=1, max=64)},)).module()  # fmt: skip
        prepared = prepare_pt2e(exported, quantizer)
        for image in images.split(2):
            prepared(image)
        done = convert_pt2e(prepared)
        move_exported_model_to_eval(done)
    return done


def quality(model: nn.Module, other: nn.Module, images: Tensor) -> float:
    """Return how far above its error the signal is, in dB."""
    with torch.no_grad():
        wanted, given = model(images), other(images)
    apart = float((wanted - given).norm())
    return 20 * math.log10(float(wanted.norm()) / apart) if apart else math.inf


def steps_in_int8(model: nn.Module) -> int:
    """Return how many values are quantised in a model."""
    return sum("quantize_per" in str(node.target) and "dequantize" not in str(node.target)
               for node in model.graph.nodes)  # fmt: skip


def measured(name: str) -> tuple[float, int]:
    """Return the dB of a mechanism in its tiny network, and how many values are quantised.

    Raises:
        Exception: it does not quantise.
    """
    model = composed(name) if name else _plain()
    images = torch.randn(2 * SEEN, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    made = quantised(copy.deepcopy(model), images[:SEEN])
    return quality(model, made, images[SEEN:]), steps_in_int8(made)


def _plain() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def rows(names: Sequence[str]) -> Iterator[str]:
    """Yield a row for the network alone, and for each mechanism."""
    for name in ("", *names):
        shown = f"`{name}`" if name else "the network alone"
        try:
            apart, steps = measured(name)
            yield f"| {shown} | works | {apart:.1f} | {steps} |"
        except Exception as failure:
            said = " ".join(str(failure).split())[:140].replace("|", "/")
            yield f"| {shown} | {type(failure).__name__}: {said} | | |"


# ---------------------------------------------------------------------------- photographs

PHOTOGRAPHS = {"chelsea": {281, 282, 285}, "coffee": {967}, "camera": {872}}
MECHANISMS = ("", "se", "eca", "cbam", "coordinate", "simam")


def photographs(weights: Path) -> Iterator[str]:
    """Yield what EfficientNet-Lite0 says of each photograph, in float and in int8."""
    import skimage.data
    from PIL import Image
    from safetensors.torch import load_file

    plain = timm.create_model("tf_efficientnet_lite0")
    plain.load_state_dict(load_file(weights))
    transform = transform_for(plain)
    pictures = [Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
                for name in PHOTOGRAPHS]  # fmt: skip
    images = torch.stack([transform(picture) for picture in pictures])
    more = [Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
            for name in ("astronaut", "rocket", "brick", "grass", "gravel", "cat")]  # fmt: skip
    seen = torch.stack([transform(picture) for picture in more])
    for name in MECHANISMS:
        torch.manual_seed(0)
        model = composer.insert(plain, name, init="identity") if name else copy.deepcopy(plain)
        model.eval()
        made = quantised(copy.deepcopy(model), seen)
        with torch.no_grad():
            found = [net(images).argmax(1).tolist() for net in (model, made)]
        right = [sum(label in wanted for label, wanted in zip(
            labels, PHOTOGRAPHS.values(), strict=True)) for labels in found]  # fmt: skip
        shown = f"`{name}`" if name else "the network alone"
        apart = quality(model, made, images)
        yield f"| {shown} | {right[0]} of 3 | {right[1]} of 3 | {apart:.1f} |"


HEAD = """# Quantisation, pruning, LoRA

Made by `python tests/quantised.py -o docs/quantisation.md --weights lite0.safetensors`
(torch {torch}, torchao {torchao}, one thread). After `torch.export` an
insertion consists of plain operators, so torchao's post-training quantisation works on a composed
model as on any other:

```py
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

quantizer = x86.X86InductorQuantizer()
quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
prepared = prepare_pt2e(torch.export.export(model.eval(), (images,)).module(), quantizer)
prepared(images)                      # calibration on some images
int8 = convert_pt2e(prepared)
```
"""

PRUNING = """
## Pruning and LoRA

`torch.nn.utils.prune` works on the layers of an insertion as on all others, and `prune.remove`
makes them plain again, as `composer.save` requires. Reshapes in the code of a mechanism infer the
channels, so a layer with fewer channels works; but `axial`, `axial_height` and `mlca` split a
merged axis by a fixed number, and the kernels of `cond_conv`, `dynamic_conv` and `od_conv` infer
their output channels but not their input channels.

PEFT finds the linear layers of an insertion by name, as in
`LoraConfig(target_modules=r".*\\.se\\.excite\\.fc[12]")`, and trains them;
`merge_and_unload()` returns the composed model with its original keys.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--specs", help="of these alone: se,eca")
    asked = parser.parse_args()
    import torchao

    lines = [HEAD.format(torch=torch.__version__.partition("+")[0], torchao=torchao.__version__)]
    if asked.weights:
        lines += [
            "## Photographs",
            "",
            "EfficientNet-Lite0 with its ImageNet weights and a mechanism with an identity "
            "start: a cat, an",
            "espresso and a tripod, top-1 in float32 and in int8, and the signal-to-error "
            "ratio of the logits. Six",
            "other photographs were used for calibration. `simam` is between a convolution "
            "and its norm here, as in",
            "its spec, so the norm can't be folded, and the norms of the last blocks have "
            "variances of 3·10⁻⁴: a",
            "blend written by hand at that position reaches 13.4 dB, and `simam` after the "
            "residual branch 21.4.",
            "",
            "| mechanism | float32 | int8 | dB |",
            "| --- | ---: | ---: | ---: |",
            *photographs(asked.weights),
            "",
        ]
    lines += [
        "## Mechanisms",
        "",
        "In a tiny network of random weights, static int8 for x86: the outputs' signal relative "
        "to their",
        "error in dB (higher is nearer to float32), and the number of quantised values.",
        "",
        "| mechanism | | dB | quantised |",
        "| --- | --- | ---: | ---: |",
    ]
    for row in rows(asked.specs.split(",") if asked.specs else shipped_names()):
        lines.append(row)  # what is done is there, if the rest is stopped
        asked.output.write_text("\n".join(lines) + "\n" + PRUNING, encoding="utf-8")


if __name__ == "__main__":
    main()

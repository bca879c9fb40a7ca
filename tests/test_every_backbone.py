"""The main command on models of every library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Command

VIT = {"model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 48,
       "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 96,
       "image_size": 64, "patch_size": 16}  # fmt: skip
CONVNEXT = {"model_type": "convnext", "architectures": ["ConvNextForImageClassification"],
            "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1], "image_size": 64}  # fmt: skip


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.chdir(tmp_path)
    for name, config in (("vit", VIT), ("convnext", CONVNEXT)):
        Path(name).mkdir()
        Path(name, "config.json").write_text(json.dumps(config))
    return Command(capsys)


#: A MODEL string, the sites of SE in its blocks, the first, its position, and what it gives.
MODELS = [
    ("hf:vit", 3, "vit.layers.0", "residual", 48, [4, 4]),
    ("hf:convnext/config.json", 5, "convnext.encoder.stages.0.layers.0", "residual", 16, [16, 16]),
    ("timm:resnet18?num_classes=10&in_chans=1", 8, "layer1.0", "residual", 64, [56, 56]),
    ("resnet18?features_only=true", 8, "layer1.0", "residual", 64, [56, 56]),
]
HEAVY = [
    ("vit_base_patch16_224", 12, "blocks.0", "residual", 768, [14, 14]),
    ("swin_tiny_patch4_window7_224", 12, "layers.0.blocks.0", "residual", 96, [56, 56]),
    ("convnext_tiny", 18, "stages.0.blocks.0", "residual", 96, [56, 56]),
    ("maxvit_tiny_tf_224", None, "stages.0.blocks.0", None, 64, [56, 56]),
    ("torchvision:fasterrcnn_resnet50_fpn", 16, "backbone.body.layer1.0", "residual", 256,
     [56, 56]),
    ("torchvision:deeplabv3_resnet50", 16, "backbone.layer1.0", "residual", 256, [56, 56]),
]  # fmt: skip


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("model", "count", "first", "position", "channels", "size"),
    [*MODELS, *(pytest.param(*row, marks=pytest.mark.slow) for row in HEAVY)],
)
def test_insert(
    run: Command, model: str, count: int | None, first: str, position: str | None,
    channels: int, size: list[int],
) -> None:  # fmt: skip
    options = ["--set", "reduction=8"]
    told = run.fine("insert", "--spec", "se", "--into", model, *options, "-o", "out", "--json").json
    sites = told["sites"]
    assert count in (None, len(sites))
    assert sites[0]["path"].startswith(f"{first}.se") or sites[0]["path"].startswith(first)
    assert position in (None, sites[0]["position"])
    assert (sites[0]["channels"], sites[0]["size"]) == (channels, size)
    assert told["parameters"]["after"] > told["parameters"]["before"]
    assert {file.name for file in Path("out").iterdir()} >= {"recipe.yaml", "model.safetensors"}
    again = run.fine("sites", "out", "--json").json
    assert [stage["path"] for stage in again["stages"]]


@pytest.mark.long
def test_branches_and_prefix_tokens(run: Command) -> None:
    told = run.fine("insert", "--spec", "eca", "--into", "test_vit", "--branch", "attn",
                    "--prefix-tokens", "join", "-o", "out", "--json").json  # fmt: skip
    assert {site["position"] for site in told["sites"]} == {"residual:attn"}
    recipe = Path("out/recipe.yaml").read_text()
    assert "position: residual:attn" in recipe and "prefix_tokens: join" in recipe
    loaded = run.fine("insert", "--spec", "se", "--into", "out", "--dry-run", "--json").json
    assert len(loaded["sites"]) == 12


WRONG = [
    (("--position", "behind"), 2, "'behind' is not a position; it may be residual, "
     "residual:BRANCH, input, output or after:NAME"),
    (("--branch", "attn", "--position", "output"), 2,
     "--branch 'attn' needs --position residual, and --position is 'output'"),
    (("--branch", "conv"), 1, "it has no residual branch 'conv', but 1 (norm1, attn, ls1, "
     "drop_path1) and 2 (norm2, mlp, ls2, drop_path2)"),
    (("--at", "module"), 2, "--at module needs a choice of modules, and none is given"),
    (("--at", "module", "--select", "re:["), 2,
     "--select 're:[' is not a valid regular expression"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "status", "said"), WRONG)
def test_what_it_says(run: Command, options: tuple[str, ...], status: int, said: str) -> None:
    result = run("insert", "--spec", "eca", "--into", "test_vit", "--dry-run", *options)
    assert result.status == status
    assert said in result.err
    assert "Traceback" not in result.err

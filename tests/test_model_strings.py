"""MODEL strings: what each form opens, what it refuses, and that nothing is fetched for it."""

from __future__ import annotations

import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from command import Command
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models
from torchvision.models import _api

from composer.errors import ComposerError, MissingPartError
from composer.language.library import shipped_names
from composer.models.model_string import ModelString
from composer.models.names import check_name, timm_names, torchvision_names
from composer.models.open import open_backbone

VERSION = f"transformers {transformers.__version__}"
VIT: dict[str, Any] = {
    "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
SWIN: dict[str, Any] = {
    "model_type": "swin", "architectures": ["SwinForImageClassification"], "embed_dim": 8,
    "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "image_size": 32, "patch_size": 2,
}  # fmt: skip
FOUR = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}

#: A config, the size of an image, and the shape of what comes out first.
CONFIGS: dict[str, tuple[dict[str, Any], int, tuple[int, ...]]] = {
    "vit": (VIT, 32, (1, 2)),
    "convnext": (
        {"model_type": "convnext", "architectures": ["ConvNextForImageClassification"], **FOUR},
        64, (1, 2),
    ),
    "swin": (SWIN, 32, (1, 2)),
    "resnet": (
        {"model_type": "resnet", "architectures": ["ResNetForImageClassification"],
         "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
        64, (1, 2),
    ),
    "dinov2": (
        {"model_type": "dinov2", "architectures": ["Dinov2Model"], "hidden_size": 32,
         "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14},
        28, (1, 5, 32),
    ),
    "segformer": (
        {"model_type": "segformer", "architectures": ["SegformerForSemanticSegmentation"],
         "decoder_hidden_size": 16, "num_attention_heads": [1, 1, 1, 1], **FOUR},
        64, (1, 2, 16, 16),
    ),
}  # fmt: skip
RESNET = CONFIGS["resnet"][0]
TOWER = {key: VIT[key] for key in VIT if key not in ("model_type", "architectures")}
CLIP = {"model_type": "clip", "architectures": ["CLIPModel"], "vision_config": TOWER,
        "text_config": {}}  # fmt: skip


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this would have gone to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(_api, "load_state_dict_from_url", refuse)


def write(config: object, folder: str = "vit") -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    Path(folder, "config.json").write_text(text)


def opened(text: str, pretrained: bool = False, beside: Path | None = None) -> Any:
    return open_backbone(ModelString.parse(text), pretrained, beside)


def refusal(text: str, pretrained: bool = False, beside: Path | None = None) -> str:
    with pytest.raises(ComposerError) as caught:
        opened(text, pretrained, beside)
    return str(caught.value)


def saved(text: str, folder: str, **options: Any) -> nn.Module:
    """Write a model's weights, in which no number is a default, and its config."""
    model = opened(text)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_()
    model.save_pretrained(folder, **options)
    return model


def same(one: nn.Module, other: nn.Module, but: str = "nothing") -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.equal(mine[key], theirs[key]) for key in mine if not key.startswith(but)
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_transformers_opens(name):
    config, size, shape = CONFIGS[name]
    write(config, f"zoo/{name}")
    for text in (f"hf:zoo/{name}", f"hf:zoo/{name}/", f"hf:zoo/{name}/config.json"):
        model = opened(text)
        assert type(model).__name__ == config["architectures"][0]
        assert model.training
        assert model(torch.rand(1, 3, size, size))[0].shape == shape
        assert str(ModelString.parse(text)) == text
        assert ModelString.parse(text).short == name


@pytest.mark.parametrize("name", CONFIGS)
def test_the_weights_beside_a_config(name, capfd):
    write(CONFIGS[name][0], name)
    model = saved(f"hf:{name}", "whole")
    model.save_pretrained("shards", max_shard_size="4KB")
    assert Path("shards/model.safetensors.index.json").is_file()
    capfd.readouterr()
    for folder in ("whole", "shards"):
        made = opened(f"hf:{folder}", pretrained=True)
        assert same(model, made)
        assert made.training
        assert not same(model, opened(f"hf:{folder}"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_is_float32_whatever_the_file_holds(dtype):
    write(VIT)
    opened("hf:vit").to(dtype).save_pretrained("half")
    assert str(dtype).endswith(json.loads(Path("half/config.json").read_text())["dtype"])
    for pretrained in (False, True):
        made = opened("hf:half", pretrained)
        assert {t.dtype for t in made.parameters()} == {torch.float32}


def test_a_head_for_other_classes_begins_fresh_and_all_else_is_loaded(monkeypatch):
    write(VIT)
    model = saved("hf:vit", "whole")
    told: list[logging.LogRecord] = []
    log = transformers.logging.get_logger("transformers")
    monkeypatch.setattr(log, "handlers", [*log.handlers, handler := logging.Handler()])
    monkeypatch.setattr(handler, "emit", told.append)
    made = opened("hf:whole?num_labels=10", pretrained=True)
    assert told == []
    assert made.classifier.weight.shape == (10, 32)
    assert made.state_dict().keys() == model.state_dict().keys()
    assert same(model, made, but="classifier.")


def test_counters_that_a_file_leaves_out_are_no_loss():
    write(RESNET, "resnet")
    model = saved("hf:resnet", "whole")
    whole = load_file("whole/model.safetensors")
    state = {key: tensor for key, tensor in whole.items() if "num_batches" not in key}
    assert len(state) < len(whole)
    save_file(state, "whole/model.safetensors", metadata={"format": "pt"})
    assert same(model, opened("hf:whole", pretrained=True))


FIELDS = [
    ("vit?num_labels=10", lambda m: m.classifier.out_features, 10),
    ("vit?num_hidden_layers=1", lambda m: m.config.num_hidden_layers, 1),
    ("vit?image_size=32,64", lambda m: m.config.image_size, [32, 64]),
    ("vit?layer_norm_eps=1e-3", lambda m: m.config.layer_norm_eps, 0.001),
    ("vit?qkv_bias=false", lambda m: any("query.bias" in k for k in m.state_dict()), False),
    ("vit?attn_implementation=eager", lambda m: m.config._attn_implementation, "eager"),
    ("vit?architectures=ViTModel", lambda m: type(m).__name__, "ViTModel"),
    # hidden_size and stage_names follow from these, and the file holds those of the old
    ("swin?embed_dim=16&depths=1,1,1&num_heads=1,2,4",
     lambda m: (m.config.hidden_size, len(m.config.stage_names)), (64, 4)),
    ("swin?num_attention_heads=2,4", lambda m: m.config.num_heads, [2, 4]),
    ("labelled?num_labels=7", lambda m: m.classifier.out_features, 7),
    ("outputs?embedding_size=16", lambda m: m.config.out_features, ["stage1"]),
    ("outputs?out_indices=1,2", lambda m: m.config.out_features, ["stage1", "stage2"]),
    ("clip?architectures=CLIPVisionModel", lambda m: m.config.hidden_size, 32),
    ("clip?architectures=CLIPVisionModel&num_hidden_layers=1",
     lambda m: m.config.num_hidden_layers, 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "look", "value"), FIELDS, ids=[f[0] for f in FIELDS])
def test_fields_of_a_config_are_set(text, look, value):
    config = transformers.SwinConfig.from_dict(SWIN)
    config.save_pretrained("swin")
    assert "hidden_size" in json.loads(Path("swin/config.json").read_text())
    write(VIT)
    write(CLIP, "clip")
    outputs = {"architectures": ["ResNetBackbone"], "out_features": ["stage1"]}
    write({**RESNET, **outputs}, "outputs")
    write({**VIT, "id2label": {"0": "cat", "1": "dog", "2": "cup"}}, "labelled")
    assert look(opened(f"hf:{text}")) == value
    assert str(ModelString.parse(f"hf:{text}")) == f"hf:{text}".replace("1e-3", "0.001")


CLASSES = [
    ({"model_type": "vit"}, "ViTForImageClassification"),
    ({"model_type": "vit", "architectures": None}, "ViTForImageClassification"),
    ({"model_type": "vit", "architectures": []}, "ViTForImageClassification"),
    ({"model_type": "vit", "architectures": ["ViTModel", "Nothing"]}, "ViTModel"),
    ({"model_type": "clip_vision_model"}, "CLIPVisionModel"),  # there is no classifier of it
]


@pytest.mark.parametrize(("named", "kind"), CLASSES, ids=str)
def test_which_class_a_config_makes(named, kind):
    write({**TOWER, **named})
    assert type(opened("hf:vit")).__name__ == kind


def test_what_a_config_notes_of_kernels_and_weights_is_not_followed():
    """Each would ask the Hub, or run code of it."""
    write({**VIT, "_attn_implementation": "kernels-community/x"}, "one")
    write({**VIT, "attn_implementation": "kernels-community/x"}, "two")
    for folder in ("one", "two"):
        assert opened(f"hf:{folder}").config._attn_implementation == "sdpa"
    parts = ("encoder_layers", "decoder_layers", "encoder_attention_heads",
             "decoder_attention_heads")  # fmt: skip
    tiny = dict.fromkeys(parts, 1)
    detr = {"model_type": "detr", "backbone": "resnet18", "use_timm_backbone": True,
            "use_pretrained_backbone": True, "d_model": 32, **tiny}  # fmt: skip
    write({**detr, "architectures": ["DetrForObjectDetection"]}, "detr")
    assert type(opened("hf:detr")).__name__ == "DetrForObjectDetection"


def test_a_config_is_looked_for_beside_and_above():
    write(VIT, "study/vit")
    Path("study/small.json").write_text(json.dumps(VIT))
    Path("study/runs/one").mkdir(parents=True)
    Path("vit").mkdir()  # without a config it hides nothing
    beside = Path("study/runs/one")
    for text in ("hf:vit", "hf:vit/config.json", "hf:small.json"):
        assert type(opened(text, beside=beside)).__name__ == "ViTForImageClassification"
    assert refusal("hf:vitt", beside=beside) == (
        "error[unknown-backbone]: there is no file or folder 'vitt', neither here nor from "
        f"study/runs/one upwards\n  help: {FETCH}"
    )


def test_a_config_with_a_mark_of_its_encoding():
    write("\ufeff" + json.dumps(VIT))
    assert type(opened("hf:vit")).__name__ == "ViTForImageClassification"


def test_a_config_opens_on_the_meta_device():
    write(VIT)
    with torch.device("meta"):
        model = opened("hf:vit")
    assert all(tensor.is_meta for tensor in model.state_dict().values())


@pytest.mark.parametrize(
    ("text", "word"),
    [("hf:a/vit", "vit"), ("hf:a/vit/", "vit"), ("hf:./a/vit/config.json?num_labels=3", "vit"),
     ("hf:small.json", "small"), ("hf:a/small.json", "small"), ("hf:a/../b c", "b-c"),
     ("hf:/", "hf")],
)  # fmt: skip
def test_a_word_for_a_folder(text, word):
    assert ModelString.parse(text).short == word


def test_a_config_here_is_named_for_its_folder(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    for text in ("hf:config.json", "hf:."):
        assert ModelString.parse(text).short == "mine"


FETCH = (
    "hf: reads only from this machine: download a config with 'hf download ORG/NAME config.json "
    "--local-dir vit', then write hf:vit"
)
GIVE = "give a config.json, as save_pretrained writes it, or the folder that holds one"
FIELDS_OF_RESNET = (
    "attn_implementation, depths, downsample_in_bottleneck, downsample_in_first_stage, "
    "embedding_size, hidden_act, hidden_sizes, layer_type, num_channels, num_labels, "
    "out_features, out_indices"
)

#: What config.json holds, what is asked for, and the message; `C` is the file.
BAD = {
    "JSON that ends early": (
        '{"model_type": "vit",\n', "hf:vit",
        "C:2:1: error[bad-config]: this is not JSON: expecting property name enclosed in double "
        f"quotes\n    2 | \n      | ^\n  help: {GIVE}",
    ),
    "JSON without a comma": (
        '{"model_type": "vit",\n  "hidden_size": 32\n  "x": 1}\n', "hf:vit",
        "C:3:3: error[bad-config]: this is not JSON: expecting ',' delimiter\n"
        f'    3 |   "x": 1}}\n      |   ^\n  help: {GIVE}',
    ),
    "JSON of great depth": (
        "[" * 100_000, "hf:vit", f"C: error[bad-config]: this is not JSON\n  help: {GIVE}",
    ),
    "a list": (
        "[]", "hf:vit",
        "C: error[bad-config]: it holds a list, not a JSON object\n  help: give a config.json",
    ),
    "a number": (
        "3", "hf:vit",
        "C: error[bad-config]: it holds a single value, not a JSON object\n"
        "  help: give a config.json",
    ),
    "no model_type": (
        {"hidden_size": 32}, "hf:vit",
        "C: error[bad-config]: it names no model_type\n"
        '  help: a config of transformers names its model: "model_type": "vit"',
    ),
    "a config of timm": (
        {"architecture": "resnet50", "num_classes": 1000}, "hf:vit",
        "C: error[bad-config]: it names no model_type\n"
        "  help: this is a config of timm: write timm:resnet50",
    ),
    "an unknown model_type": (
        {"model_type": "convnxt"}, "hf:vit",
        f"C: error[bad-config]: {VERSION} has no model_type 'convnxt'\n"
        "  help: did you mean 'convnext'?",
    ),
    "a model_type like no other": (
        {"model_type": "q"}, "hf:vit",
        f"C: error[bad-config]: {VERSION} has no model_type 'q'\n"
        "  help: a newer transformers may have it: pip install -U transformers",
    ),
    "a class that is not in transformers": (
        {"model_type": "vit", "architectures": ["Resnt"]}, "hf:vit",
        f"C: error[bad-config]: {VERSION} has no model class 'Resnt'\n"
        "  help: Code that comes with a config is never run; choose another class with "
        "hf:vit?architectures=NAME",
    ),
    "a class that is almost one": (
        VIT, "hf:vit?architectures=ViTForImageClasification",
        f"C: error[bad-config]: {VERSION} has no model class 'ViTForImageClasification'\n"
        "  help: did you mean 'ViTForImageClassification'? Code that comes with a config is "
        "never run; choose another class with hf:vit?architectures=NAME",
    ),
    "a class like no other": (
        {**VIT, "architectures": ["3"]}, "hf:vit",
        f"C: error[bad-config]: {VERSION} has no model class '3'\n"
        "  help: Code that comes with a config is never run; choose another class with "
        "hf:vit?architectures=NAME",
    ),
    "a class of another config": (
        VIT, "hf:vit?architectures=ResNetModel",
        "C: error[bad-config]: ResNetModel is not made from a config of model_type 'vit'\n"
        "  help: use ViTForImageClassification: hf:vit?architectures=ViTForImageClassification",
    ),
    "a model that only a class names": (
        {"model_type": "encoder-decoder"}, "hf:vit",
        f"C: error[bad-config]: {VERSION} can't choose a model of model_type 'encoder-decoder': no "
        "class is given in architectures\n"
        "  help: name it: hf:vit?architectures=NAME",
    ),
    "architectures that are no list": (
        {"model_type": "vit", "architectures": "ViTModel"}, "hf:vit",
        "C: error[bad-config]: architectures is not a list of class names\n"
        '  help: write "architectures": ["ViTForImageClassification"]',
    ),
    "text": (
        {"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "hf:vit",
        "C: error[bad-config]: BertForMaskedLM takes no images, but input_ids\n"
        "  help: give the config of a vision model, such as ViT, ConvNeXt, Swin or SegFormer",
    ),
    "text, without a class": (
        {"model_type": "bert"}, "hf:vit",
        "C: error[bad-config]: BertModel takes no images, but input_ids\n"
        "  help: give the config of a vision model, such as ViT, ConvNeXt, Swin or SegFormer",
    ),
    "text and images": (
        CLIP, "hf:vit",
        "C: error[bad-config]: CLIPModel takes no images, but input_ids\n"
        "  help: its vision part alone is hf:vit?architectures=CLIPVisionModel",
    ),
    "a field of the wrong kind in the file": (
        {**VIT, "hidden_size": "x"}, "hf:vit",
        "C: error[bad-config]: ViTConfig refuses it: Validation error for field 'hidden_size': "
        "TypeError: Field 'hidden_size' expected int, got str (value: 'x')",
    ),
    "a field of the wrong kind": (
        VIT, "hf:vit?hidden_size=x",
        "error[backbone-failed]: hf:vit?hidden_size=x cannot be made: Validation error for field "
        "'hidden_size': TypeError: Field 'hidden_size' expected int, got str (value: 'x')",
    ),
    "an unknown field": (
        RESNET, "hf:vit?hiden_sizes=8,16",
        "error[unknown-field]: ResNetConfig has no field 'hiden_sizes' to set\n"
        f"  help: did you mean 'hidden_sizes'? Fields: {FIELDS_OF_RESNET}",
    ),
    "a field that another option sets": (
        RESNET, "hf:vit?dtype=float16",
        "error[unknown-field]: ResNetConfig has no field 'dtype' to set\n"
        f"  help: Fields: {FIELDS_OF_RESNET}",
    ),
    "a kernel of the Hub": (
        VIT, "hf:vit?attn_implementation=kernels-community/x",
        "error[backbone-failed]: hf:vit?attn_implementation=kernels-community/x cannot be made: "
        "kernels-community/x is Hub code, which is never run\n"
        "  help: write attn_implementation=sdpa or attn_implementation=eager",
    ),
    "a config that takes another from the Hub": (
        {"model_type": "detr", "architectures": ["DetrForObjectDetection"],
         "backbone": "microsoft/resnet-50", "use_timm_backbone": False}, "hf:vit",
        "C: error[bad-config]: it needs another config from the Hub, and hf: reads only from "
        "this machine\n  help: write that config under backbone_config",
    ),
    "no such folder": (
        VIT, "hf:google/vit-base-patch16-224",
        "error[unknown-backbone]: there is no file or folder 'google/vit-base-patch16-224'\n"
        f"  help: {FETCH}",
    ),
    "a folder without a config": (
        VIT, "hf:.", f"error[unknown-backbone]: there is no config.json in '.'\n  help: {FETCH}",
    ),
    "weights for a config": (
        VIT, "hf:w.safetensors",
        f"w.safetensors: error[bad-config]: this is not a .json file\n  help: {GIVE}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_config_is_said(case):
    config, text, message = BAD[case]
    write(config)
    Path("w.safetensors").touch()
    wanted = message.replace("C:", "vit/config.json:", 1) if message[0] == "C" else message
    assert refusal(text) == wanted


@pytest.mark.quick(4, then="long")
@pytest.mark.parametrize("name", ["PreTrainedModel", "ViTConfig", "AutoModel", "pipeline", "1"])
def test_what_is_no_model_is_not_called(name):
    write(VIT)
    first = refusal(f"hf:vit?architectures={name}").splitlines()[0]
    assert first == f"vit/config.json: error[bad-config]: {VERSION} has no model class {name!r}"


def test_a_config_that_is_no_text():
    write("")
    Path("vit/config.json").write_bytes(b"\xff\xfe{}")
    assert refusal("hf:vit") == (
        f"vit/config.json: error[bad-config]: this is not JSON\n  help: {GIVE}"
    )


NONE_THERE = "error[no-pretrained]: there are no weights beside vit/config.json: no model."
OWN = "give a weights file with --weights, or omit --pretrained"
NO_FIT = "are these the weights of another class (hf:PATH?architectures=NAME), or of other fields?"

#: What is written beside the config, what is asked for, and the message.
BAD_WEIGHTS = {
    "none": (None, "", "vit", f"{NONE_THERE}safetensors\n  help: {OWN}"),
    "a pickle": (
        "pytorch_model.bin", "x", "vit",
        f"{NONE_THERE}safetensors; pytorch_model.bin is a pickle, which is not read\n"
        f"  help: {OWN}",
    ),
    "garbage": (
        "model.safetensors", "garbage", "vit",
        "vit/model.safetensors: error[weights]: cannot be read: "
        "Error while deserializing header: header too small",
    ),
    "a shard that is not there": (
        "model.safetensors.index.json", '{"metadata": {}, "weight_map": {"a": "x.safetensors"}}',
        "vit",
        "vit/model.safetensors.index.json: error[weights]: cannot be read: "
        "No such file or directory: vit/x.safetensors",
    ),
    "another width": (
        None, "", "whole?hidden_size=64",
        "whole/model.safetensors: error[weights]: does not fit hf:whole?hidden_size=64: 37 keys "
        "of different shape: classifier.weight, vit.embeddings.cls_token, "
        f"vit.embeddings.patch_embeddings.projection.bias\n  help: {NO_FIT}",
    ),
    "another width and another head": (
        None, "", "whole?image_size=64&num_labels=5",
        "whole/model.safetensors: error[weights]: does not fit hf:whole?image_size=64&num_labels=5:"
        " 1 key of different shape: vit.embeddings.position_embeddings\n"
        f"  help: {NO_FIT}",
    ),
    "another class": (
        None, "", "whole?architectures=ViTModel",
        "whole/model.safetensors: error[weights]: does not fit hf:whole?architectures=ViTModel: "
        f"2 keys missing: pooler.dense.bias, pooler.dense.weight\n  help: {NO_FIT}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_are_not_there_or_do_not_fit(case):
    file, text, asked, message = BAD_WEIGHTS[case]
    write(VIT)
    saved("hf:vit", "whole")
    if file:
        Path("vit", file).write_text(text)
    assert refusal(f"hf:{asked}", pretrained=True) == message


def test_without_transformers(capsys, monkeypatch):
    write(VIT)
    monkeypatch.setitem(sys.modules, "transformers", None)
    message = "error[missing-library]: transformers is not installed\n  help: pip install {}"
    for look in (open_backbone, check_name):
        with pytest.raises(MissingPartError) as caught:
            look(ModelString.parse("hf:vit"))
        assert str(caught.value) == message.format("transformers")
    result = Command(capsys)("sites", "hf:vit")
    assert (result.status, result.err) == (3, message.format("transformers") + "\n")


def test_the_command_line_reads_a_config_before_torch(capsys):
    write({"hidden_size": 32})
    result = Command(capsys)("insert", "--spec", "se", "--into", "hf:vit")
    assert (result.status, result.err.splitlines()[0]) == (
        1, "vit/config.json: error[bad-config]: it names no model_type",
    )  # fmt: skip


WITH_BACKBONES = [
    *models.list_models(module=models.detection), *models.list_models(module=models.segmentation),
]  # fmt: skip


@pytest.mark.quick(15, then="long")
@pytest.mark.parametrize("name", [*WITH_BACKBONES, "r3d_18", "swin3d_t", "raft_small", "resnet18"])
def test_a_builder_of_torchvision_fetches_nothing(name):
    with torch.device("meta"):
        model = opened(f"torchvision:{name}")
    assert type(model).__module__.startswith("torchvision.models.")
    assert next(model.parameters()).is_meta


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "fcn_resnet50", "r3d_18", "resnet50"])
def test_the_published_weights_of_torchvision_are_the_default_ones(name, monkeypatch):
    asked = []

    def fetch(weights: Any, *_: object, **__: object) -> None:
        asked.append(weights)
        raise OSError(28, "no room")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # or whether the Hub answers is asked
    monkeypatch.setattr(_api.WeightsEnum, "get_state_dict", fetch)
    with torch.device("meta"):
        assert "no room" in refusal(f"torchvision:{name}", pretrained=True)
    assert asked == [models.get_model_weights(name).DEFAULT]


def test_names_of_torchvision_are_those_of_all_its_modules():
    names = torchvision_names()
    for module in ("detection", "segmentation", "video", "optical_flow", "quantization"):
        own = models.list_models(module=getattr(models, module))
        assert own
        assert set(own) <= set(names)
    assert names == sorted(models.list_models())


@pytest.mark.parametrize(
    "key", ["pretrained", "pretrained_backbone", "weights", "weights_backbone"]
)
@pytest.mark.parametrize("model", ["timm:resnet18", "torchvision:fcn_resnet50", "hf:vit"])
def test_weights_are_no_argument(model, key):
    with pytest.raises(ComposerError) as caught:
        ModelString.parse(f"{model}?{key}=true")
    assert str(caught.value) == (
        f"error[unknown-backbone]: '{key}' in '{model}?{key}=true' would load weights again "
        "whenever the recipe is read\n"
        "  help: for published weights use --pretrained (in Python pretrained=True)"
    )


#: What is written, the arguments, and what is printed where that differs.
ARGUMENTS = [
    ("timm:resnet50?num_classes=10&in_chans=1", {"num_classes": 10, "in_chans": 1},
     "resnet50?num_classes=10&in_chans=1"),
    ("timm:resnet50?features_only=true&out_indices=1,2,3",
     {"features_only": True, "out_indices": (1, 2, 3)},
     "resnet50?features_only=true&out_indices=1,2,3"),
    ("resnet50?out_indices=-1,", {"out_indices": (-1,)}, None),
    ("resnet50?mean=0.5,0.25,1e-3", {"mean": (0.5, 0.25, 0.001)}, "resnet50?mean=0.5,0.25,0.001"),
    ("resnet50?a=1%2C2", {"a": "1,2"}, None),
    ("resnet50?a=1,two", {"a": "1,two"}, None),
    ("resnet50?a=1,,2", {"a": "1,,2"}, None),
    ("resnet50?a=true,false", {"a": "true,false"}, None),
    ("resnet50?a=,", {"a": ","}, None),
    ("hf:a/vit?depths=1,1", {"depths": (1, 1)}, None),
    ("torchvision:fcn_resnet50?aux_loss=true", {"aux_loss": True}, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "arguments", "printed"), ARGUMENTS, ids=[a[0] for a in ARGUMENTS])
def test_arguments(text, arguments, printed):
    source = ModelString.parse(text)
    assert dict(source.arguments) == arguments
    assert str(source) == (printed or text)
    assert ModelString.parse(str(source)) == source


@pytest.mark.parametrize(
    ("query", "channels"),
    [("out_indices=1,2,3", [64, 128, 256]), ("out_indices=-1,", [512]), ("in_chans=1", None)],
)
def test_features_of_timm(query, channels):
    with torch.device("meta"):
        model = opened(f"timm:resnet18?features_only=true&{query}")
    assert model.feature_info.channels() == (channels or [64, 64, 128, 256, 512])
    assert model.conv1.in_channels == (1 if "in_chans" in query else 3)


@pytest.mark.parametrize(
    ("text", "look", "value"),
    [
        ("fasterrcnn_resnet50_fpn?min_size=320&num_classes=3",
         lambda m: (m.transform.min_size, m.roi_heads.box_predictor.cls_score.out_features),
         ((320,), 3)),
        ("maskrcnn_resnet50_fpn?box_score_thresh=0.25", lambda m: m.roi_heads.score_thresh, 0.25),
        ("fcn_resnet50?aux_loss=true", lambda m: m.aux_classifier is None, False),
        ("mobilenet_v3_small?width_mult=0.5", lambda m: m.features[-1].out_channels, 288),
        ("convnext_tiny?stochastic_depth_prob=0.0", lambda m: m.features[7][2].stochastic_depth.p,
         0.0),
    ],
)  # fmt: skip
def test_arguments_of_torchvision(text, look, value):
    with torch.device("meta"):
        assert look(opened(f"torchvision:{text}")) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resnet18?img_size=64",
         "TypeError: ResNet.__init__() got an unexpected keyword argument 'img_size'"),
        ("torchvision:resnet18?depth=3",
         "TypeError: ResNet.__init__() got an unexpected keyword argument 'depth'"),
        ("torchvision:fcn_resnet50?depth=3",
         "TypeError: fcn_resnet50() got an unexpected keyword argument 'depth'"),
        ("torchvision:fasterrcnn_resnet50_fpn?depth=3",
         "TypeError: fasterrcnn_resnet50_fpn() got an unexpected keyword argument 'depth'"),
        ("torchvision:convnext_tiny?depth=3",
         "TypeError: convnext_tiny() got an unexpected keyword argument 'depth'"),
        ("timm:resnet18?features_only=true&out_indices=9,", "IndexError: list index out of range"),
    ],
)  # fmt: skip
def test_arguments_that_a_library_refuses(text, said):
    with torch.device("meta"):
        message, help_ = refusal(text).splitlines()
    printed = text.removeprefix("timm:")
    assert message == f"error[backbone-failed]: {printed} cannot be made: {said}"
    assert help_.startswith("  help: raised at ")


ALL = [*timm_names(), *(f"torchvision:{name}" for name in torchvision_names())]
FILTERS = [
    (["resnet18d"], ["resnet18d"]),
    (["ReSNet18D"], ["resnet18d"]),
    (["resnet18*"], ["resnet18", "resnet18d", "torchvision:resnet18"]),
    (["resnet?8"], ["resnet18", "torchvision:resnet18"]),
    (["resnet[13]8"], ["resnet18", "torchvision:resnet18"]),
    (["torchvision:RESNET1*"],
     ["torchvision:resnet101", "torchvision:resnet152", "torchvision:resnet18"]),
    (["raft_large", "resnet18d", "zzz"], ["resnet18d", "torchvision:raft_large"]),
    (["torchvision:"], [name for name in ALL if name.startswith("torchvision:")]),
    (["rcnn"], [name for name in ALL if "rcnn" in name]),
    ([], ALL),
]  # fmt: skip


@pytest.mark.parametrize(("words", "names"), FILTERS, ids=[str(f[0]) for f in FILTERS])
def test_list_backbones_that_match(capsys, words, names):
    run = Command(capsys)
    options = [part for word in words for part in ("--filter", word)]
    assert run.fine("list", "backbones", *options).out.splitlines() == names
    rows = run.fine("list", "backbones", "--json", *options).json
    assert rows == {"version": 1, "backbones": [{"name": name} for name in names]}


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    ("what", "word", "names"),
    [("specs", "cbam", ["cbam", "cbam_channel", "cbam_spatial"]), ("ops", "conv?d", None)],
)
def test_list_specs_and_ops_that_match(capsys, what, word, names):
    rows = Command(capsys).fine("list", what, "--filter", word, "--json").json[what]
    found = [next(iter(row.values())) for row in rows]
    assert found == (names or ["conv1d", "conv2d"])


NO_MATCH = [
    (("backbones", "--filter", "resnett18d"),
     f"error[no-match]: none of the {len(ALL):,} backbones matches 'resnett18d'\n"
     "  help: did you mean 'resnet18d'?\n"),
    (("backbones", "--filter", "Zzz*", "--filter", "qq"),
     f"error[no-match]: none of the {len(ALL):,} backbones matches 'Zzz*' or 'qq'\n"
     "  help: 'composer list backbones' lists them all\n"),
    (("specs", "--filter", "cbamm"),
     f"error[no-match]: none of the {len(shipped_names())} specs matches 'cbamm'\n"
     "  help: did you mean 'cbam'?\n"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "message"), NO_MATCH, ids=[" ".join(n[0]) for n in NO_MATCH])
def test_list_with_nothing_that_matches(capsys, args, message):
    run = Command(capsys)
    result = run("list", *args)
    assert (result.status, result.out, result.err) == (1, "", message)
    result = run("list", *args, "--json")
    assert (result.status, result.err) == (1, message)
    assert [e["code"] for e in result.json["errors"]] == ["no-match"]

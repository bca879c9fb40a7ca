"""Models outside timm and torchvision, as data: which package, how made, and on what they run.

Every one is made from a configuration with random numbers, the smallest that the package takes;
nothing is downloaded. ``other_models.py:made?name=NAME`` is a MODEL string for each.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from backbones import enlivened
from torch import Tensor, nn


@dataclass(frozen=True)
class Other:
    """A model: the package that has it, what makes it, and what its forward takes.

    `inputs` makes arguments by name; without it, the model takes a batch of images. A row of
    `tests/other_coverage.md` says what comes of each.
    """

    package: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], Mapping[str, Any]] | None = None
    also: tuple[str, ...] = ()  # packages that this one needs for it


def made(name: str) -> tuple[nn.Module, Mapping[str, Any]] | nn.Module:
    """Return a model in evaluation mode, every branch alive, with what its forward takes."""
    row = MODELS[name]
    torch.manual_seed(0)
    model = enlivened(row.make()).eval()
    return model if row.inputs is None else (model, row.inputs())


def image(*shape: int, seed: int = 1) -> Tensor:
    """Return a batch of two with random numbers."""
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))


# --------------------------------------------------------------------------------- Ultralytics


def _yolo(file: str, kind: str = "DetectionModel") -> Other:
    def make() -> nn.Module:
        logging.getLogger("ultralytics").setLevel(logging.ERROR)
        tasks = importlib.import_module("ultralytics.nn.tasks")
        return getattr(tasks, kind)(f"{file}.yaml", verbose=False)

    return Other("ultralytics", make)


_ULTRALYTICS = {
    **{name: _yolo(name) for name in (
        "yolov3-tiny", "yolov5n", "yolov6n", "yolov8n", "yolov9t", "yolov10n", "yolo11n",
        "yolo12n", "yolo26n", "yolov8n-ghost", "yolov8n-p2",
    )},
    "yolov8n-seg": _yolo("yolov8n-seg", "SegmentationModel"),
    "yolo11n-seg": _yolo("yolo11n-seg", "SegmentationModel"),
    "yolov8n-pose": _yolo("yolov8n-pose", "PoseModel"),
    "yolo11n-obb": _yolo("yolo11n-obb", "OBBModel"),
    "yolov8n-cls": _yolo("yolov8n-cls", "ClassificationModel"),
    "yolo11n-cls": _yolo("yolo11n-cls", "ClassificationModel"),
    "rtdetr-l": _yolo("rtdetr-l", "RTDETRDetectionModel"),
}  # fmt: skip


# -------------------------------------------------------------------------------- Hugging Face


def _hf(kind: str, inputs: Callable[[], Mapping[str, Any]] | None = None, **fields: Any) -> Other:
    """Return a model of transformers by its class; a nested dict is the config of a part."""

    def make() -> nn.Module:
        transformers = importlib.import_module("transformers")
        model = getattr(transformers, kind)
        given = {
            key: transformers.AutoConfig.for_model(**value) if key == "backbone_config" else value
            for key, value in fields.items()
        }
        return model(model.config_class(**given))

    return Other("transformers", make, inputs)


def _pixels(*shape: int) -> Callable[[], Mapping[str, Any]]:
    return lambda: {"pixel_values": image(*shape)}


def _image_and_text(size: int, tokens: int, **more: str) -> Callable[[], Mapping[str, Any]]:
    ids = torch.arange(1, tokens + 1).repeat(2, 1)
    return lambda: {"input_ids": ids, "pixel_values": image(3, size, size)}


_TOKENS = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": 64,
}  # fmt: skip
_TEXT = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 16, "eos_token_id": 8,
}  # fmt: skip
_VISION = {**_TOKENS, "patch_size": 16}
_RESNET = {
    "model_type": "resnet", "embedding_size": 16, "hidden_sizes": [16, 32, 48, 64],
    "depths": [2, 2, 2, 2], "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
_SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
         "window_size": 4}  # fmt: skip
_DETR = {
    "use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None, "d_model": 32,
    "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "num_queries": 8,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip

_HUGGING_FACE = {
    "hf-vit": _hf("ViTForImageClassification", **_VISION),
    "hf-vit-model": _hf("ViTModel", **_VISION),
    "hf-deit": _hf("DeiTForImageClassification", **_VISION),
    "hf-beit": _hf("BeitForImageClassification", **_VISION, use_relative_position_bias=True),
    "hf-data2vec": _hf("Data2VecVisionForImageClassification", **_VISION),
    "hf-dinov2": _hf("Dinov2ForImageClassification", hidden_size=32, num_hidden_layers=3,
                     num_attention_heads=2, image_size=56, patch_size=14),
    "hf-dinov2-registers": _hf("Dinov2WithRegistersModel", hidden_size=32, num_hidden_layers=3,
                               num_attention_heads=2, image_size=56, patch_size=14),
    "hf-dinov3-vit": _hf("DINOv3ViTModel", **_VISION),
    "hf-dinov3-convnext": _hf("DINOv3ConvNextModel", hidden_sizes=[8, 16, 24, 32],
                              depths=[2, 2, 2, 2]),
    "hf-vit-mae": _hf("ViTMAEModel", **_VISION),
    "hf-yolos": _hf("YolosModel", _pixels(3, 64, 64), **{**_VISION, "image_size": [64, 64]},
                    num_detection_tokens=8),
    "hf-swin": _hf("SwinForImageClassification", **_SWIN),
    "hf-swinv2": _hf("Swinv2ForImageClassification", **_SWIN),
    "hf-convnext": _hf("ConvNextForImageClassification", hidden_sizes=[8, 16, 24, 32],
                       depths=[2, 2, 2, 2]),
    "hf-convnextv2": _hf("ConvNextV2ForImageClassification", hidden_sizes=[8, 16, 24, 32],
                         depths=[2, 2, 2, 2]),
    "hf-resnet": _hf("ResNetForImageClassification", embedding_size=16,
                     hidden_sizes=[16, 32, 48, 64], depths=[2, 2, 2, 2]),
    "hf-resnet-basic": _hf("ResNetModel", embedding_size=16, hidden_sizes=[16, 32, 48, 64],
                           depths=[2, 2, 2, 2], layer_type="basic"),
    "hf-regnet": _hf("RegNetForImageClassification", embedding_size=16,
                     hidden_sizes=[16, 32, 48, 64], depths=[1, 2, 2, 1], groups_width=8),
    "hf-bit": _hf("BitForImageClassification", embedding_size=16, hidden_sizes=[32, 32, 64, 64],
                  depths=[2, 2, 2, 2], num_groups=8),
    "hf-segformer": _hf("SegformerForSemanticSegmentation", hidden_sizes=[8, 16, 24, 32],
                        decoder_hidden_size=16, num_attention_heads=[1, 2, 3, 4]),
    "hf-pvt": _hf("PvtForImageClassification", image_size=64, hidden_sizes=[8, 16, 24, 32],
                  num_attention_heads=[1, 2, 3, 4]),
    "hf-pvtv2": _hf("PvtV2ForImageClassification", image_size=64, hidden_sizes=[8, 16, 24, 32],
                    num_attention_heads=[1, 2, 3, 4]),
    "hf-mobilevit": _hf("MobileViTForImageClassification", image_size=64,
                        hidden_sizes=[24, 32, 40], neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 64]),
    "hf-mobilevitv2": _hf("MobileViTV2ForImageClassification", image_size=64,
                          width_multiplier=0.25),
    "hf-mobilenetv1": _hf("MobileNetV1ForImageClassification", depth_multiplier=0.25),
    "hf-mobilenetv2": _hf("MobileNetV2ForImageClassification", depth_multiplier=0.35),
    "hf-efficientnet": _hf("EfficientNetForImageClassification", width_coefficient=0.25,
                           depth_coefficient=0.5, hidden_dim=320, image_size=64),
    "hf-levit": _hf("LevitForImageClassification", image_size=128, hidden_sizes=[16, 24, 32],
                    num_attention_heads=[2, 3, 4], depths=[2, 2, 2], key_dim=[8, 8, 8]),
    "hf-poolformer": _hf("PoolFormerForImageClassification", hidden_sizes=[8, 16, 24, 32]),
    "hf-cvt": _hf("CvtForImageClassification", embed_dim=[8, 16, 24], num_heads=[1, 2, 3],
                  depth=[1, 2, 3]),
    "hf-focalnet": _hf("FocalNetForImageClassification", image_size=64, embed_dim=8,
                       depths=[2, 2, 2, 2]),
    "hf-hiera": _hf("HieraForImageClassification", image_size=[64, 64], embed_dim=16,
                    depths=[1, 2, 2], num_heads=[1, 2, 4], query_stride=[2, 2],
                    num_query_pool=2, masked_unit_size=[4, 4]),
    "hf-hgnetv2": _hf("HGNetV2ForImageClassification"),
    "hf-dpt": _hf("DPTForDepthEstimation", **{**_VISION, "num_hidden_layers": 4},
                  fusion_hidden_size=16, neck_hidden_sizes=[8, 16, 24, 32],
                  backbone_out_indices=[0, 1, 2, 3]),
    "hf-clip": _hf("CLIPModel", _image_and_text(64, 8), text_config=_TEXT, vision_config=_VISION,
                   projection_dim=16),
    "hf-clip-vision": _hf("CLIPVisionModel", **_VISION),
    "hf-siglip-vision": _hf("SiglipVisionModel", **_VISION),
    "hf-siglip": _hf("SiglipModel", _image_and_text(64, 8), text_config=_TEXT,
                     vision_config=_VISION),
    "hf-detr": _hf("DetrForObjectDetection", _pixels(3, 64, 64), backbone_config=_RESNET, **_DETR),
    "hf-upernet": _hf("UperNetForSemanticSegmentation", backbone_config=_RESNET, hidden_size=16,
                      auxiliary_in_channels=48, auxiliary_channels=16),
    "hf-mask2former": _hf(
        "Mask2FormerForUniversalSegmentation", _pixels(3, 64, 64), backbone_config=_RESNET,
        feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        dim_feedforward=64, encoder_layers=2, decoder_layers=2, num_attention_heads=2,
        num_queries=8),
}  # fmt: skip


# ----------------------------------------------------------------- segmentation_models_pytorch


def _smp(kind: str, encoder: str, size: int = 64, **arguments: Any) -> Other:
    def make() -> nn.Module:
        smp = importlib.import_module("segmentation_models_pytorch")
        return getattr(smp, kind)(encoder, encoder_weights=None, classes=3, **arguments)

    return Other("segmentation_models_pytorch", make, lambda: {"x": image(3, size, size)})


_SMP = {
    "smp-unet-resnet18": _smp("Unet", "resnet18"),
    "smp-unet-efficientnet": _smp("Unet", "efficientnet-b0"),
    "smp-unet-mit": _smp("Unet", "mit_b0"),
    "smp-unet-timm-mobilenetv3": _smp("Unet", "timm-mobilenetv3_small_075"),
    "smp-unet-tu-convnext": _smp("Unet", "tu-convnext_atto"),
    "smp-unet-scse": _smp("Unet", "resnet18", decoder_attention_type="scse"),
    "smp-unetplusplus": _smp("UnetPlusPlus", "resnet18"),
    "smp-manet": _smp("MAnet", "resnet18"),
    "smp-linknet": _smp("Linknet", "mobilenet_v2"),
    "smp-fpn": _smp("FPN", "resnet18"),
    "smp-fpn-tu-efficientnet": _smp("FPN", "tu-tf_efficientnet_lite0"),
    "smp-pspnet": _smp("PSPNet", "resnet18"),
    "smp-pan": _smp("PAN", "resnet18", size=256),
    "smp-deeplabv3plus": _smp("DeepLabV3Plus", "resnet18"),
    "smp-deeplabv3plus-regnet": _smp("DeepLabV3Plus", "timm-regnety_002"),
    "smp-segformer": _smp("Segformer", "mit_b0"),
    "smp-upernet": _smp("UPerNet", "resnet18"),
}


# ----------------------------------------------------------------------------------- open_clip


def _open_clip(vision: Mapping[str, Any], *, whole: bool = True) -> Other:
    def make() -> nn.Module:
        open_clip = importlib.import_module("open_clip")
        model = open_clip.CLIP(
            embed_dim=32,
            vision_cfg={"image_size": 64, **vision},
            text_cfg={"context_length": 8, "vocab_size": 99, "width": 32, "heads": 2, "layers": 2},
        )
        return model if whole else model.visual

    ids = torch.arange(1, 9).repeat(2, 1)
    inputs = (lambda: {"image": image(3, 64, 64), "text": ids}) if whole else None
    return Other("open_clip", make, inputs)


_CLIP_RN = {"layers": [1, 2, 1, 1], "width": 16}
_CLIP_VIT = {"layers": 3, "width": 32, "head_width": 16, "patch_size": 16}
_OPEN_CLIP = {
    "clip-rn": _open_clip(_CLIP_RN),
    "clip-rn-visual": _open_clip(_CLIP_RN, whole=False),
    "clip-vit": _open_clip(_CLIP_VIT),
    "clip-vit-visual": _open_clip(_CLIP_VIT, whole=False),
    "clip-timm": _open_clip({"timm_model_name": "test_vit", "timm_pool": "token",
                             "timm_proj": "linear", "image_size": 160}, whole=False),
}  # fmt: skip


# --------------------------------------------------------------------------------------- MONAI


def _monai(kind: str, *arguments: Any, also: tuple[str, ...] = (), **named: Any) -> Other:
    def make() -> nn.Module:
        return getattr(importlib.import_module("monai.networks.nets"), kind)(*arguments, **named)

    return Other("monai", make, also=also)


_2D = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
_EINOPS = ("einops",)
_MONAI = {
    "monai-unet": _monai("UNet", **_2D, channels=(8, 16, 32), strides=(2, 2), num_res_units=2),
    "monai-unet-plain": _monai("UNet", **_2D, channels=(8, 16, 32), strides=(2, 2)),
    "monai-basicunet": _monai("BasicUNet", **_2D, features=(8, 8, 16, 24, 32, 8)),
    "monai-attention-unet": _monai("AttentionUnet", **_2D, channels=(8, 16, 32), strides=(2, 2)),
    "monai-dynunet": _monai("DynUNet", **_2D, kernel_size=[3, 3, 3], strides=[1, 2, 2],
                            upsample_kernel_size=[2, 2], filters=[8, 16, 32], res_block=True),
    "monai-segresnet": _monai("SegResNet", **_2D, init_filters=8),
    "monai-densenet121": _monai("DenseNet121", **_2D),
    "monai-resnet": _monai("resnet18", spatial_dims=2, n_input_channels=1, num_classes=2),
    "monai-seresnet50": _monai("SEResNet50", spatial_dims=2, in_channels=1, num_classes=2),
    "monai-efficientnet": _monai("EfficientNetBN", "efficientnet-b0", False, spatial_dims=2),
    "monai-flexible-unet": _monai("FlexibleUNet", 3, 2, "efficientnet-b0", spatial_dims=2),
    "monai-vnet": _monai("VNet", **_2D),
    "monai-unetr": _monai("UNETR", 1, 2, (64, 64), feature_size=8, hidden_size=32, mlp_dim=64,
                          num_heads=2, spatial_dims=2, also=_EINOPS),
    "monai-swinunetr": _monai("SwinUNETR", 1, 2, feature_size=12, spatial_dims=2,
                              also=_EINOPS),
    "monai-vit": _monai("ViT", 1, (64, 64), 16, hidden_size=32, mlp_dim=64, num_layers=3,
                        num_heads=2, classification=True, spatial_dims=2, also=_EINOPS),
}  # fmt: skip


# ----------------------------------------------------------------------------------- diffusers


def _diffusers(kind: str, inputs: Callable[[], Mapping[str, Any]], **named: Any) -> Other:
    def make() -> nn.Module:
        return getattr(importlib.import_module("diffusers"), kind)(**named)

    return Other("diffusers", make, inputs)


def _latents(channels: int, size: int, *, text: int = 0) -> Callable[[], Mapping[str, Any]]:
    def inputs() -> Mapping[str, Any]:
        given = {"sample": image(channels, size, size), "timestep": torch.tensor([3, 5])}
        return {**given, "encoder_hidden_states": image(5, text, seed=2)} if text else given

    return inputs


_DIFFUSERS = {
    "unet2d": _diffusers("UNet2DModel", _latents(3, 32), sample_size=32, norm_num_groups=4,
                         block_out_channels=(16, 32), layers_per_block=2, attention_head_dim=8,
                         down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                         up_block_types=("AttnUpBlock2D", "UpBlock2D")),
    "unet2d-condition": _diffusers(
        "UNet2DConditionModel", _latents(4, 16, text=16), sample_size=16, norm_num_groups=4,
        block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=16,
        attention_head_dim=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")),
    "autoencoder-kl": _diffusers(
        "AutoencoderKL", lambda: {"sample": image(3, 32, 32)}, norm_num_groups=4,
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, sample_size=32),
    "vq-model": _diffusers(
        "VQModel", lambda: {"sample": image(3, 32, 32)}, norm_num_groups=4,
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2),
    "dit": _diffusers(
        "DiTTransformer2DModel",
        lambda: {"hidden_states": image(4, 16, 16), "timestep": torch.tensor([3, 5]),
                 "class_labels": torch.tensor([1, 2])},
        num_attention_heads=2, attention_head_dim=16, in_channels=4, num_layers=3, sample_size=16,
        num_embeds_ada_norm=10),
}  # fmt: skip


# ------------------------------------------------------------- Lightning, and wrappers of one's own


def _wrapped(package: str, name: str, inputs: Callable[[], Mapping[str, Any]] | None) -> Other:
    def make() -> nn.Module:
        return getattr(importlib.import_module("other_wrappers"), name)()

    return Other(package, make, inputs)


def _pair(one: str, two: str, size: int) -> Callable[[], Mapping[str, Any]]:
    return lambda: {one: image(3, size, size), two: image(3, size, size, seed=2)}


_WRAPPERS = {
    "lightning-classifier": _wrapped("lightning", "Classifier", None),
    "lightning-segmenter": _wrapped("lightning", "Segmenter", None),
    "lightning-byol": _wrapped("lightning", "Byol", _pair("one", "two", 64)),
    "siamese": _wrapped("torchvision", "Siamese", _pair("left", "right", 64)),
}

MODELS: dict[str, Other] = {
    **_ULTRALYTICS, **_HUGGING_FACE, **_SMP, **_OPEN_CLIP, **_MONAI, **_DIFFUSERS, **_WRAPPERS,
}  # fmt: skip

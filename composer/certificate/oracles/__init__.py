"""The mechanisms as plain torch, written from the papers and not from Composer's code.

Nothing here imports Composer, which these judge. An oracle keeps under `seen` the values that its
paper names, by the word that the spec has for the node, so that a difference can be placed.
"""

from .channel import ECA, ESE, SE, SEVar1, SEVar2, SEVar3, eca_kernel
from .convolution import SK, CondConv, DynamicConv, SplitAttention
from .heads import (
    XCA,
    Axial,
    AxialHeight,
    CoatNetAttention,
    LinearAttention,
    SeparableAttention,
    SwinWindow,
    TalkingHeads,
)
from .maps import BAM, CBAM, CBAMChannel, CBAMSpatial
from .mixers import AFT, GMLP, FocalModulation, GlobalFilter, LayerScale, PoolFormer
from .region import GETheta, GEThetaMinus, GEThetaPlus
from .tokens import MHSA, SA, BotMHSA, TransformerLayer

__all__ = [
    "AFT",
    "Axial",
    "AxialHeight",
    "BAM",
    "BotMHSA",
    "CBAM",
    "CBAMChannel",
    "CBAMSpatial",
    "CoatNetAttention",
    "CondConv",
    "DynamicConv",
    "ECA",
    "ESE",
    "FocalModulation",
    "GETheta",
    "GEThetaMinus",
    "GEThetaPlus",
    "GlobalFilter",
    "GMLP",
    "LayerScale",
    "LinearAttention",
    "MHSA",
    "PoolFormer",
    "SA",
    "SE",
    "SeparableAttention",
    "SEVar1",
    "SEVar2",
    "SEVar3",
    "SK",
    "SplitAttention",
    "SwinWindow",
    "TalkingHeads",
    "TransformerLayer",
    "XCA",
    "eca_kernel",
]

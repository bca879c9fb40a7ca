"""The mechanisms as plain torch, written from the papers and not from Composer's code.

Nothing here imports Composer, which these judge. An oracle keeps under `seen` the values that its
paper names, by the word that the spec has for the node, so that a difference can be placed.
"""

from .channel import ECA, ESE, SE, SEVar1, SEVar2, SEVar3, eca_kernel
from .convolution import SK, CondConv, DynamicConv, SplitAttention
from .maps import BAM, CBAM, CBAMChannel, CBAMSpatial
from .pairs import (
    RCCA,
    CrissCross,
    DANetChannel,
    DANetPosition,
    DoubleAttention,
    ExternalAttention,
    NonLocal,
)
from .places import (
    CSRA,
    GAM,
    Coordinate,
    ParNet,
    PolarisedParallel,
    PolarisedSequential,
    StripPooling,
    Triplet,
)
from .region import GETheta, GEThetaMinus, GEThetaPlus
from .tokens import MHSA, SA, BotMHSA, TransformerLayer

__all__ = [
    "BAM",
    "BotMHSA",
    "CBAM",
    "CBAMChannel",
    "CBAMSpatial",
    "CondConv",
    "Coordinate",
    "CrissCross",
    "CSRA",
    "DANetChannel",
    "DANetPosition",
    "DoubleAttention",
    "DynamicConv",
    "ECA",
    "ESE",
    "ExternalAttention",
    "GAM",
    "GETheta",
    "GEThetaMinus",
    "GEThetaPlus",
    "MHSA",
    "NonLocal",
    "ParNet",
    "PolarisedParallel",
    "PolarisedSequential",
    "RCCA",
    "SA",
    "SE",
    "SEVar1",
    "SEVar2",
    "SEVar3",
    "SK",
    "SplitAttention",
    "StripPooling",
    "TransformerLayer",
    "Triplet",
    "eca_kernel",
]

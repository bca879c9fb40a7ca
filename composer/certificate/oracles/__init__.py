"""Oracles: the mechanisms in plain torch, written from the papers, not from Composer's code.

Nothing here imports Composer, which these modules check. An oracle stores under `seen` the values
that its paper names, keyed by the node's name in the spec, so that a difference can be located.
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
from .kernels import EPSA, GRN, LKA, LSK, MixConv, ODConv
from .maps import BAM, CBAM, CBAMChannel, CBAMSpatial
from .mixers import AFT, GMLP, FocalModulation, GlobalFilter, LayerScale, PoolFormer
from .pairs import (
    RCCA,
    CrissCross,
    DANetChannel,
    DANetPosition,
    DoubleAttention,
    ExternalAttention,
    NonLocal,
)
from .place_gates import EMA, MLCA, SCSE, SGE, ShuffleAttention, SimAM
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
from .recalibration import FCA, GCT, LCT, NAM, SRM, GlobalContext
from .region import GETheta, GEThetaMinus, GEThetaPlus
from .tokens import MHSA, SA, BotMHSA, TransformerLayer
from .windows import CoT, Involution, Outlook

__all__ = [
    "AFT",
    "Axial",
    "AxialHeight",
    "BAM",
    "BotMHSA",
    "CBAM",
    "CBAMChannel",
    "CBAMSpatial",
    "CSRA",
    "CoT",
    "CoatNetAttention",
    "CondConv",
    "Coordinate",
    "CrissCross",
    "DANetChannel",
    "DANetPosition",
    "DoubleAttention",
    "DynamicConv",
    "ECA",
    "EMA",
    "EPSA",
    "ESE",
    "ExternalAttention",
    "FCA",
    "FocalModulation",
    "GAM",
    "GCT",
    "GETheta",
    "GEThetaMinus",
    "GEThetaPlus",
    "GMLP",
    "GRN",
    "GlobalContext",
    "GlobalFilter",
    "Involution",
    "LCT",
    "LKA",
    "LSK",
    "LayerScale",
    "LinearAttention",
    "MHSA",
    "MLCA",
    "MixConv",
    "NAM",
    "NonLocal",
    "ODConv",
    "Outlook",
    "ParNet",
    "PolarisedParallel",
    "PolarisedSequential",
    "PoolFormer",
    "RCCA",
    "SA",
    "SCSE",
    "SE",
    "SEVar1",
    "SEVar2",
    "SEVar3",
    "SGE",
    "SK",
    "SRM",
    "SeparableAttention",
    "ShuffleAttention",
    "SimAM",
    "SplitAttention",
    "StripPooling",
    "SwinWindow",
    "TalkingHeads",
    "TransformerLayer",
    "Triplet",
    "XCA",
    "eca_kernel",
]

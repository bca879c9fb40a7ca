"""The mechanisms as their authors' code is usually written: plain modules, and no compiler's eye.

Parameters and statistics stand in the order of ours, so that weights can be copied one by one.
"""

from __future__ import annotations

from cases import Case
from torch import nn

from . import channel, convolution, maps, region, tokens

MODULES = {
    "se": lambda case: channel.SE(case.channels),
    "se_var1": lambda _: channel.SEVar1(),
    "se_var2": lambda case: channel.SEVar2(case.channels),
    "se_var3": lambda case: channel.SEVar3(case.channels),
    "ese": lambda case: channel.ESE(case.channels),
    "eca": lambda case: channel.ECA(case.channels),
    "cbam": lambda case: maps.CBAM(case.channels),
    "cbam_channel": lambda case: maps.CBAMChannel(case.channels),
    "cbam_spatial": lambda _: maps.CBAMSpatial(),
    "bam": lambda case: maps.BAM(case.channels),
    "ge_theta_minus": lambda _: region.GEThetaMinus(),
    "ge_theta": lambda case: region.GETheta(case.channels, case.size),
    "ge_theta_plus": lambda case: region.GEThetaPlus(case.channels, case.size),
    "sk": lambda case: convolution.SK(case.conv),
    "split_attention": lambda case: convolution.SplitAttention(case.conv),
    "cond_conv": lambda case: convolution.CondConv(case.conv),
    "cond_conv_1x1": lambda case: convolution.CondConv(case.conv),
    "dynamic_conv": lambda case: convolution.DynamicConv(case.conv),
    "sa": lambda case: tokens.SA(case.channels),
    "mhsa": lambda case: tokens.MHSA(case.channels),
    "transformer_layer": lambda case: tokens.TransformerLayer(case.channels),
    "bot_mhsa": lambda case: tokens.BotMHSA(case.channels, case.size),
}


def plain(case: Case) -> nn.Module | None:
    """Return the module of a case, where there is one."""
    make = MODULES.get(case.name)
    return None if make is None else make(case)

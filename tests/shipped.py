"""The shipped specs as cases of a test: a few that use every op by default, all in a slow sweep."""

from __future__ import annotations

import pytest

from composer.graph.frontend import load_spec
from composer.language.library import shipped_names

#: Between them they use every op that a shipped spec uses, and every kind of place.
TYPICAL = (
    "bam", "bot_mhsa", "cbam", "cond_conv", "criss_cross", "dynamic_conv", "eca",
    "focal_modulation", "ge_theta_plus", "global_filter", "mhsa", "outlook", "se", "se_var2",
    "simam", "sk", "split_attention", "swin_window", "transformer_layer",
)  # fmt: skip

EVERY = [
    pytest.param(name, marks=() if name in TYPICAL else pytest.mark.slow)
    for name in shipped_names()
]
#: What divides its channels into 64 parts or more.
WIDE = {"lct", "sge", "shuffle_attention"}
#: What can be built for a few channels.
SHIPPED = [param for param in EVERY if param.values[0] not in WIDE]
#: What goes to blocks of every network; others name a child that only some blocks have.
ANYWHERE = [
    param for param in SHIPPED
    if not str(getattr(load_spec(param.values[0]).insert, "position", "")).startswith("after")
]  # fmt: skip

STANDS_FOR = {name: load_spec(name).stands_for for name in shipped_names()}
#: What takes tokens [b, n, c]; given a map, it is built for one size of it.
TOKENS = {name for name in shipped_names() if "n" in load_spec(name).input}
#: What is made for one size of the map: a kernel as large, or a weight for each distance or place.
SIZED = {
    "aft", "axial", "axial_height", "bot_mhsa", "coatnet_attention", "ge_theta", "ge_theta_plus",
    "global_filter", "gmlp",
}  # fmt: skip
#: What begins as its input by a zero of its own, so that `init: identity` adds none.
OWN_ZERO = {
    "gct", "global_context", "grn", "criss_cross", "danet_channel", "danet_position", "non_local",
    "rcca",
}  # fmt: skip
#: What `init: identity` blends with its input.
BLENDED = [param for param in SHIPPED if param.values[0] not in OWN_ZERO]

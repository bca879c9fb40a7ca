"""The shipped specs as cases of a test: a few that use every op by default, all in a slow sweep."""

from __future__ import annotations

import pytest

from composer.graph.frontend import load_spec
from composer.language.library import shipped_names

#: Between them they use every op that a shipped spec uses, and every kind of place.
TYPICAL = (
    "bam", "bot_mhsa", "cbam", "cond_conv", "dynamic_conv", "eca", "ge_theta_plus", "mhsa", "se",
    "se_var2", "sk", "split_attention", "transformer_layer",
)  # fmt: skip

SHIPPED = [
    pytest.param(name, marks=() if name in TYPICAL else pytest.mark.slow)
    for name in shipped_names()
]

STANDS_FOR = {name: load_spec(name).stands_for for name in shipped_names()}
#: What takes tokens [b, n, c]; given a map, it is built for one size of it.
TOKENS = {name for name in shipped_names() if "n" in load_spec(name).input}
#: What is made for one size of the map: a kernel as large, or a weight for each distance or place.
SIZED = {
    "aft", "axial", "axial_height", "bot_mhsa", "coatnet_attention", "ge_theta", "ge_theta_plus",
    "global_filter", "gmlp",
}  # fmt: skip

"""Modules by their paths."""

from __future__ import annotations

from torch import nn


def module_at(root: nn.Module, path: str) -> nn.Module:
    """Return the module at a path below `root`; those on the way are made where there are none."""
    for name in filter(None, path.split(".")):
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    return root

"""Modules by path."""

from __future__ import annotations

from torch import nn


def module_at(root: nn.Module, path: str) -> nn.Module:
    """Return the module at a path below `root`; missing modules on the way are created."""
    for name in filter(None, path.split(".")):
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    return root

"""The models that `register` put into timm's registry, listed there as module ``composed``.

timm reads `default_cfgs` when a function of this module is registered, and extends `__all__`.
"""

from __future__ import annotations

from typing import Any

__all__: list[str] = []
default_cfgs: dict[str, Any] = {}

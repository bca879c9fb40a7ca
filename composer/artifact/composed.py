"""What `register` put into timm's registry, which lists it as the models of module ``composed``.

timm reads `default_cfgs` when a function of this module is registered, and adds to `__all__`.
"""

from __future__ import annotations

from typing import Any

__all__: list[str] = []
default_cfgs: dict[str, Any] = {}

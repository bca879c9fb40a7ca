"""Cached functions: no fake tensor may stay in their caches.

`functools.lru_cache` on a function of a model's library, as on the position encodings of BEiT and
DINOv3, serves every model of the process; a fake tensor in it would come back in a real pass.
"""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch._subclasses.fake_tensor import FakeTensor

_Cache = functools._lru_cache_wrapper
#: Packages whose caches hold no tensors of a model's forward.
_OTHERS = frozenset({"composer", "sympy", "torch", *sys.stdlib_module_names})
_DEPTH = 4  # to its table, to an entry of it, to a tuple, to a tensor in it


@contextmanager
def nothing_fake_remembered() -> Iterator[None]:
    """Empty each cache that holds fake tensors when this context ends."""
    caches = [cache for known in _caches(_imported(len(sys.modules))) if (cache := known())]
    misses = [cache.cache_info().misses for cache in caches]
    try:
        yield
    finally:
        for cache, before in zip(caches, misses, strict=True):
            if cache.cache_info().misses != before and _holds_fakes(cache):
                cache.cache_clear()


@functools.lru_cache(maxsize=1)
def _imported(modules: int) -> int:  # noqa: ARG001 - the key
    """Return how many modules there are of the libraries whose caches matter."""
    return sum(name.partition(".")[0] not in _OTHERS for name in tuple(sys.modules))


@functools.lru_cache(maxsize=1)
def _caches(imported: int) -> tuple[weakref.ref[_Cache[Any]], ...]:  # noqa: ARG001 - the key
    """Return the existing caches; searched again after more modules are imported."""
    found = (one for one in gc.get_objects() if type(one) is _Cache)
    return tuple(weakref.ref(one) for one in found if _library(one) not in _OTHERS)


def _library(cache: _Cache[Any]) -> str:
    return str(getattr(cache, "__module__", None)).partition(".")[0]


def _holds_fakes(cache: _Cache[Any]) -> bool:
    """Return whether a cache holds a fake tensor."""
    waiting: list[Any] = [cache]
    for _ in range(_DEPTH):
        waiting = [inner for one in waiting for inner in gc.get_referents(one) if _may_hold(inner)]
        if any(isinstance(one, FakeTensor) for one in waiting):
            return True
    return False


def _may_hold(value: Any) -> bool:
    held = isinstance(value, (FakeTensor, dict, list, tuple))
    return held or type(value).__name__ == "_lru_list_elem"  # of a cache with a maximum size

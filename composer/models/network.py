"""Published weights without a network: fail at once, not after five retries of each address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

PATIENCE = 5.0  # seconds to wait for the Hub's machine to answer


@contextmanager
def cache_alone_if_offline() -> Iterator[None]:
    """Let the Hub's client use only its cache where the Hub can't be reached."""
    with _hub(lambda constants: constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT)):
        yield


@contextmanager
def offline() -> Iterator[None]:
    """Keep the Hub's client from the network."""
    with _hub(lambda _: True):
        yield


@contextmanager
def _hub(is_offline: Callable[[Any], bool]) -> Iterator[None]:
    try:
        from huggingface_hub import constants
    except ImportError:
        yield
        return
    was = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = is_offline(constants)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was


def _answers(address: str) -> bool:
    if getproxies():
        return True  # behind a proxy only the request itself can tell
    parts = urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), PATIENCE).close()
    except OSError:
        return False
    return True

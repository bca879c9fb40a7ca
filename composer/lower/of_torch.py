"""Turns torch's exceptions while a module is built into Composer's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from composer.errors import ComposerError, error

#: torch's exceptions for a tensor too large for memory, an unknown device, and an invalid dtype.
_RAISED = (RuntimeError, MemoryError, OverflowError, TypeError, AssertionError)
#: Parts of the messages of torch's allocators.
_OF_MEMORY = ("alloc", "no memory", "out of memory", "calculation overflowed", "not enough memory")
_LONG = 160
_OTHERWISE = "choose another dtype, device or sizes"


@contextmanager
def torch_told(
    what: str, way_out: str, otherwise: str = _OTHERWISE, doing: str = "create"
) -> Iterator[None]:
    """Convert torch's exceptions inside into a `ComposerError`, keeping the original as its cause.

    Args:
        what: what is being built, in the plural, such as ``the tensors of 'se'``.
        way_out: what to do if it does not fit in memory.
        otherwise: what to do if torch refuses it for another reason.
        doing: what torch is asked to do with it.

    Raises:
        ComposerError: code ``out-of-memory``, or ``torch-refuses`` for everything else.
    """
    try:
        yield
    except ComposerError:
        raise
    except _RAISED as failure:
        said = (str(failure).strip().splitlines() or [type(failure).__name__])[0][:_LONG]
        if isinstance(failure, MemoryError) or any(word in said.lower() for word in _OF_MEMORY):
            raise error(
                "out-of-memory", f"{what} do not fit in memory: {said}", way_out
            ) from failure
        raise error("torch-refuses", f"torch cannot {doing} {what}: {said}", otherwise) from failure

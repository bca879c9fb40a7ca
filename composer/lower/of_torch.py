"""What torch refuses while a module is made, as one of Composer's errors: the one place for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from composer.errors import ComposerError, error

#: What torch raises for a tensor that has no room, an unknown device, and a dtype of no weights.
_RAISED = (RuntimeError, MemoryError, OverflowError, TypeError, AssertionError)
#: How its allocators, and what counts the bytes for them, begin or go on.
_OF_MEMORY = ("alloc", "no memory", "out of memory", "calculation overflowed", "not enough memory")
_LONG = 160
_OTHERWISE = "choose another dtype, device or sizes"


@contextmanager
def torch_told(what: str, way_out: str, otherwise: str = _OTHERWISE) -> Iterator[None]:
    """Raise what torch raises inside as a `ComposerError`, with torch's own as its cause.

    Args:
        what: what is made, in the plural, such as ``the tensors of 'se'``.
        way_out: what to do where it has no room.
        otherwise: what to do where it is refused.

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
            raise error("out-of-memory", f"{what} find no room: {said}", way_out) from failure
        raise error("torch-refuses", f"torch refuses {what}: {said}", otherwise) from failure

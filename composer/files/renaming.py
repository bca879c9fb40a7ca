"""Renames in one step: onto a free name, or in exchange for the file that has it.

Linux has a system call for both (``renameat2``, man 2 rename); where the system or the file system
lacks it, `NoExchangeError` is raised, and the caller falls back to plain renames.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
#: Errors of a kernel or a file system that lacks the call or its flags.
_UNKNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})

Renameat2 = Callable[[int, bytes, int, bytes, int], int]


class NoExchangeError(OSError):
    """The system or the file system can't exchange two names in one step."""


def rename_to_free(source: Path, target: Path) -> None:
    """Rename a file or a folder to a free name.

    Raises:
        FileExistsError: the name is taken.
        OSError: it can't be renamed.
    """
    try:
        _rename(source, target, _NOREPLACE)
    except NoExchangeError:
        _rename_plainly(source, target)


def exchange(one: Path, other: Path) -> None:
    """Exchange two names of one file system.

    Raises:
        NoExchangeError: it can't be done in one step here.
        OSError: it can't be done.
    """
    _rename(one, other, _EXCHANGE)


def _rename(source: Path, target: Path, flag: int) -> None:
    call = renameat2()
    if call is None:
        raise NoExchangeError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        raise NoExchangeError(number, os.strerror(number))
    raise OSError(number, os.strerror(number), str(source), None, str(target))


def _rename_plainly(source: Path, target: Path) -> None:
    """Rename after only a check that the name is free.

    The system refuses a hard link onto an existing name; a folder can only be renamed onto an empty
    folder, so at most an empty folder may be lost.
    """
    if source.is_dir():
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)
        return
    with suppress(OSError):  # it has its name; the other link is removed with the room
        source.unlink()


@cache
def renameat2() -> Renameat2 | None:
    """Return Linux's call; None where the C library has none."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    call.restype = ctypes.c_int
    made: Renameat2 = call
    return made

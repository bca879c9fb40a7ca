"""Renames in one step: onto a name that is free, or in exchange for what has the name.

Linux has a call for both (``renameat2``, man 2 rename); where the system or the file system has
none, `NoExchangeError` says so, and who called goes the plain way.
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
#: What a kernel or a file system says that lacks the call or its flags.
_UNKNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})

Renameat2 = Callable[[int, bytes, int, bytes, int], int]


class NoExchangeError(OSError):
    """The system or the file system can't exchange two names in one step."""


def rename_to_free(source: Path, target: Path) -> None:
    """Rename a file or a folder to a name that nothing has.

    Raises:
        FileExistsError: something has it.
        OSError: it can't be renamed.
    """
    try:
        _rename(source, target, _NOREPLACE)
    except NoExchangeError:
        _rename_plainly(source, target)


def exchange(one: Path, other: Path) -> None:
    """Exchange what two names of one file system mean.

    Raises:
        NoExchangeError: there is no way to do so in one step here.
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
    """Rename where nothing but a look before says that the name is free.

    A second name for a file is refused by the system where there is one; a folder is renamed onto
    an empty folder alone, so what may be lost is at most an empty folder.
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
    except OSError:  # a file system without second names
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)
        return
    with suppress(OSError):  # it has its name; the other one is removed with the room
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

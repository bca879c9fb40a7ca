"""A room: a temporary folder next to a file or a folder, in which it is written before the rename.

A room is a hidden folder, ``.composer-`` and 32 digits, which the writing process keeps locked. A
kill leaves it there without its lock: the next writer in the same folder finishes or undoes what
was started, and removes it. Only the lock shows whether a process is alive, so a process on another
machine or in another container is never mistaken for dead.

A room contains:

``target``   the name to write
``new``      the file or folder that will have the name
``old``      the one that had the name, where the system can't exchange the two in one step
``placing``  the files that are moved one by one into an empty folder: inode and name of each
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

try:
    import fcntl as _fcntl
except ImportError:  # Windows: no locks, so nothing is cleaned up
    _fcntl = None  # type: ignore[assignment]

#: Takes a file and a flag; None where files can't be locked.
fcntl: Any = _fcntl

_NAME = re.compile(r"\.composer-[0-9a-f]{32}")
_ATTEMPTS = 100
PATIENCE = 10.0  # seconds that one writer waits for another to rename
#: Errors of file systems without locks, or that don't flush folders.
_UNKNOWN = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF})


@dataclass(frozen=True)
class Room:
    """A folder of a single writer, in the file system of the target."""

    path: Path

    @property
    def new(self) -> Path:
        """The path of the new file or folder."""
        return self.path / "new"

    @property
    def old(self) -> Path:
        """The path of the old one until the new one has its name."""
        return self.path / "old"

    def will_place(self, files: list[Path]) -> None:
        """Record the files moved out of the room one by one, so that a kill can be undone."""
        lines = [f"{file.stat().st_ino} ".encode() + os.fsencode(file.name) for file in files]
        _write(self.path / "placing", b"\0".join(lines))


@contextmanager
def room(folder: Path, target: str) -> Iterator[Room]:
    """Make a room in a folder, and remove it at the end; rooms of dead processes are removed first.

    Args:
        folder: the parent of the file or folder to write, or that folder itself.
        target: the name to write.

    Raises:
        OSError: nothing can be created there.
    """
    clean(folder)
    made, lock = _made(folder)
    try:
        _write(made.path / "target", os.fsencode(target))
        yield made
    finally:
        shutil.rmtree(made.path, ignore_errors=True)
        os.close(lock)


def is_room(name: str) -> bool:
    """Return whether a name in a folder is that of a room."""
    return _NAME.fullmatch(name) is not None


def clean(folder: Path) -> None:
    """Undo what killed processes left in a folder; what can't be removed stays."""
    if fcntl is None:
        return
    with suppress(OSError):
        for name in [name for name in os.listdir(folder) if is_room(name)]:  # noqa: PTH208
            with suppress(OSError):
                _clean(Room(folder / name))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other writers from renaming in a folder meanwhile, if it can be locked."""
    lock = None
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY)
    try:
        if lock is not None:
            _wait_for(lock)
        yield
    finally:
        if lock is not None:
            os.close(lock)


def flush(path: Path) -> None:
    """Flush a file, or a folder with all its contents, to the disk.

    Raises:
        OSError: the disk refuses it.
    """
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            flush(inner)
    flush_one(path)


def flush_one(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk.

    Raises:
        OSError: the disk refuses it.
    """
    try:
        opened = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that is writable but not readable
        return
    try:
        os.fsync(opened)
    except OSError as failure:
        if failure.errno not in _UNKNOWN:
            raise
    finally:
        os.close(opened)


def _made(folder: Path) -> tuple[Room, int]:
    for _ in range(_ATTEMPTS):
        path = folder / f".composer-{uuid4().hex}"
        path.mkdir(mode=0o700)
        try:
            lock = _locked(path)
        except BaseException:
            with suppress(OSError):
                path.rmdir()
            raise
        if lock is not None:
            return Room(path), lock
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(folder))


def _locked(path: Path) -> int | None:
    """Open a new room and lock it; None if a clean-up mistook it for abandoned and removed it."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if _is_locked(lock) and os.path.samestat(os.fstat(lock), path.stat()):
            return lock
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _is_locked(lock: int) -> bool:
    """Lock a new room, after any clean-up of it; also true where nothing can be locked."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as failure:
        return failure.errno in _UNKNOWN
    return True


def _wait_for(lock: int) -> None:
    """Wait for a lock, for a while: another program may never release it."""
    end = time.monotonic() + PATIENCE
    while fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                return
            time.sleep(0.01)
        except OSError:
            return


def _clean(left: Room) -> None:
    lock = os.open(left.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if its process is alive
        _give_back_old(left)
        _take_back_placed(left)
        shutil.rmtree(left.path, ignore_errors=True)
    finally:
        os.close(lock)


def _give_back_old(left: Room) -> None:
    """Restore the old file where the new one never got the name."""
    if not left.old.exists():
        return
    with suppress(FileNotFoundError):  # the note is gone if the room was being removed
        name = os.fsdecode((left.path / "target").read_bytes())
        target = left.path.parent / name
        if _is_plain(name) and not os.path.lexists(target):
            left.old.rename(target)


def _take_back_placed(left: Room) -> None:
    """Remove the files of a folder that was not completed; the last file marks completion.

    Each must be the recorded file, by its inode: a note in an unpacked archive of somebody else has
    no effect.
    """
    with suppress(FileNotFoundError):
        noted = [line.partition(b" ") for line in (left.path / "placing").read_bytes().split(b"\0")]
        placed = [
            (left.path.parent / os.fsdecode(name), int(inode)) for inode, _, name in noted
            if inode.isdigit() and _is_plain(os.fsdecode(name))
        ]  # fmt: skip
        if placed and not _is(*placed[-1]):
            for path, inode in placed:
                if _is(path, inode):
                    path.unlink()


def _is(path: Path, inode: int) -> bool:
    try:
        return path.lstat().st_ino == inode
    except OSError:
        return False


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and os.sep not in name


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    flush_one(path)

"""The last step of writing: rename what is new, onto a free name or in exchange for the old one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from composer.files.renaming import NoExchangeError, exchange, rename_to_free
from composer.files.room import Room, alone, flush_one, is_room

#: Device and inode of a name; None where it is free.
Identity = tuple[int, int] | None


class CameMeanwhileError(Exception):
    """Something took the name after it was checked; it is never replaced."""


class UnconfirmedError(Exception):
    """The new file has its name, but the disk failed to confirm it."""


def identity_of(path: Path) -> Identity:
    """Return the identity of a name, without following a link.

    Raises:
        OSError: it can't be read.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def put(room: Room, target: Path, seen: Identity) -> None:
    """Rename the new file of a room to its name, in one step; the old one is then in the room.

    Args:
        room: a room in the folder of the target.
        target: the name.
        seen: the file that had the name when checked, and may be replaced.

    Raises:
        CameMeanwhileError: another has taken the name; it keeps it.
        UnconfirmedError: it has its name, but the disk failed afterwards.
        OSError: it can't be renamed; nothing has changed.
    """
    with alone(target.parent):
        if identity_of(target) != seen:
            raise CameMeanwhileError
        if seen is None:
            try:
                rename_to_free(room.new, target)
            except FileExistsError:
                raise CameMeanwhileError from None
        else:
            _replace(room, target, seen)
        _confirm(target.parent)


def _replace(room: Room, target: Path, seen: Identity) -> None:
    try:
        exchange(room.new, target)
    except NoExchangeError:
        _replace_plainly(room, target)
    except FileNotFoundError:  # the old file is gone
        raise CameMeanwhileError from None
    else:
        try:
            is_seen = identity_of(room.new) == seen
        except OSError:
            exchange(room.new, target)
            raise
        if not is_seen:  # another program took the name in the last moment
            exchange(room.new, target)
            raise CameMeanwhileError


def _replace_plainly(room: Room, target: Path) -> None:
    """Replace where two names can't be exchanged: a file in one step, a folder in two.

    A kill between the two leaves the old folder in the room, and the next clean-up restores it.
    """
    if not room.new.is_dir():
        room.new.replace(target)
        return
    target.rename(room.old)
    try:
        room.new.rename(target)
    except BaseException:
        room.old.rename(target)
        raise


def put_onto_empty(room: Room, target: Path) -> bool:
    """Rename a new folder onto an empty one, which it replaces in one step.

    Returns:
        Whether that worked; not if the empty one is a mount point or the current folder.

    Raises:
        CameMeanwhileError: it is no longer empty.
        OSError: it can't be renamed.
    """
    with alone(target.parent):
        room.new.chmod(target.stat().st_mode & 0o7777)
        try:
            room.new.rename(target)
        except OSError as failure:
            if failure.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise CameMeanwhileError from None
            if failure.errno in (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM):
                return False
            raise
        _confirm(target.parent)
    return True


def put_into(room: Room, folder: Path, last: str) -> None:
    """Move the files of a new folder one by one into an empty one; a kill half-way is undone later.

    Args:
        room: a room in the folder itself, or next to it.
        folder: an empty folder.
        last: the file that marks the folder as complete.

    Raises:
        CameMeanwhileError: the folder is no longer empty.
        OSError: they can't be moved; moved ones are moved back.
    """
    with alone(folder):
        if not all(map(is_room, os.listdir(folder))):  # noqa: PTH208
            raise CameMeanwhileError
        made = sorted(room.new.iterdir(), key=lambda path: path.name == last)
        room.will_place(made)
        moved: list[Path] = []
        try:
            for path in made:
                path.replace(folder / path.name)
                moved.append(folder / path.name)
        except BaseException:
            for path in moved:
                path.unlink()
            raise
        _confirm(folder)


def _confirm(folder: Path) -> None:
    try:
        flush_one(folder)
    except OSError as failure:
        raise UnconfirmedError(failure.strerror or str(failure)) from None

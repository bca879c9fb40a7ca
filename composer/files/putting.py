"""What was made in a room takes its name: where that is free, or in exchange for what had it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from composer.files.renaming import NoExchangeError, exchange, rename_to_free
from composer.files.room import Room, alone, flush_one, is_room

#: Device and inode of what has a name; None where nothing has it.
Identity = tuple[int, int] | None


class CameMeanwhileError(Exception):
    """Something came to have the name after it was looked at, and is never replaced."""


class UnconfirmedError(Exception):
    """What was written has its name, and the disk failed to say that this lasts."""


def identity_of(path: Path) -> Identity:
    """Return what has a name, without following a link.

    Raises:
        OSError: it can't be said.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def put(room: Room, target: Path, seen: Identity) -> None:
    """Give what is new in a room its name, in one step; what had it is in the room then.

    Args:
        room: in the folder of the target.
        target: the name.
        seen: what had the name when it was looked at, and may be replaced.

    Raises:
        CameMeanwhileError: another has the name by now; it keeps it.
        UnconfirmedError: it has its name, and the disk failed then.
        OSError: it can't be renamed; all is as it was.
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
    except FileNotFoundError:  # what was there is gone
        raise CameMeanwhileError from None
    else:
        try:
            is_seen = identity_of(room.new) == seen
        except OSError:
            exchange(room.new, target)
            raise
        if not is_seen:  # one of another program came in the last moment
            exchange(room.new, target)
            raise CameMeanwhileError


def _replace_plainly(room: Room, target: Path) -> None:
    """Replace where two names can't be exchanged: a file in one step, a folder in two.

    A kill between the two leaves the old folder in the room, and whoever cleans gives it back.
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
    """Give a new folder the name of an empty one, which it replaces in one step.

    Returns:
        Whether it has it; not where the empty one is held: mounted, or the current folder.

    Raises:
        CameMeanwhileError: it is not empty any more.
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
    """Move the files of a new folder one by one to an empty one; a kill half-way is undone later.

    Args:
        room: in the folder itself, or beside it.
        folder: an empty folder.
        last: the file that says that the folder is whole.

    Raises:
        CameMeanwhileError: the folder is not empty any more.
        OSError: they can't be moved; those that were are back.
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

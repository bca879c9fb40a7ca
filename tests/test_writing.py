"""What is written has its name in one step: faults, kills, two writers, and odd places for it."""

from __future__ import annotations

import errno
import io
import itertools
import os
import random
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from composer.artifact.output import RECIPE, check_free, write_whole
from composer.errors import ComposerError
from composer.files import check_file_free, write_file
from composer.files import putting as putting_file
from composer.files import renaming as renaming_file
from composer.files import room as room_file
from composer.files.renaming import rename_to_free
from composer.files.room import clean, is_room, room

OLD, NEW, BIG = "the old one", "the new one", 300_000
PARTS = ("model.safetensors", RECIPE, "report.json")


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(params=["renameat2", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the call of Linux, and as where there is none."""
    if request.param == "plain":
        monkeypatch.setattr(renaming_file, "renameat2", lambda: None)
    elif renaming_file.renameat2() is None:
        pytest.skip("the system has no renameat2")
    return str(request.param)


def said(call: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ComposerError) as refused:
        call(*args, **kwargs)
    return str(refused.value)


def listed(folder: str | Path = ".") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def rooms() -> list[str]:
    return [name for name in listed() if is_room(name)]


# ------------------------------------------------------------------ what is written, in both forms


def file_of(text: str, path: str = "it", force: bool = True) -> None:
    write_file(Path(path), lambda place: place.write_text(text), force=force)


def folder_of(text: str, path: str = "it", force: bool = True) -> None:
    def fill(place: Path) -> None:
        for name in PARTS:
            (place / name).write_text(f"{name}: {text}")

    write_whole(Path(path), fill, force=force)


def text_of(path: str = "it") -> str | None:
    """Return what stands under a name; None for nothing, and an error for what is neither."""
    it = Path(path)
    if not it.exists() or (it.is_dir() and not any(it.iterdir())):
        return None
    if it.is_file():
        return it.read_text()
    texts = {part: (it / part).read_text() for part in PARTS}
    (text,) = {text.removeprefix(f"{part}: ") for part, text in texts.items()}
    assert listed(it) == sorted(PARTS)
    return text


FORMS = {"file": file_of, "folder": folder_of}
#: How it is before: nothing there, an old one, or an empty folder that can't be replaced.
BEFORE = [("file", "nothing"), ("file", "old"), ("folder", "nothing"), ("folder", "old"),
          ("folder", "empty"), ("folder", "current")]  # fmt: skip


#: By default the ways in one step, and the one that takes two; the others are slow.
KILLED = [
    pytest.param(form, before, way, marks=[] if by_default else [pytest.mark.slow])
    for form, before in BEFORE for way in ("renameat2", "plain")
    for by_default in [(before, way) in (("old", "renameat2"), ("old", "plain"))]
]  # fmt: skip


def prepare(form: str, before: str) -> str:
    """Make what is there before, and return the path that is written."""
    if before == "old":
        FORMS[form](OLD)
    elif before in ("empty", "current"):
        Path("it").mkdir()
    if before == "current":
        os.chdir("it")
        return "."
    return "it"


# ------------------------------------------------------------------------- faults, one by one

CALLS = ("mkdir", "open", "fsync", "rename", "replace", "link", "unlink", "rmdir", "listdir",
         "stat", "scandir", "write")  # fmt: skip


def outcome(form: str, path: str) -> str | None:
    """Write, and return what was said; None where it is done."""
    try:
        FORMS[form](NEW, path)
    except ComposerError as failure:
        return str(failure)
    return None


@contextmanager
def failing(at: int, how: Callable[[], None]) -> Iterator[list[str]]:
    """Let the n-th call that touches the disk fail; yields the calls that were made."""
    calls: list[str] = []
    owner = os.getpid()

    def failing_one(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if os.getpid() != owner:
                return real(*args, **kwargs)
            calls.append(name)
            if len(calls) == at:
                how()
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, failing_one(name, getattr(os, name)))
        patch.setattr(io, "open", failing_one("io.open", io.open))
        kernel = renaming_file.renameat2()
        if kernel is not None:
            patch.setattr(renaming_file, "renameat2", lambda: failing_one("renameat2", kernel))
        yield calls


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.quick(9, then="long")
@pytest.mark.parametrize(("form", "before"), BEFORE)
def test_a_fault_at_any_call_leaves_the_old_or_the_new(form: str, before: str, way: str) -> None:
    path = prepare(form, before)
    for at in itertools.count(1):
        with failing(at, full) as calls:
            told = outcome(form, path)
        reached = len(calls) >= at
        clean(Path())
        clean(Path(path).absolute().parent)
        found = text_of(path)
        done = told is None or "has not confirmed its name" in told
        assert told is None or "No space left on device" in told
        assert found == (NEW if done else OLD if before == "old" else None), calls
        assert rooms() == []
        assert at < 300
        if not reached:
            assert told is None
            assert at > 15
            return
        if found == NEW:  # as it was, for the next
            os.chdir(Path(path).absolute().parent if before != "current" else "..")
            shutil.rmtree("it") if form == "folder" else Path("it").unlink()
            path = prepare(form, before)


# --------------------------------------------------------------------------------------- kills


def killed(run: Callable[[], object], after: float | None = None) -> bool:
    """Run in a process of its own, killed after so many seconds; return whether it was."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run()
            status = 0
        except ComposerError:
            status = 3
        finally:
            os._exit(status)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(("form", "before", "way"), KILLED, indirect=["way"])
def test_a_kill_at_any_call_leaves_the_old_or_the_new(form: str, before: str, way: str) -> None:
    path = prepare(form, before)
    begun = OLD if before == "old" else None
    seen = set()
    for at in itertools.count(1):

        def run(at: int = at, path: str = path) -> None:
            with failing(at, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                FORMS[form](NEW, path)

        was_killed = killed(run)
        in_steps = before == "current" or (way == "plain" and form == "folder" and before == "old")
        if not in_steps:  # in one step: it holds before anyone cleans
            assert text_of(path) in (begun, NEW)
        check = check_free if form == "folder" else check_file_free
        if begun is not None or text_of_or_none(path) is None:
            check(Path(path), True)  # the next run
        clean(Path())
        assert text_of(path) in (begun, NEW)
        assert rooms() == []
        seen.add(text_of(path))
        if not was_killed:
            break
        if text_of(path) == NEW:
            os.chdir(Path(path).absolute().parent if before != "current" else "..")
            shutil.rmtree("it") if form == "folder" else Path("it").unlink()
            path = prepare(form, before)
    assert seen == {begun, NEW}


def text_of_or_none(path: str) -> str | None:
    try:
        return text_of(path)
    except (FileNotFoundError, ValueError, AssertionError):
        return None


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    "kills", [8, pytest.param(200, marks=pytest.mark.slow)]
)  # fmt: skip
@pytest.mark.parametrize("form", FORMS)
def test_kills_at_random_moments(form: str, kills: int) -> None:
    FORMS[form]("0")
    draw = random.Random(kills)
    number = 0

    def run() -> None:
        for number in itertools.count(1):
            FORMS[form](f"{number} " * 50_000)

    while number < kills:
        number += killed(run, after=draw.uniform(0.0, 0.05))
        text = text_of()
        assert text is not None
        assert len(set(text.split())) == 1
        assert len(rooms()) <= 1  # what the kill left
    FORMS[form](NEW)
    assert text_of() == NEW
    assert listed() == ["it"]


def test_what_a_living_process_writes_is_left_alone() -> None:
    with room(Path(), "it") as one, room(Path(), "it") as two:
        assert one.path.is_dir()
        assert two.path.is_dir()
    assert listed() == []


def test_a_note_in_a_strangers_archive_removes_nothing() -> None:
    left = Path(f".composer-{'0' * 32}")
    left.mkdir()
    Path("thesis.tex").write_text("years")
    (left / "placing").write_bytes(b"1 thesis.tex\x002 recipe.yaml")
    (left / "target").write_bytes(b"../up")
    (left / "old").mkdir()
    clean(Path())
    assert listed() == ["thesis.tex"]
    assert not Path("../up").exists()


def test_a_link_that_is_called_like_a_room_is_left_alone() -> None:
    Path("mine").mkdir()
    Path("mine/file").touch()
    Path(f".composer-{'0' * 32}").symlink_to("mine")
    clean(Path())
    assert listed() == [f".composer-{'0' * 32}", "mine"]
    assert listed("mine") == ["file"]


# --------------------------------------------------------------------------------- two writers

MEANWHILE_SAID = "another was created here while this was written, and is kept"
MEANWHILE = (f"it: error[output]: {MEANWHILE_SAID}\n"
             "  help: check it; replace it with --force, or choose another with -o")  # fmt: skip


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("form", "before"), BEFORE[:5])
def test_one_of_two_writers_wins_and_the_other_is_told(
    form: str, before: str, force: bool, way: str
) -> None:
    prepare(form, before)
    if before == "old" and not force:
        assert "exists already" in said(FORMS[form], NEW, force=False)
        return

    def other(place: Path) -> None:
        FORMS[form]("the first to be done", force=force)
        if form == "file":
            place.write_text(NEW)
        else:
            for name in PARTS:
                (place / name).write_text(NEW)

    write = write_file if form == "file" else write_whole
    assert said(write, Path("it"), other, force=force) == MEANWHILE
    assert text_of() == "the first to be done"
    assert listed() == ["it"]


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_of_writers_in_processes_of_their_own_one_wins(form: str) -> None:
    """Sixteen times two at once: exactly one says that it is done, and what it wrote is there."""
    for turn in range(16):
        path = f"it{turn}"
        ready = time.monotonic() + 0.03
        children = []
        for name in ("one", "two"):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    time.sleep(max(0.0, ready - time.monotonic()))
                    FORMS[form](name, path, force=False)
                    status = 0
                except ComposerError as failure:
                    told = failure.diagnostics[0].message
                    status = 3 if told in (MEANWHILE_SAID, "exists already") else 1
                finally:
                    os._exit(status)
            children.append((child, name))
        ends = {name: os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child, name in children}
        assert sorted(ends.values()) == [0, 3], ends
        assert ends[str(text_of(path))] == 0


@pytest.mark.parametrize("form", FORMS)
def test_what_a_stranger_puts_there_meanwhile_is_kept(form: str, way: str) -> None:
    def other(place: Path) -> None:
        Path("it").write_text("years of work")
        place.write_text(NEW) if form == "file" else (place / RECIPE).write_text(NEW)

    write = write_file if form == "file" else write_whole
    assert said(write, Path("it"), other, force=True) == MEANWHILE
    assert Path("it").read_text() == "years of work"


def test_what_comes_in_the_very_last_moment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    if renaming_file.renameat2() is None:
        pytest.skip("the system has no renameat2")
    folder_of(OLD)
    real = putting_file.exchange

    def late(one: Path, other: Path) -> None:
        monkeypatch.setattr(putting_file, "exchange", real)
        Path("it").rename("elsewhere")
        Path("it").mkdir()
        Path("it/thesis.tex").touch()
        real(one, other)

    monkeypatch.setattr(putting_file, "exchange", late)
    assert said(folder_of, NEW) == MEANWHILE
    assert listed("it") == ["thesis.tex"]


def test_a_name_that_is_taken_is_not_renamed_to(way: str) -> None:
    for made in ("a", "b"):
        Path(made).write_text(made)
        Path(f"{made}s").mkdir()
    for one, two in (("a", "b"), ("as", "bs"), ("a", "bs"), ("as", "b")):
        with pytest.raises(FileExistsError):
            rename_to_free(Path(one), Path(two))
    rename_to_free(Path("a"), Path("c"))
    rename_to_free(Path("as"), Path("cs"))
    assert listed() == ["b", "bs", "c", "cs"]
    assert Path("c").read_text() == "a"


# ---------------------------------------------------------------------------------- odd places


def _places() -> None:
    """Make one of everything."""
    Path("file").write_text(OLD)
    Path("folder").mkdir()
    Path("folder/thesis.tex").touch()
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    for name, to in {
        "to-file": "file", "to-folder": "folder", "loop": "loop", "nowhere": "gone/it",
        "to-null": "/dev/null", "to-fifo": "fifo",
    }.items():  # fmt: skip
        Path(name).symlink_to(to)


LONG = "n" * 300
EXISTS = "exists already", "replace it with --force, or choose another with -o"
LOOP = "is a link that leads to itself", "remove the link, or choose another with -o"
NOWHERE = ("is a link to 'gone/it', which does not exist",
           "create its target, remove the link, or choose another with -o")  # fmt: skip
IN_LOOP, IN_NOWHERE = (f"'loop' {LOOP[0]}", LOOP[1]), (f"'nowhere' {NOWHERE[0]}", NOWHERE[1])
NO_FOLDER = "its folder does not exist", "create the folder, or choose another file"
FILE, ANOTHER = "choose a file with -o", "choose another with -o"
NEVER = "exists and is not a composition, so it is not replaced", ANOTHER

#: A path, whether --force is said, and what is said of it as a file, and as a folder.
PLACES: list[tuple[str, bool, tuple[str, str] | None, tuple[str, str] | None]] = [
    ("file", False, EXISTS, NEVER),
    ("file", True, None, NEVER),
    ("folder", False, ("is a folder", FILE), NEVER),
    ("folder", True, ("is a folder", FILE), NEVER),
    ("fifo", False, ("is a FIFO, not a file", FILE), ("is a FIFO, not a folder", ANOTHER)),
    ("fifo", True, ("is a FIFO, not a file", FILE), ("is a FIFO, not a folder", ANOTHER)),
    ("socket", True, ("is a socket, not a file", FILE), ("is a socket, not a folder", ANOTHER)),
    ("/dev/null", True, ("is a device, not a file", FILE), ("is a device, not a folder", ANOTHER)),
    ("/dev/full", True, ("is a device, not a file", FILE), ("is a device, not a folder", ANOTHER)),
    ("to-file", False, EXISTS, NEVER),
    ("to-file", True, None, NEVER),
    ("to-folder", True, ("is a folder", FILE), NEVER),
    ("to-null", True, ("is a device, not a file", FILE), ("is a device, not a folder", ANOTHER)),
    ("to-fifo", True, ("is a FIFO, not a file", FILE), ("is a FIFO, not a folder", ANOTHER)),
    ("loop", True, LOOP, LOOP),
    ("nowhere", True, NOWHERE, NOWHERE),
    ("file/x", False, ("'file' is a file, not a folder", "choose another file"),
     ("'file' is a file, not a folder", ANOTHER)),
    ("fifo/x/y", False, ("'fifo' is a FIFO, not a folder", "choose another file"),
     ("'fifo' is a FIFO, not a folder", ANOTHER)),
    ("loop/x", False, IN_LOOP, IN_LOOP),
    ("nowhere/x", False, IN_NOWHERE, IN_NOWHERE),
    ("gone/x", False, NO_FOLDER, None),
    (LONG, False, ("cannot be written: File name too long", ANOTHER),
     ("cannot be written: File name too long", ANOTHER)),
    ("nul\0l", False, ("cannot be written: embedded null byte", ANOTHER),
     ("cannot be written: embedded null byte", ANOTHER)),
    ("new", False, None, None),
    ("folder/new", False, None, None),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("path", "force", "as_file", "as_folder"), PLACES,
                         ids=[f"{p[0][:9]!r}{'-force' * p[1]}" for p in PLACES])  # fmt: skip
def test_each_place_has_its_message(
    path: str, force: bool, as_file: tuple[str, str] | None, as_folder: tuple[str, str] | None,
    form: str,
) -> None:  # fmt: skip
    _places()
    null = Path("/dev/null").stat().st_rdev
    wanted = as_file if form == "file" else as_folder
    check = check_file_free if form == "file" else check_free
    before = listed()
    if wanted is None:
        check(Path(path), force)
        FORMS[form](NEW, path, force)
        assert text_of(path) == NEW
        assert Path("to-file").is_symlink()
    else:
        message, way_out = wanted
        where = path.replace("\0", "\\x00")
        whole = f"{where}: error[output]: {message}\n  help: {way_out}"
        assert said(check, Path(path), force).replace("\0", "\\x00") == whole
        told = said(FORMS[form], NEW, path, force).replace("\0", "\\x00")
        assert told.startswith(f"{where}: error[output]: {message}\n")
        assert listed() == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert Path("/dev/null").stat().st_rdev == null
    assert rooms() == []


def test_a_link_to_a_file_is_followed() -> None:
    Path("disk").mkdir()
    Path("disk/it").write_text(OLD)
    Path("it").symlink_to("disk/it")
    file_of(NEW)
    assert Path("it").is_symlink()
    assert Path("disk/it").read_text() == NEW
    assert listed("disk") == ["it"]


def test_an_empty_folder_keeps_its_mode() -> None:
    Path("it").mkdir(mode=0o750)
    Path("it").chmod(0o750)
    folder_of(NEW)
    assert stat.S_IMODE(Path("it").stat().st_mode) == 0o750


def test_the_current_folder_is_filled_and_stays() -> None:
    Path("it").mkdir()
    os.chdir("it")
    before = Path().stat().st_ino
    folder_of(NEW, ".")
    assert Path().stat().st_ino == before
    assert listed() == sorted(PARTS)


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_what_is_written_has_the_mode_of_the_users_mask(mask: int, file: int, folder: int) -> None:
    before = os.umask(mask)
    try:
        file_of(NEW, "a")
        folder_of(NEW, "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("a").stat().st_mode) == file
    assert stat.S_IMODE(Path("b").stat().st_mode) == folder


# ------------------------------------------------------------------------------------ the disk


@pytest.mark.parametrize("form", FORMS)
def test_a_limit_on_the_size_of_files(form: str) -> None:
    FORMS[form](OLD)

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        told = said(FORMS[form], "n" * BIG)
        assert told.startswith("it: error[output]: cannot be written: File too large\n")

    assert not killed(run)
    assert text_of() == OLD
    assert listed() == ["it"]


@pytest.fixture
def small_disk(here: Path) -> Iterator[Path]:
    disk = here / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a disk may not be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk(form: str, small_disk: Path) -> None:
    FORMS[form](OLD, "disk/it")
    told = said(FORMS[form], "n" * BIG, "disk/it")
    assert told.startswith("disk/it: error[output]: cannot be written: No space left on device\n")
    assert text_of("disk/it") == OLD
    assert listed("disk") == ["it"]


def test_a_mounted_folder_is_filled_and_stays(small_disk: Path) -> None:
    before = small_disk.stat()
    folder_of(NEW, "disk")
    assert text_of("disk") == NEW
    assert os.path.samestat(before, small_disk.stat())
    assert said(folder_of, OLD, "disk", force=False).startswith(
        "disk: error[output]: exists already\n"
    )


def opened_to_all(folder: Path) -> None:
    """Let another user pass to a folder of a test."""
    for one in (folder, *folder.parents):
        if one.stat().st_uid == os.geteuid() and one != Path("/"):
            one.chmod(one.stat().st_mode | 0o055)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
@pytest.mark.parametrize("form", FORMS)
def test_a_folder_that_is_closed(form: str, here: Path) -> None:
    Path("closed").mkdir(mode=0o555)

    def run() -> None:
        os.setuid(65534)
        check = check_file_free if form == "file" else check_free
        for told in (
            said(check, Path("closed/it"), False), said(FORMS[form], NEW, "closed/it")
        ):  # fmt: skip
            assert told.startswith(
                "closed/it: error[output]: cannot be written: Permission denied\n"
            )

    opened_to_all(here)
    assert not killed(run)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_an_empty_folder_in_one_that_is_closed_is_filled(here: Path) -> None:
    Path("closed/it").mkdir(parents=True)
    os.chown("closed/it", 65534, 65534)

    def run() -> None:
        os.setuid(65534)
        check_free(Path("closed/it"), False)
        folder_of(NEW, "closed/it")

    opened_to_all(here)
    assert not killed(run)
    assert text_of("closed/it") == NEW


def test_it_is_on_the_disk_before_it_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = os.fsync

    def fsync(number: int) -> None:
        calls.append(Path(f"/proc/self/fd/{number}").readlink().name)
        real(number)

    def put(*args: Any) -> None:
        calls.append("put")
        rename_to_free(*args)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(putting_file, "rename_to_free", put)
    folder_of(NEW)
    assert calls == ["target", *sorted(PARTS), "new", "put", Path.cwd().name]


def test_a_disk_that_does_not_confirm_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(putting_file, "flush_one", broken)
    for write, path in ((file_of, "a"), (folder_of, "b")):
        assert said(write, NEW, path) == (
            f"{path}: error[output]: is written, but the disk has not confirmed its name: "
            f"Input/output error\n  help: check the disk, and write it again"
        )
        assert text_of(path) == NEW


def test_another_program_that_keeps_the_folder_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_file, "PATIENCE", 0.05)
    lock = os.open(".", os.O_RDONLY)
    room_file.fcntl.flock(lock, room_file.fcntl.LOCK_EX)
    file_of(NEW)
    os.close(lock)
    assert text_of() == NEW


def test_a_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_file, "fcntl", None)
    folder_of(OLD)
    folder_of(NEW)
    assert text_of() == NEW
    assert listed() == ["it"]


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize(
    ("command", "output"),
    [(("render", "se", "-o"), "it.svg"), (("new", "it", "-o"), "it.yaml"),
     (("new", "soften", "--op", "-o"), "it")],
)  # fmt: skip
def test_the_commands_answer_a_fifo(command: tuple[str, ...], output: str) -> None:
    os.mkfifo(output)
    done = subprocess.run(
        [sys.executable, "-m", "composer", *command, output],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    told = "exists already" if "--op" in command else "is a FIFO, not a file"
    assert done.returncode == 1
    assert f"{output}: error[output]: {told}\n" in done.stderr

"""The results of a study in one SQLite file; each result is written once, when it is known."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from composer.errors import ComposerError
from composer.study.fault import results_error
from composer.study.outcome import Epoch, Outcome
from composer.study.runs import Run

VERSION = 1
_PATIENCE = 60.0  # seconds that one writer waits for another
_TABLES = """
create table if not exists meta (name text primary key, value text not null);
create table if not exists fingerprint (name text primary key, value text not null);
create table if not exists arm (name text primary key, facts text not null);
create table if not exists run (
    key text primary key, arm text not null, seed integer not null, status text not null,
    accuracy real, seconds real not null, machine text not null, message text
);
create table if not exists epoch (
    key text not null, epoch integer not null, train_loss real not null, accuracy real not null,
    loss real not null, primary key (key, epoch)
);
"""


@dataclass(frozen=True)
class Result:
    """A run that ended.

    Attributes:
        key: of the run.
        arm: the name of its arm.
        seed: its seed.
        status: ``done``, ``stopped``, ``diverged`` or ``failed``.
        accuracy: top-1 after the last epoch; None where it did not get there.
        seconds: how long it took.
        machine: what it ran on.
        message: what was said of a run that failed.
        epochs: what was measured after each epoch.
    """

    key: str
    arm: str
    seed: int
    status: str
    accuracy: float | None
    seconds: float
    machine: Mapping[str, Any]
    message: str | None
    epochs: tuple[Epoch, ...]


class Store:
    """Reads and writes the results at a path; each call opens the file.

    So it may be used in several processes, and nothing is left open when one is killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self, write: bool) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction.

        Raises:
            ComposerError: it cannot be read or written, or it is no such file.
        """
        connection = None
        try:
            mode = "rwc" if write else "ro"
            where = f"{self.path.absolute().as_uri()}?mode={mode}"
            connection = sqlite3.connect(where, uri=True, timeout=_PATIENCE, isolation_level=None)
            if write:
                connection.execute("begin immediate")
            yield connection
            if write:
                connection.execute("commit")
        except sqlite3.DatabaseError as failure:
            raise self._refused(failure) from None
        finally:
            if connection is not None:
                connection.close()

    def _refused(self, failure: sqlite3.DatabaseError) -> ComposerError:
        said = str(failure)
        if "full" in said:
            way_out = "free some space and run again: finished runs are kept"
            return results_error("cannot be written: the disk is full", way_out, self.path)
        if "not a database" in said or "malformed" in said:
            way_out = "name another file with --results"
            return results_error(f"is not a file of results: {said}", way_out, self.path)
        if "no such table" in said:
            way_out = "name another file with --results"
            return results_error("is a database, and not of a study's results", way_out, self.path)
        return results_error(f"cannot be opened: {said}", "name another with --results", self.path)

    def create(self, study: str) -> None:
        """Make the file where it is not there yet, for the study of a name.

        Raises:
            ComposerError: it holds the results of another study, or of a newer version.
        """
        with self._open(write=True) as connection:
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            put = "insert or ignore into meta values (?, ?)"
            connection.execute(put, ("version", str(VERSION)))
            connection.execute(put, ("study", study))
        self.check(study)

    def check(self, study: str) -> None:
        """Refuse results of another study or of a newer version.

        Raises:
            ComposerError: they are.
        """
        with self._open(write=False) as connection:
            meta = dict(connection.execute("select name, value from meta").fetchall())
        if meta.get("version") != str(VERSION):
            message = f"is of version {meta.get('version')}, and this Composer reads {VERSION}"
            raise results_error(message, "name another file with --results", self.path)
        if meta.get("study") != study:
            message = f"holds the results of the study {meta.get('study')!r}, not of {study!r}"
            raise results_error(message, "name another file with --results", self.path)

    def check_fingerprints(self, found: Mapping[str, str]) -> None:
        """Note what the results depend on apart from the study file; refuse where it changed.

        Args:
            found: hashes under names such as ``the data`` and ``the spec se``.

        Raises:
            ComposerError: something is not what earlier results were made with.
        """
        with self._open(write=True) as connection:
            for name, value in found.items():
                connection.execute("insert or ignore into fingerprint values (?, ?)", (name, value))
            rows = dict(connection.execute("select name, value from fingerprint").fetchall())
        if changed := [name for name, value in found.items() if rows[name] != value]:
            message = f"{changed[0]} changed since these results were made"
            way_out = "put it back, or start again with --results FILE"
            raise results_error(message, way_out, self.path)

    def write_meta(self, name: str, value: str) -> None:
        """Note something of the whole study."""
        with self._open(write=True) as connection:
            connection.execute("insert or replace into meta values (?, ?)", (name, value))

    def meta(self) -> dict[str, str]:
        """Return what is noted of the whole study."""
        with self._open(write=False) as connection:
            return dict(connection.execute("select name, value from meta").fetchall())

    def write_facts(self, arm: str, facts: Mapping[str, Any]) -> None:
        """Note what an arm is and costs."""
        with self._open(write=True) as connection:
            row = (arm, json.dumps(facts, sort_keys=True))
            connection.execute("insert or replace into arm values (?, ?)", row)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what is noted of each arm."""
        with self._open(write=False) as connection:
            rows = connection.execute("select name, facts from arm order by rowid").fetchall()
        return {name: json.loads(facts) for name, facts in rows}

    def write_epoch(self, key: str, epoch: Epoch) -> None:
        """Note what was measured after an epoch of a run that goes on."""
        with self._open(write=True) as connection:
            _put_epoch(connection, key, epoch)

    def write_result(
        self, run: Run, outcome: Outcome, machine: Mapping[str, Any], message: str | None = None
    ) -> bool:
        """Write the result of a run; return False where one is there already, which stays."""
        finished = outcome.status == "done"
        accuracy = outcome.epochs[-1].accuracy if finished and outcome.epochs else None
        row = (
            run.key, run.arm.name, run.seed, outcome.status, accuracy, outcome.seconds,
            json.dumps(machine, sort_keys=True), message,
        )  # fmt: skip
        with self._open(write=True) as connection:
            put = "insert or ignore into run values (?, ?, ?, ?, ?, ?, ?, ?)"
            is_new = connection.execute(put, row).rowcount == 1
            if is_new:
                connection.execute("delete from epoch where key = ?", (run.key,))
                for epoch in outcome.epochs:
                    _put_epoch(connection, run.key, epoch)
        return is_new

    def forget_failed(self) -> int:
        """Remove the runs that failed, so that they are tried again; return how many."""
        with self._open(write=True) as connection:
            return connection.execute("delete from run where status = 'failed'").rowcount

    def results(self) -> dict[str, Result]:
        """Return the runs that ended, by their keys, in the order that they ended."""
        with self._open(write=False) as connection:
            runs = connection.execute("select * from run order by rowid").fetchall()
        epochs = self.epochs()
        return {
            row[0]: Result(
                key=row[0],
                arm=row[1],
                seed=row[2],
                status=row[3],
                accuracy=row[4],
                seconds=row[5],
                machine=json.loads(row[6]),
                message=row[7],
                epochs=tuple(epochs.get(row[0], ())),
            )
            for row in runs
        }

    def ended(self) -> dict[str, str]:
        """Return the status of each run that ended, by its key."""
        with self._open(write=False) as connection:
            return dict(connection.execute("select key, status from run").fetchall())

    def epochs(self) -> dict[str, list[Epoch]]:
        """Return what was measured after each epoch, by the runs' keys, in the order written."""
        with self._open(write=False) as connection:
            rows = connection.execute("select * from epoch order by rowid").fetchall()
        found: dict[str, list[Epoch]] = {}
        for key, *values in rows:
            found.setdefault(key, []).append(Epoch(*values))
        return found

    def seconds(self) -> float:
        """Return how long all runs that ended took together."""
        with self._open(write=False) as connection:
            (total,) = connection.execute("select total(seconds) from run").fetchone()
        return float(total)


def _put_epoch(connection: sqlite3.Connection, key: str, epoch: Epoch) -> None:
    put = "insert or replace into epoch values (?, ?, ?, ?, ?)"
    connection.execute(put, (key, *asdict(epoch).values()))

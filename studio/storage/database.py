"""The one SQLite database of a studio: write-ahead log, one connection per thread, versioned schemas."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread, current_thread
from time import time

from studio.core.errors import DiskFull, EaselError

BUSY_SECONDS = 30.0
"""How long a writer waits for another one."""


class Database:
    """A database file, opened once per thread.

    Rows can be read by column name (`sqlite3.Row`). Outside of `transaction()` each statement commits by
    itself. A file that is no database (a disk fault) is renamed to `<name>.broken-<time>` and begun anew.

    Args:
        path: the file; it and its folder are made where they are missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connections: dict[Thread, sqlite3.Connection] = {}
        self._lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._set_aside_if_broken()

    def connect(self) -> sqlite3.Connection:
        """This thread's connection. Closed by `close()`, or once its thread has ended."""
        with self._lock:
            connection = self._connections.get(current_thread())
            if connection is None:
                self._close_those_of_ended_threads()
                connection = self._connections[current_thread()] = _open(self.path)
            return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements of the block, or none of them. A block inside another joins it.

        Takes the write lock at once, so that reading and then writing cannot collide with another writer.

        Raises: DiskFull.
        """
        connection = self.connect()
        if connection.in_transaction:
            yield connection
            return
        with _disk_full_explained(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    def migrate(self, name: str, scripts: Sequence[str]) -> None:
        """Bring the tables of the store `name` to the newest version.

        Args:
            name: of the store that owns the tables ("images", "jobs").
            scripts: SQL, one script per version, oldest first. Append new ones; never change an old one.

        Raises: EaselError when a newer Easel has written the database; DiskFull.
        """
        if self._version(name) == len(scripts):
            return  # without a write: a studio must start on a full disk too, for room to be made
        with self.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS schemas (name TEXT PRIMARY KEY, version INTEGER)")
            version = self._version(name)
            if version > len(scripts):
                raise EaselError(
                    f"{self.path} was written by a newer Easel (its {name} are of version {version}, this"
                    f" program knows {len(scripts)}).",
                    "Update Easel, or start it with another --data-dir.",
                )
            for script in scripts[version:]:
                for statement in _statements(script):
                    connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO schemas VALUES (?, ?)", (name, len(scripts)))

    def _version(self, name: str) -> int:
        """How many of the scripts of a store the database has seen."""
        connection = self.connect()
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schemas'").fetchone():
            return 0
        row = connection.execute("SELECT version FROM schemas WHERE name = ?", (name,)).fetchone()
        return row["version"] if row else 0

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    def _close_those_of_ended_threads(self) -> None:
        for thread in [thread for thread in self._connections if not thread.is_alive()]:
            self._connections.pop(thread).close()

    def _set_aside_if_broken(self) -> None:
        try:
            _open(self.path).close()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            ending = f".broken-{time():.0f}"
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{self.path}{suffix}{ending}")


def _open(path: Path) -> sqlite3.Connection:
    # check_same_thread is off only so that close() may be called from any thread.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite itself rolls back on a full disk; a second ROLLBACK would hide the first error.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


@contextmanager
def _disk_full_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "disk is full" not in str(error):
            raise
        raise DiskFull(
            f"There is no room left on the disk to write into {path}.",
            "Free some space (old pictures and models take the most), then try again.",
        ) from error

"""Facts about files, kept until the file changes: what it is, its hash, the id it was given."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

_BLOCK_BYTES = 2**20

_LATEST = 2**63 - 1
"""The largest number that SQLite keeps: the year 2262, as ns."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    path TEXT NOT NULL, fact TEXT NOT NULL, value TEXT NOT NULL,
    size INTEGER NOT NULL, changed INTEGER NOT NULL,
    PRIMARY KEY (path, fact)
);
CREATE TABLE IF NOT EXISTS claims (
    name TEXT NOT NULL PRIMARY KEY, path TEXT NOT NULL, part TEXT NOT NULL,
    size INTEGER NOT NULL, changed INTEGER NOT NULL
)
"""


@dataclass(frozen=True)
class Claim:
    """Who was the first to bear a name."""

    path: Path
    part: str
    """Which part of the file."""
    is_current: bool
    """False once the file changed or went away."""


class FileCache:
    """A small SQLite table; losing it costs time, nothing else. Safe to use from any thread.

    Args:
        database: its file; None keeps it in memory, as a file does that cannot be opened for now.
    """

    def __init__(self, database: Path | None = None) -> None:
        if database is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = self._open(database)

    def _open(self, database: Path | None) -> sqlite3.Connection:
        connection = sqlite3.connect(database or ":memory:", check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.executescript(_SCHEMA)
        except sqlite3.OperationalError:  # a full disk, a lock: nothing is wrong with the file itself
            connection.close()
            if database is None:
                raise
            _log.warning(
                "What is found out about models is not kept this time: %s cannot be opened.", database
            )
            return self._open(None)
        except sqlite3.DatabaseError:
            connection.close()
            if database is None or not database.is_file():
                raise
            database.unlink()
            return self._open(database)
        return connection

    def get(self, path: Path, fact: str) -> str | None:
        """The value stored for `path` as it is now; None where it changed or was never stored."""
        size, changed = stamp(path)
        with self._lock:
            row = self._connection.execute(
                "SELECT value FROM facts WHERE path = ? AND fact = ? AND size = ? AND changed = ?",
                (str(path), fact, size, changed),
            ).fetchone()
        return row[0] if row else None

    def put(self, path: Path, fact: str, value: str) -> None:
        """Keep a value; where the disk is full or the table is locked, it is computed again next time."""
        size, changed = stamp(path)
        with self._lock, suppress(sqlite3.OperationalError):
            self._connection.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", (str(path), fact, value, size, changed)
            )

    def values(self, fact: str) -> tuple[str, ...]:
        """All values of facts whose name begins with `fact`, whether their files are still there or not."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT value FROM facts WHERE substr(fact, 1, ?) = ?", (len(fact), fact)
            ).fetchall()
        return tuple(row[0] for row in rows)

    def remember(self, path: Path, fact: str, compute: Callable[[], str]) -> str:
        """The stored value, or the computed one, which is then stored."""
        value = self.get(path, fact)
        if value is None:
            value = compute()
            self.put(path, fact, value)
        return value

    def claim(self, name: str, path: Path, part: str) -> Claim | None:
        """The first that ever claimed `name`, which is the caller where nobody did before, in any process.

        Returns: None where the disk is full or the table is locked.
        """
        size, changed = stamp(path)
        with self._lock, suppress(sqlite3.OperationalError):
            self._connection.execute(
                "INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?, ?)", (name, str(path), part, size, changed)
            )
            first, its_part, *its_stamp = self._connection.execute(
                "SELECT path, part, size, changed FROM claims WHERE name = ?", (name,)
            ).fetchone()
            return Claim(Path(first), its_part, tuple(its_stamp) == stamp(Path(first)))
        return None

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def stamp(path: Path) -> tuple[int, int]:
    """Bytes and time of the last change (ns) of a file, or of all files in a folder together.

    Of what goes away meanwhile, or may not be looked at, both are 0.
    """
    try:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        stats = [file.stat() for file in files]
    except OSError:
        return 0, 0
    changed = max((s.st_mtime_ns for s in stats), default=0)
    return sum(s.st_size for s in stats), min(changed, _LATEST)


def sha256_of(file: Path, start: int = 0) -> str:
    """Hash of a file's content from its byte `start` on, in hex."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        stream.seek(start)
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()

"""Which map was made of what: so that nobody waits twice for the same one."""

from __future__ import annotations

from studio.core.base import BlobId
from studio.storage.database import Database

_SCHEMA = ("CREATE TABLE control_maps (key TEXT PRIMARY KEY, blob TEXT NOT NULL);",)


class MapIndex:
    """From a hash of picture, options and nets to the blob of the map. Losing it costs time, nothing else."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("control_maps", _SCHEMA)

    def find(self, key: str) -> BlobId | None:
        """The blob that was stored; whether it is still there is for the caller to see."""
        row = (
            self._database.connect().execute("SELECT blob FROM control_maps WHERE key = ?", (key,)).fetchone()
        )
        return str(row["blob"]) if row else None

    def keep(self, key: str, blob: BlobId) -> None:
        """Raises: DiskFull."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO control_maps VALUES (?, ?)", (key, blob))

"""The SQLite index of the library: which image lies where, and how to find it by its words."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from pydantic import ValidationError

from studio.core.base import BlobId
from studio.core.library import ImageId, ImagePage, ImageQuery, ImageRecord
from studio.core.requests import GenerateRequest
from studio.storage.database import Database

_TABLES = """
CREATE TABLE IF NOT EXISTS images (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL,
    day TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    negative_prompt TEXT NOT NULL,
    request TEXT NOT NULL,
    infotext TEXT NOT NULL,
    job TEXT NOT NULL,
    favourite INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    missing INTEGER NOT NULL DEFAULT 0,
    trash TEXT,
    trashed TEXT
);
CREATE INDEX IF NOT EXISTS images_by_time ON images (created DESC, number DESC);
CREATE INDEX IF NOT EXISTS images_by_trash ON images (trash) WHERE trash IS NOT NULL;
CREATE TABLE IF NOT EXISTS image_blobs (
    image INTEGER NOT NULL REFERENCES images (number) ON DELETE CASCADE,
    blob TEXT NOT NULL,
    PRIMARY KEY (image, blob)
);
"""

_WORDS = """
CREATE VIRTUAL TABLE IF NOT EXISTS image_words USING fts5 (
    prompt, negative_prompt, content = 'images', content_rowid = 'number',
    tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER IF NOT EXISTS image_words_added AFTER INSERT ON images BEGIN
    INSERT INTO image_words (rowid, prompt, negative_prompt)
    VALUES (new.number, new.prompt, new.negative_prompt);
END;
CREATE TRIGGER IF NOT EXISTS image_words_removed AFTER DELETE ON images BEGIN
    INSERT INTO image_words (image_words, rowid, prompt, negative_prompt)
    VALUES ('delete', old.number, old.prompt, old.negative_prompt);
END;
INSERT INTO image_words (image_words) VALUES ('rebuild');
"""

_ALIVE = "trash IS NULL AND NOT missing"


@dataclass(frozen=True)
class IndexedFile:
    """Where an image lies.

    Attributes:
        path: relative to the outputs folder, or to the trash, with forward slashes.
        trash: token of the deletion that moved it to the trash; None for an image in the library.
    """

    id: ImageId
    path: str
    trash: str | None = None
    missing: bool = False


class ImageIndex:
    """All SQL about images. Methods that write take part in an open transaction, or make their own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("images", [_TABLES])
        self._has_fts = _fts5_is_built_in(database.connect())
        if self._has_fts:
            database.migrate("image words", [_WORDS])

    def add(self, record: ImageRecord, path: str) -> None:
        """Add an image that lies at `path`. Raises: DiskFull."""
        values = {
            **record.model_dump(exclude={"created", "request"}),
            "path": path,
            "created": _utc(record.created),
            "day": record.created.astimezone().date().isoformat(),
            "request": record.request.model_dump_json(),
        }
        columns, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        with self._database.transaction() as connection:
            row = connection.execute(f"INSERT INTO images ({columns}) VALUES ({places})", values)
            connection.executemany(
                "INSERT INTO image_blobs VALUES (?, ?)",
                [(row.lastrowid, blob_id) for blob_id in sorted(record.request.blobs)],
            )

    def find(self, query: ImageQuery) -> ImagePage:
        """One page of the images that meet every condition, newest first, and how many there are in all."""
        conditions, values = self._conditions(query)
        where = " AND ".join(conditions)
        connection = self._database.connect()
        total = connection.execute(f"SELECT count(*) FROM images WHERE {where}", values).fetchone()[0]
        rows = connection.execute(
            f"SELECT * FROM images WHERE {where} ORDER BY created DESC, number DESC LIMIT ? OFFSET ?",
            [*values, query.limit, query.offset],
        )
        return ImagePage(images=tuple(_record(row) for row in rows), total=total)

    def get(self, image_id: ImageId) -> ImageRecord | None:
        """An image of the library, not of the trash."""
        row = self._one(f"SELECT * FROM images WHERE id = ? AND {_ALIVE}", image_id)
        return _record(row) if row else None

    def of_job(self, job: str) -> tuple[ImageId, ...]:
        """The images of a job, in the order in which they were made."""
        rows = self._database.connect().execute(
            f"SELECT id FROM images WHERE job = ? AND {_ALIVE} ORDER BY created, number", (job,)
        )
        return tuple(row["id"] for row in rows)

    def path(self, image_id: ImageId) -> str | None:
        """Relative to the outputs folder; None where there is no such image."""
        row = self._one(f"SELECT path FROM images WHERE id = ? AND {_ALIVE}", image_id)
        return str(row["path"]) if row else None

    def knows(self, image_id: ImageId) -> bool:
        """Whether an image has this id, wherever it lies."""
        return self._one("SELECT 1 FROM images WHERE id = ?", image_id) is not None

    def files(self) -> tuple[IndexedFile, ...]:
        """Every image there is, in the trash or not, missing or not."""
        return self._files("ORDER BY number")

    def set_favourite(self, image_id: ImageId, favourite: bool) -> None:
        self._write("UPDATE images SET favourite = ? WHERE id = ?", [(favourite, image_id)])

    def set_missing(self, image_ids: Iterable[ImageId], missing: bool) -> None:
        """Hide images whose file is gone, or show them again once it is back."""
        values = [(missing, image_id) for image_id in image_ids]
        self._write("UPDATE images SET missing = ? WHERE id = ?", values)

    def trash(self, image_ids: Sequence[ImageId], token: str, when: datetime) -> None:
        values = [(token, _utc(when), image_id) for image_id in image_ids]
        self._write("UPDATE images SET trash = ?, trashed = ? WHERE id = ?", values)

    def in_trash(self, token: str) -> tuple[IndexedFile, ...]:
        """What one deletion moved to the trash, in the order of the library."""
        return self._files("WHERE trash = ? ORDER BY created DESC, number DESC", token)

    def trashed_before(self, when: datetime) -> tuple[IndexedFile, ...]:
        return self._files("WHERE trash IS NOT NULL AND trashed < ?", _utc(when))

    def restore(self, token: str) -> None:
        self._write("UPDATE images SET trash = NULL, trashed = NULL WHERE trash = ?", [(token,)])

    def forget_path(self, path: str) -> None:
        self._write("DELETE FROM images WHERE path = ?", [(path,)])

    def forget(self, image_ids: Iterable[ImageId]) -> None:
        self._write("DELETE FROM images WHERE id = ?", [(image_id,) for image_id in image_ids])

    def blobs(self) -> frozenset[BlobId]:
        """The blobs that any image needs, those in the trash included."""
        rows = self._database.connect().execute("SELECT DISTINCT blob FROM image_blobs")
        return frozenset(row["blob"] for row in rows)

    def _conditions(self, query: ImageQuery) -> tuple[list[str], list[object]]:
        conditions: list[tuple[str, list[object]]] = [(_ALIVE, [])]
        conditions += self._text_conditions(query.text)
        if query.model:
            conditions.append(("model = ?", [query.model]))
        if query.job:
            conditions.append(("job = ?", [query.job]))
        if query.since:
            conditions.append(("day >= ?", [query.since.isoformat()]))
        if query.until:
            conditions.append(("day <= ?", [query.until.isoformat()]))
        if query.favourites:
            conditions.append(("favourite", []))
        return [sql for sql, _ in conditions], [value for _, values in conditions for value in values]

    def _text_conditions(self, text: str) -> Iterator[tuple[str, list[object]]]:
        words = [word for word in text.replace("\0", " ").split() if any(letter.isalnum() for letter in word)]
        if not words:
            return
        if self._has_fts and not any(_has_no_spaces_between_words(word) for word in words):
            match = " ".join('"' + word.replace('"', " ") + '"*' for word in words)
            yield "number IN (SELECT rowid FROM image_words WHERE image_words MATCH ?)", [match]
            return
        for word in words:
            letters = re.sub(r"^\W+|\W+$", "", word)
            pattern = re.sub(r"([%_\\])", r"\\\1", letters)
            yield r"prompt || ' ' || negative_prompt LIKE ? ESCAPE '\'", [f"%{pattern}%"]

    def _one(self, query: str, *values: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.connect().execute(query, values).fetchone()
        return row

    def _files(self, condition: str, *values: object) -> tuple[IndexedFile, ...]:
        query = f"SELECT id, path, trash, missing FROM images {condition}"
        return tuple(_file(row) for row in self._database.connect().execute(query, values))

    def _write(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(statement, values)


def _fts5_is_built_in(connection: sqlite3.Connection) -> bool:
    options = connection.execute("PRAGMA compile_options")
    return any(row[0] == "ENABLE_FTS5" for row in options)


def _has_no_spaces_between_words(word: str) -> bool:
    """Chinese, Japanese, Korean and the like, which full text search would only find as whole sentences."""
    return any(ord(letter) >= 0x0E00 for letter in word)


def _utc(when: datetime) -> str:
    return when.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _record(row: sqlite3.Row) -> ImageRecord:
    fields = {name: row[name] for name in ImageRecord.model_fields if name != "request"}
    return ImageRecord.model_validate({**fields, "request": _request(row)})


def _request(row: sqlite3.Row) -> GenerateRequest:
    try:
        return GenerateRequest.model_validate_json(row["request"])
    except ValidationError:  # An Easel with another vocabulary wrote it: what everybody understands remains.
        return GenerateRequest(prompt=row["prompt"], negative_prompt=row["negative_prompt"], seed=row["seed"])


def _file(row: sqlite3.Row) -> IndexedFile:
    return IndexedFile(row["id"], row["path"], row["trash"], bool(row["missing"]))

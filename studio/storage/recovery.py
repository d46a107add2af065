"""Bringing the library's files and its index together again, after a crash or the loss of the index."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from threading import Event
from uuid import uuid4

from studio.core.errors import InvalidRequest
from studio.core.library import ImageId, ImageRecord
from studio.storage.database import Database
from studio.storage.files import ImageFiles
from studio.storage.importing import import_settings
from studio.storage.index import ImageIndex
from studio.storage.infotext import parse_infotext
from studio.storage.pictures import EmbeddedSettings, read_embedded
from studio.storage.provenance import Provenance, read_provenance

_log = logging.getLogger(__name__)


class Recovery:
    """Reads records back out of files.

    Args:
        max_pixels: larger pictures are left out.
        stop: once set, no further file is read.
    """

    def __init__(
        self, database: Database, index: ImageIndex, files: ImageFiles, max_pixels: int, stop: Event
    ) -> None:
        self._database = database
        self._index = index
        self._files = files
        self._max_pixels = max_pixels
        self._stop = stop

    def index_orphans(self) -> int:
        """Index the files that no record knows. Returns how many."""
        known = {file.path for file in self._index.files()}
        return sum(self._index_file(path) for path in self._files.found() if path not in known)

    def settle_all(self) -> None:
        """Finish deletions and their undoing; hide the records whose file is gone, until it is back."""
        gone: list[ImageId] = []
        back: list[ImageId] = []
        for file in self._index.files():
            is_there = self._files.settle(file)
            if file.trash is None and is_there == file.missing:
                (back if is_there else gone).append(file.id)
        self._index.set_missing(gone, True)
        self._index.set_missing(back, False)

    def purge_trash(self, deleted_before: datetime) -> None:
        """Delete for good what was moved to the trash before a time."""
        files = self._index.trashed_before(deleted_before)
        for file in files:
            self._files.destroy(file)
        self._index.forget(file.id for file in files)

    def _index_file(self, path: str) -> bool:
        if self._stop.is_set():
            return False
        record = read_record(self._files.output(path), self._max_pixels)
        if record is None:
            return False
        with self._database.transaction():
            # Another process may have indexed the file while it was read.
            self._index.forget_path(path)
            if self._index.knows(record.id):  # a copy of a file that the library has
                record = record.model_copy(update={"id": uuid4().hex})
            self._index.add(record, path)
        return True


def read_record(file: Path, max_pixels: int) -> ImageRecord | None:
    """The record of a picture, out of its own file; None where the file holds no picture or no settings."""
    data = file.read_bytes()
    try:
        embedded = read_embedded(data, max_pixels=max_pixels)
        provenance = read_provenance(embedded.easel) or _imported(embedded, file)
    except InvalidRequest as error:
        _log.warning("%s is not in the library: %s", file, error)
        return None
    record = provenance.record(embedded.extent.width, embedded.extent.height, len(data), embedded.media_type)
    return record.model_copy(update={"infotext": embedded.infotext or record.infotext})


def _imported(embedded: EmbeddedSettings, file: Path) -> Provenance:
    """A picture of another studio, as far as Easel understands it. Raises: InvalidRequest."""
    return Provenance(
        version="",
        created=datetime.fromtimestamp(file.stat().st_mtime).astimezone(),
        model=parse_infotext(embedded.infotext).fields.get("Model", ""),
        request=import_settings(embedded).request,
    )

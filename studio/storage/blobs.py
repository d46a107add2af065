"""Pictures that people hand in, kept under the hash of their bytes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from threading import Lock
from time import time

from studio.core.atomic import remove_leftovers, write_bytes
from studio.core.base import BlobId
from studio.core.errors import NotFound
from studio.storage.pictures import check_picture

_BLOB_ID = re.compile(r"[0-9a-f]{64}")

_RESOLUTION_SECONDS = 3600.0
"""How exactly the last use of a blob is known: reading one does not write to the disk each time."""


class BlobStore:
    """A folder of files named by their sha256, two levels deep. The same bytes are kept once.

    A file's time of modification is that of its last use, which is what `collect` goes by. Safe to use from
    any thread.

    Args:
        folder: made on first use.
        max_pixels: largest picture taken in.
    """

    def __init__(self, folder: Path, max_pixels: int) -> None:
        self._folder = folder
        self._max_pixels = max_pixels
        self._deleting = Lock()

    def put(self, data: bytes) -> BlobId:
        """Keep a picture's file as it is. Raises: ImageError, DiskFull."""
        check_picture(data, max_pixels=self._max_pixels)
        blob_id = hashlib.sha256(data).hexdigest()
        path = self._path(blob_id)
        with self._deleting:
            if path.is_file():
                _note_use(path)
                return blob_id
        write_bytes(path, data)
        return blob_id

    def get(self, blob_id: BlobId) -> bytes:
        """Raises: NotFound."""
        with self._deleting:
            if blob_id not in self:
                raise NotFound(f"There is no picture {blob_id[:64]!r} in the store.", "Upload it again.")
            _note_use(self._path(blob_id))
        return self._path(blob_id).read_bytes()

    def __contains__(self, blob_id: object) -> bool:
        if not isinstance(blob_id, str) or not _BLOB_ID.fullmatch(blob_id):
            return False
        return self._path(blob_id).is_file()

    def __iter__(self) -> Iterator[BlobId]:
        return (path.name for path in sorted(self._folder.glob("??/*")) if _BLOB_ID.fullmatch(path.name))

    def collect(self, keep: Collection[BlobId], min_age_seconds: float) -> int:
        """Delete the blobs outside of `keep` that nobody used for that long. Returns how many."""
        newest = time() - min_age_seconds
        unnamed = [self._path(blob_id) for blob_id in self if blob_id not in keep]
        return sum(self._delete_older(path, newest) for path in unnamed)

    def _delete_older(self, path: Path, newest: float) -> bool:
        with self._deleting:  # nobody finds a blob there and has it deleted the moment after
            is_old = path.is_file() and path.stat().st_mtime <= newest
            if is_old:
                path.unlink()
            return is_old

    def remove_leftovers(self) -> None:
        """Delete what writers that were killed left half done."""
        remove_leftovers(self._folder)

    def _path(self, blob_id: BlobId) -> Path:
        return self._folder / blob_id[:2] / blob_id


def _note_use(path: Path) -> None:
    if time() - path.stat().st_mtime > _RESOLUTION_SECONDS:
        os.utime(path)

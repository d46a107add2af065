"""Where the library's files lie: outputs by day, the trash beside them, thumbnails, exports."""

from __future__ import annotations

import errno
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from time import time
from uuid import uuid4

from studio.core.atomic import remove_leftovers, write_bytes, write_via
from studio.core.library import ImageId
from studio.core.settings import Settings
from studio.storage.index import IndexedFile
from studio.storage.pictures import encode_thumbnail, read_picture

EXPORT_DAYS = 1
"""How long a zip is kept for its download."""

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_NUMBERED = re.compile(r"(\d{5,})-")
_UNSAFE_IN_A_NAME = re.compile(r"[^\w. ()+-]")


class ImageFiles:
    """The folders of one studio. Paths that it takes and gives as text are relative to `outputs`.

    An image lies at the same relative path in `outputs` and, once deleted, in `trash`.
    """

    def __init__(self, settings: Settings) -> None:
        self.outputs = settings.outputs
        self._trash = settings.data_dir / "trash"
        self._thumbnails = settings.data_dir / "thumbnails"
        self._exports = settings.data_dir / "exports"

    def new_path(self, day: date, seed: int, suffix: str) -> str:
        """A free path for an image made on `day`: `2026-11-20/00007-<seed>.png`, counted from 00000."""
        folders = (self.outputs / day.isoformat(), self._trash / day.isoformat())
        names = (path.name for folder in folders if folder.is_dir() for path in folder.iterdir())
        numbers = (int(match[1]) for name in names if (match := _NUMBERED.match(name)))
        return f"{day.isoformat()}/{max(numbers, default=-1) + 1:05d}-{seed}{suffix}"

    def output(self, path: str) -> Path:
        """Where a file lies, from its path in the index."""
        return self.outputs / path

    def found(self) -> Iterator[str]:
        """Every picture below `outputs`, oldest path first. Links are not followed."""
        for path in sorted(self.outputs.rglob("*")):
            is_picture = path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
            if is_picture and path.is_file() and not path.is_symlink():
                yield path.relative_to(self.outputs).as_posix()

    def settle(self, file: IndexedFile) -> bool:
        """Move a file to where the index says it lies. Returns whether it is there now."""
        places = (self._trash / file.path, self.outputs / file.path)
        place, other = places if file.trash else reversed(places)
        if not place.is_file() and other.is_file():
            with suppress(FileNotFoundError):  # another thread was faster
                _move(other, place)
        return place.is_file()

    def destroy(self, file: IndexedFile) -> None:
        """Delete an image of the trash for good."""
        (self._trash / file.path).unlink(missing_ok=True)
        self._thumbnail(file.id).unlink(missing_ok=True)

    def thumbnail(self, image_id: ImageId, path: str, max_pixels: int) -> Path:
        """The image's WebP of at most 256 px a side, made now where it is missing."""
        thumbnail = self._thumbnail(image_id)
        if not thumbnail.is_file():
            picture = read_picture(self.output(path).read_bytes(), max_pixels=max_pixels, keep_alpha=True)
            write_bytes(thumbnail, encode_thumbnail(picture))
        return thumbnail

    def export(self, paths: Sequence[str]) -> Path:
        """A zip of the files as they are, under names that are safe on every system. Raises: DiskFull."""
        self._purge_exports()
        name = f"easel-{datetime.now():%Y%m%d-%H%M%S}-{uuid4().hex[:8]}.zip"
        # Stored, not deflated: pictures are compressed already.
        with write_via(self._exports / name) as part, zipfile.ZipFile(part, "w") as archive:
            for entry, path in zip(_unique_names(paths), paths, strict=True):
                archive.write(self.output(path), entry)
        return self._exports / name

    def remove_leftovers(self) -> None:
        """Delete what writers that were killed left half done."""
        for folder in (self.outputs, self._trash, self._thumbnails, self._exports):
            remove_leftovers(folder)

    def _purge_exports(self) -> None:
        oldest = time() - EXPORT_DAYS * 86_400
        for export in self._exports.glob("easel-*.zip"):
            if export.stat().st_mtime < oldest:
                export.unlink(missing_ok=True)

    def _thumbnail(self, image_id: ImageId) -> Path:
        return self._thumbnails / image_id[:2] / f"{image_id}.webp"


def suffix_of(media_type: str) -> str:
    """The file ending for a media type: `.png`, `.jpg` or `.webp`."""
    return {"image/jpeg": ".jpg"}.get(media_type, f".{media_type.removeprefix('image/')}")


def _unique_names(paths: Sequence[str]) -> Iterator[str]:
    """Flat names for the entries of an archive: `2026-11-20_00007-1.png`, never a path, never one twice."""
    taken: set[str] = set()
    for path in paths:
        name = _UNSAFE_IN_A_NAME.sub("_", path).lstrip(".")
        while name.lower() in taken:
            name = f"_{name}"
        taken.add(name.lower())
        yield name


def _move(source: Path, target: Path) -> None:
    """Rename, or copy and delete where the two lie on different disks."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with write_via(target) as temporary:
            shutil.copy2(source, temporary)
        source.unlink()

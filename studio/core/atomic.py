"""Files and folders that are either whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

import psutil

from studio.core.errors import DiskFull

_PART, _PARTIAL = ".part", ".partial"
_UNFINISHED = re.compile(rf"\.(?P<pid>\d+)-\w+(?:{_PART}|{_PARTIAL})")
"""Names of the temporary files and folders: whose they are, and nothing that another program would write."""

_NO_SPACE = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_NO_SUCH_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP})
"""What some shared folders say when a folder, not a file, is to be synced."""


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` at `path`, replacing what is there. A reader sees the old file or the new one, never half.

    Raises: DiskFull; OSError for anything else that a disk may say.
    """
    with write_via(path) as temporary, temporary.open("xb") as file:
        file.write(data)


@contextmanager
def write_via(path: Path) -> Iterator[Path]:
    """Lend a temporary path in `path`'s own folder; what was written there becomes `path` at the end.

    Where the block fails, nothing is left behind and `path` stays as it was.

    Raises: DiskFull; OSError for anything else that a disk may say.
    """
    temporary = _beside(path, _PART)
    try:
        with disk_full_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def write_folder_via(path: Path) -> Iterator[Path]:
    """The same for a folder, which must not exist yet.

    Raises: DiskFull; OSError for anything else that a disk may say.
    """
    temporary = _beside(path, _PARTIAL)
    try:
        with disk_full_explained(path):
            temporary.mkdir(parents=True)
            yield temporary
            for file in filter(Path.is_file, temporary.rglob("*")):
                with file.open("rb+") as written:
                    os.fsync(written.fileno())
            temporary.rename(path)
    finally:
        rmtree(temporary, ignore_errors=True)
    _sync_folder(path.parent)


@contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn the disk's "no space left" into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise DiskFull(
            f"There is no room left on the disk to write {path.name} into {path.parent}.",
            "Free some space (old pictures and models take the most), then try again.",
        ) from error


def remove_leftovers(folder: Path, *, deep: bool = True) -> int:
    """Delete what writers that were killed left half done in `folder`. Returns how much there was.

    Args:
        deep: in all the folders below it, too.
    """
    found = folder.rglob(".*") if deep else folder.glob(".*")
    leftovers = [part for part in found if _is_leftover(part)]
    for part in leftovers:
        if part.is_dir():
            rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
    return len(leftovers)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{os.getpid()}-{uuid4().hex}{suffix}")


def _is_leftover(part: Path) -> bool:
    """Whether the process in the name is gone: none of its number runs, or it began after the last change."""
    match = _UNFINISHED.fullmatch(part.name)
    if match is None:
        return False
    try:
        return bool(psutil.Process(int(match["pid"])).create_time() > part.stat().st_mtime)
    except (OverflowError, ValueError, OSError, psutil.Error):
        return True


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can (Windows opens no folders)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SUCH_SYNC:
            raise
    finally:
        os.close(descriptor)

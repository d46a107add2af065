"""Copying model files: checked for room first, published whole or not at all."""

from __future__ import annotations

import errno
import re
import shutil
import time
from pathlib import Path

from studio.core.errors import DiskFull, ResourceError
from studio.models.cache import stamp

_ABANDONED_AFTER = 3600
"""Seconds without a change after which nobody is writing a copy any more."""

RESERVE_BYTES = 256 * 2**20
"""Disk space that stays free beside any model."""


def require_space(folder: Path, needed: int) -> None:
    """Raises: DiskFull."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed + RESERVE_BYTES > free:
        raise DiskFull(
            f"It needs {_gigabytes(needed)} of disk space in {folder}, but {_gigabytes(free)} is free.",
            "Free some space, or start Easel with another --data-dir.",
        )


def copy_into(folder: Path, source: Path, name: str = "") -> Path:
    """Copy a model file or folder into `folder` and return its new path.

    Args:
        name: what to call it, with or without its suffix; what cannot be part of a file name is replaced.

    Raises: DiskFull, ResourceError.
    """
    require_space(folder, stamp(source)[0])
    target = free_name(folder, safe_name(name or source.name), "" if source.is_dir() else source.suffix)
    part = target.with_name(f".{target.name}.part")
    try:
        if source.is_dir():
            shutil.copytree(source, part)
        else:
            shutil.copyfile(source, part)
        part.replace(target)
    except OSError as error:
        discard(part)
        raise storage_error(error, folder) from error
    return target


def discard_leftovers(folder: Path) -> None:
    """Remove what copies that were killed left in the folders of `folder`."""
    for part in folder.glob("*/.*.part"):
        if time.time() - part.stat().st_mtime > _ABANDONED_AFTER:
            discard(part)


def discard(path: Path) -> None:
    """Remove an unfinished file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def storage_error(error: OSError, folder: Path) -> ResourceError:
    """What an `OSError` while writing into `folder` means to a person."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return DiskFull(f"The disk of {folder} is full.", "Free some space and try again.")
    return ResourceError(
        f"{folder} cannot be written to: {error.strerror or error}.", "Check its permissions."
    )


def safe_name(name: str) -> str:
    """A file name from any text: no separators, no leading dots, at most 120 characters."""
    cleaned = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(". ")
    return cleaned[-120:] or "model"


def free_name(folder: Path, name: str, suffix: str) -> Path:
    """`folder/name`, or `name (2)`, ... where that exists; `suffix` is added unless it is there."""
    stem = name.removesuffix(suffix) if suffix else name
    target, number = folder / f"{stem}{suffix}", 2
    while target.exists():
        target, number = folder / f"{stem} ({number}){suffix}", number + 1
    return target


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.2f} GB"

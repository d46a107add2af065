"""Copying model files: checked for room first, published whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.core.atomic import disk_full_explained, write_folder_via, write_via
from studio.core.errors import DiskFull, ResourceError
from studio.models.cache import stamp

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
    with disk_explained(target):
        if source.is_dir():
            with write_folder_via(target) as part:
                _copy_folder(source, part)
        else:
            with write_via(target) as part:
                shutil.copyfile(source, part)
    return target


def _copy_folder(source: Path, target: Path) -> None:
    """Links are followed. Ends at the first thing that fails, where `shutil.copytree` would go on."""
    target.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.is_dir():
            _copy_folder(entry, target / entry.name)
        else:
            shutil.copyfile(entry, target / entry.name)


def discard(path: Path) -> None:
    """Remove an unfinished file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def disk_explained(path: Path) -> Iterator[None]:
    """Turn what the disk says while `path` is written into a sentence. Raises: DiskFull, ResourceError."""
    try:
        with disk_full_explained(path):
            yield
    except OSError as error:
        raise ResourceError(
            f"{path.parent} cannot be written to: {error.strerror or error}.", "Check its permissions."
        ) from error


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

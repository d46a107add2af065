"""A studio for the length of one command. One process at a time works on a data folder's queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from studio.core.errors import EaselError
from studio.core.settings import Settings

if TYPE_CHECKING:
    from studio.app.studio import LocalStudio


@contextmanager
def open_studio(settings: Settings, *, resume: bool = False) -> Iterator[LocalStudio]:
    """A studio, not started yet, in a data folder that no other process works in. Closed at the end.

    Args:
        resume: go on with the jobs that an earlier run left waiting, as a server does. A command does its own
            job alone, and ends with it.

    Raises: EaselError when another Easel is at work there, or the folder cannot be made.
    """
    from studio.app.studio import build_studio

    with _claimed(settings):
        studio = build_studio(settings, resume=resume)
        try:
            yield studio
        finally:
            studio.close()


@contextmanager
def _claimed(settings: Settings) -> Iterator[None]:
    """Hold the folder's lock: a second queue over the same jobs would take the first one's for dead."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(settings.data_dir / "easel.lock").acquire(timeout=0)
    except Timeout as error:
        raise EaselError(
            f"Another Easel is at work in {settings.data_dir}.",
            "Use its page, end it first, or choose another folder with --data-dir.",
        ) from error
    except OSError as error:
        raise EaselError(
            f"Easel keeps its pictures in {settings.data_dir}, and cannot write there: {error.strerror}.",
            "Choose another folder with --data-dir.",
        ) from error
    with lock:
        yield

"""A disk that fails, or a process that dies, at the n-th thing it writes."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from studio.storage.database import Database
from studio.storage.index import ImageIndex


def no_space_left() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Fault:
    """Calls `happen` at the n-th disk operation, counted from 1."""

    def __init__(self, nth: int, happen: Callable[[], None]) -> None:
        self.nth, self.happen, self.count = nth, happen, 0

    @property
    def came(self) -> bool:
        return self.count >= self.nth

    def tick(self) -> None:
        self.count += 1
        if self.count == self.nth:
            self.happen()


class HalfWriter:
    """A file that writes half of what it is given, then ticks, then the rest."""

    def __init__(self, file, fault: Fault) -> None:
        self._file, self._fault = file, fault

    def write(self, data: bytes) -> int:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._fault.tick()
        return self._file.write(data[len(data) // 2 :])

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self._file.close()

    def __getattr__(self, name: str):
        return getattr(self._file, name)


@contextmanager
def faulty_disk(fault: Fault, *, around_index: bool = False) -> Iterator[Fault]:
    """Tick before every creation, in the middle of every write, before every sync and every rename.

    Args:
        around_index: tick as well before and after an image is indexed, and after the commit.
    """
    real_open, real_replace, real_fsync, real_add = Path.open, Path.replace, os.fsync, ImageIndex.add
    real_transaction = Database.transaction

    def open_(path, mode="r", *rest, **options):
        if "x" not in mode:
            return real_open(path, mode, *rest, **options)
        fault.tick()
        return HalfWriter(real_open(path, mode, *rest, **options), fault)

    def replace(path, target):
        fault.tick()
        return real_replace(path, target)

    def fsync(descriptor):
        fault.tick()
        return real_fsync(descriptor)

    def add(index, *facts):
        fault.tick()
        real_add(index, *facts)
        fault.tick()

    @contextmanager
    def transaction(database):
        with real_transaction(database) as connection:
            yield connection
        fault.tick()

    with ExitStack() as stack:
        stack.enter_context(patch.object(Path, "open", open_))
        stack.enter_context(patch.object(Path, "replace", replace))
        stack.enter_context(patch.object(os, "fsync", fsync))
        if around_index:
            stack.enter_context(patch.object(ImageIndex, "add", add))
            stack.enter_context(patch.object(Database, "transaction", transaction))
        yield fault

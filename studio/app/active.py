"""A job that waits or runs: what the queue holds of it, and what its runner may do with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from studio.core.base import BlobId
from studio.core.errors import JobCancelled
from studio.core.events import Event, Preview, Progress
from studio.core.jobs import JobView
from studio.core.library import ImageId


@dataclass(eq=False)
class ActiveJob:
    """A job that waits or runs, or ended since the start: its view, and what is only held in memory."""

    view: JobView
    durable: list[Event] = field(default_factory=list)
    passing: dict[str, Event] = field(default_factory=dict)
    """The newest event of each type of which only the newest matters."""
    last_number: int = 0
    cancel: threading.Event = field(default_factory=threading.Event)
    under_way_since: float | None = None
    """On the clock of `time.monotonic`; None before the first step."""

    @property
    def progress(self) -> Progress | None:
        progress = self.passing.get("progress")
        return progress if isinstance(progress, Progress) else None

    @property
    def preview(self) -> Preview | None:
        preview = self.passing.get("preview")
        return preview if isinstance(preview, Preview) else None

    @property
    def seconds_left(self) -> float | None:
        """Until a running job is done, by its own progress."""
        return self.progress.seconds_left if self.progress else None

    @property
    def seconds_under_way(self) -> float | None:
        """Since the first step."""
        return None if self.under_way_since is None else time.monotonic() - self.under_way_since

    def newer_than(self, number: int) -> list[Event]:
        """Events with a higher number, in their order."""
        events = (*self.durable, *self.passing.values())
        return sorted((e for e in events if e.number > number), key=lambda event: event.number)

    def keep(self, image: ImageId) -> None:
        """An image is in the library, whatever becomes of the job."""
        self.view = self.view.model_copy(update={"images": (*self.view.images, image)})

    def begin(self) -> None:
        """The first step is done; further calls change nothing."""
        self.under_way_since = self.under_way_since or time.monotonic()


@dataclass(frozen=True)
class Made:
    """What a finished job leaves behind."""

    images: tuple[ImageId, ...] = ()
    """Beside those that were kept while it ran."""
    blobs: tuple[BlobId, ...] = ()


@dataclass(frozen=True)
class JobContext:
    """What a runner may do with its job: tell of it, and ask whether it is still wanted."""

    emit: Callable[[Event], None]
    cancelled: Callable[[], bool]
    keep: Callable[[ImageId], None]
    """Tells of an image that is in the library: the job has made it, however it ends."""
    under_way: Callable[[], None]
    """Tells that the first step is done. What came before (torch, the model) is no measure of other jobs."""

    def check(self) -> None:
        """Raises: JobCancelled."""
        if self.cancelled():
            raise JobCancelled

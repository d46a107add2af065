"""The queue as others see it."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from studio.core.base import BlobId, Record, StrEnum
from studio.core.events import Failed, Progress
from studio.core.requests import JobRequest


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The program ended while the job ran; it can be retried."""


ENDED = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED})


class JobView(Record):
    id: str
    state: JobState
    request: JobRequest = Field(description="complete: model and seed are filled in")
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    position: int | None = Field(None, description="jobs ahead; None unless queued")
    seconds_left: float | None = Field(None, description="until this job ends; None where unknown")
    progress: Progress | None = None
    images: tuple[str, ...] = Field(
        (), description="ids of the pictures that are finished, in order; they stay however the job ends"
    )
    blobs: tuple[BlobId, ...] = Field(
        (),
        description="stored pictures outside of the library: control maps, one for each control that is on",
    )
    failure: Failed | None = None
    notes: tuple[str, ...] = Field(
        (), description="what its log tells, as sentences: what had no effect, ..."
    )
    dismissed: bool = Field(False, description="an ended job that nobody wants to see in the queue any more")

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

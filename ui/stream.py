"""From the queue to the page: which job a browser looks at, and what there is to see of it right now.

The page asks a few times a second and always gets the whole truth, so a reload, a laptop that slept or a lost
connection need no special care: the next look shows what is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydantic import Field, ValidationError

from studio.core.base import Record
from studio.core.errors import NotFound
from studio.core.jobs import JobState, JobView
from studio.core.library import ImageRecord
from studio.core.protocol import Studio
from studio.core.requests import GenerateRequest, InstallRequest

FAST, SLOW = 0.25, 2.0
"""Seconds between two looks: while something runs, and otherwise."""

_ACTIVE = frozenset({JobState.QUEUED, JobState.RUNNING})
_UNDONE = frozenset({JobState.FAILED, JobState.INTERRUPTED})
"""Ended without what was asked for, though nobody wanted that."""

_REMEMBERED_JOBS = 30
_RECENT_IMAGES = 24


class Session(Record):
    """What one browser remembers, kept in its local storage."""

    jobs: tuple[str, ...] = Field((), description="ids of the generations started here, newest last")

    @classmethod
    def read(cls, stored: Any) -> Session:
        """The session in `stored`; an empty one where a browser brings nothing or nonsense."""
        with suppress(ValidationError):
            return cls.model_validate(stored or {})
        return cls()

    def with_job(self, job_id: str) -> Session:
        return Session(jobs=(*self.jobs, job_id)[-_REMEMBERED_JOBS:])


@dataclass(frozen=True)
class JobSight:
    """One browser's view of its work."""

    job: JobView | None
    """The one that runs, else the next that waits, else the last that ended."""
    preview: str
    """base64 of a JPEG; empty unless the job runs and has shown something."""
    images: tuple[ImageRecord, ...]
    """What the session's jobs have made, those included that were stopped or dismissed, newest first."""
    waiting: int
    """The session's jobs that wait."""

    @property
    def active(self) -> bool:
        return self.job is not None and not self.job.is_over


def look(studio: Studio, session: Session) -> JobSight:
    """What there is to see of the session's jobs."""
    known = _known_jobs(studio, session)
    jobs = _in_sight(known)
    job = focus(jobs)
    preview = studio.preview(job.id) if job and job.state is JobState.RUNNING else None
    return JobSight(
        job=job,
        preview=preview.jpeg if preview else "",
        images=_recent_images(studio, known),
        waiting=sum(view.state is JobState.QUEUED for view in jobs),
    )


def own_jobs(studio: Studio, session: Session) -> tuple[JobView, ...]:
    """The session's jobs that the studio still knows and nobody dismissed, oldest first."""
    return _in_sight(_known_jobs(studio, session))


def _known_jobs(studio: Studio, session: Session) -> tuple[JobView, ...]:
    views = []
    for job_id in session.jobs:
        with suppress(NotFound):
            views.append(studio.job(job_id))
    return tuple(views)


def _in_sight(jobs: Sequence[JobView]) -> tuple[JobView, ...]:
    return tuple(view for view in jobs if not view.dismissed)


def focus(jobs: Sequence[JobView]) -> JobView | None:
    """The job to look at: the one that runs, else the next that waits, else the last that ended."""
    running = [job for job in jobs if job.state is JobState.RUNNING]
    waiting = [job for job in jobs if job.state is JobState.QUEUED]
    return next(iter((*running, *waiting, *reversed(jobs))), None)


def current_job(studio: Studio, session: Session) -> JobView | None:
    """The session's running or next waiting job: the one that cancelling means."""
    job = focus(own_jobs(studio, session))
    return job if job and job.state in _ACTIVE else None


def _recent_images(studio: Studio, jobs: Sequence[JobView]) -> tuple[ImageRecord, ...]:
    images: list[ImageRecord] = []
    for job in reversed(jobs):
        for image_id in job.images[: _RECENT_IMAGES - len(images)]:
            with suppress(NotFound):
                images.append(studio.image(image_id))
    return tuple(images)


def downloads(studio: Studio) -> tuple[JobView, ...]:
    """The newest job of each repository that is being installed, or whose installation stopped."""
    newest: dict[InstallRequest, JobView] = {}
    for job in studio.jobs():
        if isinstance(job.request, InstallRequest):
            known = newest.get(job.request)
            if known is None or job.created > known.created:
                newest[job.request] = job
    return tuple(job for job in newest.values() if job.state is not JobState.FINISHED and not job.dismissed)


def queue_of(studio: Studio) -> tuple[JobView, ...]:
    """What runs or waits; what failed or was interrupted stays until it is tried again or dismissed."""
    jobs = [job for job in studio.jobs() if isinstance(job.request, GenerateRequest)]
    return tuple(job for job in jobs if job.state in _ACTIVE or _is_left_undone(job, jobs))


def _is_left_undone(job: JobView, jobs: Sequence[JobView]) -> bool:
    """A job that was retried is followed by one with the same request, its seeds included."""
    tried_again = any(other.request == job.request and other.created > job.created for other in jobs)
    return job.state in _UNDONE and not job.dismissed and not tried_again


def interval(studio: Studio) -> float:
    """Seconds until the page should look again."""
    busy = any(job.state in _ACTIVE for job in studio.jobs(limit=1))
    return FAST if busy or not studio.status().ready else SLOW


@dataclass(frozen=True)
class LivePart:
    """A part of the page that follows the studio: sent only when it has changed."""

    name: str
    component: Any
    render: Callable[[Session], Any]


def changed_parts(
    parts: Sequence[LivePart], session: Session, seen: Any
) -> tuple[dict[Any, Any], dict[str, str]]:
    """Updates of the parts that differ from what the page has `seen`, and what it has seen then."""
    known = seen if isinstance(seen, dict) else {}
    updates: dict[Any, Any] = {}
    marks: dict[str, str] = {}
    for part in parts:
        update = part.render(session)
        marks[part.name] = sha256(repr(update).encode()).hexdigest()[:16]
        if known.get(part.name) != marks[part.name]:
            updates[part.component] = update
    return updates, marks

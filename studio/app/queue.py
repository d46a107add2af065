"""The one durable queue. Jobs go in from any thread; one worker a lane takes them out, in order."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from studio.app.active import ActiveJob, JobContext, Made
from studio.app.estimate import Estimate
from studio.app.lanes import Lane, Lanes, lane_of
from studio.core.base import BlobId
from studio.core.errors import DiskFull, InvalidRequest, NotFound, QueueFull
from studio.core.events import (
    TERMINAL,
    Cancelled,
    Event,
    Failed,
    Finished,
    Log,
    Preview,
    Progress,
    Queued,
    Started,
)
from studio.core.jobs import JobState, JobView
from studio.core.library import ImageId
from studio.core.requests import JobRequest
from studio.core.settings import Settings
from studio.storage.jobs import JobStore, now

_log = logging.getLogger(__name__)

_PASSING = (Queued, Progress, Preview)

_INTERRUPTED = Failed(
    error="Interrupted",
    message="Easel was closed while this job was running. Retry it to start it again.",
    remedy="Retry it to start it again.",
)


class JobQueue:
    """Implements `studio.core.protocol.Jobs` over a `JobStore`.

    Of positions, progress and previews only the newest is kept, in memory; other events are on disk before
    anyone hears of them. One lock guards all of it; nobody computes while holding it.

    Args:
        made_by: the images that a job of an earlier run has left in the library.
        resume: go on with the jobs that wait from an earlier run. Otherwise they are left to a later one.
    """

    def __init__(
        self,
        store: JobStore,
        settings: Settings,
        made_by: Callable[[str], Sequence[ImageId]] = lambda _: (),
        *,
        resume: bool = True,
    ) -> None:
        self._store = store
        self._made_by = made_by
        self._limit = settings.max_queue
        self._changed = threading.Condition(threading.RLock())
        self._jobs: dict[str, ActiveJob] = {}
        self._lanes = Lanes()
        self._estimate = Estimate(store.paces())
        self._closing = False
        self._unwritten: dict[str, tuple[Event, float | None]] = {}
        """Changes that the disk had no room for, by job: the newest event, and a finished job's pace."""
        self._killed: list[str] = []
        """Jobs that ran when an earlier run was ended from outside."""
        with self._changed:
            self._take_over(resume)

    # -- for those who ask --------------------------------------------------------------------------

    def submit(self, request: JobRequest, *, job_id: str | None = None) -> JobView:
        with self._changed:
            if self.waiting >= self._limit:
                raise QueueFull(
                    f"The queue holds {self._limit} waiting jobs, which is all it takes.",
                    "Wait for some to finish, or cancel some.",
                )
            view = JobView(
                id=job_id or secrets.token_hex(8), state=JobState.QUEUED, request=request, created=now()
            )
            try:
                self._store.add(view)
            except sqlite3.IntegrityError as error:
                raise InvalidRequest(f"There is already a job {view.id}.", field="job_id") from error
            self._jobs[view.id] = active = ActiveJob(view)
            self._lanes.append(active)
            self._tell(active, Queued(position=self._lanes.position(active)))
            return self.job(view.id)

    def job(self, job_id: str) -> JobView:
        with self._changed:
            active = self._jobs.get(job_id)
            view = self._with_outlook(active) if active else self._store.find(job_id)
        if view is None:
            raise NotFound(f"There is no job {job_id}.")
        return view

    def jobs(self, limit: int = 50) -> tuple[JobView, ...]:
        with self._changed:
            unfinished = [self._with_outlook(job) for job in (*self._lanes.running, *self._lanes.waiting)]
            untold = [view for view in map(self.job, reversed(self._unwritten)) if view.is_over]
            ended = self._store.ended(limit)
        return (*unfinished, *untold, *ended)[:limit]

    def events(self, job_id: str, after: int = 0, timeout: float | None = None) -> Iterator[Event]:
        deadline = None if timeout is None else time.monotonic() + timeout
        feed = self._feed(job_id)
        while True:
            with self._changed:
                fresh = feed.newer_than(after)
                if not fresh and (feed.view.is_over or not self._wait(deadline)):
                    return
            for event in fresh:
                after = event.number
                yield event
                if isinstance(event, TERMINAL):
                    return

    def preview(self, job_id: str) -> Preview | None:
        with self._changed:
            active = self._jobs.get(job_id)
            return active.preview if active else None

    def cancel(self, job_id: str) -> JobView:
        with self._changed:
            active = self._jobs.get(job_id)
            if active and active.view.state is JobState.QUEUED:
                self._end(active, JobState.CANCELLED, Cancelled())
                self._tell_positions(lane_of(active.view.request))
            elif active and active.view.state is JobState.RUNNING:
                active.cancel.set()
            return self.job(job_id)

    def retry(self, job_id: str) -> JobView:
        return self.submit(self.job(job_id).request)

    def set_dismissed(self, job_id: str, dismissed: bool) -> JobView:
        with self._changed:
            if not self.job(job_id).is_over:
                raise InvalidRequest("This job has not ended yet.", "Cancel it first.", field="dismissed")
            self._store.set_dismissed(job_id, dismissed)
            if active := self._jobs.get(job_id):
                active.view = active.view.model_copy(update={"dismissed": dismissed})
            return self.job(job_id)

    @property
    def blobs(self) -> frozenset[BlobId]:
        """The pictures that jobs need which wait, run, or were interrupted and may be tried again."""
        return self._store.blobs()

    @property
    def waiting(self) -> int:
        """Jobs that wait in all lanes."""
        with self._changed:
            return len(self._lanes.waiting)

    # -- for the workers ----------------------------------------------------------------------------

    def take(self, lane: Lane) -> tuple[JobView, JobContext] | None:
        """The next job of a lane, now running. Waits for one; None once the queue is closing."""
        with self._changed:
            while not self._lanes.waiting_in(lane) and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            active = self._lanes.start(lane)
            self._change(active, Started(), state=JobState.RUNNING, started=now())
            self._tell_positions(lane)
            return active.view, self._context(active)

    def finish(self, job_id: str, made: Made) -> None:
        """The runner is done. How long it was under way is remembered for the time left of others."""
        with self._changed:
            active = self._jobs[job_id]
            seconds = (now() - (active.view.started or active.view.created)).total_seconds()
            if active.seconds_under_way is not None:
                self._estimate.learn(active.view.request, active.seconds_under_way)
            images = (*active.view.images, *made.images)
            finished = Finished(images=images, blobs=made.blobs, seconds=seconds)
            self._end(active, JobState.FINISHED, finished, images=images, blobs=made.blobs)

    def fail(self, job_id: str, failure: Failed) -> None:
        """The runner gave up the job because of an error."""
        with self._changed:
            self._end(self._jobs[job_id], JobState.FAILED, failure)

    def stopped(self, job_id: str) -> None:
        """The runner gave up the job because it was cancelled, or because the program ends."""
        with self._changed:
            active = self._jobs[job_id]
            if self._closing:
                self._interrupt(active, active.view.images)
            else:
                self._end(active, JobState.CANCELLED, Cancelled())

    def close(self) -> None:
        """Let no worker take another job, and ask the running ones to stop."""
        with self._changed:
            self._closing = True
            for active in self._lanes.running:
                active.cancel.set()
            self._changed.notify_all()

    def find_again(self) -> None:
        """Give the jobs that were killed the images that the library has found meanwhile."""
        with self._changed:
            for active in map(self._jobs.__getitem__, self._killed):
                images = tuple(self._made_by(active.view.id))
                if images != active.view.images:
                    active.view = active.view.model_copy(update={"images": images})
                    self._store.update(active.view)

    # -- inside -------------------------------------------------------------------------------------

    def _take_over(self, resume: bool) -> None:
        """Go on where the last run stopped: waiting jobs wait on, running ones were interrupted."""
        for view in self._store.unfinished():
            if view.state is JobState.QUEUED and not resume:
                continue
            durable = self._store.events(view.id)
            last = max((event.number for event in durable), default=0)
            self._jobs[view.id] = active = ActiveJob(view, durable, last_number=last)
            if view.state is JobState.RUNNING:
                self._killed.append(view.id)
                self._interrupt(active, tuple(self._made_by(view.id)))
            else:
                self._lanes.append(active)

    def _interrupt(self, active: ActiveJob, images: tuple[ImageId, ...]) -> None:
        self._end(active, JobState.INTERRUPTED, _INTERRUPTED, images=images)

    def _context(self, active: ActiveJob) -> JobContext:
        return JobContext(
            emit=partial(self._tell, active),
            cancelled=active.cancel.is_set,
            keep=partial(self._keep, active),
            under_way=active.begin,
        )

    def _keep(self, active: ActiveJob, image: ImageId) -> None:
        with self._changed:
            active.keep(image)

    def _tell(self, active: ActiveJob, event: Event) -> None:
        """Number an event, keep it, and wake everyone who waits for one."""
        with self._changed:
            numbered = self._number(active, event)
            if isinstance(numbered, _PASSING):
                active.passing[numbered.type] = numbered
            else:
                self._store.add_event(active.view.id, numbered)
                active.durable.append(numbered)
                if isinstance(numbered, Log):
                    notes = (*active.view.notes, numbered.message)
                    active.view = active.view.model_copy(update={"notes": notes})
            self._changed.notify_all()

    def _change(self, active: ActiveJob, event: Event, **fields: object) -> None:
        """A change of state and the event that tells of it: both on disk, or neither.

        A full disk does not stop the queue: the change is then written with a later one, once there is room.
        """
        numbered = self._number(active, event)
        if isinstance(numbered, Failed):
            fields["failure"] = numbered
        active.view = active.view.model_copy(update=fields)
        pace = active.seconds_under_way if isinstance(event, Finished) else None
        self._unwritten[active.view.id] = (numbered, pace)
        self._write()
        active.durable.append(numbered)
        self._changed.notify_all()

    def _write(self) -> None:
        for job_id, (event, pace) in tuple(self._unwritten.items()):
            try:
                self._store.update(self._jobs[job_id].view, event, pace)
            except DiskFull as error:
                _log.warning("Job %s: %s", job_id, error)
                return
            del self._unwritten[job_id]

    def _end(self, active: ActiveJob, state: JobState, event: Event, **fields: object) -> None:
        self._lanes.leave(active)
        active.passing.clear()
        self._change(active, event, state=state, ended=now(), **fields)

    def _number(self, active: ActiveJob, event: Event) -> Event:
        active.last_number += 1
        return event.model_copy(update={"number": active.last_number})

    def _tell_positions(self, lane: Lane) -> None:
        for active in self._lanes.waiting_in(lane):
            self._tell(active, Queued(position=self._lanes.position(active)))

    def _feed(self, job_id: str) -> ActiveJob:
        with self._changed:
            if job_id in self._jobs:
                return self._jobs[job_id]
        return ActiveJob(self.job(job_id), self._store.events(job_id))

    def _wait(self, deadline: float | None) -> bool:
        """Wait for any change. False once the deadline has passed."""
        left = None if deadline is None else deadline - time.monotonic()
        return (left is None or left > 0) and self._changed.wait(left)

    def _with_outlook(self, active: ActiveJob) -> JobView:
        """The view with what only holds now: position, progress and the time left."""
        view = active.view
        if view.is_over:
            return view
        if view.state is JobState.RUNNING:
            update = {"progress": active.progress, "seconds_left": active.seconds_left}
        else:
            left = self._lanes.seconds_left(active, self._estimate)
            update = {"position": self._lanes.position(active), "seconds_left": left}
        return view.model_copy(update=update)

"""Who runs and who waits, lane by lane, and how long the wait will be."""

from __future__ import annotations

from typing import Literal

from studio.app.active import ActiveJob
from studio.app.estimate import Estimate
from studio.core.requests import InstallRequest, JobRequest

Lane = Literal["gpu", "io"]


def lane_of(request: JobRequest) -> Lane:
    """Downloads do not wait for pictures, nor pictures for downloads."""
    return "io" if isinstance(request, InstallRequest) else "gpu"


class Lanes:
    """In each lane one job runs and the others wait in order. The queue's lock guards it."""

    def __init__(self) -> None:
        self._waiting: dict[Lane, list[ActiveJob]] = {"gpu": [], "io": []}
        self._running: dict[Lane, ActiveJob | None] = {"gpu": None, "io": None}

    @property
    def running(self) -> list[ActiveJob]:
        return [job for job in self._running.values() if job]

    @property
    def waiting(self) -> list[ActiveJob]:
        return [job for jobs in self._waiting.values() for job in jobs]

    def waiting_in(self, lane: Lane) -> tuple[ActiveJob, ...]:
        return tuple(self._waiting[lane])

    def append(self, job: ActiveJob) -> None:
        self._waiting[lane_of(job.view.request)].append(job)

    def start(self, lane: Lane) -> ActiveJob:
        """The job that has waited longest runs from now on."""
        self._running[lane] = job = self._waiting[lane].pop(0)
        return job

    def leave(self, job: ActiveJob) -> None:
        """The job neither waits nor runs any more."""
        lane = lane_of(job.view.request)
        if job in self._waiting[lane]:
            self._waiting[lane].remove(job)
        if self._running[lane] is job:
            self._running[lane] = None

    def position(self, job: ActiveJob) -> int:
        """Jobs ahead of a waiting one."""
        lane = lane_of(job.view.request)
        return self._waiting[lane].index(job) + (self._running[lane] is not None)

    def seconds_left(self, job: ActiveJob, estimate: Estimate) -> float | None:
        """What the running job still needs, those ahead, and this one; None where one of them is unknown."""
        lane = lane_of(job.view.request)
        waiting = self._waiting[lane]
        estimates = [estimate.seconds(each.view.request) for each in waiting[: waiting.index(job) + 1]]
        if running := self._running[lane]:
            left = running.seconds_left
            estimates.append(estimate.seconds(running.view.request) if left is None else left)
        known = [seconds for seconds in estimates if seconds is not None]
        return sum(known) if len(known) == len(estimates) else None

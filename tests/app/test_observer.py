"""What a job's observer makes of the steps of the loop."""

from __future__ import annotations

import pytest

from studio.app.active import ActiveJob, JobContext
from studio.app.observer import JobObserver
from studio.core.events import Event, Progress
from studio.core.jobs import JobState, JobView
from studio.core.requests import GenerateRequest
from studio.storage.jobs import now


@pytest.fixture
def active() -> ActiveJob:
    return ActiveJob(JobView(id="a", state=JobState.RUNNING, request=GenerateRequest(), created=now()))


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def observer(active: ActiveJob, told: list[Event]) -> JobObserver:
    context = JobContext(told.append, active.cancel.is_set, active.keep, active.begin)
    moments = iter([0.0, 10.0, 11.0, 13.0])
    return JobObserver(context, preview_seconds=0, clock=lambda: next(moments))


def test_the_time_left_counts_from_the_first_step(observer: JobObserver, told: list[Event]):
    for done in (1, 2, 4):
        observer.step("Denoising", done, 10, 0)
    assert [event.seconds_left for event in told if isinstance(event, Progress)] == [None, 8, 6]


def test_a_job_is_under_way_with_its_first_step_and_not_before(observer: JobObserver, active: ActiveJob):
    observer.phase("Loading the model")
    observer.step("Decoding", 0, 0, 0)
    assert active.seconds_under_way is None
    observer.step("Denoising", 1, 10, 0)
    assert active.seconds_under_way is not None

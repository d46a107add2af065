"""The durable queue: order, events, cancelling, and what a restart finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.app.queue import JobContext, JobQueue, Made
from studio.app.worker import Worker
from studio.core.errors import DiskFull, InvalidRequest, JobCancelled, NotFound, OutOfMemory, QueueFull
from studio.core.events import Cancelled, Failed, Finished, Log, Preview, Progress, Queued, Started
from studio.core.jobs import JobState, JobView
from studio.core.requests import GenerateRequest, InstallRequest, SourceImage
from studio.core.settings import Settings
from studio.storage.database import Database
from studio.storage.jobs import JobStore

REQUEST = GenerateRequest(model="toy", seed=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, max_queue=5)


def opened(settings: Settings) -> JobQueue:
    return JobQueue(JobStore(Database(settings.database)), settings)


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobQueue]:
    queue = opened(settings)
    yield queue
    queue.close()


def run(queue: JobQueue, runner) -> Worker:
    worker = Worker(queue, "gpu", runner)
    worker.start()
    return worker


def types(queue: JobQueue, job_id: str) -> list[type]:
    return [type(event) for event in queue.events(job_id, timeout=10)]


def test_jobs_are_run_in_order_and_each_ends_once(queue: JobQueue):
    ran: list[str] = []

    def runner(job: JobView, context: JobContext) -> Made:
        ran.append(job.id)
        return Made((f"image-of-{job.id}",))

    ids = [queue.submit(REQUEST).id for _ in range(4)]
    run(queue, runner)
    assert all(types(queue, job_id)[-2:] == [Started, Finished] for job_id in ids)
    assert ran == ids
    assert queue.job(ids[2]).images == (f"image-of-{ids[2]}",)


def test_a_waiting_job_knows_how_many_are_ahead(queue: JobQueue):
    ids = [queue.submit(REQUEST).id for _ in range(3)]
    assert [queue.job(job_id).position for job_id in ids] == [0, 1, 2]
    queue.take("gpu")
    assert [queue.job(job_id).position for job_id in ids] == [None, 1, 2]


def test_downloads_and_pictures_do_not_wait_for_each_other(queue: JobQueue):
    queue.submit(REQUEST)
    install = queue.submit(InstallRequest(repo="someone/something"))
    assert install.position == 0
    taken = queue.take("io")
    assert taken
    assert taken[0].id == install.id


def test_a_late_reader_gets_the_newest_progress_only_and_numbers_rise(queue: JobQueue):
    queue.submit(REQUEST, job_id="job")
    _, context = queue.take("gpu")
    for step in range(1, 6):
        context.emit(Progress(phase="Denoising", done=step, total=5))
        context.emit(Preview(jpeg="", step=step))
    events = list(queue.events("job", timeout=0))
    assert [event.done for event in events if isinstance(event, Progress)] == [5]
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    assert list(queue.events("job", after=numbers[-1], timeout=0)) == []
    assert queue.preview("job").step == 5


def finished(queue: JobQueue, job_id: str, *, under_way: bool = True) -> None:
    queue.submit(REQUEST, job_id=job_id)
    _, context = queue.take("gpu")
    if under_way:
        context.under_way()
    queue.finish(job_id, Made())


def test_seconds_left_come_from_what_such_jobs_took(queue: JobQueue):
    finished(queue, "first")
    assert queue.submit(REQUEST).seconds_left is not None
    assert queue.submit(REQUEST.model_copy(update={"model": "other"})).seconds_left is None


def test_a_job_without_steps_tells_nothing_of_the_time_that_others_take(settings: Settings):
    finished(opened(settings), "first", under_way=False)
    assert opened(settings).submit(REQUEST).seconds_left is None


def test_loading_torch_and_the_model_is_no_part_of_the_time_that_others_take(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    clock = [1000.0]
    monkeypatch.setattr("studio.app.active.time.monotonic", lambda: clock[0])
    queue = opened(settings)
    queue.submit(REQUEST, job_id="first")
    _, context = queue.take("gpu")
    clock[0] += 500
    context.under_way()
    clock[0] += 20
    context.under_way()  # every step says so
    clock[0] += 20
    queue.finish("first", Made())
    for each in (queue, opened(settings)):
        left = each.submit(REQUEST, job_id=f"in {id(each)}").seconds_left
        each.cancel(f"in {id(each)}")
        assert left == pytest.approx(40 * 21 / 20, rel=0.01)  # 20 steps and decoding; without the first step


def test_a_cancelled_waiting_job_never_runs(queue: JobQueue):
    first, second = (queue.submit(REQUEST).id for _ in range(2))
    assert queue.cancel(first).state is JobState.CANCELLED
    taken = queue.take("gpu")
    assert taken
    assert taken[0].id == second
    assert types(queue, first)[-1] is Cancelled


def test_cancelling_is_never_lost_and_never_hits_the_next_job(queue: JobQueue):
    """200 cancels at random moments of a job's life, each with a job behind it that must finish."""
    started = threading.Semaphore(0)

    def runner(job: JobView, context: JobContext) -> Made:
        started.release()
        for _ in range(50):
            context.check()
        while job.id.startswith("victim"):
            context.check()
        return Made()

    run(queue, runner)
    for i in range(200):
        queue.submit(REQUEST, job_id=f"victim{i}")
        queue.submit(REQUEST, job_id=f"next{i}")
        if i % 2:
            started.acquire()
        queue.cancel(f"victim{i}")
        assert types(queue, f"victim{i}")[-1] is Cancelled
        assert types(queue, f"next{i}")[-1] is Finished


def test_cancelling_an_ended_job_changes_nothing(queue: JobQueue):
    queue.submit(REQUEST, job_id="job")
    queue.take("gpu")
    queue.finish("job", Made())
    assert queue.cancel("job").state is JobState.FINISHED


@pytest.mark.parametrize(
    ("error", "name"),
    [(OutOfMemory("Too large.", field="width"), "OutOfMemory"), (ValueError("x"), "InternalError")],
)
def test_a_failing_job_says_why_and_the_next_one_runs(queue: JobQueue, error: Exception, name: str):
    def runner(job: JobView, context: JobContext) -> Made:
        if job.id == "bad":
            raise error
        return Made()

    queue.submit(REQUEST, job_id="bad")
    queue.submit(REQUEST, job_id="good")
    run(queue, runner)
    *_, last = queue.events("bad", timeout=10)
    assert isinstance(last, Failed)
    assert (last.error, last.field) == (name, getattr(error, "field", None))
    assert queue.job("bad").failure == last
    assert types(queue, "good")[-1] is Finished


def test_a_full_queue_and_a_taken_id_are_refused(queue: JobQueue):
    for i in range(5):
        queue.submit(REQUEST, job_id=f"job{i}")
    with pytest.raises(QueueFull):
        queue.submit(REQUEST)
    queue.cancel("job0")
    with pytest.raises(InvalidRequest):
        queue.submit(REQUEST, job_id="job1")
    with pytest.raises(NotFound):
        queue.job("nothing")


def test_a_restart_continues_with_waiting_jobs_and_marks_the_interrupted_one(settings: Settings):
    before = opened(settings)
    for name in ("done", "running", "waiting"):
        before.submit(REQUEST, job_id=name)
    before.take("gpu")
    before.finish("done", Made(("image",)))
    before.take("gpu")

    after = opened(settings)
    assert after.job("done").images == ("image",)
    assert after.job("running").state is JobState.INTERRUPTED
    assert types(after, "running")[-1] is Failed
    assert after.job("waiting").position == 0
    retried = after.retry("running")
    assert retried.request == REQUEST
    assert [job.id for job in after.jobs()][:2] == ["waiting", retried.id]


def test_closing_interrupts_the_running_job_instead_of_cancelling_it(settings: Settings):
    queue = opened(settings)
    queue.submit(REQUEST, job_id="job")

    def runner(job: JobView, context: JobContext) -> Made:
        while True:
            context.check()

    worker = run(queue, runner)
    assert next(e for e in queue.events("job") if isinstance(e, Started))
    worker.stop()
    assert opened(settings).job("job").state is JobState.INTERRUPTED


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (JobCancelled(), JobState.CANCELLED),
        (OutOfMemory("Too large."), JobState.FAILED),
        (ValueError("x"), JobState.FAILED),
    ],
)
def test_however_a_job_ends_it_has_what_it_made(settings: Settings, error: Exception, state: JobState):
    queue = opened(settings)

    def runner(job: JobView, context: JobContext) -> Made:
        for image in ("one", "two"):
            context.keep(image)
            assert queue.job(job.id).images[-1] == image
        raise error

    queue.submit(REQUEST, job_id="job")
    run(queue, runner)
    assert types(queue, "job")[-1] in (Cancelled, Failed)
    for each in (queue, opened(settings)):
        assert (each.job("job").state, each.job("job").images) == (state, ("one", "two"))


def test_an_interrupted_job_has_what_it_made(settings: Settings):
    queue = opened(settings)
    queue.submit(REQUEST, job_id="job")

    def runner(job: JobView, context: JobContext) -> Made:
        context.keep("one")
        context.emit(Log(message="kept"))
        while True:
            context.check()

    worker = run(queue, runner)
    assert next(e for e in queue.events("job") if isinstance(e, Log))
    worker.stop()
    again = opened(settings).job("job")
    assert (again.state, again.images) == (JobState.INTERRUPTED, ("one",))


def test_what_is_kept_comes_before_what_the_runner_returns(queue: JobQueue):
    queue.submit(REQUEST, job_id="job")
    _, context = queue.take("gpu")
    context.keep("one")
    queue.finish("job", Made(("two",)))
    *_, last = queue.events("job")
    assert isinstance(last, Finished)
    assert last.images == queue.job("job").images == ("one", "two")


def test_a_command_leaves_the_jobs_of_others_waiting(settings: Settings):
    before = opened(settings)
    for name in ("left", "left too"):
        before.submit(REQUEST, job_id=name)
    alone = JobQueue(JobStore(Database(settings.database)), settings, resume=False)
    own = alone.submit(REQUEST, job_id="own")
    assert own.position == 0
    taken = alone.take("gpu")
    assert taken
    assert taken[0].id == "own"
    alone.finish("own", Made())
    assert alone.waiting == 0
    assert alone.job("left").state is JobState.QUEUED
    assert [job.id for job in opened(settings).jobs()] == ["left", "left too", "own"]


def test_what_a_full_disk_did_not_take_is_told_and_written_once_there_is_room(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    def runner(job: JobView, context: JobContext) -> Made:
        raise OutOfMemory("It needs 9 GB.")

    def full(*change: object) -> None:
        raise DiskFull("There is no room left.")

    queue = opened(settings)
    with monkeypatch.context() as disk:
        disk.setattr(JobStore, "update", full)
        lost = queue.submit(REQUEST).id
        run(queue, runner)
        assert types(queue, lost)[-1] is Failed
        assert [(job.id, job.state) for job in queue.jobs()] == [(lost, JobState.FAILED)]
    later = queue.submit(REQUEST).id
    assert types(queue, later)[-1] is Failed
    assert [job.id for job in queue.jobs()] == [later, lost]
    queue.close()
    stored = JobStore(Database(settings.database)).find(lost)
    assert stored is not None
    assert (stored.state, stored.failure and stored.failure.message) == (JobState.FAILED, "It needs 9 GB.")


def test_a_queued_event_tells_each_new_position(queue: JobQueue):
    for name in ("a", "b"):
        queue.submit(REQUEST, job_id=name)
    queue.take("gpu")
    queue.finish("a", Made())
    queue.submit(REQUEST, job_id="c")
    queue.take("gpu")
    newest = [event for event in queue.events("c", timeout=0) if isinstance(event, Queued)]
    assert [event.position for event in newest] == [1]


def test_cancelling_a_waiting_job_moves_those_behind_it_up(queue: JobQueue):
    for name in ("a", "b", "c"):
        queue.submit(REQUEST, job_id=name)
    queue.cancel("a")
    newest = [event for event in queue.events("c", timeout=0) if isinstance(event, Queued)]
    assert [event.position for event in newest] == [1]


@pytest.mark.timeout(20)
def test_a_reader_who_has_seen_the_end_is_not_kept_waiting(queue: JobQueue, settings: Settings):
    queue.submit(REQUEST, job_id="job")
    queue.cancel("job")
    *_, last = queue.events("job")
    assert list(queue.events("job", after=last.number)) == []
    assert list(opened(settings).events("job", after=last.number)) == []


def test_events_of_an_ended_job_are_still_there_after_a_restart(settings: Settings):
    before = opened(settings)
    before.submit(REQUEST, job_id="job")
    _, context = before.take("gpu")
    context.emit(Log(message="Half way"))
    before.finish("job", Made(("image",)))
    assert list(opened(settings).events("job")) == list(before.events("job"))


def test_what_a_job_logs_stays_with_it_after_its_end_and_a_restart(settings: Settings):
    before = opened(settings)
    before.submit(REQUEST, job_id="job")
    _, context = before.take("gpu")
    context.emit(Log(message="Half way"))
    context.emit(Log(message="Nearly there"))
    assert before.job("job").notes == ("Half way", "Nearly there")
    before.finish("job", Made(("image",)))
    for queue in (before, opened(settings)):
        assert queue.job("job").notes == queue.jobs()[0].notes == ("Half way", "Nearly there")


def test_an_event_wakes_a_waiting_reader(queue: JobQueue):
    queue.submit(REQUEST, job_id="job")
    _, context = queue.take("gpu")
    last = list(queue.events("job", timeout=0))[-1].number
    threading.Timer(0.05, context.emit, [Log(message="Hello")]).start()
    assert next(queue.events("job", after=last, timeout=10)).message == "Hello"


def test_a_job_of_another_version_that_cannot_be_read_does_not_wait_for_ever(settings: Settings):
    opened(settings).submit(REQUEST, job_id="strange")
    connection = Database(settings.database).connect()
    connection.execute("UPDATE jobs SET request = '{\"kind\": \"from the future\"}' WHERE id = 'strange'")
    assert opened(settings).waiting == 0
    assert connection.execute("SELECT state FROM jobs").fetchone()["state"] == "failed"


# -- out of sight -----------------------------------------------------------------------------------


def test_an_ended_job_is_dismissed_and_brought_back_over_restarts(settings: Settings):
    before = opened(settings)
    before.submit(REQUEST, job_id="job")
    before.take("gpu")
    after = opened(settings)
    assert not after.job("job").dismissed
    assert after.set_dismissed("job", True).dismissed
    assert opened(settings).job("job").dismissed
    assert not after.set_dismissed("job", False).dismissed
    assert [job.id for job in opened(settings).jobs() if not job.dismissed] == ["job"]


def test_a_job_that_has_not_ended_cannot_be_dismissed(queue: JobQueue):
    queue.submit(REQUEST, job_id="waiting")
    with pytest.raises(InvalidRequest, match="Cancel it first"):
        queue.set_dismissed("waiting", True)
    with pytest.raises(NotFound):
        queue.set_dismissed("nothing", True)


def test_pictures_are_needed_by_jobs_that_may_still_run(settings: Settings):
    before = opened(settings)
    for number, name in enumerate(("done", "interrupted", "given up", "waiting")):
        source = SourceImage(image=f"{number}" * 64)
        before.submit(REQUEST.model_copy(update={"source": source}), job_id=name)
    before.submit(InstallRequest(repo="a/b"))
    before.take("gpu")
    before.finish("done", Made())
    before.take("gpu")
    after = opened(settings)
    after.take("gpu")
    after = opened(settings)
    assert after.blobs == {"1" * 64, "2" * 64, "3" * 64}
    after.set_dismissed("given up", True)
    assert after.blobs == {"1" * 64, "3" * 64}

"""What a browser sees of the queue."""

from dataclasses import replace

import pytest

from studio.core.errors import NumericalError, OutOfMemory
from studio.core.jobs import JobState
from studio.core.requests import GenerateRequest, InstallRequest
from tests.browser.waiting import until
from tests.fakes import FakeStudio
from ui.components.before_after import before_after_html
from ui.components.box_words import box_result_html
from ui.components.queue import queue_html
from ui.components.stage import activity, stage_html
from ui.links import image_url
from ui.stream import (
    FAST,
    SLOW,
    LivePart,
    Session,
    changed_parts,
    current_job,
    downloads,
    interval,
    look,
    queue_of,
)


def finish(studio, job):
    return list(studio.events(job.id, timeout=10))[-1]


def started(studio, **values):
    job = studio.submit(GenerateRequest(**values))
    return job, Session().with_job(job.id)


def running(studio, job):
    next(event for event in studio.events(job.id) if event.type == "preview")


def test_a_browser_without_jobs_sees_an_empty_canvas(studio):
    sight = look(studio, Session())
    assert sight.job is None
    assert "An empty canvas" in stage_html(sight)


@pytest.mark.parametrize("stored", [None, {}, {"jobs": 3}, "text", {"jobs": ["gone"]}])
def test_a_session_survives_whatever_a_browser_brings(studio, stored):
    assert look(studio, Session.read(stored)).job is None


def test_a_session_forgets_its_oldest_jobs():
    session = Session()
    for number in range(100):
        session = session.with_job(str(number))
    assert len(session.jobs) == 30
    assert session.jobs[-1] == "99"


def test_the_running_job_comes_before_waiting_and_ended_ones(studio):
    studio.step_seconds = 0.05
    first, session = started(studio, steps=50)
    second = studio.submit(GenerateRequest())
    session = session.with_job(second.id)
    running(studio, first)
    sight = look(studio, session)
    assert (sight.job.id, sight.waiting) == (first.id, 1)
    assert sight.preview
    studio.cancel(second.id)
    studio.cancel(first.id)
    finish(studio, first)
    assert current_job(studio, session) is None


def test_results_of_all_jobs_are_there_newest_first(studio):
    first, session = started(studio, steps=1, prompt="first")
    finish(studio, first)
    second = studio.submit(GenerateRequest(steps=1, prompt="second", batch_size=2))
    finish(studio, second)
    images = look(studio, session.with_job(second.id)).images
    assert [image.prompt for image in images] == ["second", "second", "first"]
    studio.delete_images([images[0].id])
    assert len(look(studio, session.with_job(second.id)).images) == 2


@pytest.fixture
def stopping(studio, monkeypatch):
    """The stand-in fails in the second batch."""

    def keep_and_fail(request, **values):
        record = FakeStudio.add_image(studio, request, **values)
        studio.fail_next = OutOfMemory("It needs 9 GB.")
        return record

    monkeypatch.setattr(studio, "add_image", keep_and_fail)
    return studio


def test_what_a_stopped_job_had_finished_is_shown_beside_how_it_ended(stopping):
    job, session = started(stopping, steps=2, batches=3, prompt="kept", seed=1)
    finish(stopping, job)
    sight = look(stopping, session)
    assert [image.prompt for image in sight.images] == ["kept"]
    html = stage_html(sight)
    assert "It needs 9 GB. Finished: 1 of 3 pictures." in html
    assert f'src="{image_url(sight.images[0].id)}"' in html
    assert "Finished: 1 of 3 pictures." in queue_html(queue_of(stopping), ready=True)


def test_the_results_of_a_dismissed_job_stay_on_the_stage(stopping):
    job, session = started(stopping, steps=2, batches=3, prompt="kept", seed=1)
    finish(stopping, job)
    stopping.set_dismissed(job.id, True)
    sight = look(stopping, session)
    assert sight.job is None
    assert [image.prompt for image in sight.images] == ["kept"]


def test_a_finished_picture_is_a_result_while_the_next_is_being_made(studio):
    studio.step_seconds = 0.01
    job, session = started(studio, steps=50, batches=64, seed=1)
    until(lambda: look(studio, session).images)
    sight = look(studio, session)
    assert (sight.job.state, sight.images[0].seed) == (JobState.RUNNING, 1)
    studio.cancel(job.id)
    finish(studio, job)


def test_the_stage_says_step_and_time_left(studio):
    studio.step_seconds = 0.05
    job, _ = started(studio, steps=40, batches=2)
    running(studio, job)
    words = activity(studio.job(job.id))
    assert words.startswith("Denoising ")
    assert "of 40 · batch 1 of 2 · " in words
    assert words.endswith("s left")
    studio.cancel(job.id)


def test_a_failed_job_shows_its_sentence(studio):
    studio.fail_next = NumericalError("The latents hold NaN.", "Use fp32.")
    job, session = started(studio, steps=4)
    finish(studio, job)
    assert "The latents hold NaN. Use fp32." in stage_html(look(studio, session))


def test_the_queue_shows_everybody_and_escapes_them(studio):
    studio.step_seconds = 0.05
    job, _ = started(studio, steps=50, prompt="<b>bold</b>")
    running(studio, job)
    html = queue_html(queue_of(studio), ready=True)
    assert "&lt;b&gt;bold" in html
    assert "<b>" not in html
    studio.cancel(job.id)
    finish(studio, job)
    assert queue_of(studio) == ()


def test_an_interrupted_job_stays_in_the_queue_until_it_is_tried_again(studio):
    studio.step_seconds = 0.05
    first, _ = started(studio, steps=150)
    running(studio, first)
    left = studio.submit(GenerateRequest(prompt="left", seed=1))
    studio.interrupt(left.id)
    assert [job.state for job in queue_of(studio)] == [JobState.RUNNING, JobState.INTERRUPTED]
    again = studio.retry(left.id)
    assert [job.id for job in queue_of(studio)] == [first.id, again.id]


def test_what_is_dismissed_is_out_of_sight_everywhere(studio):
    studio.fail_next = OutOfMemory("It needs 9 GB.")
    job, session = started(studio)
    finish(studio, job)
    assert look(studio, session).job.id == job.id
    assert [view.id for view in queue_of(studio)] == [job.id]
    studio.set_dismissed(job.id, True)
    assert look(studio, session).job is None
    assert queue_of(studio) == ()


def test_a_stopped_download_can_be_dismissed(studio):
    job = studio.submit(InstallRequest(repo="fake-org/mistyped"))
    studio.cancel(job.id)
    finish(studio, job)
    studio.set_dismissed(job.id, True)
    assert downloads(studio) == ()


def test_the_page_looks_often_only_while_something_happens(studio):
    assert interval(studio) == SLOW
    job, _ = started(studio, steps=150)
    assert interval(studio) == FAST
    studio.cancel(job.id)
    finish(studio, job)
    studio.ready = False
    assert interval(studio) == FAST


def test_a_stopped_download_stays_in_sight_until_it_is_done(studio):
    studio.step_seconds = 0.01
    job = studio.submit(InstallRequest(repo="fake-org/taesd"))
    studio.cancel(job.id)
    finish(studio, job)
    assert [view.state for view in downloads(studio)] == [JobState.CANCELLED]
    studio.step_seconds = 0
    again = studio.retry(job.id)
    finish(studio, again)
    assert downloads(studio) == ()


def test_only_what_changed_is_sent():
    words = {"a": "one", "b": "two"}
    parts = [LivePart(name, name, lambda _, name=name: words[name]) for name in words]
    updates, seen = changed_parts(parts, Session(), None)
    assert updates == {"a": "one", "b": "two"}
    words["b"] = "three"
    assert changed_parts(parts, Session(), seen)[0] == {"b": "three"}


@pytest.mark.parametrize("html", [stage_html, before_after_html, box_result_html])
def test_what_a_job_has_to_say_stands_beside_its_pictures(studio, html):
    job, session = started(studio, steps=1)
    finish(studio, job)
    sight = look(studio, session)
    assert "<ul>" not in html(sight)
    told = sight.job.model_copy(update={"notes": ("Box 2 has no effect.", "<b>Half</b> the layers fit.")})
    assert "<ul><li>Box 2 has no effect.</li><li>&lt;b&gt;Half" in html(replace(sight, job=told))

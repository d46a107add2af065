"""The stand-in must keep the promises of the protocol, or every test against it says nothing."""

import inspect
import io

import pytest
from PIL import Image

from studio.core.conditions import LoraInput
from studio.core.errors import InvalidRequest, OutOfMemory
from studio.core.events import Cancelled, Failed, Finished, Preview, Progress, Queued, Started
from studio.core.models import ModelKind
from studio.core.protocol import Studio
from studio.core.requests import GenerateRequest, InstallRequest
from tests.fakes import FakeStudio


@pytest.fixture
def studio(tmp_path):
    fake = FakeStudio(tmp_path, step_seconds=0.002)
    fake.start()
    yield fake
    fake.close()


def public_methods(protocol):
    return {
        name: member
        for name, member in inspect.getmembers(protocol, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_method_of_the_protocol_is_there_with_the_same_signature():
    promised = public_methods(Studio)
    assert len(promised) >= 25
    for name, method in promised.items():
        assert inspect.signature(getattr(FakeStudio, name)) == inspect.signature(method), name


def test_a_job_runs_through_its_events(studio):
    job = studio.submit(GenerateRequest(prompt="a red ball", steps=4))
    events = list(studio.events(job.id))
    assert isinstance(events[0], Queued)
    assert {Started, Progress, Preview, Finished} <= {type(event) for event in events}
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    assert events[-1].images == studio.job(job.id).images


def test_an_image_restores_the_request_that_made_it(studio):
    job = studio.submit(GenerateRequest(prompt="a red ball", steps=2, batch_size=2, seed=5))
    finished = list(studio.events(job.id))[-1]
    second = studio.image(finished.images[1])
    assert second.request.seed == 6
    assert studio.read_settings(studio.image_path(second.id).read_bytes()).request == second.request


def test_cancel_ends_a_running_job_without_images(studio):
    studio.step_seconds = 0.05
    job = studio.submit(GenerateRequest(steps=100))
    events = studio.events(job.id)
    next(event for event in events if isinstance(event, Progress))
    studio.cancel(job.id)
    assert isinstance(list(events)[-1], Cancelled)
    assert studio.images().total == 0


def test_a_cancelled_job_keeps_the_pictures_that_it_had_finished(studio):
    studio.step_seconds = 0.01
    job = studio.submit(GenerateRequest(steps=20, batches=64, seed=1))
    next(event for event in studio.events(job.id) if isinstance(event, Progress) and event.image)
    studio.cancel(job.id)
    assert isinstance(list(studio.events(job.id))[-1], Cancelled)
    images = studio.job(job.id).images
    assert images
    assert studio.images().total == len(images)


def test_a_failure_names_its_field(studio):
    studio.fail_next = OutOfMemory("It needs 9 GB but 2 GB are free.", "Make it smaller.", field="width")
    job = studio.submit(GenerateRequest(steps=4))
    failed = list(studio.events(job.id))[-1]
    assert isinstance(failed, Failed)
    assert failed.field == "width"


def test_an_impossible_schedule_is_refused_at_its_field(studio):
    with pytest.raises(InvalidRequest) as refused:
        studio.submit(GenerateRequest(sampler="LCM", schedule="Karras"))
    assert refused.value.field == "schedule"


def test_deleted_images_come_back(studio):
    image = studio.add_image(GenerateRequest(prompt="a star", width=64, height=64, seed=1))
    token = studio.delete_images([image.id])
    assert studio.images().total == 0
    assert studio.undo_delete(token) == (image.id,)
    assert studio.image(image.id) == image


def test_a_paused_install_goes_on_where_it_stopped(studio):
    studio.step_seconds = 0.01
    job = studio.submit(InstallRequest(repo="fake-org/taesd"))
    events = studio.events(job.id)
    stopped_at = next(event.done for event in events if isinstance(event, Progress))
    studio.cancel(job.id)
    assert isinstance(list(events)[-1], Cancelled)
    studio.step_seconds = 0.001
    again = studio.retry(job.id)
    first = next(event.done for event in studio.events(again.id) if isinstance(event, Progress))
    assert first > stopped_at


def test_a_file_that_is_no_picture_is_refused(studio):
    with pytest.raises(InvalidRequest):
        studio.put_blob(b"no picture")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    assert len(studio.put_blob(buffer.getvalue())) == 64


def test_a_network_of_another_family_is_refused_at_its_entry_unless_it_is_off(studio):
    wrong = LoraInput(model="fake/cut-paper-xl")
    fine = LoraInput(model="fake/watercolour")
    with pytest.raises(InvalidRequest, match="SDXL") as refused:
        studio.submit(GenerateRequest(loras=(fine, wrong)))
    assert refused.value.field == "loras.1.model"
    off = wrong.model_copy(update={"enabled": False})
    assert studio.submit(GenerateRequest(loras=(fine, off), steps=1)).request.loras == (fine, off)


def test_previews_of_networks_are_pictures(studio):
    previews = [model.preview for model in studio.models(ModelKind.LORA) if model.preview]
    assert len(previews) >= 3
    assert {Image.open(io.BytesIO(studio.blob(each))).size for each in previews} == {(256, 256)}

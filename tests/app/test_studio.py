"""The whole engine behind the protocol: requests in, pictures out, and nothing that stops it for good."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image, ImageChops
from safetensors.torch import load_file, save_file

from studio.app.studio import LocalStudio, build_studio
from studio.core.errors import InvalidRequest
from studio.core.events import Cancelled, Event, Failed, Finished, Log, Preview, Progress
from studio.core.jobs import JobState
from studio.core.library import ImageQuery
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest, HiresPass, OutputOptions, SourceImage, Variation
from studio.core.samplers import Sampler, Schedule, Upscaler
from studio.core.settings import Settings
from studio.diffusion.decode import decode_pictures
from studio.storage.database import Database
from studio.storage.jobs import JobStore

REQUEST = GenerateRequest(
    model="tiny", prompt="a red ball", width=64, height=64, steps=3, seed=5, sampler=Sampler.EULER
)


def run(studio: LocalStudio, request: GenerateRequest) -> list[Event]:
    return list(studio.events(studio.submit(request).id, timeout=60))


def pictures(studio: LocalStudio, request: GenerateRequest) -> list[Image.Image]:
    last = run(studio, request)[-1]
    assert isinstance(last, Finished), last
    return [Image.open(studio.image_path(image)).convert("RGB") for image in last.images]


def same(a: Image.Image, b: Image.Image) -> bool:
    """Equal but for the last bit, which a batch may round otherwise."""
    return max(high for _, high in ImageChops.difference(a, b).getextrema()) <= 1


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), colour).save(buffer, "PNG")
    return buffer.getvalue()


def until(happened: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_request_becomes_a_picture_that_restores_it(studio: LocalStudio):
    events = run(studio, REQUEST)
    assert [e.done for e in events if isinstance(e, Progress) and e.phase == "Denoising"][-1:] in ([], [3])
    (image,) = events[-1].images
    record = studio.image(image)
    assert record.request == REQUEST
    assert (record.width, record.height, record.seed) == (64, 64, 5)
    assert studio.read_settings(studio.image_path(image).read_bytes()).request == REQUEST


def test_the_stored_request_is_complete(studio: LocalStudio):
    studio.activate("tiny")
    job = studio.submit(REQUEST.model_copy(update={"model": "", "seed": -1}))
    assert job.request.model == "tiny"
    assert job.request.seed >= 0


def test_a_seed_is_a_picture_alone_or_in_a_batch_or_in_the_next_pass(studio: LocalStudio):
    batch = pictures(studio, REQUEST.model_copy(update={"batch_size": 2, "batches": 2}))
    assert len(batch) == 4
    assert not same(batch[0], batch[1])
    for i, picture in enumerate(batch):
        (alone,) = pictures(studio, REQUEST.model_copy(update={"seed": 5 + i}))
        assert same(alone, picture)


CHANGES: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "a blue house"},
    "negative prompt": {"negative_prompt": "grass"},
    "model": {"model": "other"},
    "steps": {"steps": 5},
    "sampler": {"sampler": Sampler.DPMPP_2M},
    "schedule": {"schedule": Schedule.KARRAS},
    "guidance": {"guidance_scale": 1.0},
    "seed": {"seed": 6},
    "clip skip": {"clip_skip": 2},
    "variation": {"variation": Variation(seed=1, strength=0.5)},
    "weights": {"prompt": "a (red:1.6) ball"},
    "alternation": {"prompt": "a [blue house on grass|red ball]"},
    "composition": {"prompt": "a red ball AND grass"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_setting_changes_the_picture(studio: LocalStudio, change: dict[str, Any]):
    (before,), (after,) = (pictures(studio, REQUEST.model_copy(update=c)) for c in ({}, change))
    assert not same(before, after)


def test_the_strength_of_a_source_leads_from_the_source_to_a_new_picture(studio: LocalStudio):
    blob = studio.put_blob(png())

    def at(strength: float) -> Image.Image:
        source = SourceImage(image=blob, strength=strength)
        return pictures(studio, REQUEST.model_copy(update={"source": source, "steps": 10}))[0]

    kept, little, much = at(0.0), at(0.3), at(0.9)
    assert not same(kept, little)
    assert not same(little, much)


@pytest.mark.parametrize("upscaler", list(Upscaler), ids=str)
def test_the_hires_pass_makes_a_larger_picture(studio: LocalStudio, upscaler: Upscaler):
    hires = HiresPass(scale=2, steps=2, strength=0.5, upscaler=upscaler)
    (picture,) = pictures(studio, REQUEST.model_copy(update={"hires": hires}))
    assert picture.size == (128, 128)


@pytest.mark.parametrize("model", ["xl", "xl-text"])
def test_an_empty_negative_prompt_of_sdxl_gives_diffusers_picture(
    studio: LocalStudio, models: Path, model: str
):
    (ours,) = pictures(studio, REQUEST.model_copy(update={"model": model}))
    pipeline = StableDiffusionXLPipeline.from_pretrained(models / model, add_watermarker=False)
    theirs = pipeline(
        REQUEST.prompt,
        width=REQUEST.width,
        height=REQUEST.height,
        num_inference_steps=REQUEST.steps,
        guidance_scale=REQUEST.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(REQUEST.seed),
    )
    assert same(ours, theirs.images[0])


def test_a_model_whose_words_mean_something_else_makes_another_picture(settings: Settings, tmp_path: Path):
    folder = tmp_path / "models"
    shutil.copytree(settings.models_dirs[0] / "tiny", folder / "tiny")
    shutil.copytree(folder / "tiny", folder / "twisted")
    words = json.loads((folder / "tiny" / "tokenizer" / "vocab.json").read_text())
    weights = folder / "twisted" / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    (table,) = (tensor for name, tensor in tensors.items() if name.endswith("token_embedding.weight"))
    table[words["k</w>"]] = table[words["q</w>"]].clone()
    save_file(tensors, weights)
    studio = build_studio(settings.model_copy(update={"models_dirs": (folder,)}))
    studio.start()
    (plain,), (twisted,) = (
        pictures(studio, REQUEST.model_copy(update={"model": model, "prompt": "a k"}))
        for model in ("tiny", "twisted")
    )
    studio.close()
    assert not same(plain, twisted)


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_other_formats_carry_the_settings_too(studio: LocalStudio, name: str):
    request = REQUEST.model_copy(update={"output": OutputOptions(format=name)})
    (image,) = run(studio, request)[-1].images
    path = studio.image_path(image)
    assert Image.open(path).format == name.upper()
    assert studio.read_settings(path.read_bytes()).request == request


def test_sdxl_goes_the_same_way(studio: LocalStudio):
    (picture,) = pictures(studio, REQUEST.model_copy(update={"model": "xl"}))
    assert picture.size == (64, 64)


def test_previews_come_while_it_runs(studio: LocalStudio):
    job = studio.submit(REQUEST.model_copy(update={"steps": 60}))
    preview = next(event for event in studio.events(job.id) if isinstance(event, Preview))
    assert preview.step < 60
    studio.cancel(job.id)


def test_cancel_answers_within_one_step(studio: LocalStudio, settings: Settings):
    job = studio.submit(REQUEST.model_copy(update={"steps": 150, "batches": 64}))
    events = studio.events(job.id, timeout=60)
    seen = next(e for e in events if isinstance(e, Progress) and e.phase == "Denoising")
    studio.cancel(job.id)
    *between, last = events
    assert isinstance(last, Cancelled)
    assert all(e.done <= seen.done + 2 for e in between if isinstance(e, Progress))
    assert isinstance(run(studio, REQUEST)[-1], Finished)


def test_progress_counts_batches_and_not_their_pictures(studio: LocalStudio, monkeypatch: pytest.MonkeyPatch):
    batches: set[int] = set()
    monkeypatch.setattr("studio.app.observer.JobObserver.step", lambda *given: batches.add(given[-1]))
    run(studio, REQUEST.model_copy(update={"batch_size": 2, "batches": 2}))
    assert batches == {0, 1}


def test_a_cancelled_job_keeps_the_pictures_that_it_had_finished(studio: LocalStudio):
    job = studio.submit(REQUEST.model_copy(update={"steps": 20, "batches": 64}))
    until(lambda: studio.job(job.id).images)
    studio.cancel(job.id)
    assert isinstance(list(studio.events(job.id, timeout=60))[-1], Cancelled)
    ended = studio.job(job.id)
    assert 1 <= len(ended.images) < 64
    assert [studio.image(image).seed for image in ended.images] == list(range(5, 5 + len(ended.images)))
    assert studio.images(ImageQuery(job=job.id)).total == len(ended.images)


@pytest.mark.parametrize("batches", [1, 3])
def test_cancelling_while_it_decodes_keeps_that_picture_and_makes_no_other(
    studio: LocalStudio, monkeypatch: pytest.MonkeyPatch, out_of_memory, batches: int
):
    def decode_and_cancel(*arguments: Any) -> list[Image.Image]:
        studio.cancel(studio.jobs()[0].id)
        return decode_pictures(*arguments)

    monkeypatch.setattr("studio.diffusion.generate.decode_pictures", decode_and_cancel)
    calls = out_of_memory(0)
    last = run(studio, REQUEST.model_copy(update={"batches": batches}))[-1]
    assert isinstance(last, Finished if batches == 1 else Cancelled)
    assert len(studio.jobs()[0].images) == 1
    assert calls == [3]  # and none for the next batch


def test_the_time_that_a_job_takes_is_known_once_one_was_made(studio: LocalStudio):
    assert studio.submit(REQUEST).seconds_left is None
    run(studio, REQUEST)
    long = studio.submit(REQUEST.model_copy(update={"steps": 150, "batches": 64}))
    assert studio.submit(REQUEST).seconds_left is not None
    studio.cancel(long.id)


def test_pictures_stay_whose_job_failed_later(studio: LocalStudio, out_of_memory):
    run(studio, REQUEST)
    out_of_memory(2)[0] = -3  # in the second batch, and in its second attempt
    last = run(studio, REQUEST.model_copy(update={"batches": 2}))[-1]
    assert isinstance(last, Failed), last
    (image,) = studio.jobs()[0].images
    assert studio.image(image).seed == 5


def test_a_killed_job_gets_back_the_picture_that_the_library_finds_later(settings: Settings):
    studio = build_studio(settings)
    studio.start()
    made = run(studio, REQUEST)[-1].images
    job = studio.jobs()[0].id
    studio.close()
    connection = Database(settings.database).connect()
    connection.execute("UPDATE jobs SET state = 'running', images = ''")
    connection.execute("DELETE FROM images")  # killed between file and record
    studio = build_studio(settings)
    assert studio.job(job).state is JobState.INTERRUPTED
    assert studio.job(job).images == ()
    studio.start()
    until(lambda: studio.job(job).images)
    assert studio.job(job).images == made
    studio.close()
    assert JobStore(Database(settings.database)).find(job).images == made


def test_nan_is_an_error_and_never_a_black_picture(studio: LocalStudio):
    last = run(studio, REQUEST.model_copy(update={"model": "broken"}))[-1]
    assert isinstance(last, Failed)
    assert last.error == "NumericalError"
    assert studio.images().total == 0
    assert isinstance(run(studio, REQUEST)[-1], Finished)


@pytest.fixture
def out_of_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Let UNet calls fail as CUDA does: `count` times, from the second call on."""
    from diffusers import UNet2DConditionModel

    forward, calls = UNet2DConditionModel.forward, [0]

    def arm(count: int) -> list[int]:
        def failing(self: Any, *arguments: Any, **named: Any) -> Any:
            calls[0] += 1
            if 1 < calls[0] <= 1 + count:
                raise torch.OutOfMemoryError("CUDA out of memory. (injected)")
            return forward(self, *arguments, **named)

        monkeypatch.setattr(UNet2DConditionModel, "forward", failing)
        return calls

    return arm


def test_out_of_memory_is_tried_once_more_in_the_leanest_way(studio: LocalStudio, out_of_memory):
    out_of_memory(1)
    events = run(studio, REQUEST)
    assert any(isinstance(event, Log) and "memory" in event.message for event in events)
    assert isinstance(events[-1], Finished)


def test_out_of_memory_for_good_is_a_sentence_and_the_next_job_works(studio: LocalStudio, out_of_memory):
    run(studio, REQUEST)
    before = studio.status().memory_used
    calls = out_of_memory(2)
    last = run(studio, REQUEST)[-1]
    assert isinstance(last, Failed)
    assert (last.error, last.field) == ("OutOfMemory", "width")
    calls[0] = 100
    assert isinstance(run(studio, REQUEST)[-1], Finished)
    assert studio.status().memory_used == before


def test_text_is_encoded_once_for_many_requests(studio: LocalStudio, monkeypatch: pytest.MonkeyPatch):
    from transformers import CLIPTextModel

    run(studio, REQUEST)
    monkeypatch.setattr(CLIPTextModel, "forward", None)
    assert isinstance(run(studio, REQUEST.model_copy(update={"seed": 9}))[-1], Finished)
    assert isinstance(run(studio, REQUEST.model_copy(update={"prompt": "a house"}))[-1], Failed)


def test_a_model_deleted_while_its_job_waits_is_a_sentence(settings: Settings, models: Path, tmp_path: Path):
    own = shutil.copytree(models / "tiny", tmp_path / "short" / "short-lived")
    studio = build_studio(settings.model_copy(update={"models_dirs": (own.parent,)}))
    job = studio.submit(REQUEST.model_copy(update={"model": "short-lived"}))
    shutil.rmtree(own)
    studio.start()
    *_, last = studio.events(job.id, timeout=60)
    studio.close()
    assert isinstance(last, Failed)
    assert last.error != "InternalError", last.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": "nothing"}, "model"),
        ({"model": "../../etc/passwd"}, "model"),
        ({"source": SourceImage(image="0" * 64)}, "source.image"),
        ({"prompt": "a (red ball"}, "prompt"),
        ({"negative_prompt": "grass [:"}, "negative_prompt"),
        ({"prompt": "a ball <lora:style:1>"}, "prompt"),
        ({"clip_skip": 4}, "clip_skip"),
        ({"model": "xl", "clip_skip": 3}, "clip_skip"),
    ],
)
def test_what_cannot_work_is_refused_before_it_waits(studio: LocalStudio, change: dict[str, Any], field: str):
    with pytest.raises(InvalidRequest) as refused:
        studio.submit(REQUEST.model_copy(update=change))
    assert refused.value.field == field
    assert studio.jobs() == ()


def test_an_empty_prompt_is_allowed(studio: LocalStudio):
    assert len(pictures(studio, REQUEST.model_copy(update={"prompt": ""}))) == 1


def test_the_status_tells_what_is_loaded_and_unloading_frees_it(studio: LocalStudio):
    run(studio, REQUEST)
    status = studio.status()
    assert status.ready
    assert {component.role for component in status.components} == {"unet", "vae", "text_encoder"}
    assert status.memory_used > 0
    studio.unload_models()
    assert studio.status().components == ()


def test_tokens_are_counted_in_chunks_of_75(studio: LocalStudio):
    run(studio, REQUEST)
    assert studio.count_tokens("a red ball", "tiny").model_dump() == {"tokens": 3, "limit": 75}
    assert studio.count_tokens("ball " * 80, "tiny").limit == 150


def test_toytown_ships_with_easel(studio: LocalStudio):
    assert any(info.id == "toytown" for info in studio.models(ModelKind.CHECKPOINT))

"""Generation under AUTOMATIC1111's names: submit to the queue, wait for the job, answer with its pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from studio.api.dependencies import FollowersDep, StudioDep
from studio.api.errors import failure_response
from studio.api.follow import Followers
from studio.api.sdapi.controlnet_args import CONTROL_KINDS, read_units
from studio.api.sdapi.detected_maps import detected_maps
from studio.api.sdapi.gligen_args import read_boxes
from studio.api.sdapi.inpaint_args import inpaint_fields
from studio.api.sdapi.options import OptionStore
from studio.api.sdapi.payloads import (
    GenerationPayload,
    GenerationReply,
    Img2ImgPayload,
    PngInfoPayload,
    PngInfoReply,
    ProgressReply,
    ProgressState,
    Txt2ImgPayload,
)
from studio.api.sdapi.pictures import decode_picture, store_picture
from studio.api.sdapi.reply import TIMESTAMP, generation_reply
from studio.api.sdapi.settings import OptionsDep, apply_changes
from studio.api.sdapi.translate import (
    Installed,
    Translation,
    read_source,
    translate_img2img,
    translate_txt2img,
)
from studio.core.errors import EaselError, ImageError, InvalidRequest, ResourceError
from studio.core.geometry import Extent
from studio.core.jobs import JobState, JobView
from studio.core.library import ImportedSettings
from studio.core.models import ModelKind
from studio.core.protocol import Studio
from studio.core.requests import GenerateRequest

router = APIRouter(prefix="/sdapi/v1", tags=["sdapi: generation"])

Reply = GenerationReply | JSONResponse


@router.post("/txt2img", summary="Text to image", response_model=GenerationReply)
async def txt2img(
    payload: Txt2ImgPayload, studio: StudioDep, followers: FollowersDep, options: OptionsDep
) -> Reply:
    """Waits until the pictures are there. A client that goes away loses the reply, never the pictures."""

    def translate() -> Translation:
        known = installed(studio)
        units = read_units(payload.alwayson_scripts, known.controls, studio.put_blob)
        boxes = read_boxes(payload.alwayson_scripts, known.gligen, studio.put_blob)
        return translate_txt2img(payload, options.current, known, units, boxes)

    return await _generate(payload, translate, studio, followers, options)


@router.post("/img2img", summary="Image to image", response_model=GenerationReply)
async def img2img(
    payload: Img2ImgPayload, studio: StudioDep, followers: FollowersDep, options: OptionsDep
) -> Reply:
    """As txt2img, starting from a picture; with a mask, only what is light in it is painted anew."""

    def translate() -> Translation:
        source = read_source(payload, studio.put_blob)
        known = installed(studio)
        units = read_units(payload.alwayson_scripts, known.controls, studio.put_blob, source)
        mask = store_picture(payload.mask, "mask", studio.put_blob) if payload.mask else None
        boxes = read_boxes(payload.alwayson_scripts, known.gligen, studio.put_blob)
        further = boxes | inpaint_fields(payload, mask)
        return translate_img2img(payload, source, options.current, known, units, further)

    return await _generate(payload, translate, studio, followers, options)


@router.post("/png-info", summary="Read the settings of an image file")
def png_info(payload: PngInfoPayload, studio: StudioDep) -> PngInfoReply:
    """Empty where the file holds none."""
    try:
        settings = studio.read_settings(decode_picture(payload.image, "image"))
    except ImageError as error:
        error.field = "image"
        raise
    except InvalidRequest:
        return PngInfoReply(info="", items={}, parameters={})
    return PngInfoReply(
        info=settings.infotext, items={"parameters": settings.infotext}, parameters=_parameters(settings)
    )


@router.get("/progress", summary="How far the running job is")
def progress(
    studio: StudioDep,
    options: OptionsDep,
    skip_current_image: Annotated[bool, Query(description="leave the preview out")] = False,
) -> ProgressReply:
    """Of pictures being made, by whomever. Idle is progress 0 with job_count 0."""
    job = _current_job(studio)
    if job is None:
        return ProgressReply()
    wants_preview = options.current.live_previews_enable and not skip_current_image
    preview = studio.preview(job.id) if wants_preview and job.state is JobState.RUNNING else None
    return ProgressReply(
        progress=_share_done(job),
        eta_relative=job.seconds_left or 0,
        state=_progress_state(job),
        current_image=preview.jpeg if preview else None,
        textinfo=job.progress.phase if job.progress else None,
    )


@router.post("/interrupt", summary="Stop the running job")
def interrupt(studio: StudioDep) -> dict[str, str]:
    """Pictures of it that are finished already are kept. Waiting jobs stay."""
    job = _current_job(studio)
    if job and job.state is JobState.RUNNING:
        studio.cancel(job.id)
    return {}


@router.post("/skip", summary="Stop the running job")
def skip(studio: StudioDep) -> dict[str, str]:
    """The same as interrupt: one job makes one set of pictures, and none of them is left out."""
    return interrupt(studio)


def installed(studio: Studio) -> Installed:
    controls = tuple(info for kind in CONTROL_KINDS for info in studio.models(kind))
    kinds = (ModelKind.CHECKPOINT, ModelKind.VAE, ModelKind.GLIGEN)
    checkpoints, vaes, gligen = (studio.models(kind) for kind in kinds)
    return Installed(checkpoints, vaes, controls, gligen)


async def _generate(
    payload: GenerationPayload,
    translate: Callable[[], Translation],
    studio: Studio,
    followers: Followers,
    options: OptionStore,
) -> Reply:
    def submit() -> tuple[JobView, Translation]:
        translation = translate()
        try:
            job = studio.submit(translation.request, job_id=payload.force_task_id)
            if not payload.override_settings_restore_afterwards:
                apply_changes(translation.changes, studio, options)
        except EaselError as error:
            error.field = translation.field(error.field) if error.field else None
            raise
        return job, translation

    job, translation = await run_in_threadpool(submit)
    job = await followers.finished(job.id)
    if job.failure:
        return failure_response(job.failure, translation.field)
    if job.state is JobState.INTERRUPTED:
        raise ResourceError("The program ended while the job ran.", "Send it once more, or retry the job.")
    return await run_in_threadpool(_reply, payload, job, studio, translation)


def _reply(
    payload: GenerationPayload, job: JobView, studio: Studio, translation: Translation
) -> GenerationReply:
    assert isinstance(job.request, GenerateRequest)
    records = [studio.image(image) for image in job.images]
    files: list[bytes] = []
    if payload.send_images and records:
        size = Extent(width=records[0].width, height=records[0].height)
        files += [studio.image_path(image).read_bytes() for image in job.images]
        files += detected_maps(job, translation.units, studio, size)
    used = job.request.model
    model = next((each for each in studio.models(ModelKind.CHECKPOINT) if each.id == used), None)
    return generation_reply(payload, job, records, files, model, [*translation.warnings, *job.notes])


def _current_job(studio: Studio) -> JobView | None:
    """The job that makes pictures now, or else the next one that will."""
    jobs = (job for job in studio.jobs() if not job.is_over and job.request.kind == "generate")
    return next(jobs, None)


def _share_done(job: JobView) -> float:
    """0 for a waiting job; a running one is never at 0, which would look idle."""
    if job.state is not JobState.RUNNING:
        return 0.0
    done = job.progress.done / job.progress.total if job.progress and job.progress.total else 0.0
    return max(0.01, min(done, 1.0))


def _progress_state(job: JobView) -> ProgressState:
    assert isinstance(job.request, GenerateRequest)
    batches = job.request.batches
    total = job.progress.total if job.progress else 0
    steps = max(1, total // batches)
    done = min(job.progress.done if job.progress else 0, steps * batches)
    number = min(done // steps, batches - 1)
    return ProgressState(
        job=job.id,
        job_count=batches,
        job_timestamp=job.created.strftime(TIMESTAMP),
        job_no=number,
        sampling_step=done - number * steps,
        sampling_steps=steps if total else job.request.steps,
    )


_SIZE = re.compile(r"(\d+)x(\d+)")


def _parameters(settings: ImportedSettings) -> dict[str, str]:
    """The settings under the names of A1111's infotext, each as text: the usual ones, and all that it tells.

    A size is told as two numbers, as there.
    """
    parameters = _usual_parameters(settings.request)
    for key, value in settings.parameters.items():
        size = _SIZE.fullmatch(value)
        parameters |= {f"{key}-1": size[1], f"{key}-2": size[2]} if size else {key: value}
    return parameters


def _usual_parameters(request: GenerateRequest) -> dict[str, str]:
    return {
        "Prompt": request.prompt,
        "Negative prompt": request.negative_prompt,
        "Steps": str(request.steps),
        "Sampler": request.sampler.value,
        "Schedule type": request.schedule.value,
        "CFG scale": f"{request.guidance_scale:g}",
        "Seed": str(request.seed),
        "Size-1": str(request.width),
        "Size-2": str(request.height),
        "Clip skip": str(request.clip_skip),
    }

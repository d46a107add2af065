"""Single maps: the pictures go through the queue as any other job, and the reply waits for them."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from PIL import Image
from starlette.concurrency import run_in_threadpool

from studio.api.controlnet.payloads import DetectPayload, DetectReply
from studio.api.dependencies import FollowersDep, StudioDep
from studio.api.errors import failure_response
from studio.api.sdapi.pictures import encode_picture, store_picture
from studio.core.control_units import UnitModule, preprocessor_of, unit_field_of
from studio.core.errors import EaselError, InvalidRequest, ResourceError
from studio.core.jobs import JobView
from studio.core.openpose import POSE_CHUNK
from studio.core.preprocess import Inpaint, Map, Preprocessor
from studio.core.protocol import Studio
from studio.core.requests import PreprocessRequest

router = APIRouter(tags=["controlnet: maps"])


@router.post("/detect", summary="Make control maps", response_model=DetectReply)
async def detect(
    payload: DetectPayload, studio: StudioDep, followers: FollowersDep
) -> DetectReply | JSONResponse:
    """Waits until the maps are there. Each has the size of its picture."""
    jobs = await run_in_threadpool(_submit_all, payload, studio)
    ended = [await followers.finished(job.id) for job in jobs]
    for number, job in enumerate(ended):
        if job.failure:
            return failure_response(job.failure, partial(_field, payload, number))
        if not job.blobs:
            raise ResourceError("The map was not made: its job was stopped.", "Send it once more.")
    return await run_in_threadpool(_reply, ended, studio)


def _submit_all(payload: DetectPayload, studio: Studio) -> list[JobView]:
    images, masks = payload.controlnet_images, payload.controlnet_masks
    if not images:
        raise InvalidRequest("No image was sent.", "Send at least one.", field="controlnet_images")
    if masks and len(masks) != len(images):
        raise InvalidRequest(
            f"Each image needs a mask of its own; there are {len(images)} images and {len(masks)} masks.",
            "Send as many masks as images, or none.",
            field="controlnet_masks",
        )
    chosen = _preprocessor(payload)
    requests = [_request(payload, number, chosen, studio) for number in range(len(images))]
    return [_submit(payload, number, request, studio) for number, request in enumerate(requests)]


def _request(payload: DetectPayload, number: int, chosen: Preprocessor, studio: Studio) -> PreprocessRequest:
    image = store_picture(
        payload.controlnet_images[number], _field(payload, number, "image"), studio.put_blob
    )
    if isinstance(chosen, Inpaint) and payload.controlnet_masks:
        place = _field(payload, number, "preprocessor.mask")
        mask = store_picture(payload.controlnet_masks[number], place, studio.put_blob)
        chosen = chosen.model_copy(update={"mask": mask})
    return PreprocessRequest(image=image, preprocessor=chosen)


def _submit(payload: DetectPayload, number: int, request: PreprocessRequest, studio: Studio) -> JobView:
    try:
        return studio.submit(request)
    except EaselError as error:
        error.field = _field(payload, number, error.field) if error.field else None
        raise


def _field(payload: DetectPayload, number: int, field: str) -> str:
    """What the client calls a field of the request that its picture `number` became."""
    if field == "image":
        return f"controlnet_images.{number}"
    if field == "preprocessor.mask":
        return f"controlnet_masks.{number}"
    return f"controlnet_{unit_field_of(payload.controlnet_module, field.rsplit('.', maxsplit=1)[-1])}"


def _preprocessor(payload: DetectPayload) -> Preprocessor:
    unit = UnitModule(
        module=payload.controlnet_module,
        processor_res=payload.controlnet_processor_res,
        threshold_a=payload.controlnet_threshold_a,
        threshold_b=payload.controlnet_threshold_b,
    )
    try:
        return preprocessor_of(unit) or Map()
    except InvalidRequest as error:
        error.field = "controlnet_module"
        raise


def _reply(jobs: list[JobView], studio: Studio) -> DetectReply:
    files = [studio.blob(job.blobs[0]) for job in jobs]
    poses = [pose for pose in map(_pose, files) if pose is not None]
    return DetectReply(images=[encode_picture(data) for data in files], poses=poses)


def _pose(data: bytes) -> Any:
    """The pose that a map carries; None where it shows none."""
    with Image.open(io.BytesIO(data)) as image:
        text = image.info.get(POSE_CHUNK)
    return json.loads(text) if text else None

"""Single maps: the pictures go through the queue as any other job, and the reply waits for them."""

from __future__ import annotations

import io
import json
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from PIL import Image
from starlette.concurrency import run_in_threadpool

from studio.api.controlnet.payloads import DetectPayload, DetectReply
from studio.api.dependencies import FollowersDep, StudioDep
from studio.api.errors import failure_response
from studio.api.sdapi.pictures import decode_picture, encode_picture
from studio.core.control_units import UnitModule, preprocessor_of
from studio.core.errors import EaselError, InvalidRequest, ResourceError
from studio.core.jobs import JobView
from studio.core.openpose import POSE_CHUNK
from studio.core.preprocess import Map, Preprocessor
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
    for job in ended:
        if job.failure:
            return failure_response(job.failure)
        if not job.blobs:
            raise ResourceError("The map was not made: its job was stopped.", "Send it once more.")
    return await run_in_threadpool(_reply, ended, studio)


def _submit_all(payload: DetectPayload, studio: Studio) -> list[JobView]:
    if not payload.controlnet_images:
        raise InvalidRequest("No image was sent.", "Send at least one.", field="controlnet_images")
    chosen = _preprocessor(payload)
    files = [
        decode_picture(text, f"controlnet_images.{i}") for i, text in enumerate(payload.controlnet_images)
    ]
    return [_submit(data, chosen, studio, f"controlnet_images.{i}") for i, data in enumerate(files)]


def _submit(data: bytes, chosen: Preprocessor, studio: Studio, field: str) -> JobView:
    try:
        return studio.submit(PreprocessRequest(image=studio.put_blob(data), preprocessor=chosen))
    except EaselError as error:
        error.field = field
        raise


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

"""The reply to a generation, as AUTOMATIC1111's clients read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from studio.api.sdapi.payloads import GenerationPayload, GenerationReply, Img2ImgPayload
from studio.api.sdapi.pictures import encode_picture
from studio.core.jobs import JobView
from studio.core.library import ImageRecord
from studio.core.models import ModelInfo
from studio.core.requests import GenerateRequest

TIMESTAMP = "%Y%m%d%H%M%S"


def generation_reply(
    payload: GenerationPayload,
    job: JobView,
    records: Sequence[ImageRecord],
    files: Sequence[bytes],
    model: ModelInfo | None,
    warnings: Sequence[str],
) -> GenerationReply:
    """What a finished job made, with the settings of each picture.

    Args:
        records: the job's images, in order.
        files: what is sent: the images, then the maps of ControlNet units; empty where the client wants none.
        model: the checkpoint that was used, if it is still there.
    """
    assert job.request.kind == "generate"
    info = {
        **_request_info(job.request),
        **_image_info(records),
        "sd_model_name": model.name if model else job.request.model,
        "sd_model_hash": model.sha256[:10] if model else "",
        "job_timestamp": job.created.strftime(TIMESTAMP),
        "job_id": job.id,
        "warnings": list(warnings),
    }
    return GenerationReply(
        images=[encode_picture(each) for each in files],
        parameters=_parameters(payload),
        info=json.dumps(info, ensure_ascii=False),
    )


def _parameters(payload: GenerationPayload) -> dict[str, Any]:
    """What was asked; the pictures in it only where the client wants them back."""
    parameters = payload.model_dump()
    if isinstance(payload, Img2ImgPayload) and not payload.include_init_images:
        del parameters["init_images"], parameters["mask"]
    return parameters


def _request_info(request: GenerateRequest) -> dict[str, Any]:
    strength = request.source.strength if request.source else request.hires.strength if request.hires else 0
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "subseed": _subseed(request),
        "subseed_strength": request.variation.strength if request.variation else 0,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler.value,
        "cfg_scale": request.guidance_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_vae_name": request.vae or None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": strength,
        "extra_generation_params": {"Schedule type": request.schedule.value},
        "index_of_first_image": 0,
        "styles": [],
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": False,
    }


def _image_info(records: Sequence[ImageRecord]) -> dict[str, Any]:
    return {
        "all_prompts": [record.prompt for record in records],
        "all_negative_prompts": [record.negative_prompt for record in records],
        "all_seeds": [record.seed for record in records],
        "all_subseeds": [_subseed(record.request) for record in records],
        "infotexts": [record.infotext for record in records],
        "image_ids": [record.id for record in records],
    }


def _subseed(request: GenerateRequest) -> int:
    return request.variation.seed if request.variation else -1

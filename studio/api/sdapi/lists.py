"""What there is to choose from."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from studio.api.dependencies import StudioDep
from studio.api.sdapi.controlnet_args import SCRIPT
from studio.api.sdapi.gligen_args import SCRIPT as GLIGEN
from studio.api.sdapi.names import SAMPLER_ALIASES, SCHEDULE_NAMES, model_title, short_hash
from studio.api.sdapi.payloads import (
    CheckpointRow,
    NameRow,
    SamplerRow,
    SchedulerRow,
    ScriptsReply,
    UpscalerRow,
    VaeRow,
)
from studio.core.models import ModelKind
from studio.core.samplers import Sampler, Schedule, Upscaler

router = APIRouter(prefix="/sdapi/v1", tags=["sdapi: lists"])

_EMPTY_LISTS = {
    "prompt-styles": "prompt styles",
    "face-restorers": "face restorers",
    "realesrgan-models": "ESRGAN upscalers",
    "script-info": "scripts",
    "extensions": "extensions",
}

_LATENT = "Latent"


@router.get("/samplers", summary="List samplers")
def samplers() -> list[SamplerRow]:
    return [SamplerRow(name=each, aliases=list(SAMPLER_ALIASES[each]), options={}) for each in Sampler]


@router.get("/schedulers", summary="List schedules")
def schedulers() -> list[SchedulerRow]:
    return [SchedulerRow(name=SCHEDULE_NAMES[each], label=each, aliases=[]) for each in Schedule]


@router.get("/upscalers", summary="List upscalers of finished pictures")
def upscalers() -> list[UpscalerRow]:
    return [UpscalerRow(name=each) for each in Upscaler if not each.startswith(_LATENT)]


@router.get("/latent-upscale-modes", summary="List upscalers of latents")
def latent_upscale_modes() -> list[NameRow]:
    return [NameRow(name=each) for each in Upscaler if each.startswith(_LATENT)]


@router.get("/sd-models", summary="List checkpoints")
def sd_models(studio: StudioDep) -> list[CheckpointRow]:
    """Those that can be used."""
    return [
        CheckpointRow(
            title=model_title(model),
            model_name=model.name,
            hash=short_hash(model) or None,
            sha256=model.sha256 or None,
            filename=model.location,
        )
        for model in studio.models(ModelKind.CHECKPOINT)
        if model.usable
    ]


@router.get("/sd-vae", summary="List VAEs")
def sd_vae(studio: StudioDep) -> list[VaeRow]:
    """Those that can be used."""
    usable = (model for model in studio.models(ModelKind.VAE) if model.usable)
    return [VaeRow(model_name=model.name, filename=model.location) for model in usable]


@router.get("/scripts", summary="List scripts")
def scripts() -> ScriptsReply:
    names = [SCRIPT, GLIGEN]
    return ScriptsReply(txt2img=names, img2img=names)


def _nothing() -> list[Any]:
    """Always empty: there are none, or none that can be used yet."""
    return []


for path, what in _EMPTY_LISTS.items():
    router.add_api_route(f"/{path}", _nothing, summary=f"List {what}", response_model=list[Any], name=path)

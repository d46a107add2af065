"""The machine and its memory, and the small routes that clients use to see who answers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from studio.api.dependencies import SettingsDep, StudioDep
from studio.api.sdapi.payloads import MemoryReply
from studio.core.models import StudioStatus

router = APIRouter(tags=["sdapi: machine"])


@router.get("/sdapi/v1/memory", summary="How much memory there is")
def memory(studio: StudioDep) -> MemoryReply:
    status = studio.status()
    return MemoryReply(
        ram={
            "free": status.ram_total - status.ram_used,
            "used": status.ram_used,
            "total": status.ram_total,
        },
        cuda=_cuda_memory(status),
    )


@router.get("/sdapi/v1/cmd-flags", summary="How the program was started")
def cmd_flags(settings: SettingsDep) -> dict[str, Any]:
    """Under the names of A1111's flags, as far as they mean something here. Never the password."""
    return {
        "api": True,
        "listen": settings.host not in ("127.0.0.1", "localhost", "::1"),
        "server_name": settings.host,
        "port": settings.port,
        "share": False,
        "data_dir": str(settings.data_dir),
        "ckpt_dir": str(settings.own_models),
        "device_id": settings.device,
        "precision": settings.precision.value,
    }


@router.post("/sdapi/v1/refresh-checkpoints", summary="Look for checkpoints again")
@router.post("/sdapi/v1/refresh-vae", summary="Look for VAEs again")
@router.post("/sdapi/v1/refresh-loras", summary="Look for LoRAs again")
@router.post("/sdapi/v1/refresh-embeddings", summary="Look for embeddings again")
def refresh(studio: StudioDep) -> dict[str, str]:
    """Models of all kinds are looked for at once."""
    studio.refresh_models()
    return {}


@router.post("/sdapi/v1/unload-checkpoint", summary="Free the memory that models take")
def unload_checkpoint(studio: StudioDep) -> dict[str, str]:
    studio.unload_models()
    return {}


@router.post("/sdapi/v1/reload-checkpoint", summary="Use the active checkpoint again")
def reload_checkpoint(studio: StudioDep) -> dict[str, str]:
    """Models are loaded by the job that needs them, so this only checks that the checkpoint can be used."""
    if active := studio.status().active_model:
        studio.activate(active)
    return {}


@router.get("/internal/ping", summary="Whether the server answers")
def ping() -> dict[str, str]:
    return {}


def _cuda_memory(status: StudioStatus) -> dict[str, Any]:
    if not status.device.startswith("cuda"):
        return {"error": "unavailable"}
    total, free = status.memory_total, status.memory_free
    return {
        "system": {"free": free, "used": total - free, "total": total},
        "allocated": {"current": status.memory_used},
    }

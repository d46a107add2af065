"""`/controlnet`: the API of A1111's ControlNet extension: what there is to choose from, and single maps."""

from __future__ import annotations

from fastapi import APIRouter

from studio.api.controlnet import detect, lists
from studio.api.errors import ERROR_RESPONSES

router = APIRouter(prefix="/controlnet", responses=ERROR_RESPONSES)
for part in (lists, detect):
    router.include_router(part.router)

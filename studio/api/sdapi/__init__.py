"""`/sdapi/v1`: the API that AUTOMATIC1111's clients speak, translated into requests of the vocabulary."""

from __future__ import annotations

from fastapi import APIRouter

from studio.api.errors import ERROR_RESPONSES
from studio.api.sdapi import generation, lists, machine, networks, settings

router = APIRouter(responses=ERROR_RESPONSES)
for part in (generation, settings, lists, networks, machine):
    router.include_router(part.router)

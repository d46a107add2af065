"""`/studio/v1`: Easel's own API, in the words of studio/core."""

from __future__ import annotations

from fastapi import APIRouter

from studio.api.errors import ERROR_RESPONSES
from studio.api.studio_v1 import blobs, images, jobs, models

router = APIRouter(prefix="/studio/v1", responses=ERROR_RESPONSES)
router.include_router(jobs.router)
router.include_router(blobs.router)
router.include_router(images.router)
router.include_router(models.router)

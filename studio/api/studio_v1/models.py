"""Models on disk, models that can be installed, and the state of the machine."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from studio.api.dependencies import StudioDep
from studio.core.base import ModelId, Record
from studio.core.models import CatalogueRow, ModelInfo, ModelKind, StudioStatus

router = APIRouter(tags=["models"])


class Activation(Record):
    model: ModelId = Field(min_length=1, description="id of a checkpoint")


@router.get("/models", summary="List models")
def list_models(studio: StudioDep, kind: ModelKind | None = None) -> tuple[ModelInfo, ...]:
    return studio.models(kind)


@router.get("/models/catalogue", summary="List models that can be installed")
def catalogue(studio: StudioDep) -> tuple[CatalogueRow, ...]:
    """POST a row's `install` to `/studio/v1/jobs` to install it."""
    return studio.catalogue()


@router.post("/models/refresh", summary="Look at the model folders again")
def refresh(studio: StudioDep) -> tuple[ModelInfo, ...]:
    return studio.refresh_models()


@router.post("/models/activate", summary="Choose the checkpoint that requests without a model mean")
def activate(activation: Activation, studio: StudioDep) -> ModelInfo:
    return studio.activate(activation.model)


@router.post("/models/unload", summary="Free the memory that cached models take")
def unload(studio: StudioDep) -> StudioStatus:
    """Once no job uses them."""
    studio.unload_models()
    return studio.status()


@router.get("/status", summary="Look at the machine")
def status(studio: StudioDep) -> StudioStatus:
    return studio.status()

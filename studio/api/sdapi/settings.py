"""Options, and the switch of the model that hides among them."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Depends, Request

from studio.api.dependencies import StudioDep
from studio.api.sdapi.names import find_model, means_own_vae, model_title
from studio.api.sdapi.options import CHECKPOINT, Changes, OptionStore, changed
from studio.api.sdapi.payloads import OptionsChange
from studio.api.sdapi.repeatable import check_repeatable
from studio.core.models import ModelInfo, ModelKind
from studio.core.protocol import Studio

router = APIRouter(prefix="/sdapi/v1", tags=["sdapi: options"])


def _options(request: Request) -> OptionStore:
    return cast(OptionStore, request.app.state.sdapi_options)


OptionsDep = Annotated[OptionStore, Depends(_options)]


@router.get("/options", summary="Read the options")
def get_options(studio: StudioDep, options: OptionsDep) -> dict[str, Any]:
    """The whole object can be POSTed back."""
    model = active_model(studio)
    return {
        CHECKPOINT: model_title(model) if model else "",
        "sd_checkpoint_hash": model.sha256 if model else "",
        **options.current.model_dump(),
    }


@router.post("/options", summary="Change options")
def set_options(
    wishes: Annotated[dict[str, Any], Body(examples=[{CHECKPOINT: "Toytown"}])],
    studio: StudioDep,
    options: OptionsDep,
) -> OptionsChange:
    """Options that are not named stay as they are. They last until the program ends, the model beyond."""
    check_repeatable(wishes)
    changes = changed(options.current, wishes)
    apply_changes(changes, studio, options)
    return OptionsChange(updated=list(changes.updated), ignored=list(changes.ignored))


def apply_changes(changes: Changes, studio: Studio, options: OptionStore) -> None:
    """Keep the changes, and switch the model where another one is asked for.

    Raises: NotFound, InvalidRequest.
    """
    if not means_own_vae(changes.options.sd_vae):
        find_model(changes.options.sd_vae, studio.models(ModelKind.VAE), "sd_vae")
    if changes.checkpoint:
        model = find_model(changes.checkpoint, studio.models(ModelKind.CHECKPOINT), CHECKPOINT)
        if model.id != studio.status().active_model:
            studio.activate(model.id)
    options.current = changes.options


def active_model(studio: Studio) -> ModelInfo | None:
    active = studio.status().active_model
    return next((model for model in studio.models(ModelKind.CHECKPOINT) if model.id == active), None)

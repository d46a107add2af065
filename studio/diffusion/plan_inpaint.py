"""Inpainting, checked against the rest of the request and the checkpoint. Pure."""

from __future__ import annotations

from studio.core.errors import InvalidRequest
from studio.core.models import ModelInfo, Variant
from studio.core.requests import GenerateRequest


def check_inpaint(request: GenerateRequest, checkpoint: ModelInfo) -> None:
    """Raises: InvalidRequest."""
    if request.inpaint is None:
        _check_needs_no_mask(checkpoint)
    elif request.source is None:
        raise InvalidRequest(
            "Inpainting needs a photo to paint in, and there is none.",
            "Choose a source picture, or take the mask away.",
            field="source.image",
        )
    elif request.hires is not None:
        raise InvalidRequest(
            "The hires pass enlarges whole pictures; a photo being inpainted keeps its size.",
            "Switch the hires pass off. The area 'only masked' paints small parts in full detail.",
            field="hires",
        )


def _check_needs_no_mask(checkpoint: ModelInfo) -> None:
    if checkpoint.variant is Variant.INPAINT:
        raise InvalidRequest(
            f"{checkpoint.name} is an inpainting model, which needs a mask to fill.",
            "Paint a mask, or choose a base model for text to image and image to image.",
            field="model",
        )

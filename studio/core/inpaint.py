"""Inpainting: which part of a photo is painted anew, and from what.

Masks, here and in controls and image prompts, are pictures that are white where they hold. Where the file of
one has transparency, its opacity counts, whatever the colours: a stroke on a transparent layer is opaque.
"""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from studio.core.base import BlobId, Record, StrEnum

BLUR_A_SIGMA = 3
"""Width of the seam by the deviation of the Gaussian that blurs it, which is what A1111 counts in."""


class MaskedContent(StrEnum):
    """What lies under the mask when painting starts. At strength 1 painting starts from noise alone."""

    FILL = "fill"
    """The surroundings, drawn in."""
    ORIGINAL = "original"
    LATENT_NOISE = "latent noise"
    LATENT_NOTHING = "latent nothing"


class InpaintArea(StrEnum):
    """What is shown to the model."""

    WHOLE = "whole picture"
    MASKED = "only masked"
    """The masked part with its surroundings, enlarged to the request's size and put back afterwards."""


class Outpaint(Record):
    """Canvas added around the photo and painted anew."""

    left: int = Field(0, ge=0, le=1024, description="px of the photo")
    top: int = Field(0, ge=0, le=1024, description="px of the photo")
    right: int = Field(0, ge=0, le=1024, description="px of the photo")
    bottom: int = Field(0, ge=0, le=1024, description="px of the photo")

    @property
    def is_any(self) -> bool:
        return any((self.left, self.top, self.right, self.bottom))


class Inpaint(Record):
    """Paint a part of the request's source anew; outside the mask and its blur, every pixel stays."""

    mask: BlobId | None = Field(
        None, description="white where the photo is painted anew; shaped like it; None with outpainting only"
    )
    content: MaskedContent = MaskedContent.ORIGINAL
    area: InpaintArea = InpaintArea.WHOLE
    padding: int = Field(32, ge=0, le=512, description="only masked: surroundings shown, px of the photo")
    blur: int = Field(4, ge=0, le=128, description="width of the seam, px of the photo")
    grow: int = Field(0, ge=-128, le=128, description="px of the photo by which the mask grows or shrinks")
    invert: bool = Field(False, description="paint what is not masked")
    soft: bool = Field(False, description="grey parts of the mask are changed less (differential diffusion)")
    outpaint: Outpaint = Outpaint()

    @model_validator(mode="after")
    def _has_something_to_paint(self) -> Self:
        if self.mask is None and not self.outpaint.is_any:
            raise ValueError("inpainting needs a mask, or sides to outpaint")
        return self

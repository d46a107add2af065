"""Boxes with phrases: what is to be seen where (GLIGEN, Li et al. 2023).

Boxes lie on the picture that is made; with a source, on that photo, as they are drawn over it, and go with
it into the frame. Canvas that outpainting adds is no part of the photo: mask and boxes keep their places
beside it. Without a mask that canvas is all that is painted, and boxes lie on photo and canvas together.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from studio.core.base import BlobId, ModelId, Record
from studio.core.geometry import Box

MAX_BOXES = 30
"""What GLIGEN's models were trained with."""


class BoxInput(Record):
    """One thing and its place."""

    box: Box
    phrase: Annotated[str, StringConstraints(max_length=500)] = ""
    image: BlobId | None = Field(None, description="a picture of the thing, for models that read pictures")


class Boxes(Record):
    """A layout, and how strictly it is followed."""

    boxes: tuple[BoxInput, ...] = Field(min_length=1, max_length=MAX_BOXES)
    model: ModelId = Field("", description="a GLIGEN model; empty means the first that fits the checkpoint")
    share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of the steps with boxes (scheduled sampling); above 0 one at least",
    )
    strength: float = Field(1.0, ge=0, le=2, description="factor on what the grafted layers add")
    enabled: bool = True

    def steps_on(self, steps: int) -> int:
        """How many of `steps` have boxes: cut off as in diffusers, but a share is one step at least."""
        return min(steps, max(int(self.share * steps), 1)) if self.share > 0 else 0

"""Sizes, boxes, and the one transform that maps image, mask, boxes and every control map together."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from studio.core.base import Record, StrEnum

SAME_SHAPE = 0.03
"""Shapes that differ less are alike: the rest is rounding of whoever scaled one of two pictures."""


class ResizeMode(StrEnum):
    """How a picture of one shape fills a frame of another."""

    STRETCH = "stretch"
    CROP = "crop"
    PAD = "pad"


class Extent(Record):
    """A size in pixels."""

    width: int = Field(ge=1, description="px")
    height: int = Field(ge=1, description="px")

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def scaled(self, factor: float, multiple: int = 8) -> Extent:
        """This size times `factor`, each side rounded to the nearest multiple of `multiple` px."""
        return Extent(
            width=max(multiple, round(self.width * factor / multiple) * multiple),
            height=max(multiple, round(self.height * factor / multiple) * multiple),
        )

    def shape_difference(self, other: Extent) -> float:
        """How much wider or narrower this is for its height than `other`, as a share; 0: of one shape."""
        return abs(self.width * other.height / (self.height * other.width) - 1)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Box(Record):
    """A rectangle in relative coordinates: 0-1 from the top left corner of its picture."""

    x0: float = Field(ge=0, le=1)
    y0: float = Field(ge=0, le=1)
    x1: float = Field(ge=0, le=1)
    y1: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise ValueError(
                "a box needs a width and a height above zero, and this one goes "
                f"from ({self.x0:g}, {self.y0:g}) to ({self.x1:g}, {self.y1:g})"
            )
        return self


class Placement(Record):
    """Where a picture lands in a frame: scaled by `scale_x, scale_y`, its top left corner at `x, y` px.

    Negative offsets crop, positive ones pad. Map every image, mask, box and control map of one request
    through the same placement and they stay aligned.
    """

    frame: Extent
    scale_x: float = Field(gt=0)
    scale_y: float = Field(gt=0)
    x: float
    y: float

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A point of the picture (px) in the frame (px)."""
        return x * self.scale_x + self.x, y * self.scale_y + self.y


def place(picture: Extent, frame: Extent, mode: ResizeMode) -> Placement:
    """Fit `picture` into `frame`: distorted, filled and centred (crop), or whole and centred (pad)."""
    scale_x, scale_y = frame.width / picture.width, frame.height / picture.height
    if mode is ResizeMode.CROP:
        scale_x = scale_y = max(scale_x, scale_y)
    elif mode is ResizeMode.PAD:
        scale_x = scale_y = min(scale_x, scale_y)
    return Placement(
        frame=frame,
        scale_x=scale_x,
        scale_y=scale_y,
        x=(frame.width - picture.width * scale_x) / 2,
        y=(frame.height - picture.height * scale_y) / 2,
    )

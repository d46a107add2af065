"""Pictures into frames of another shape. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from studio.core.geometry import Extent, ResizeMode, place

LATENT_SCALE = 8
"""Pixels of a picture's side per latent."""

_REACH = 4
"""Pixels around a part that count for its scaled pixels, or times the scale that makes it smaller: Lanczos
reads three."""

_SLACK = 4
"""How much larger than picture and result together what lies between them may be."""

_LONG = 2**20
"""Pixels of a side whose resampling weights alone would take tens of megabytes."""


def extent_of(picture: Image.Image) -> Extent:
    return Extent(width=picture.width, height=picture.height)


def fit_picture(
    picture: Image.Image, frame: Extent, mode: ResizeMode, size: Extent | None = None
) -> Image.Image:
    """`picture` in `frame`: distorted, cropped to fill, or whole with its edges drawn out.

    Only what the frame shows is scaled, so a long strip takes no more memory than itself and the frame. Its
    pixels are those of the whole picture scaled and then cropped, but for the last bit of some.

    Args:
        size: of what it shows, where it has another scale: what shows the same lands at the same place.
    """
    across, down = _sides(picture, frame, mode, size)
    shown = _shown(picture, across, down, "RGB", Image.Resampling.LANCZOS)
    return _pad_with_edges(shown, frame, across.at, down.at) if mode is ResizeMode.PAD else shown


def fit_grey(mask: Image.Image, frame: Extent, mode: ResizeMode, size: Extent | None = None) -> Image.Image:
    """A grey picture in `frame`, placed as `fit_picture` does, black beside it."""
    across, down = _sides(mask, frame, mode, size)
    framed = Image.new("L", (frame.width, frame.height))
    framed.paste(_shown(mask, across, down, "L", Image.Resampling.BILINEAR), (across.at, down.at))
    return framed


def resized(
    picture: Image.Image,
    size: tuple[int, int],
    resample: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """As Pillow's `resize`, in memory of the order of picture and result together.

    Pillow scales the rows first: what is made wide and low would lie in memory wide and high.
    """
    left, top, right, bottom = box or (0, 0, *picture.size)
    (width, height), gap = size, 3.0 if max(right - left, bottom - top) > _LONG else None
    if width * (bottom - top) > _SLACK * (picture.width * picture.height + width * height):
        whole_width = (0, top, picture.width, bottom)
        picture = picture.resize((picture.width, height), resample, whole_width, gap)
        top, bottom = 0, height
    return picture.resize(size, resample, (left, top, right, bottom), gap)


@dataclass(frozen=True)
class _Side:
    """What a frame shows of a picture, in one direction."""

    begin: float
    """px of the picture; so is `end`."""
    end: float
    size: int
    """px of the frame that it takes."""
    at: int
    """px of the frame where it begins."""

    def around(self, limit: int) -> tuple[int, int]:
        """The pixels, of `limit` that there are, which count for the part."""
        reach = _REACH * max(1.0, (self.end - self.begin) / self.size)
        return max(0, math.floor(self.begin - reach)), min(limit, math.ceil(self.end + reach))


def _sides(picture: Image.Image, frame: Extent, mode: ResizeMode, size: Extent | None) -> tuple[_Side, _Side]:
    size = size or extent_of(picture)
    placement = place(size, frame, mode)
    across = _side(picture.width, round(size.width * placement.scale_x), frame.width, placement.x)
    return across, _side(picture.height, round(size.height * placement.scale_y), frame.height, placement.y)


def _side(length: int, scaled: int, frame: int, offset: float) -> _Side:
    """Args: length: px of the picture; scaled: what all of it takes, px of the frame."""
    whole, at = max(1, scaled), round(offset)
    first, last = max(0, -at), min(whole, frame - at)
    return _Side(first * length / whole, last * length / whole, last - first, at + first)


def _shown(
    picture: Image.Image, across: _Side, down: _Side, image_mode: str, resample: Image.Resampling
) -> Image.Image:
    """The part of a picture that a frame shows, as large as there."""
    # Pillow takes the box in 32 bit floats: exact enough in the part's surroundings, not in any picture.
    (left, right), (top, bottom) = across.around(picture.width), down.around(picture.height)
    part = picture.crop((left, top, right, bottom)).convert(image_mode)
    box = (across.begin - left, down.begin - top, across.end - left, down.end - top)
    return resized(part, (across.size, down.size), resample, box)


def _pad_with_edges(picture: Image.Image, frame: Extent, left: int, top: int) -> Image.Image:
    right = frame.width - picture.width - left
    bottom = frame.height - picture.height - top
    padded = np.pad(np.asarray(picture), ((top, bottom), (left, right), (0, 0)), mode="edge")
    return Image.fromarray(padded)

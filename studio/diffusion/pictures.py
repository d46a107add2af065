"""Pictures <-> tensors, and pictures into frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from studio.core.geometry import Extent, ResizeMode, place

_REACH = 4
"""Pixels around a part that count for its scaled pixels, or times the scale that makes it smaller: Lanczos
reads three."""

_SLACK = 4
"""How much larger than picture and result together what lies between them may be."""

_LONG = 2**20
"""Pixels of a side whose resampling weights alone would take tens of megabytes."""


def fit_picture(picture: Image.Image, frame: Extent, mode: ResizeMode) -> Image.Image:
    """`picture` in `frame`: distorted, cropped to fill, or whole with its edges drawn out.

    Only what the frame shows is scaled, so a long strip takes no more memory than itself and the frame. Its
    pixels are those of the whole picture scaled and then cropped, but for the last bit of some.
    """
    across, down = _sides(picture, frame, mode)
    shown = _shown(picture, across, down, "RGB", Image.Resampling.LANCZOS)
    return _pad_with_edges(shown, frame, across.at, down.at) if mode is ResizeMode.PAD else shown


def fit_grey(mask: Image.Image, frame: Extent, mode: ResizeMode) -> Image.Image:
    """A grey picture in `frame`, placed as `fit_picture` does, black beside it."""
    across, down = _sides(mask, frame, mode)
    framed = Image.new("L", (frame.width, frame.height))
    framed.paste(_shown(mask, across, down, "L", Image.Resampling.BILINEAR), (across.at, down.at))
    return framed


def fit_mask(mask: Image.Image, frame: Extent, mode: ResizeMode) -> torch.Tensor:
    """A grey picture in `frame`, placed as `fit_picture` does: (1, 1, H, W), 1 where white, 0 beside it."""
    return torch.from_numpy(np.array(fit_grey(mask, frame, mode)))[None, None].float() / 255


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


def _sides(picture: Image.Image, frame: Extent, mode: ResizeMode) -> tuple[_Side, _Side]:
    placement = place(Extent(width=picture.width, height=picture.height), frame, mode)
    return (
        _side(picture.width, frame.width, placement.scale_x, placement.x),
        _side(picture.height, frame.height, placement.scale_y, placement.y),
    )


def _side(length: int, frame: int, scale: float, offset: float) -> _Side:
    whole, at = max(1, round(length * scale)), round(offset)
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


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """RGB picture -> (1, 3, H, W), -1 to 1, float32, in channels-last order."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB")))[None]
    return (pixels.permute(0, 3, 1, 2).float() / 255) * 2 - 1


def to_pictures(pixels: torch.Tensor) -> list[Image.Image]:
    """(B, 3, H, W), -1 to 1 -> RGB pictures; values outside are clipped."""
    scaled = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(rows) for rows in scaled.permute(0, 2, 3, 1).cpu().numpy()]

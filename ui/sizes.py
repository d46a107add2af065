"""Picture sizes that suit a model: the shapes people ask for, at the number of pixels it was trained on."""

from __future__ import annotations

from math import sqrt

from studio.core.geometry import Extent

SHAPES = {"1:1": 1.0, "4:3": 4 / 3, "3:4": 3 / 4, "16:9": 16 / 9, "9:16": 9 / 16}
"""Width over height by name."""


def extent_for(native_size: int, ratio: float) -> Extent:
    """The size of shape `ratio` with about `native_size` squared pixels; sides in steps of 8 or 64 px."""
    multiple = 64 if native_size >= 512 else 8
    side = sqrt(ratio)
    return Extent(
        width=max(64, round(native_size * side / multiple) * multiple),
        height=max(64, round(native_size / side / multiple) * multiple),
    )


def nearest_extent(native_size: int, width: int, height: int) -> Extent:
    """The size for `native_size` whose shape is closest to `width` x `height`."""
    return extent_for(native_size, min(SHAPES.values(), key=lambda ratio: abs(ratio - width / height)))


def photo_extent(native_size: int, width: int, height: int) -> Extent:
    """The size at which a photo of `width` x `height` px is painted: its own shape, about the model's pixels.

    A photo that a model could have made keeps its size, so that it comes back pixel by pixel.
    """
    usual = native_size**2
    if width % 8 == height % 8 == 0 and 0.6 <= width * height / usual <= 1.7:
        return Extent(width=width, height=height)
    factor = sqrt(usual / (width * height))
    return Extent(width=_side(width * factor), height=_side(height * factor))


def _side(length: float) -> int:
    return min(4096, max(64, round(length / 8) * 8))

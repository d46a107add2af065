"""The canvas that outpainting adds around a photo, and around its mask and its control maps. No torch."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from studio.core.geometry import Box, Extent
from studio.core.inpaint import Outpaint

_OVERLAP = 8
"""Pixels of the photo that outpainting may change beside the new canvas, so that no seam is left."""

_DARK = 16
"""Values below that are black, as far as a JPEG knows."""


Sides = tuple[int, int, int, int]
"""What is added at left, top, right and bottom, px."""


def sides_of(outpaint: Outpaint) -> Sides:
    return outpaint.left, outpaint.top, outpaint.right, outpaint.bottom


def photo_on_canvas(photo: Image.Image, sides: Sides) -> Image.Image:
    """An RGB picture, its edges drawn out over the canvas."""
    return Image.fromarray(np.pad(np.asarray(photo), (*_around(sides), (0, 0)), mode="edge"))


def mask_on_canvas(mask: Image.Image, sides: Sides) -> Image.Image:
    """A grey picture, black beside the photo."""
    return Image.fromarray(np.pad(np.asarray(mask), _around(sides)))


def map_on_canvas(control_map: Image.Image, sides: Sides) -> Image.Image:
    """A control map (RGB) of the photo, with the canvas beside it.

    A drawing on black, such as edges or a pose, ends at the photo. What covers everything, such as depth or
    regions, goes on as it is at the photo's border.
    """
    pixels = np.asarray(control_map)
    if np.median(_border(pixels)) >= _DARK:
        return photo_on_canvas(control_map, sides)
    return Image.fromarray(np.pad(pixels, (*_around(sides), (0, 0))))


def new_canvas(photo: Extent, sides: Sides) -> Image.Image:
    """A mask of all that outpainting paints: what is added, and a little of the photo beside it."""
    kept = np.pad(np.ones((photo.height, photo.width), np.uint8), _around(sides))
    reach = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * _OVERLAP + 1, 2 * _OVERLAP + 1))
    # Beyond the photo's own border nothing was added, and nothing is to be overlapped.
    new = cv2.dilate(1 - kept, reach, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return Image.fromarray(new * np.uint8(255))


def box_on_canvas(box: Box, photo: Extent, sides: Sides) -> Box:
    """A box of the photo as a box of the whole canvas."""
    left, top, right, bottom = sides
    width, height = left + photo.width + right, top + photo.height + bottom
    return Box(
        x0=(left + box.x0 * photo.width) / width,
        y0=(top + box.y0 * photo.height) / height,
        x1=(left + box.x1 * photo.width) / width,
        y1=(top + box.y1 * photo.height) / height,
    )


def _around(sides: Sides) -> tuple[tuple[int, int], tuple[int, int]]:
    left, top, right, bottom = sides
    return (top, bottom), (left, right)


def _border(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The lightest channel of every pixel at the border of a picture (H, W, 3)."""
    light = pixels.max(axis=2)
    return np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])

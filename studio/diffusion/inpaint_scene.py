"""An inpainted photo and what is shown to the model: pictures in, pictures out. No torch.

One transform holds for photo, mask and boxes, and, in `scene_maps.py`, for control maps: canvas is added, a
region is cut out, and the rest is fitted to the model's frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageChops, ImageFilter

from studio.core.geometry import Box, Extent, ResizeMode
from studio.core.inpaint import BLUR_A_SIGMA, Inpaint, InpaintArea, MaskedContent
from studio.diffusion.canvas import (
    Sides,
    box_on_canvas,
    mask_on_canvas,
    new_canvas,
    photo_on_canvas,
    sides_of,
)
from studio.diffusion.fitting import extent_of, fit_grey, fit_picture, resized
from studio.diffusion.painted import hardened, painted

_FILL_RADIUS = 5
"""Pixels around a masked one that its filling is computed from (Telea 2004)."""

Region = tuple[int, int, int, int]
"""left, top, right, bottom in px."""

Fit = Callable[[Image.Image, Extent, ResizeMode, Extent], Image.Image]
"""`fit_picture` or `fit_grey`."""


@dataclass(frozen=True)
class InpaintScene:
    """A photo being inpainted. All pictures but `frame_*` have the size of the photo with its canvas."""

    photo: Image.Image
    """RGB, with the canvas that outpainting adds."""
    mask: Image.Image
    """L: what is painted anew, grown but not blurred."""
    seam: Image.Image
    """L: how much of the result is put over the photo. Zero outside the mask and its blur."""
    region: Region | None
    """The part that is shown to the model; None: all of it, as `resize_mode` says."""
    extent: Extent
    """Size of the pictures that the model makes."""
    resize_mode: ResizeMode
    sides: Sides = (0, 0, 0, 0)
    """The canvas that outpainting adds."""

    @property
    def given(self) -> Extent:
        """Size of the photo without the added canvas."""
        left, top, right, bottom = self.sides
        return Extent(width=self.photo.width - left - right, height=self.photo.height - top - bottom)

    def framed(self, picture: Image.Image, fit: Fit = fit_picture) -> Image.Image:
        """What the model sees of `picture`, which shows the photo with its canvas at any scale."""
        if self.region is None:
            return fit(picture, self.extent, self.resize_mode, extent_of(self.photo))
        part = self.cut(picture)
        return fit(part, self.extent, ResizeMode.STRETCH, extent_of(part))

    @property
    def frame_mask(self) -> Image.Image:
        """L, in the model's frame."""
        return self.framed(self.mask, fit_grey)

    @property
    def frame_seam(self) -> Image.Image:
        return self.framed(self.seam, fit_grey)

    def changing(self, *, soft: bool) -> Image.Image:
        """L, in the model's frame: what denoising changes. Where grades count, the blur is among them."""
        return self.frame_seam if soft else self.frame_mask

    def start(self, content: MaskedContent) -> Image.Image:
        """The picture, in the model's frame, that painting starts from."""
        photo = filled(self.photo, self.mask) if content is MaskedContent.FILL else self.photo
        return self.framed(photo)

    @property
    def untouched(self) -> Image.Image:
        """The result where nothing is painted."""
        return self.photo if self.region else self.framed(self.photo)

    def on_canvas(self, box: Box) -> Box:
        """A box of the photo as it was given, as one of the photo with its canvas."""
        return box_on_canvas(box, self.given, self.sides)

    def paste(self, result: Image.Image) -> Image.Image:
        """The photo with `result`, a picture of the model's frame, where the mask is."""
        if self.region is None:
            return Image.composite(result, self.framed(self.photo), self.frame_seam)
        left, top, right, bottom = self.region
        patch = resized(result, (right - left, bottom - top), Image.Resampling.LANCZOS)
        painted = self.photo.copy()
        painted.paste(patch, (left, top), self.seam.crop(self.region))
        return painted

    def cut(self, picture: Image.Image) -> Image.Image:
        """The region of a picture that shows the photo with its canvas at any scale."""
        if self.region is None:
            return picture
        across, down = picture.width / self.photo.width, picture.height / self.photo.height
        left, top = round(self.region[0] * across), round(self.region[1] * down)
        right, bottom = round(self.region[2] * across), round(self.region[3] * down)
        return picture.crop((left, top, max(left + 1, right), max(top + 1, bottom)))


def make_scene(
    photo: Image.Image,
    mask: Image.Image | None,
    options: Inpaint,
    extent: Extent,
    resize_mode: ResizeMode,
) -> InpaintScene:
    """The scene of a request.

    Args:
        mask: any mode and scale; light where the photo is painted anew.
        extent: size of the pictures that the model makes.
    """
    photo, sides = photo.convert("RGB"), sides_of(options.outpaint)
    anew = painted(mask, extent_of(photo), options)
    if any(sides):
        anew = ImageChops.lighter(mask_on_canvas(anew, sides), new_canvas(extent_of(photo), sides))
        photo = photo_on_canvas(photo, sides)
    seam = ImageChops.lighter(anew.filter(ImageFilter.GaussianBlur(options.blur / BLUR_A_SIGMA)), anew)
    region = None
    if options.area is InpaintArea.MASKED:
        region = region_around(seam, options.padding, extent)
    return InpaintScene(photo, anew, seam, region, extent, resize_mode, sides)


def filled(photo: Image.Image, mask: Image.Image) -> Image.Image:
    """The photo with its surroundings drawn into the masked part (Telea 2004)."""
    holes = np.asarray(hardened(mask))
    return Image.fromarray(cv2.inpaint(np.asarray(photo), holes, _FILL_RADIUS, cv2.INPAINT_TELEA))


def region_around(mask: Image.Image, padding: int, extent: Extent) -> Region:
    """The part of a photo that holds the mask and `padding` px around it, in the shape of `extent`.

    It is enlarged to that shape where the photo has room, and lies inside of it.
    """
    box = mask.getbbox() or (0, 0, mask.width, mask.height)
    left, right = _widened(box[0] - padding, box[2] + padding, mask.width)
    top, bottom = _widened(box[1] - padding, box[3] + padding, mask.height)
    wanted_width = round((bottom - top) * extent.width / extent.height)
    wanted_height = round((right - left) * extent.height / extent.width)
    if wanted_width > right - left:
        left, right = _resized(left, right, wanted_width, mask.width)
    else:
        top, bottom = _resized(top, bottom, wanted_height, mask.height)
    return left, top, right, bottom


def _widened(low: int, high: int, limit: int) -> tuple[int, int]:
    return max(0, low), min(limit, high)


def _resized(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """An interval of `length`, or of all there is, around the middle of another, moved inside the limits."""
    length = min(length, limit)
    start = min(max(0, (low + high - length) // 2), limit - length)
    return start, start + length

"""The photo, its mask, and the part of it that is shown to the model: pictures in, pictures out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageChops, ImageFilter

from studio.core.geometry import Extent, ResizeMode
from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent
from studio.diffusion.pictures import fit_grey, fit_picture, resized

_FILL_RADIUS = 5
"""Pixels around a masked one that its filling is computed from (Telea 2004)."""
_OVERLAP = 8
"""Pixels of the photo that outpainting may change beside the new canvas, so that no seam is left."""

Region = tuple[int, int, int, int]
"""left, top, right, bottom in px."""


@dataclass(frozen=True)
class InpaintScene:
    """A photo being inpainted. All pictures but `frame_*` have the photo's own size."""

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

    def framed(self, picture: Image.Image) -> Image.Image:
        """What the model sees of `picture`, which is shaped like the photo."""
        if self.region is None:
            return fit_picture(picture, self.extent, self.resize_mode)
        return fit_picture(self.cut(picture), self.extent, ResizeMode.STRETCH)

    @property
    def frame_mask(self) -> Image.Image:
        """L, in the model's frame."""
        return self._framed_grey(self.mask)

    @property
    def frame_seam(self) -> Image.Image:
        return self._framed_grey(self.seam)

    def start(self, content: MaskedContent) -> Image.Image:
        """The picture, in the model's frame, that painting starts from."""
        photo = filled(self.photo, self.mask) if content is MaskedContent.FILL else self.photo
        return self.framed(photo)

    def paste(self, result: Image.Image) -> Image.Image:
        """The photo with `result`, a picture of the model's frame, where the mask is."""
        if self.region is None:
            return Image.composite(result, self.framed(self.photo), self.frame_seam)
        left, top, right, bottom = self.region
        patch = resized(result, (right - left, bottom - top), Image.Resampling.LANCZOS)
        painted = self.photo.copy()
        painted.paste(patch, (left, top), self.seam.crop(self.region))
        return painted

    def _framed_grey(self, mask: Image.Image) -> Image.Image:
        if self.region is None:
            return fit_grey(mask, self.extent, self.resize_mode)
        return fit_grey(mask.crop(self.region), self.extent, ResizeMode.STRETCH)

    def cut(self, picture: Image.Image) -> Image.Image:
        """The region of a picture that shows what the photo shows, at any scale: a control map, say."""
        if self.region is None:
            return picture
        across, down = picture.width / self.photo.width, picture.height / self.photo.height
        left, top, right, bottom = self.region
        return picture.crop(
            (round(left * across), round(top * down), round(right * across), round(bottom * down))
        )


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
    canvas, painted = _outpainted(photo.convert("RGB"), _grey(mask, photo), options)
    seam = ImageChops.lighter(painted.filter(ImageFilter.GaussianBlur(options.blur / 3)), painted)
    region = None
    if options.area is InpaintArea.MASKED:
        region = region_around(seam, options.padding, extent)
    return InpaintScene(canvas, painted, seam, region, extent, resize_mode)


def _grey(mask: Image.Image | None, photo: Image.Image) -> Image.Image:
    if mask is None:
        return Image.new("L", photo.size, 0)
    return resized(mask.convert("L"), photo.size, Image.Resampling.BILINEAR)


def _outpainted(photo: Image.Image, mask: Image.Image, options: Inpaint) -> tuple[Image.Image, Image.Image]:
    """Photo and mask, inverted and grown, on the larger canvas; its new parts are masked."""
    if options.invert:
        mask = ImageChops.invert(mask)
    mask = grown(mask, options.grow)
    if not options.soft:
        mask = mask.point(lambda value: 255 if value >= 128 else 0)
    sides = options.outpaint
    if not sides.is_any:
        return photo, mask
    around = ((sides.top, sides.bottom), (sides.left, sides.right))
    canvas = Image.fromarray(np.pad(np.asarray(photo), (*around, (0, 0)), mode="edge"))
    placed = np.pad(np.asarray(mask), around, constant_values=255)
    kept = np.pad(np.ones((photo.height, photo.width), np.uint8), around)
    reach = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * _OVERLAP + 1, 2 * _OVERLAP + 1))
    # Beyond the photo's own border nothing was added, and nothing is to be overlapped.
    new = cv2.dilate(1 - kept, reach, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return canvas, Image.fromarray(np.where(new > 0, np.uint8(255), placed))


def grown(mask: Image.Image, pixels: int) -> Image.Image:
    """A mask (L) whose light part reaches `pixels` further in every direction; less far where negative."""
    if pixels == 0:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1, 2 * abs(pixels) + 1))
    change = cv2.dilate if pixels > 0 else cv2.erode
    return Image.fromarray(change(np.asarray(mask), kernel))


def filled(photo: Image.Image, mask: Image.Image) -> Image.Image:
    """The photo with its surroundings drawn into the masked part (Telea 2004)."""
    holes = np.asarray(mask.point(lambda value: 255 if value >= 128 else 0))
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

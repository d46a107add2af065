"""Masks, checked when a request comes in: a person is told at once, not after the queue."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageChops

from studio.core.base import BlobId
from studio.core.errors import EaselError, InvalidRequest
from studio.core.requests import GenerateRequest

_GROWTH = 2
"""How much larger than the largest picture that is accepted a photo may become by outpainting."""

_DISTORTION = 0.03
"""How far the shapes of mask and photo may differ; less is rounding of whoever scaled one of them."""

ReadPicture = Callable[[BlobId], Image.Image]
"""A stored picture. Raises: NotFound, ImageError."""


def check_mask(request: GenerateRequest, read: ReadPicture) -> None:
    """Raises: InvalidRequest, where the mask is missing, of another shape than the photo, or empty."""
    if request.inpaint is None or request.inpaint.mask is None or request.source is None:
        return
    try:
        mask = read(request.inpaint.mask)
    except EaselError as error:
        raise InvalidRequest(error.problem, error.remedy, field="inpaint.mask") from error
    _check_shape(mask, read(request.source.image))
    _check_content(mask.convert("L"), request)


def check_canvas(request: GenerateRequest, read: ReadPicture, max_pixels: int) -> None:
    """Raises: InvalidRequest, where outpainting makes more of a photo than memory holds, as of a strip."""
    if request.inpaint is None or request.source is None or not request.inpaint.outpaint.is_any:
        return
    photo, sides = read(request.source.image), request.inpaint.outpaint
    width, height = photo.width + sides.left + sides.right, photo.height + sides.top + sides.bottom
    if width * height > _GROWTH * max_pixels:
        raise InvalidRequest(
            f"Outpainting would make a canvas of {width} x {height} px of this photo; at most "
            f"{_GROWTH * max_pixels / 1e6:g} million pixels are possible.",
            "Add less to its sides, or choose a smaller photo.",
            field="inpaint.outpaint",
        )


def _check_shape(mask: Image.Image, photo: Image.Image) -> None:
    shape, wanted = mask.width / mask.height, photo.width / photo.height
    if abs(shape / wanted - 1) > _DISTORTION:
        raise InvalidRequest(
            f"The mask must be shaped like the photo, {photo.width} x {photo.height} px, but has "
            f"{mask.width} x {mask.height} px.",
            "Paint it over this photo, or choose the photo that it was made for.",
            field="inpaint.mask",
        )


def _check_content(mask: Image.Image, request: GenerateRequest) -> None:
    assert request.inpaint is not None
    light = mask.point(lambda value: 255 if value >= 128 else 0)
    has_light, has_dark = light.getbbox() is not None, ImageChops.invert(light).getbbox() is not None
    empty = not (has_dark if request.inpaint.invert else has_light)
    if empty and not request.inpaint.outpaint.is_any:
        painted = "everything is masked, and the mask is inverted" if has_light else "nothing is masked"
        raise InvalidRequest(
            f"There is nothing to paint anew: {painted}.",
            "Paint over what is to change.",
            field="inpaint.mask",
        )

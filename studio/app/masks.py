"""Masks, checked when a request comes in: a person is told at once, not after the queue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil, floor
from typing import Any

from PIL import Image

from studio.core.base import BlobId
from studio.core.errors import InvalidRequest, invalid_at
from studio.core.geometry import SAME_SHAPE, place
from studio.core.inpaint import Inpaint, InpaintArea
from studio.core.requests import GenerateRequest, SourceImage
from studio.diffusion.fitting import extent_of
from studio.diffusion.inpaint_scene import InpaintScene, make_scene
from studio.diffusion.painted import latent_cells, painted

_GROWTH = 2
"""How much larger than the largest picture that is accepted a photo may become by outpainting."""

ReadPicture = Callable[[BlobId], Image.Image]
"""A stored picture. Raises: NotFound, ImageError."""


def check_mask(request: GenerateRequest, read: ReadPicture, read_mask: ReadPicture) -> None:
    """Make sure that something of the photo will be painted.

    Args:
        read_mask: gives a stored mask as a grey picture.

    Raises: InvalidRequest: the mask is missing, of another shape than the photo, empty, or not to be seen.
    """
    inpaint, source = request.inpaint, request.source
    if inpaint is None or source is None:
        return
    with invalid_at("source.image"):
        photo = read(source.image)
    mask = None
    if inpaint.mask is not None:
        with invalid_at("inpaint.mask"):
            mask = read_mask(inpaint.mask)
        _check_shape(mask, photo)
    scene = make_scene(photo, mask, inpaint, request.extent, source.resize_mode)
    if mask is not None and scene.mask.getbbox() is None:
        raise _why_empty(inpaint, partial(_paints, mask, photo, inpaint))
    _check_shown(scene, inpaint, source)


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
    if extent_of(mask).shape_difference(extent_of(photo)) > SAME_SHAPE:
        raise InvalidRequest(
            f"The mask must be shaped like the photo, {photo.width} x {photo.height} px, but has "
            f"{mask.width} x {mask.height} px.",
            "Paint it over this photo, or choose the photo that it was made for.",
            field="inpaint.mask",
        )


def _why_empty(inpaint: Inpaint, paints: Callable[..., bool]) -> InvalidRequest:
    """Args: paints: tells whether something would be painted with other options."""
    nothing, field = "There is nothing to paint anew:", "inpaint.mask"
    if paints(grow=max(0, inpaint.grow)):
        return InvalidRequest(
            f"{nothing} nothing of the mask is left when it is shrunk by {-inpaint.grow} px.",
            "Shrink it less, or paint wider.",
            field="inpaint.grow",
        )
    if paints(soft=True):
        return InvalidRequest(
            f"{nothing} the mask is dark grey at most.",
            "Paint over what is to change in white, or switch soft inpainting on, which takes greys.",
            field=field,
        )
    light = "everything is masked, and the mask is inverted" if inpaint.invert else "nothing is masked"
    return InvalidRequest(f"{nothing} {light}.", "Paint over what is to change.", field=field)


def _paints(mask: Image.Image, photo: Image.Image, inpaint: Inpaint, **changes: Any) -> bool:
    return painted(mask, extent_of(photo), inpaint.model_copy(update=changes)).getbbox() is not None


def _check_shown(scene: InpaintScene, inpaint: Inpaint, source: SourceImage) -> None:
    """The model must see some of what it paints: the photo may be scaled down, and cut off at the sides."""
    if latent_cells(scene.changing(soft=inpaint.soft), soft=inpaint.soft).any():
        return
    field = "inpaint.mask" if inpaint.mask else "inpaint.outpaint"
    if _is_cut_off(scene):
        raise InvalidRequest(
            f"All that is masked is cut off, where the photo is fitted to {scene.extent} px "
            f"({source.resize_mode}).",
            "Choose a size of the photo's shape, or the area 'only masked'.",
            field=field,
        )
    wider = "" if inpaint.area is InpaintArea.MASKED else ", or choose the area 'only masked'"
    raise InvalidRequest(
        f"What is masked must still be seen when the photo is scaled to {scene.extent} px, and is too thin "
        "for that.",
        f"Paint wider{wider}.",
        field=field,
    )


def _is_cut_off(scene: InpaintScene) -> bool:
    """True where nothing masked lies in the part of the canvas that the frame shows."""
    if scene.region is not None:
        return False
    frame, placed = scene.extent, place(extent_of(scene.photo), scene.extent, scene.resize_mode)
    left, top = floor(-placed.x / placed.scale_x), floor(-placed.y / placed.scale_y)
    right = ceil((frame.width - placed.x) / placed.scale_x)
    bottom = ceil((frame.height - placed.y) / placed.scale_y)
    return scene.mask.crop((left, top, right, bottom)).getbbox() is None

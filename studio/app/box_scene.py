"""The boxes of a request, in the model's frame: pictures read, models located, no device touched."""

from __future__ import annotations

from PIL import Image

from studio.app.box_models import find_box_parts
from studio.app.stack_pictures import ReadBlob
from studio.core.boxes import BoxInput
from studio.core.errors import EaselError
from studio.core.geometry import Box, Extent
from studio.diffusion.boxes import BoxScene, FramedBox, framed_box
from studio.diffusion.inpaint_scene import InpaintScene
from studio.diffusion.plan import GeneratePlan
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef

Refs = tuple[ComponentRef, ...]


def read_boxes(
    planned: GeneratePlan,
    catalogue: ModelCatalogue,
    read: ReadBlob,
    drawn_on: InpaintScene | Image.Image | None,
) -> tuple[BoxScene | None, Refs]:
    """The boxes, and what to borrow for them; nothing where they have no effect.

    Args:
        drawn_on: the photo that the boxes belong to; None: the picture that is made.

    Raises: EaselError, with the field at fault.
    """
    boxes = planned.boxes
    if boxes is None or not boxes.acts:
        return None, ()
    framed: dict[int, FramedBox] = {}
    for i, one in enumerate(boxes.layout.boxes):
        box = _framed(one.box, planned, drawn_on)
        if box is not None:
            framed[i] = FramedBox(box, one.phrase, _picture(one, i, read))
    if not framed:
        return None, ()
    refs = find_box_parts(boxes, catalogue, [i for i, one in framed.items() if one.picture])
    roles = [ref.role for ref in refs[1:]]
    return BoxScene(boxes, tuple(framed.values()), *roles), refs


def _framed(box: Box, planned: GeneratePlan, drawn_on: InpaintScene | Image.Image | None) -> Box | None:
    source = planned.request.source
    if drawn_on is None or source is None:
        return box
    photo, region = (
        (drawn_on.photo, drawn_on.region) if isinstance(drawn_on, InpaintScene) else (drawn_on, None)
    )
    size = Extent(width=photo.width, height=photo.height)
    return framed_box(box, size, planned.first.extent, source.resize_mode, region)


def _picture(one: BoxInput, number: int, read: ReadBlob) -> tuple[str, Image.Image] | None:
    if one.image is None:
        return None
    try:
        return one.image, read(one.image)
    except EaselError as error:
        error.field = error.field or f"boxes.boxes.{number}.image"
        raise

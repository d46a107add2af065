"""The boxes of a request, in the model's frame: pictures read, models located, no device touched."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from studio.app.box_models import find_box_parts
from studio.app.masks import ReadPicture
from studio.core.boxes import BoxInput
from studio.core.errors import at
from studio.core.geometry import Box, Extent
from studio.diffusion.boxes import BoxScene, FramedBox, framed_box
from studio.diffusion.fitting import extent_of
from studio.diffusion.inpaint_scene import InpaintScene
from studio.diffusion.plan import GeneratePlan
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef

_SMALLEST = 8
"""Width and height of a box, px: what the UNet sees as one point."""

_ROUNDING = 1e-6
_SHOWN_LETTERS = 60


@dataclass(frozen=True)
class ReadBoxes:
    """The boxes of a job, and what to borrow for them; nothing where they have no effect."""

    scene: BoxScene | None = None
    refs: tuple[ComponentRef, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences on boxes that have no effect, though they are on."""


def read_boxes(
    planned: GeneratePlan,
    catalogue: ModelCatalogue,
    read: ReadPicture,
    drawn_on: InpaintScene | Image.Image | None,
) -> ReadBoxes:
    """The boxes that the frame shows, with their pictures.

    Args:
        drawn_on: the photo that the boxes belong to; None: the picture that is made.

    Raises: EaselError, with the field at fault.
    """
    boxes = planned.boxes
    if boxes is None or not boxes.acts:
        return ReadBoxes()
    framed: dict[int, FramedBox] = {}
    notes = []
    for i, one in enumerate(boxes.layout.boxes):
        box = _framed(one.box, planned, drawn_on)
        if box is None or _is_tiny(box, planned.extent):
            notes.append(_note(one, i, is_shown=box is not None))
        else:
            framed[i] = FramedBox(box, one.phrase, _picture(one, i, read))
    if not framed:
        return ReadBoxes(notes=tuple(notes))
    refs = find_box_parts(boxes, catalogue, [i for i, one in framed.items() if one.picture])
    scene = BoxScene(boxes, tuple(framed.values()), *(ref.role for ref in refs[1:]))
    return ReadBoxes(scene, refs, tuple(notes))


def _is_tiny(box: Box, extent: Extent) -> bool:
    """Args: extent: of the finished picture."""
    sides = (box.x1 - box.x0) * extent.width, (box.y1 - box.y0) * extent.height
    return min(sides) < _SMALLEST - _ROUNDING


def _note(one: BoxInput, number: int, *, is_shown: bool) -> str:
    name = f"Box {number + 1}{f' ({one.phrase[:_SHOWN_LETTERS]})' if one.phrase else ''}"
    if is_shown:
        return (
            f"{name} has no effect: less than {_SMALLEST} px of its width or height are in the picture. "
            "Make it larger."
        )
    return f"{name} has no effect: the part of the photo that is used does not show it. Move it."


def _framed(box: Box, planned: GeneratePlan, drawn_on: InpaintScene | Image.Image | None) -> Box | None:
    source, inpaint = planned.request.source, planned.request.inpaint
    if drawn_on is None or source is None:
        return box
    frame, mode = planned.first.extent, source.resize_mode
    if not isinstance(drawn_on, InpaintScene):
        return framed_box(box, extent_of(drawn_on), frame, mode)
    if inpaint is not None and inpaint.mask is not None:
        box = drawn_on.on_canvas(box)
    return framed_box(box, extent_of(drawn_on.photo), frame, mode, drawn_on.region)


def _picture(one: BoxInput, number: int, read: ReadPicture) -> tuple[str, Image.Image] | None:
    if one.image is None:
        return None
    with at(f"boxes.boxes.{number}.image"):
        return one.image, read(one.image)

"""What boxes borrow beside the checkpoint: GLIGEN's layers, and what reads pictures. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.errors import at, invalid_at
from studio.core.models import ModelKind
from studio.diffusion.plan_boxes import PlannedBoxes
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef
from studio.models.parts import part_of, picture_parts_of


def find_box_parts(
    boxes: PlannedBoxes, catalogue: ModelCatalogue, pictured: Sequence[int]
) -> tuple[ComponentRef, ...]:
    """The layers, then the encoder and the projection of pictures where a box has one.

    Args:
        pictured: numbers of the boxes with a picture.

    Raises: InvalidRequest, ModelFileError: a file is gone or broken, or no encoder fits; with the field.
    """
    with at("boxes.model"), invalid_at("boxes.model"):
        graft = part_of(catalogue, boxes.model)
    if not pictured:
        return (graft,)
    field = f"boxes.boxes.{pictured[0]}.image"
    with at(field), invalid_at(field):
        return graft, *picture_parts_of(catalogue, boxes.model, catalogue.models(ModelKind.CLIP_VISION))


def check_box_parts(boxes: PlannedBoxes | None, catalogue: ModelCatalogue) -> None:
    """Raises: as `find_box_parts`, for boxes that have an effect."""
    if boxes is not None and boxes.acts:
        pictured = [i for i, one in enumerate(boxes.layout.boxes) if one.image]
        find_box_parts(boxes, catalogue, pictured)

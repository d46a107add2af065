r"""Masks and boxes in an infotext: A1111's keys for inpainting, and `GLIGEN` as its API takes the boxes.

Our own infotexts hold both in full in `Easel stack`; these keys are for other readers, and for people.

    Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, Masked content: fill,
    GLIGEN: "{\"boxes\": [{\"phrase\": \"a red ball\", \"box\": [0.1, 0.4, 0.5, 0.9]}], \"beta\": 0.3}"
"""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

from pydantic import ValidationError

from studio.core.boxes import Boxes, BoxInput
from studio.core.inpaint import BLUR_A_SIGMA, Inpaint, InpaintArea, MaskedContent
from studio.core.requests import GenerateRequest
from studio.storage.draft import Draft
from studio.storage.stack_text import number

GLIGEN = "GLIGEN"
_INPAINT = ("Mask mode", "Mask blur", "Inpaint area", "Masked area padding", "Masked content")


def scene_fields(request: GenerateRequest) -> Iterator[tuple[str, str]]:
    """The keys of an infotext that tell of a mask and of boxes."""
    if request.inpaint:
        yield from _inpaint_fields(request.inpaint)
    if request.boxes and request.boxes.enabled:
        yield GLIGEN, json.dumps(_told(request.boxes), ensure_ascii=False)


def take_scene_fields(fields: MutableMapping[str, str], draft: Draft, *, is_own: bool) -> None:
    """Take boxes out of an infotext's fields where the stack did not tell of them.

    A mask is in no infotext but ours; what others say of it stays in `fields`, to be named.

    Args:
        is_own: True for infotexts of Easel, whose stack has been read and has said what is missing.
    """
    if is_own:
        for key in _INPAINT:
            fields.pop(key, None)
    text = fields.pop(GLIGEN, "")
    if not text or "boxes" in draft.values:
        return
    boxes = _read(text)
    if boxes is None and not is_own:
        draft.warnings.append("The boxes cannot be read, or need pictures that are not here: left out.")
    elif boxes is not None:
        draft.values["boxes"] = boxes


def _inpaint_fields(inpaint: Inpaint) -> Iterator[tuple[str, str]]:
    if inpaint.invert:
        yield "Mask mode", "Inpaint not masked"
    if inpaint.blur:
        yield "Mask blur", number(round(inpaint.blur / BLUR_A_SIGMA, 2))
    if inpaint.area is InpaintArea.MASKED:
        yield "Inpaint area", "Only masked"
        yield "Masked area padding", str(inpaint.padding)
    if inpaint.content is not MaskedContent.ORIGINAL:
        yield "Masked content", str(inpaint.content)


def _told(boxes: Boxes) -> dict[str, Any]:
    told: dict[str, Any] = {"boxes": [_box(one) for one in boxes.boxes], "beta": boxes.share}
    if boxes.strength != Boxes.model_fields["strength"].default:
        told["strength"] = boxes.strength
    return told


def _box(one: BoxInput) -> dict[str, Any]:
    box = one.box
    told: dict[str, Any] = {"phrase": one.phrase, "box": [box.x0, box.y0, box.x1, box.y1]}
    return told | ({"image": one.image} if one.image else {})


def _read(text: str) -> Boxes | None:
    """None for what is damaged, and for boxes with pictures, which no infotext holds."""
    try:
        told = json.loads(text)
        boxes = [
            {"phrase": one["phrase"], "box": dict(zip(("x0", "y0", "x1", "y1"), one["box"], strict=True))}
            for one in told["boxes"]
            if not one.get("image")
        ]
        if len(boxes) < len(told["boxes"]):
            return None
        fields = {"share": told.get("beta"), "strength": told.get("strength")}
        given = {name: value for name, value in fields.items() if value is not None}
        return Boxes.model_validate({"boxes": boxes, **given})
    except (ValueError, ValidationError, RecursionError, KeyError, TypeError, AttributeError):
        return None

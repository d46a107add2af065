r"""Masks and boxes in an infotext: A1111's keys for inpainting, and `GLIGEN` as its API takes the boxes.

Our own infotexts hold both in full in `Easel stack`; these keys are for other readers, and for people.

    Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, Masked content: fill,
    GLIGEN: "{\"boxes\": [{\"phrase\": \"a red ball\", \"box\": [0.1, 0.4, 0.5, 0.9]}], \"beta\": 0.3,
              \"model\": \"toytown-boxes\"}"
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from pydantic import ValidationError

from studio.core.base import ModelId
from studio.core.boxes import MAX_BOXES, Boxes, BoxInput
from studio.core.inpaint import BLUR_A_SIGMA, Inpaint, InpaintArea, MaskedContent
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest
from studio.core.texts import json_object, storable
from studio.storage.draft import Draft
from studio.storage.stack_reading import ResolveModel
from studio.storage.stack_text import NetworkFact, number

GLIGEN = "GLIGEN"
_MAX_NAME = 200
_MAX_SHOWN = 10
_INPAINT = ("Mask mode", "Mask blur", "Inpaint area", "Masked area padding", "Masked content")


def scene_fields(request: GenerateRequest, networks: Sequence[NetworkFact]) -> Iterator[tuple[str, str]]:
    """The keys of an infotext that tell of a mask and of boxes.

    Args:
        networks: the models that made the image, the one that knows boxes among them.
    """
    if request.inpaint:
        yield from _inpaint_fields(request.inpaint)
    if request.boxes and request.boxes.enabled:
        names = (fact.name for fact in networks if fact.kind is ModelKind.GLIGEN)
        told = _told(request.boxes, next(names, request.boxes.model))
        yield GLIGEN, json.dumps(told, ensure_ascii=False)


def take_scene_fields(
    fields: MutableMapping[str, str], draft: Draft, resolve: ResolveModel | None, *, is_own: bool
) -> None:
    """Take boxes out of an infotext's fields where the stack did not tell of them.

    A mask is in no infotext but ours; what others say of it stays in `fields`, to be named.

    Args:
        resolve: finds the GLIGEN model; without it, its name is kept as it is written.
        is_own: True for infotexts of Easel whose stack has been read, and has said what is missing.
    """
    if is_own:
        for key in _INPAINT:
            fields.pop(key, None)
    text = fields.pop(GLIGEN, "")
    if not text or "boxes" in draft.values:
        return
    told = json_object(text)
    boxes, lost = _read_boxes(told.get("boxes"))
    if lost or not boxes:
        if is_own:
            return
        draft.warnings.append(_lost(lost, all_of_them=not boxes))
    if boxes:
        values = {"boxes": boxes, **_options(told, draft), "model": _model(told.get("model"), draft, resolve)}
        draft.values["boxes"] = Boxes(**values)


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


def _told(boxes: Boxes, model: str) -> dict[str, Any]:
    told: dict[str, Any] = {"boxes": [_box(one) for one in boxes.boxes], "beta": boxes.share}
    if boxes.strength != Boxes.model_fields["strength"].default:
        told["strength"] = boxes.strength
    return told | ({"model": model} if model else {})


def _box(one: BoxInput) -> dict[str, Any]:
    box = one.box
    told: dict[str, Any] = {"phrase": one.phrase, "box": [box.x0, box.y0, box.x1, box.y1]}
    return told | ({"image": one.image} if one.image else {})


def _read_boxes(given: Any) -> tuple[list[BoxInput], list[int]]:
    """The boxes that can be had, and the numbers of the others, counted from 1."""
    read = [_read_box(one) for one in (given if isinstance(given, list) else [])]
    kept = [(number_, one) for number_, one in enumerate(read, 1) if one is not None][:MAX_BOXES]
    numbers = {number_ for number_, _ in kept}
    return [one for _, one in kept], [each for each in range(1, len(read) + 1) if each not in numbers]


def _read_box(one: Any) -> BoxInput | None:
    """None for what is damaged, and for a box with a picture, which no infotext holds."""
    try:
        corners = dict(zip(("x0", "y0", "x1", "y1"), one["box"], strict=True))
        given = {"phrase": storable(one["phrase"]), "box": corners}
        return None if one.get("image") else BoxInput.model_validate(given)
    except (ValueError, ValidationError, KeyError, TypeError, AttributeError):
        return None


def _lost(numbers: Sequence[int], *, all_of_them: bool) -> str:
    if all_of_them:
        return "The boxes cannot be read, or need pictures that are not here: left out."
    shown = ", ".join(map(str, numbers[:_MAX_SHOWN])) + (" and more" if len(numbers) > _MAX_SHOWN else "")
    return (
        f"Of the boxes, these cannot be read, need pictures that are not here, or are more than {MAX_BOXES}: "
        f"{shown}. They were left out."
    )


def _options(told: Mapping[str, Any], draft: Draft) -> dict[str, float]:
    """Share and strength, where they are told."""
    read = {
        field: draft.within_bounds(Boxes, field, told[key], f"GLIGEN's {key}")
        for field, key in (("share", "beta"), ("strength", "strength"))
        if told.get(key) is not None
    }
    return {field: value for field, value in read.items() if value is not None}


def _model(name: Any, draft: Draft, resolve: ResolveModel | None) -> ModelId:
    """Empty for the first that fits, where none is told or the one that is told is not here."""
    if not isinstance(name, str) or not name:
        return ""
    name = storable(name)[:_MAX_NAME]
    found = resolve(name, "", ModelKind.GLIGEN) if resolve else name
    if not found:
        draft.warnings.append(f"The GLIGEN model {name[:100]!r} is not here; the first that fits is used.")
    return found or ""

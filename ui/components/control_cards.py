"""Cards of stacked controls and image prompts: thumbnail, weight, range, and the way back to the editor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.core.annotators import FACTS
from studio.core.conditions import ControlMode
from studio.core.geometry import ResizeMode
from studio.core.models import ModelInfo
from ui.components.editors import option_tags
from ui.components.entries import Draft, Face, entry_card, slider, steps_range
from ui.components.networks import unfit
from ui.links import blob_url
from ui.words import counted, esc

ACTIONS = ("edit",)

MODES = {
    ControlMode.BALANCED: "Balanced",
    ControlMode.PROMPT: "The prompt matters more",
    ControlMode.CONTROL: "The control matters more",
}

RESIZE_MODES = {
    ResizeMode.CROP: "Crop to fill",
    ResizeMode.PAD: "Fit whole, padded",
    ResizeMode.STRETCH: "Stretch",
}


def control_card(draft: Draft, models: Mapping[str, ModelInfo], checkpoint: ModelInfo | None) -> str:
    details = (
        steps_range(draft)
        + _choice(draft, "mode", "Where prompt and control disagree", MODES)
        + _choice(draft, "resize_mode", "If the shape differs", RESIZE_MODES)
        + _edit(draft)
    )
    face = _face(draft, models, checkpoint, _map_words(draft.value("preprocessor")), draft.value("image"))
    return entry_card(draft, face, body=_weight(draft), details=details)


def image_prompt_card(draft: Draft, models: Mapping[str, ModelInfo], checkpoint: ModelInfo | None) -> str:
    images = [str(image) for image in draft.held.get("images") or ()]
    face = _face(draft, models, checkpoint, counted(len(images), "picture"), next(iter(images), None))
    thumbs = "".join(
        f'<img class="thumb" loading="lazy" alt="" src="{blob_url(image)}">' for image in images[1:]
    )
    row = f'<div class="entry-row">{thumbs}</div>' if thumbs else ""
    return entry_card(draft, face, body=_weight(draft), details=row + steps_range(draft) + _edit(draft))


def _face(
    draft: Draft, models: Mapping[str, ModelInfo], checkpoint: ModelInfo | None, words: str, image: Any
) -> Face:
    model = models.get(draft.model)
    return Face(
        name=model.name if model else draft.model,
        traits=" · ".join([words, *(["masked"] if draft.held.get("mask") else [])]),
        preview=image if isinstance(image, str) else None,
        reason=unfit(model, checkpoint),
    )


def _map_words(preprocessor: Any) -> str:
    facts = FACTS.get(str(preprocessor.get("kind"))) if isinstance(preprocessor, dict) else None
    return facts.title if facts else "Finished map"


def _weight(draft: Draft) -> str:
    return slider(draft, "weight", "Weight", low=0, high=2)


def _edit(draft: Draft) -> str:
    return (
        f'<button type="button" class="act" data-action="edit" data-index="{draft.index}">'
        "Edit in the Control tab</button>"
    )


def _choice(draft: Draft, name: str, label: str, choices: Mapping[Any, str]) -> str:
    value = str(draft.value(name))
    options = option_tags({str(choice): words for choice, words in choices.items()}, value)
    return (
        f'<label class="pick"><span>{esc(label)}</span><select data-field="{name}" data-usual="{esc(value)}">'
        f"{options}</select></label>"
    )

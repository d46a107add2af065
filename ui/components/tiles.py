"""The library's wall of thumbnails, and the panel about one image. `wall.js` makes the wall work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.library import ImageId, ImageQuery, ImageRecord
from studio.core.requests import GenerateRequest
from ui.components.box_words import boxes_detail
from ui.components.buttons import action_button, action_link
from ui.components.entries import entry_words
from ui.components.masked import masked_detail
from ui.components.stage import favourite_button
from ui.form import PARTS, STACKED, paths_of
from ui.links import image_url, thumbnail_url
from ui.words import esc, label_words, moment_words, size_words

WALL_BEHAVIOUR = ("wall.js", "wall_marks.js", "wall_keys.js")
DETAIL_ACTIONS = ("restore", "source", "inpaint", "favourite", "delete", "close")

_NO_IMAGES = """
<div class="empty"><h3>Nothing here yet</h3>
<p>Every picture you make is kept here with the settings that made it. You can also drop a picture from
Easel, AUTOMATIC1111, ComfyUI, InvokeAI or Fooocus above, to get its settings back.</p></div>
"""
_NO_MATCH = """
<div class="empty"><h3>No picture matches</h3><p>Use fewer words, or clear the filters.</p></div>
"""


def wall_html() -> str:
    """What stays; what comes and goes is told by the other functions, as the component's value."""
    return (
        '<div class="wall" role="group" aria-label="Pictures"></div>'
        '<div class="wall-empty"></div><div class="wall-end" aria-hidden="true"></div>'
    )


def wall_tiles(images: Sequence[ImageRecord], total: int, start: int, query: ImageQuery) -> dict[str, Any]:
    """Tiles that stand from place `start` on, and behind which nothing stands.

    Args: total: images that match; query: what they match, for the words where none does.
    """
    tiles = [[image.id, _tile(image)] for image in images]
    return {"start": start, "tiles": tiles, "total": total, "empty": "" if total else _nothing(query)}


def wall_change(image: ImageRecord) -> dict[str, Any]:
    """One tile, changed where it stands."""
    return {"changed": [image.id, _tile(image)]}


def wall_removal(image_ids: Sequence[ImageId], total: int, query: ImageQuery) -> dict[str, Any]:
    """Tiles that go. Args: total: images that still match."""
    return {"gone": list(image_ids), "total": total, "empty": "" if total else _nothing(query)}


def _nothing(query: ImageQuery) -> str:
    searching = query.model_copy(update={"limit": 60, "offset": 0}) != ImageQuery()
    return _NO_MATCH if searching else _NO_IMAGES


def _tile(image: ImageRecord) -> str:
    name, at = esc(image.prompt or "no prompt"), esc(image.id)
    return (
        f'<div class="card" data-image="{at}">'
        f'<button type="button" class="open" data-action="open" data-id="{at}" aria-label="Details: {name}">'
        f'<img loading="lazy" alt="{name}" src="{thumbnail_url(image.id)}"></button>'
        f'<label class="mark"><input type="checkbox" aria-label="Select: {name}" value="{at}"></label>'
        f"{favourite_button(image)}</div>"
    )


def details_html(image: ImageRecord | None, names: Mapping[str, str] | None = None) -> str:
    """The panel about one image; nothing where none is chosen. Args: names: of the models here, by id."""
    if image is None:
        return ""
    return (
        f'<article class="details" data-image="{esc(image.id)}">'
        f'<div class="frame">{_step(-1, "‹", "Newer picture")}{_step(1, "›", "Older picture")}'
        f'<img class="picture" alt="{esc(image.prompt or "Picture")}" src="{image_url(image.id)}"></div>'
        f"{_detail_actions(image)}"
        f'<p class="prompt">{esc(image.prompt or "No prompt")}</p>{_negative(image)}'
        f"<dl>{_facts(image)}{_settings(image.request)}{_stacked(image.request, names or {})}"
        f"{_parts(image.request)}</dl>"
        f"<details><summary>Generation parameters</summary><pre>{esc(image.infotext)}</pre></details>"
        "</article>"
    )


def _step(by: int, label: str, title: str) -> str:
    return (
        f'<button type="button" class="act icon step" data-step="{by}" title="{title}" '
        f'aria-label="{title}">{label}</button>'
    )


def _detail_actions(image: ImageRecord) -> str:
    at = {"id": image.id}
    return (
        '<div class="toolbar">'
        + action_button(
            "restore", "Reuse settings", "Put all settings of this picture into the form", css="strong", **at
        )
        + action_button("source", "Use as source", "Start image-to-image from this picture", **at)
        + action_button("inpaint", "Inpaint", "Paint a part of this picture anew", **at)
        + favourite_button(image)
        + action_link("Download", image_url(image.id), download=f"easel-{image.seed}")
        + action_button("delete", "Delete", "Move this picture to the trash", css="danger", **at)
        + action_button("close", "Close", "Close the details (Esc)", **at)
        + "</div>"
    )


def _negative(image: ImageRecord) -> str:
    return f'<p class="negative">Without: {esc(image.negative_prompt)}</p>' if image.negative_prompt else ""


def _facts(image: ImageRecord) -> str:
    facts = {
        "Made": moment_words(image.created),
        "Model": image.model,
        "Size": f"{image.width} × {image.height} px, {size_words(image.size_bytes)}",
    }
    return "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in facts.items())


def _settings(request: GenerateRequest) -> str:
    """Every field that is set, under the name it has in the form."""
    elsewhere = ("prompt", "negative_prompt", "model", "width", "height", "source.image")
    rows = []
    for path in paths_of(GenerateRequest):
        part, _, name = path.rpartition(".")
        holder = getattr(request, part) if part else request
        if (
            path not in elsewhere
            and path not in STACKED
            and path not in PARTS
            and holder is not None
            and getattr(holder, name) not in ("", ())
        ):
            rows.append(f"<dt>{esc(label_words(path))}</dt><dd>{esc(getattr(holder, name))}</dd>")
    return "".join(rows)


def _stacked(request: GenerateRequest, names: Mapping[str, str]) -> str:
    """The entries of the stack, one a line."""
    return "".join(
        f"<dt>{esc(label_words(f'{path}.{index}'))}</dt>"
        f"<dd>{esc(entry_words(entry, names.get(entry.model, entry.model)))}</dd>"
        for path in STACKED
        for index, entry in enumerate(getattr(request, path))
    )


def _parts(request: GenerateRequest) -> str:
    """The parts that are edited as a whole, one a line."""
    masked = masked_detail(request.inpaint) if request.inpaint else ""
    return masked + (boxes_detail(request.boxes) if request.boxes else "")

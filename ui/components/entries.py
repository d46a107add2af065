"""Cards of stacked entries: LoRAs, controls, image prompts and the like. `entries.js` makes them work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from studio.core.base import BlobId
from studio.core.conditions import BlockWeights, RangedEntry, StackEntry
from studio.core.requests import GenerateRequest
from ui.links import blob_url
from ui.words import esc, number_words

_ARROWS = {"up": ("↑", "Earlier in the stack (Alt ↑)"), "down": ("↓", "Later in the stack (Alt ↓)")}


def record_of(path: str) -> type[StackEntry]:
    """The type of the entries of a stacked field: `"loras"` has `LoraInput`s."""
    record: type[StackEntry] = get_args(GenerateRequest.model_fields[path].annotation)[0]
    return record


@dataclass(frozen=True)
class Draft:
    """An entry as the page holds it: perhaps not valid (yet), and still to be shown."""

    path: str
    index: int
    count: int
    """Entries of the list that it is in."""
    held: Mapping[str, Any]

    def value(self, name: str) -> Any:
        """What the field `name` (`"weight"`, `"blocks.down"`) holds, or else its default."""
        part, _, rest = name.partition(".")
        value = self.held.get(part)
        if rest:
            nested = value if isinstance(value, dict) else {}
            return nested.get(rest, BlockWeights.model_fields[rest].default if part == "blocks" else None)
        return record_of(self.path).model_fields[part].default if value is None else value

    @property
    def model(self) -> str:
        return str(self.held.get("model", ""))


def drafts(path: str, text: Any) -> tuple[Draft, ...]:
    """The entries in the JSON that the hidden component of `path` holds; none where it is nonsense."""
    try:
        found = json.loads(text or "[]")
    except (TypeError, ValueError):
        return ()
    held = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    return tuple(Draft(path, index, len(held), item) for index, item in enumerate(held))


@dataclass(frozen=True)
class Face:
    """What a card shows of the model that its entry uses."""

    name: str
    traits: str = ""
    preview: BlobId | None = None
    reason: str = ""
    """Why it cannot be used with the chosen checkpoint; empty when it can."""
    tag: str = ""
    """`lora` or `hypernet`, where the entry can be written into the prompt as a tag."""


def entries_html(path: str, cards: Sequence[str], mark: str = "", *, label: str) -> str:
    """The list. Args: mark: of the drawing, see `ui.entry_list`; label: its name, for those who listen."""
    return (
        f'<ul class="entries" data-path="{esc(path)}" data-drawn="{esc(mark)}" aria-label="{esc(label)}">'
        f"{''.join(cards)}</ul>"
    )


def entry_card(draft: Draft, face: Face, *, body: str = "", details: str = "") -> str:
    """One entry.

    Args:
        body: HTML that always shows, a slider for the weight usually.
        details: HTML that shows once the card is unfolded, above the buttons for order and copies.
    """
    classes = " ".join(
        ["entry", *(["off"] if not draft.value("enabled") else []), *(["blocked"] if face.reason else [])]
    )
    tag = (
        f' data-tag="{face.tag}" data-name="{esc(face.name)}"' if face.tag and _fits_a_tag(face.name) else ""
    )
    at = f"{draft.path}-{draft.index}"
    return (
        f'<li class="{classes}" id="field-{at}"{tag}>{_head(draft, face)}{_reason(face)}{body}'
        f'<div class="entry-details" id="details-{at}" hidden>{details}{_foot(draft, face, bool(tag))}'
        "</div></li>"
    )


def _fits_a_tag(name: str) -> bool:
    return not set(name) & set("<>:")


def _head(draft: Draft, face: Face) -> str:
    name = esc(face.name)
    on = " checked" if draft.value("enabled") else ""
    return (
        f'<div class="entry-head">{thumbnail(face.name, face.preview)}'
        f'<button type="button" class="entry-name" data-do="open" aria-expanded="false" title="Details" '
        f'aria-controls="details-{draft.path}-{draft.index}" aria-label="Details of {name}"><b>{name}</b>'
        f'<small>{esc(face.traits)}<span class="chevron" aria-hidden="true">▾</span></small></button>'
        f'<input type="checkbox" role="switch" class="switch" data-field="enabled"{on} '
        f'aria-label="Use {name}" title="On or off">'
        f'<button type="button" class="act icon bare" data-do="remove" aria-label="Remove {name}" '
        f'title="Remove">×</button></div>'
    )


def thumbnail(name: str, preview: BlobId | None) -> str:
    """A picture of the model, or its first letter."""
    if preview:
        return f'<img class="thumb" loading="lazy" alt="" src="{blob_url(preview)}">'
    return f'<span class="thumb monogram" aria-hidden="true">{esc(name[:1].upper())}</span>'


def _reason(face: Face) -> str:
    return f'<p class="reason">{esc(face.reason)}</p>' if face.reason else ""


def _foot(draft: Draft, face: Face, has_tag: bool) -> str:
    ends = {"up": draft.index == 0, "down": draft.index == draft.count - 1}
    arrows = "".join(
        f'<button type="button" class="act icon" data-do="{way}" title="{title}" '
        f'aria-label="{title}: {esc(face.name)}"{" disabled" if ends[way] else ""}>{sign}</button>'
        for way, (sign, title) in _ARROWS.items()
    )
    tag = '<button type="button" class="act" data-do="tag">As prompt tag</button>' if has_tag else ""
    return (
        f'<div class="entry-foot">{arrows}<button type="button" class="act" data-do="copy" '
        f'title="The same once more">Duplicate</button>{tag}</div>'
    )


# ---------------------------------------------------------------------- controls


def slider(draft: Draft, name: str, label: str, *, low: float, high: float, step: float = 0.05) -> str:
    """A slider from `low` to `high`, and a number that takes whatever the request does."""
    value = number_words(draft.value(name))
    return (
        f'<div class="entry-slider" id="{_id(draft, name)}"><span>{esc(label)}</span>'
        f'<input type="range" data-field="{name}" min="{low:g}" max="{high:g}" step="{step:g}" '
        f'value="{value}" aria-label="{esc(label)}, slider">'
        f"{_number(draft, name, label, step=step)}</div>"
    )


def number(draft: Draft, name: str, label: str, *, step: float = 0.05, empty: str = "") -> str:
    """A number under its label. Args: empty: what no number means, where that is allowed."""
    return (
        f'<label class="entry-number" id="{_id(draft, name)}"><span>{esc(label)}</span>'
        f"{_number(draft, name, label, step=step, empty=empty)}</label>"
    )


def row(controls: str) -> str:
    """Numbers side by side."""
    return f'<div class="entry-row">{controls}</div>'


def steps_range(draft: Draft) -> str:
    """From which share of the steps to which one a ranged entry takes part, in percent."""
    ends = "".join(
        f'<label class="entry-number" id="{_id(draft, name)}"><span>{words}</span>'
        f'<input type="number" data-field="{name}" data-scale="100" min="0" max="100" step="5" '
        f'value="{number_words(draft.value(name), 100)}"></label>'
        for name, words in (("start", "From, % of steps"), ("end", "To, % of steps"))
    )
    return row(ends)


def _id(draft: Draft, name: str) -> str:
    """As `ui.form.field_id`, so that a problem finds its place: `field-loras-0-blocks-down`."""
    return f"field-{draft.path}-{draft.index}-{name.replace('.', '-')}"


def _number(draft: Draft, name: str, label: str, *, step: float, empty: str = "") -> str:
    low, high = bounds(draft.path, name)
    optional = f' data-optional placeholder="{esc(empty)}"' if empty else ""
    return (
        f'<input type="number" data-field="{name}" min="{low:g}" max="{high:g}" step="{step:g}" '
        f'value="{number_words(draft.value(name))}" aria-label="{esc(label)}"{optional}>'
    )


def bounds(path: str, name: str) -> tuple[float, float]:
    """The least and the greatest value that the request takes at a field of an entry."""
    part, _, rest = name.partition(".")
    record = BlockWeights if rest else record_of(path)
    limits = {}
    for limit in record.model_fields[rest or part].metadata:
        limits.update({key: getattr(limit, key) for key in ("ge", "le") if hasattr(limit, key)})
    return limits["ge"], limits["le"]


# ---------------------------------------------------------------------- words


def entry_words(entry: StackEntry, name: str) -> str:
    """An entry as a person reads it: `Watercolour · 0.8 · steps 0 to 50 % · off`."""
    parts = [name, f"{getattr(entry, 'weight', 1.0):g}"]
    text = getattr(entry, "text_encoder_weight", None)
    if text is not None:
        parts.append(f"text encoder {text:g}")
    blocks = getattr(entry, "blocks", BlockWeights())
    if blocks != BlockWeights():
        parts.append(f"blocks {blocks.down:g} / {blocks.mid:g} / {blocks.up:g}")
    if isinstance(entry, RangedEntry) and (entry.start, entry.end) != (0, 1):
        parts.append(f"steps {100 * entry.start:.3g} to {100 * entry.end:.3g} %")
    return " · ".join(parts if entry.enabled else [*parts, "off"])

"""LoRAs, hypernetworks and embeddings: their cards in the stack, the view to add them, tags of the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from studio.core.models import Family, GenerationHint, ModelInfo, ModelKind
from studio.core.protocol import PromptNetworks
from studio.core.samplers import Schedule
from ui.components.buttons import action_button
from ui.components.cards import kind_words, name_of_kind
from ui.components.entries import (
    Draft,
    Face,
    entry_card,
    number,
    row,
    slider,
    steps_range,
    thumbnail,
)
from ui.words import counted, esc, size_words

ENTRY_ACTIONS = ("suggest",)
VIEW_ACTIONS = ("suggest",)
HINT_ACTIONS = ("take",)
HEADING_ACTIONS = ("browse",)

KINDS = (ModelKind.LORA, ModelKind.EMBEDDING, ModelKind.HYPERNETWORK)

_PATHS = {ModelKind.LORA: "loras", ModelKind.HYPERNETWORK: "hypernetworks"}
_TAGS = {"loras": "lora", "hypernetworks": "hypernet"}
_SHOWN_WORDS = 12

HEADING = (
    '<div class="stack-heading"><h4>Networks</h4><button type="button" class="act" data-action="browse" '
    'data-home title="LoRAs, embeddings, hypernetworks">+ Add</button></div>'
)

_NOTHING = """
<div class="empty"><h3>No network here yet</h3>
<p>Put LoRAs, embeddings or hypernetworks into a models folder, or install them in the Models tab. The folders
of AUTOMATIC1111 are read as they are.</p></div>
"""


def unfit(model: ModelInfo | None, checkpoint: ModelInfo | None) -> str:
    """Why a network cannot be used with the chosen checkpoint; empty when it can."""
    if model is None:
        return "This file is no longer here. Install it again, or remove the entry."
    if model.problem:
        return model.problem
    families = {model.family, checkpoint.family} if checkpoint else set()
    if len(families - {Family.UNKNOWN}) == 2 and checkpoint:
        return f"For {model.family}, but {checkpoint.name} is {checkpoint.family}."
    widths = {model.context_width, checkpoint.context_width if checkpoint else None} - {None}
    if len(widths) == 2 and checkpoint:
        return f"For a model with other sizes than {checkpoint.name}."
    return ""


def hint_words(hint: GenerationHint) -> str:
    """`LCM: sampler LCM, 4 steps, guidance 1`."""
    wishes = [
        f"sampler {hint.sampler}" if hint.sampler else "",
        f"schedule {hint.schedule}" if hint.schedule not in (None, Schedule.AUTOMATIC) else "",
        counted(hint.steps, "step") if hint.steps else "",
        f"guidance {hint.guidance_scale:g}" if hint.guidance_scale is not None else "",
    ]
    return f"{hint.technique}: {', '.join(filter(None, wishes))}"


def _suggestion(model: ModelInfo) -> str:
    if model.suggests is None:
        return ""
    words = hint_words(model.suggests)
    button = action_button("suggest", "Use its settings", words, id=model.id)
    return f'<p class="suggestion"><span>{esc(words)}</span>{button}</p>'


# ---------------------------------------------------------------------- in the stack


def network_card(draft: Draft, models: Mapping[str, ModelInfo], checkpoint: ModelInfo | None) -> str:
    """One LoRA or hypernetwork of the stack."""
    model = models.get(draft.model)
    face = Face(
        name=model.name if model else draft.model,
        traits=name_of_kind(model.kind) if model else "",
        preview=model.preview if model else None,
        reason=unfit(model, checkpoint),
        tag=_TAGS[draft.path] if model and _is_only(model, models) else "",
    )
    body = slider(draft, "weight", "Weight", low=-1, high=2) + (_suggestion(model) if model else "")
    return entry_card(draft, face, body=body, details=_details(draft, model))


def _traits(model: ModelInfo) -> str:
    family = model.family.value if model.family is not Family.UNKNOWN else ""
    return " · ".join(filter(None, (name_of_kind(model.kind), family)))


def _is_only(model: ModelInfo, models: Mapping[str, ModelInfo]) -> bool:
    """True where no other network of its kind has its name, so that a tag says which is meant."""
    names = [other.name.lower() for other in models.values() if other.kind is model.kind]
    return names.count(model.name.lower()) == 1


def _details(draft: Draft, model: ModelInfo | None) -> str:
    words = _chips(model.trigger_words, 'data-do="word"') if model else ""
    if draft.path != "loras":
        return words
    blocks = "".join(
        number(draft, f"blocks.{block}", label)
        for block, label in (("down", "Down"), ("mid", "Middle"), ("up", "Up"))
    )
    return (
        words
        + number(draft, "text_encoder_weight", "Text encoder weight", empty="as above")
        + f"<fieldset><legend>Times the weight, by block</legend>{row(blocks)}</fieldset>"
        + steps_range(draft)
    )


def _chips(words: Sequence[str], does: str) -> str:
    if not words:
        return ""
    chips = "".join(
        f'<button type="button" class="chip" {does} data-word="{esc(word)}" '
        f'title="Add to the prompt">{esc(word)}</button>'
        for word in words[:_SHOWN_WORDS]
    )
    return f'<div class="chips" role="group" aria-label="Trigger words">{chips}</div>'


# ---------------------------------------------------------------------- the view to add from


def networks_html(models: Sequence[ModelInfo], checkpoint: ModelInfo | None) -> str:
    """All networks as cards, those first that go with the checkpoint. `networks.js` searches and adds."""
    ordered = sorted(models, key=lambda model: (bool(unfit(model, checkpoint)), model.name.lower()))
    cards = "".join(_card(model, unfit(model, checkpoint)) for model in ordered)
    found = (
        f'<ul class="networks">{cards}</ul><p class="none" hidden>Nothing matches. Use fewer words.</p>'
        if cards
        else _NOTHING
    )
    return (
        '<header class="panel-head"><h3>Add to the stack</h3><p class="said" role="status"></p>'
        '<button type="button" class="act icon" data-do="close" aria-label="Close" title="Close (Esc)">×'
        f"</button></header>{_finder(models)}{found}"
    )


def _finder(models: Sequence[ModelInfo]) -> str:
    counts = {kind: sum(model.kind is kind for model in models) for kind in KINDS}
    kinds = "".join(_kind(str(kind), kind_words(kind), counts[kind]) for kind in KINDS if counts[kind])
    return (
        '<div class="finder"><input type="search" placeholder="name, trigger word or note" '
        f'aria-label="Search networks"><div class="kinds" role="group" aria-label="Kind">'
        f"{_kind('', 'All', len(models))}{kinds}</div></div>"
    )


def _kind(value: str, label: str, count: int) -> str:
    pressed = "false" if value else "true"
    return (
        f'<button type="button" class="chip" data-do="kind" data-kind="{value}" '
        f'aria-pressed="{pressed}">{esc(label)} {count}</button>'
    )


def _card(model: ModelInfo, reason: str) -> str:
    words = " ".join((model.name, *model.trigger_words, model.notes, model.description, model.base)).lower()
    return (
        f'<li class="network{" blocked" if reason else ""}" data-kind="{model.kind}" '
        f'data-name="{esc(model.name)}" data-search="{esc(words)}">{thumbnail(model.name, model.preview)}'
        f'<div class="about"><h4>{esc(model.name)}</h4><p>{esc(_facts(model))}</p>{_notes(model)}'
        f"{_reason(reason)}{'' if reason else _uses(model)}</div></li>"
    )


def _facts(model: ModelInfo) -> str:
    return " · ".join(
        filter(
            None,
            (
                _traits(model),
                counted(model.vectors, "vector") if model.vectors else "",
                f"rank {model.rank}" if model.rank else "",
                size_words(model.size_bytes),
                model.author,
            ),
        )
    )


def _notes(model: ModelInfo) -> str:
    text = model.notes or model.description
    return f'<p class="notes" title="{esc(text)}">{esc(text)}</p>' if text else ""


def _reason(reason: str) -> str:
    return f'<p class="reason">{esc(reason)}</p>' if reason else ""


def _uses(model: ModelInfo) -> str:
    """What a person can do with it."""
    words = [word for word in model.trigger_words if word != model.name]
    chips = _chips(words, 'data-do="word"')
    return f'{chips}{_suggestion(model)}<div class="network-acts">{_adders(model)}{_negative(model)}</div>'


def _adders(model: ModelInfo) -> str:
    if model.kind is ModelKind.EMBEDDING:
        return "".join(
            f'<button type="button" class="act{css}" data-do="say" data-where="{where}" '
            f'data-word="{esc(model.name)}">{label}</button>'
            for where, label, css in (
                ("prompt", "Into the prompt", " add"),
                ("negative_prompt", "Into the negative", ""),
            )
        )
    entry: dict[str, object] = {"model": model.id}
    if model.preferred_weight is not None:
        entry["weight"] = model.preferred_weight
    weight = f" at {model.preferred_weight:g}" if model.preferred_weight is not None else ""
    return (
        f'<button type="button" class="act add" data-do="add" data-path="{_PATHS[model.kind]}" '
        f'data-entry="{esc(json.dumps(entry))}" aria-label="Add {esc(model.name)}">Add{weight}</button>'
        f'<span class="badge in-stack" hidden>In the stack</span>'
    )


def _negative(model: ModelInfo) -> str:
    if not model.negative_text:
        return ""
    return (
        f'<button type="button" class="act" data-do="say" data-where="negative_prompt" '
        f'data-word="{esc(model.negative_text)}" title="{esc(model.negative_text)}">'
        "Its negative words</button>"
    )


# ---------------------------------------------------------------------- tags of the prompt


def tags_html(found: PromptNetworks | None, models: Mapping[str, ModelInfo]) -> str:
    """What the prompt's tags mean, and the button that takes them into the stack; empty without tags."""
    if found is None or not (found.entries or found.problems):
        return ""
    names = [
        f"{models[entry.model].name if entry.model in models else entry.model} {entry.weight:g}"
        for entry in found.entries
    ]
    button = action_button("take", "Take into the stack", "Turn the prompt's tags into entries of the stack")
    taken = f"<span>In the prompt: {esc(', '.join(names))}</span>{button}" if names else ""
    problems = "".join(f'<span class="reason">{esc(problem)}</span>' for problem in found.problems)
    return f'<p class="prompt-tags">{taken}{problems}</p>'

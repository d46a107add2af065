"""LoRAs, hypernetworks and embeddings in the stack: the list, the view to add from, tags of the prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import gradio as gr

from studio.core.errors import EaselError, NotFound
from studio.core.models import GenerationHint, ModelInfo
from studio.core.protocol import PromptNetworks, Studio
from studio.core.samplers import Schedule, schedules_for
from ui.components.entries import Draft
from ui.components.networks import (
    ENTRY_ACTIONS,
    HEADING,
    HEADING_ACTIONS,
    KINDS,
    VIEW_ACTIONS,
    network_card,
    networks_html,
    tags_html,
)
from ui.entry_list import EntryList, with_entry
from ui.form import Form
from ui.problems import Updates
from ui.wiring import Wiring, live_html

PATHS = ("loras", "hypernetworks")

_WITH_TAGS = r"(text) => /<(lora|lyco|hypernet):|<\w+:[^<>]+>/.test(text) ? text : ''"
"""Most prompts have no tags, not even of a kind that there is not, and typing them asks nobody."""


class Networks:
    """Builds the part of the stack where it is called.

    Args:
        model: the component that holds the id of the checkpoint.
        chosen: which checkpoint its value means.
        known: the component that changes with the list of models.
        entries: the hidden components of the stacked fields, by path.
    """

    def __init__(
        self,
        studio: Studio,
        form: Form,
        *,
        model: gr.Dropdown,
        chosen: Callable[[str], ModelInfo | None],
        known: gr.Textbox,
        entries: Mapping[str, gr.Textbox],
    ) -> None:
        self._studio = studio
        self._form = form
        self._model = model
        self._chosen = chosen
        self._known = known
        self._entries = entries
        self.heading = live_html(
            value=HEADING, actions=HEADING_ACTIONS, behaviour="networks_open.js", elem_id="networks-heading"
        )
        self.lists = tuple(
            EntryList(path, entries[path], self._cards, label=label, actions=ENTRY_ACTIONS)
            for path, label in zip(PATHS, ("LoRAs", "Hypernetworks"), strict=True)
        )
        self.tagged = gr.Textbox("", visible="hidden", label="Prompt with tags")
        self.view = live_html(value="", actions=VIEW_ACTIONS, behaviour="networks.js", elem_id="networks")

    def wire(self, wiring: Wiring) -> None:
        for entries in self.lists:
            entries.wire(wiring, [self._model], [self._known])
        wiring.act(self.heading, "browse", self._browse, [self._model], [self.view])
        settings = [self._form[path] for path in ("sampler", "schedule", "steps", "guidance_scale")]
        for part in (self.view, *(entries.cards for entries in self.lists)):
            wiring.act(part, "suggest", self._suggest, None, settings)

    def wire_tags(self, wiring: Wiring, prompt: gr.Textbox, hint: gr.HTML) -> None:
        """Show in `hint` which networks `prompt` names, and take them out of it."""
        texts = [self._entries[path] for path in PATHS]
        wiring.in_browser([prompt.change], _WITH_TAGS, prompt, self.tagged)
        wiring.poll([self.tagged.change], lambda text: {hint: self._tags_html(text)}, [self.tagged], [hint])

        def take(prompt_text: str, loras: str, hypernetworks: str) -> Updates:
            found = self._studio.network_tags(prompt_text)
            for entry in found.loras:
                loras = with_entry(loras, "loras", entry)
            for network in found.hypernetworks:
                hypernetworks = with_entry(hypernetworks, "hypernetworks", network)
            return dict(zip([prompt, *texts], [found.prompt, loras, hypernetworks], strict=True))

        wiring.act(hint, "take", take, [prompt, *texts], [prompt, *texts])

    # ------------------------------------------------------------------ what is shown

    def _models(self) -> dict[str, ModelInfo]:
        return {model.id: model for model in self._studio.models() if model.kind in KINDS}

    def _cards(self, drafts: Sequence[Draft], model_id: str) -> list[str]:
        known, checkpoint = self._models(), self._chosen(model_id)
        return [network_card(draft, known, checkpoint) for draft in drafts]

    def _browse(self, model_id: str) -> Updates:
        return {self.view: networks_html(tuple(self._models().values()), self._chosen(model_id))}

    def _tags_html(self, prompt: str) -> str:
        found: PromptNetworks | None = None
        with suppress(EaselError):  # a half-typed tag is no reason to complain while a person types
            found = self._studio.network_tags(prompt)
        return tags_html(found, self._models())

    # ------------------------------------------------------------------ settings that a network wants

    def _suggest(self, event: gr.EventData) -> Updates:
        model = self._models().get(event.id)
        if model is None or model.suggests is None:
            raise NotFound("This network is no longer here.", "Open the list again.")
        return self._settings(model.suggests)

    def _settings(self, hint: GenerationHint) -> Updates:
        updates: Updates = {}
        if hint.sampler:
            choices = [str(schedule) for schedule in schedules_for(hint.sampler)]
            schedule = str(hint.schedule or Schedule.AUTOMATIC)
            updates[self._form["sampler"]] = str(hint.sampler)
            updates[self._form["schedule"]] = gr.update(choices=choices, value=schedule)
        for path in ("steps", "guidance_scale"):
            if getattr(hint, path) is not None:
                updates[self._form[path]] = getattr(hint, path)
        return updates

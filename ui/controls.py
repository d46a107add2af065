"""Controls and image prompts in the stack: their lists of cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import gradio as gr

from studio.core.models import ModelInfo, ModelKind
from studio.core.protocol import Studio
from ui.components.control_cards import ACTIONS, control_card, image_prompt_card
from ui.components.entries import Draft
from ui.entry_list import EntryList
from ui.wiring import Wiring

KINDS = {
    "controls": (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER),
    "image_prompts": (ModelKind.IP_ADAPTER,),
}
"""Models that the entries of a stacked field use."""

_CARDS = {"controls": control_card, "image_prompts": image_prompt_card}
_LABELS = {"controls": "Controls", "image_prompts": "Image prompts"}


class Controls:
    """Builds the part of the stack where it is called; the Control tab fills it.

    Args:
        model: the component that holds the id of the checkpoint.
        chosen: which checkpoint its value means.
        entries: the hidden components of the stacked fields, by path.
    """

    def __init__(
        self,
        studio: Studio,
        *,
        model: gr.Dropdown,
        chosen: Callable[[str], ModelInfo | None],
        entries: Mapping[str, gr.Textbox],
    ) -> None:
        self._studio = studio
        self._model = model
        self._chosen = chosen
        self.lists = {
            path: EntryList(path, entries[path], partial(self._cards, path), label=label, actions=ACTIONS)
            for path, label in _LABELS.items()
        }

    def wire(self, wiring: Wiring) -> None:
        for entries in self.lists.values():
            entries.wire(wiring, [self._model])

    def models(self, path: str) -> tuple[ModelInfo, ...]:
        """All models that entries of `path` can use, whatever the checkpoint."""
        return tuple(model for model in self._studio.models() if model.kind in KINDS[path])

    def _cards(self, path: str, drafts: Sequence[Draft], model_id: str) -> list[str]:
        known = {model.id: model for model in self.models(path)}
        checkpoint = self._chosen(model_id)
        return [_CARDS[path](draft, known, checkpoint) for draft in drafts]

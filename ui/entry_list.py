"""A list of cards over one hidden JSON text: the text is the truth, the cards are drawn from it.

In the browser `stack.js` edits the text. A changed value shows in its card at once, and the server hears
nothing of it; where more changed, the mark grows and the cards are drawn anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.conditions import StackEntry
from ui.components.entries import drafts, entries_html
from ui.form import held_entry
from ui.problems import Updates
from ui.wiring import Wiring, live_html

DrawCards = Callable[..., Sequence[str]]
"""`(drafts, *context) -> html` of each card, by `ui.components.entries.entry_card`."""


class EntryList:
    """Builds the list where it is called.

    Args:
        path: of the stacked field: `"loras"`.
        text: the hidden component that holds its entries.
        draw: the cards. Besides the entries it gets the values of `wire`'s context.
        label: names the list for a screen reader.
        actions: events of buttons in the cards, see `ui.wiring.live_html`.
    """

    def __init__(
        self, path: str, text: gr.Textbox, draw: DrawCards, *, label: str, actions: Sequence[str] = ()
    ) -> None:
        self.path = path
        self.text = text
        self._draw = draw
        self._label = label
        self.cards = live_html(
            value=self._html(()), actions=actions, behaviour="entries.js", elem_id=f"entries-{path}"
        )
        self.mark = gr.Textbox("0", visible="hidden", label=f"Drawing of {path}")

    def wire(
        self, wiring: Wiring, context: Sequence[Component] = (), causes: Sequence[Component] = ()
    ) -> None:
        """Draw the cards when the text or one of `context` changes. Args: causes: further reasons to."""
        watched = [self.text, *context, *causes]
        changes = [part.change for part in watched]  # type: ignore[attr-defined]
        mark = f"(...values) => window.easelStack.drawn('{self.path}', ...values)"
        wiring.in_browser(changes, mark, watched, self.mark)
        wiring.poll([self.mark.change], self._drawn, [self.text, self.mark, *context], [self.cards])

    def _drawn(self, text: str, mark: str, *context: Any) -> Updates:
        return {self.cards: self._html(self._draw(drafts(self.path, text), *context), mark)}

    def _html(self, cards: Sequence[str], mark: str = "") -> str:
        return entries_html(self.path, cards, mark, label=self._label)


def with_entry(text: Any, path: str, entry: StackEntry) -> str:
    """The entries in `text`, and `entry` after them."""
    held = [dict(draft.held) for draft in drafts(path, text)]
    return json.dumps([*held, held_entry(entry)])

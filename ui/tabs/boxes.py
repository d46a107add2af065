"""The Boxes tab: say what is to be seen where (GLIGEN)."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.core.boxes import Boxes
from studio.core.models import ModelKind
from studio.core.protocol import Studio
from ui.components.box_editor import model_message
from ui.components.box_words import box_result_html, boxes_line_html
from ui.form import held_part
from ui.problems import Updates, Values
from ui.sizes import photo_extent
from ui.stack import Stack
from ui.stream import LivePart, Session, look
from ui.tabs.boxes_layout import BoxesLayout
from ui.tabs.generate import GenerateTab
from ui.wiring import Wiring

_ECHO = """(said, own) => (
  document.activeElement?.closest('#boxes-prompt') ? own : said
)"""
"""Where a person types, the form follows, not the other way round."""


class BoxesTab(BoxesLayout):
    """What the tab does. Everything is submitted by the Generate tab, whose prompt stands here once more.

    Args:
        session: the jobs that this browser started.
        tabs: to come here, and to lead to the models.
    """

    def __init__(
        self,
        studio: Studio,
        generate: GenerateTab,
        stack: Stack,
        *,
        session: gr.BrowserState,
        tabs: gr.Tabs,
    ) -> None:
        super().__init__()
        self._studio = studio
        self._generate = generate
        self._stack = stack
        self._session = session
        self._tabs = tabs
        self._held = stack.held["boxes"]
        self.parts = (LivePart("boxes-result", self.result, self._result),)

    # ------------------------------------------------------------------ wiring

    def wire(self, wiring: Wiring, page: gr.Blocks, tab: gr.Tab) -> None:
        form = self._generate.form
        size: list[Any] = [form["width"], form["height"]]
        prompt = self._generate.prompt
        wiring.in_browser([self.prompt.input], "(said) => said", self.prompt, prompt)
        wiring.in_browser([prompt.change], _ECHO, [prompt, self.prompt], self.prompt)
        wiring.in_browser([self._held.change], _tell("text"), self._held)
        starts = [self._stack.held["inpaint"].change, self._generate.source.change, tab.select]
        wiring.in_browser(starts, _tell("start"))
        wiring.in_browser([page.load, tab.select, *(part.change for part in size)], _tell("frame"), size)
        changes = [page.load, tab.select, self._stack.model.change, self._stack.known.change]
        wiring.poll(changes, self._models, [self._stack.model], [self.editor])
        wiring.act(self.editor, "shape", self._shaped, [self._stack.model], size)
        wiring.act(
            self.editor, "inside", lambda: {form["source.strength"]: 1}, None, [form["source.strength"]]
        )
        wiring.act(self.editor, "models", lambda: self._opened("models"), None, [self._tabs])
        self._wire_submit(wiring)
        self._wire_line(wiring)

    def _wire_submit(self, wiring: Wiring) -> None:
        """First the browser writes mask and boxes into the form, then the form is sent."""
        wiring.in_browser([self.generate.click], _SETTLE, self.ready, self.ready)
        inputs = self._generate.submit_inputs
        wiring.on(
            [self.ready.change],
            self._submit,
            inputs,
            [*self._generate.submit_outputs, self.result],
            js=self._generate.with_mask(inputs),
        )
        wiring.act(self.result, "cancel", self._cancel, [self._session], [self.result])

    def _wire_line(self, wiring: Wiring) -> None:
        line = self._generate.boxed
        wiring.poll([self._held.change], self._boxed_line, [self._held], [line])
        wiring.act(line, "unbox", lambda: {self._held: ""}, None, [self._held])
        wiring.act(line, "edit", lambda: self._opened("boxes"), None, [self._tabs])

    # ------------------------------------------------------------------ handlers

    def _opened(self, tab: str) -> Updates:
        return {self._tabs: gr.update(selected=tab)}

    def _models(self, model_id: str) -> Updates:
        models = self._studio.models(ModelKind.GLIGEN)
        checkpoints = self._studio.models(ModelKind.CHECKPOINT)
        return {self.editor: model_message(models, self._stack.chosen(model_id), checkpoints)}

    def _boxed_line(self, text: str) -> Updates:
        return {self._generate.boxed: boxes_line_html(held_part(Boxes, text))}

    def _shaped(self, model_id: str, event: gr.EventData) -> Updates:
        """A photo came beneath the boxes: the picture to be made takes its shape."""
        model = self._stack.chosen(model_id)
        extent = photo_extent(model.native_size if model else 512, int(event.width), int(event.height))
        return self._generate.form.sized(extent)

    def _submit(self, values: Values) -> Updates:
        updates = self._generate.submit(values)
        return {**updates, self.result: self._result(Session.read(updates[self._session]))}

    def _result(self, session: Session) -> str:
        return box_result_html(look(self._studio, session), self._studio.status().ready)

    def _cancel(self, stored: Any, event: gr.EventData) -> Updates:
        self._studio.cancel(event.id)
        return {self.result: self._result(Session.read(stored))}


_SETTLE = "(before) => window.easelBoxes.settle(before)"


def _tell(name: str) -> str:
    return f"(...given) => {{ window.easelBoxes.tell('{name}', ...given); }}"

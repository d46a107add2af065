"""The sidebar that all tabs share: which models are used, and at its foot the queue and the machine."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import gradio as gr
from gradio.blocks import Block

from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.protocol import Studio
from ui.components.machine import machine_html
from ui.components.notice import dismissed_html, notice_html
from ui.components.queue import ACTIONS as QUEUE_ACTIONS
from ui.components.queue import queue_html
from ui.controls import Controls
from ui.form import PARTS, STACKED, Form
from ui.networks import Networks
from ui.problems import Updates
from ui.stream import LivePart, Session, queue_of
from ui.wiring import Wiring, live_html
from ui.words import counted

OWN_VAE = "The checkpoint's own"

_BRAND = """
<div class="brand"><span class="name">Easel</span>
<button type="button" class="act icon" data-action="theme" aria-label="Light or dark" title="Light or dark">
◐</button></div>
"""


class Stack:
    """Models above, queue and machine below. Adds `model` and `vae` to `form`.

    Args:
        session: the jobs that this browser started; those it retries join them.
        notice: where dismissed jobs can be brought back.
    """

    def __init__(self, studio: Studio, form: Form, *, session: gr.BrowserState, notice: gr.HTML) -> None:
        self._studio = studio
        self._session = session
        self._notice = notice
        with gr.Sidebar(width=284, elem_id="stack"):
            live_html(value=_BRAND, behaviour="theme.js")
            self.model = form.add("model", gr.Dropdown([("The active one", "")], label="Model", value=""))
            self.vae = form.add("vae", gr.Dropdown(label="VAE", value="", choices=[(OWN_VAE, "")]))
            self.entries = {
                path: form.add(path, gr.Textbox("[]", visible="hidden", label=path)) for path in STACKED
            }
            self.held = {path: form.add(path, gr.Textbox("", visible="hidden", label=path)) for path in PARTS}
            self.known = gr.Textbox("", visible="hidden", label="State of the models")
            self.networks = Networks(
                studio, form, model=self.model, chosen=self.chosen, known=self.known, entries=self.entries
            )
            self.controls = Controls(studio, model=self.model, chosen=self.chosen, entries=self.entries)
            self.queue = live_html(value="", actions=QUEUE_ACTIONS, elem_id="queue")
            self.machine = live_html(value="", elem_id="machine")
        self.parts = (
            LivePart("known", self.known, lambda _: sha256(repr(studio.models()).encode()).hexdigest()),
            LivePart("queue", self.queue, self._queue_html),
            LivePart("machine", self.machine, lambda _: machine_html(studio.status())),
        )

    def wire(self, wiring: Wiring) -> None:
        wiring.act(self.queue, "dismiss", self._dismiss, None, self.dismissing)
        wiring.act(self.queue, "clear", self._clear, None, self.dismissing)
        wiring.act(self._notice, "recall", self._recall, None, self.dismissing)
        wiring.act(self.queue, "cancel", self._cancel, None, [self.queue])
        wiring.act(self.queue, "retry", self._retry, [self._session], [self._session, self.queue])
        self.networks.wire(wiring)
        self.controls.wire(wiring)

    def choices(self) -> Updates:
        """The models and VAEs that can be chosen now."""
        checkpoints = _choices(self._studio.models(ModelKind.CHECKPOINT))
        vaes = [(OWN_VAE, ""), *_choices(self._studio.models(ModelKind.VAE))]
        return {self.model: gr.update(choices=checkpoints), self.vae: gr.update(choices=vaes)}

    def chosen(self, model_id: str) -> ModelInfo | None:
        """The checkpoint that `model_id` means; the active one when it is empty or gone."""
        usable = {model.id: model for model in self._studio.models(ModelKind.CHECKPOINT) if model.usable}
        return usable.get(model_id) or usable.get(self._studio.status().active_model)

    def _queue_html(self, _: Session | None = None) -> str:
        return queue_html(queue_of(self._studio), self._studio.status().ready)

    def _cancel(self, event: gr.EventData) -> Updates:
        self._studio.cancel(event.id)
        return {self.queue: self._queue_html()}

    def _dismiss(self, event: gr.EventData) -> Updates:
        return self.dismissed([event.id])

    def _clear(self, event: gr.EventData) -> Updates:
        return self.dismissed(event.jobs.split())

    @property
    def dismissing(self) -> list[Block]:
        """All that changes when jobs are dismissed or brought back."""
        return [self.queue, self._notice]

    def dismissed(self, job_ids: list[str]) -> Updates:
        """Take ended jobs off the list: what the queue and the notice show then."""
        for job_id in job_ids:
            self._studio.set_dismissed(job_id, True)
        return {self.queue: self._queue_html(), self._notice: dismissed_html(job_ids)}

    def _recall(self, event: gr.EventData) -> Updates:
        job_ids = event.jobs.split()
        for job_id in job_ids:
            self._studio.set_dismissed(job_id, False)
        words = f"{counted(len(job_ids), 'job')} brought back."
        return {self.queue: self._queue_html(), self._notice: notice_html(words)}

    def _retry(self, stored: Any, event: gr.EventData) -> Updates:
        """The new job is this browser's own, so the stage shows it and Esc stops it."""
        job = self._studio.retry(event.id)
        session = Session.read(stored).with_job(job.id)
        return {self._session: session.model_dump(mode="json"), self.queue: self._queue_html()}


def _choices(models: tuple[ModelInfo, ...]) -> list[tuple[str, str]]:
    return [(_name(model), model.id) for model in models if model.usable]


def _name(model: ModelInfo) -> str:
    return model.name if model.family is Family.UNKNOWN else f"{model.name} · {model.family}"

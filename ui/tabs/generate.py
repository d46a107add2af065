"""The Generate tab: say it, see it sharpen, keep it."""

from __future__ import annotations

import json
from contextlib import suppress
from io import BytesIO
from typing import Any

import gradio as gr
from PIL import Image

from studio.core.errors import EaselError
from studio.core.protocol import Studio, TokenCount
from studio.core.requests import GenerateRequest
from studio.core.samplers import Sampler, Schedule, schedules_for
from ui.components.entries import drafts
from ui.components.notice import deleted_html
from ui.components.stage import stage_html
from ui.components.tokens import tokens_html
from ui.form import Form
from ui.problems import Problem, Updates, Values, problems_html
from ui.sizes import SHAPES, extent_for, nearest_extent
from ui.stack import Stack
from ui.stream import FAST, LivePart, Session, current_job, focus, look, own_jobs
from ui.tabs.generate_layout import EXAMPLE_PROMPT, GenerateLayout
from ui.wiring import Wiring, place_among

_USED = """(text) => {
  try {
    return JSON.parse(text || '[]').filter(({enabled}) => enabled !== false).map(({model}) => model).join();
  } catch { return ''; }
}"""
"""Weights are not looked at: moving a slider asks the server nothing."""

_SAVE = """(...values) => {
  const paths = PATHS;
  return window.easelRestored ? Object.fromEntries(paths.map((path, i) => [path, values[i]])) : null;
}"""


class GenerateTab(GenerateLayout):
    """What the tab does.

    Args:
        session: the jobs that this browser started.
        timer: its ticks refresh the live parts.
        notice: where a deletion offers to be undone.
    """

    def __init__(
        self,
        studio: Studio,
        form: Form,
        stack: Stack,
        *,
        session: gr.BrowserState,
        timer: gr.Timer,
        notice: gr.HTML,
    ) -> None:
        super().__init__(form)
        self._notice = notice
        self._studio = studio
        self._stack = stack
        self._session = session
        self._timer = timer
        self.parts = (
            LivePart("stage", self.stage, self.stage_of),
            LivePart(
                "cancel", self.cancel, lambda own: gr.update(visible=current_job(studio, own) is not None)
            ),
        )

    # ------------------------------------------------------------------ wiring

    def wire(self, wiring: Wiring, saved: gr.BrowserState) -> None:
        form, session = self.form, self._session
        wiring.on(
            [self.generate.click],
            self.submit,
            self.submit_inputs,
            self.submit_outputs,
            js=self.with_mask(self.submit_inputs),
        )
        wiring.on([self.cancel.click], self._cancel_current, [session], [self.stage])
        wiring.act(self.stage, "cancel", self._cancel, [session], [self.stage])
        wiring.act(self.stage, "dismiss", self._dismiss, [session], [self.stage, *self._stack.dismissing])
        wiring.act(self.stage, "example", lambda: {self.prompt: EXAMPLE_PROMPT}, None, [self.prompt])
        wiring.act(self.stage, "reuse", self._reuse, None, self.shown_outputs)
        wiring.act(self.stage, "seed", self._reuse_seed, None, [form["seed"]])
        wiring.act(self.stage, "source", self.use_as_source, None, self.source_outputs)
        wiring.act(self.stage, "favourite", self._favourite, [session], [self.stage])
        wiring.act(self.stage, "delete", self._delete, [session], [self.stage, self._notice])
        wiring.on([self.reuse_seed.click], self._last_seed, [session], [form["seed"]])
        self._stack.networks.wire_tags(wiring, self.prompt, self.prompt_tags)
        self._wire_fields(wiring)
        self._wire_saving(wiring, saved)

    def _wire_fields(self, wiring: Wiring) -> None:
        size = [self.form["width"], self.form["height"]]
        wiring.in_browser([self.random_seed.click], "() => -1", None, self.form["seed"])
        wiring.act(self.shapes, "swap", self._swap, size, size)
        wiring.act(self.shapes, "shape", self._shape, [self._stack.model], size)
        wiring.on([self._stack.model.input], self._choose_model, [self._stack.model, *size], size)
        wiring.on([self.sampler.input], self._sampler, [self.sampler, self.schedule], [self.schedule])
        wiring.on(
            [self.picture.upload],
            self._upload,
            [self.upload, self.picture],
            [self.source, self.picture],
            otherwise={self.source: "", self.picture: None},
            field="source.image",
            js="(_, picture) => [picture, null]",
            preprocess=True,
        )
        wiring.in_browser([self.picture.clear], "() => ''", None, self.source)
        shown = wiring.turn([self.source.change])
        wiring.poll(shown, self._show_source, [self.source], [self.picture])
        loras = self._stack.entries["loras"]
        used = gr.Textbox("", visible="hidden", label="LoRAs in use")
        wiring.in_browser([loras.change], _USED, loras, used)
        for text, count in ((self.prompt, self.tokens), (self.negative_prompt, self.negative_tokens)):
            wiring.poll(
                wiring.turn([text.change, self._stack.model.change, used.change]),
                lambda text, model_id, loras, count=count: {
                    count: tokens_html(self._count(text, model_id, loras))
                },
                [text, self._stack.model, loras],
                [count],
            )

    def _wire_saving(self, wiring: Wiring, saved: gr.BrowserState) -> None:
        components = list(self.form.components)
        changes = [component.change for component in components]  # type: ignore[attr-defined]
        keep = _SAVE.replace("PATHS", json.dumps(self.form.paths))
        wiring.in_browser(changes, keep, components, saved)

    # ------------------------------------------------------------------ jobs

    @property
    def submit_inputs(self) -> set[Any]:
        return {*self.form.components, self._session}

    @property
    def submit_outputs(self) -> list[Any]:
        return [self._session, self.stage, self.cancel, self._timer]

    def with_mask(self, inputs: set[Any]) -> str:
        """A script that hands on the values of `inputs` once a mask just painted is stored."""
        index = place_among(inputs, self._stack.held["inpaint"])
        return f"(...values) => window.easelInpaint.submitted(values, {index})"

    def submit(self, values: Values) -> Updates:
        """Queue what the form's `values` stand for. Raises: EaselError, pydantic.ValidationError."""
        job = self._studio.submit(self.form.read(values))
        session = Session.read(values[self._session]).with_job(job.id)
        return {
            self._session: session.model_dump(mode="json"),
            self.stage: self.stage_of(session),
            self.cancel: gr.update(visible=True),
            self._timer: gr.update(value=FAST),
        }

    def stage_of(self, session: Session) -> str:
        return stage_html(look(self._studio, session), self._studio.status().ready)

    def failure_of(self, session: Session) -> str:
        """The sentence of the session's newest job, where it failed."""
        job = focus(own_jobs(self._studio, session))
        if job is None or job.failure is None:
            return ""
        return problems_html((Problem(job.failure.message, job.failure.field or ""),))

    def _cancel_current(self, stored: Any) -> Updates:
        session = Session.read(stored)
        if job := current_job(self._studio, session):
            self._studio.cancel(job.id)
        return {self.stage: self.stage_of(session)}

    def _cancel(self, stored: Any, event: gr.EventData) -> Updates:
        self._studio.cancel(event.id)
        return {self.stage: self.stage_of(Session.read(stored))}

    def _dismiss(self, stored: Any, event: gr.EventData) -> Updates:
        updates = self._stack.dismissed([event.id])
        return {**updates, self.stage: self.stage_of(Session.read(stored))}

    # ------------------------------------------------------------------ results

    def _reuse(self, event: gr.EventData) -> Updates:
        return self.show(self._studio.image(event.id).request)

    def _reuse_seed(self, event: gr.EventData) -> Updates:
        return {self.form["seed"]: self._studio.image(event.id).seed}

    def _last_seed(self, stored: Any) -> Updates:
        images = look(self._studio, Session.read(stored)).images
        return {self.form["seed"]: images[0].seed} if images else {}

    def _favourite(self, stored: Any, event: gr.EventData) -> Updates:
        image = self._studio.image(event.id)
        self._studio.set_favourite(image.id, not image.favourite)
        return {self.stage: self.stage_of(Session.read(stored))}

    def _delete(self, stored: Any, event: gr.EventData) -> Updates:
        token = self._studio.delete_images([event.id])
        return {self.stage: self.stage_of(Session.read(stored)), self._notice: deleted_html(1, token)}

    # ------------------------------------------------------------------ the form

    def show(self, request: GenerateRequest) -> Updates:
        """Put `request` into the form; a model that is not here becomes the active one."""
        model = self._stack.chosen(request.model)
        request = request.model_copy(update={"model": model.id if model else ""})
        choices = [str(schedule) for schedule in schedules_for(request.sampler)]
        shown = self.form.show(request)
        return {
            **shown,
            self.schedule: gr.update(choices=choices, value=shown[self.schedule]),
            self.source_part: gr.update(open=request.source is not None),
            self.variation_part: gr.update(open=request.variation is not None),
            self.hires_part: gr.update(open=request.hires is not None),
        }

    def initial(self, saved: Any) -> Updates:
        """The form as the browser left it; on a first visit, one that suits the active model."""
        model = self._stack.chosen("")
        side = model.native_size if model else 512
        request = self.form.restore(saved, GenerateRequest(width=side, height=side))
        self._note_use(request)
        return self.show(request)

    def _note_use(self, request: GenerateRequest) -> None:
        """Read the pictures of a form once: those that nobody uses for long are deleted."""
        for blob_id in request.blobs:
            with suppress(EaselError):
                self._studio.blob(blob_id)

    def use_as_source(self, event: gr.EventData) -> Updates:
        data = self._studio.image_path(event.id).read_bytes()
        return {self.source: self._studio.put_blob(data), self.source_part: gr.update(open=True)}

    def _upload(self, data: bytes | None, _: None) -> Updates:
        """The picture comes as a file's bytes: Gradio would open it itself, and a bad one ends in a 500."""
        return {self.source: self._studio.put_blob(data) if data else ""}

    def _show_source(self, blob_id: str) -> Updates:
        return {self.picture: Image.open(BytesIO(self._studio.blob(blob_id))) if blob_id else None}

    def _shape(self, model_id: str, event: gr.EventData) -> Updates:
        model = self._stack.chosen(model_id)
        return self.form.sized(extent_for(model.native_size if model else 512, SHAPES.get(event.shape, 1.0)))

    def _swap(self, width: float | None, height: float | None) -> Updates:
        return {self.form["width"]: height, self.form["height"]: width}

    def _choose_model(self, model_id: str, width: float | None, height: float | None) -> Updates:
        model = self._studio.activate(model_id)
        return self.form.sized(nearest_extent(model.native_size, int(width or 1), int(height or 1)))

    def _sampler(self, sampler: str, schedule: str) -> Updates:
        choices = [str(choice) for choice in schedules_for(Sampler(sampler))]
        value = schedule if schedule in choices else str(Schedule.AUTOMATIC)
        return {self.schedule: gr.update(choices=choices, value=value)}

    def _count(self, prompt: str, model_id: str, loras: str) -> TokenCount | None:
        on = [draft.model for draft in drafts("loras", loras) if draft.value("enabled")]
        with suppress(EaselError):  # a half-typed bracket is no reason to complain while a person types
            return self._studio.count_tokens(prompt, model_id, on)
        return None

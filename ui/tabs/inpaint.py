"""The Inpaint tab: mask a part of a photo, say what should be there, compare, go on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import Any

import gradio as gr
from gradio.blocks import Block
from PIL import Image
from pydantic import ValidationError

from studio.core.errors import EaselError, InvalidRequest
from studio.core.geometry import Extent
from studio.core.inpaint import Inpaint, InpaintArea, Outpaint
from studio.core.models import ModelInfo, ModelKind, Variant
from studio.core.protocol import Studio
from studio.core.requests import GenerateRequest
from ui.components import mask_example
from ui.components.before_after import before_after_html
from ui.components.masked import channels_html, masked_html, size_html
from ui.form import held_part
from ui.problems import Updates, Values, problems_of
from ui.sizes import photo_extent
from ui.stack import Stack
from ui.stream import LivePart, Session, look, own_jobs
from ui.tabs.generate import GenerateTab
from ui.tabs.inpaint_layout import InpaintLayout
from ui.wiring import LAST_COUNTS, Wiring

_HEAR = "() => window.easelInpaint.hear()"
_ECHO = """(said) => document.getElementById('inpaint')?.contains(document.activeElement)
  && document.activeElement.matches('textarea, input') ? {__type__: 'update'} : said"""


class InpaintTab(InpaintLayout):
    """What the tab does. It has no request of its own: it edits parts of the Generate tab's.

    Args:
        session: the jobs that this browser started.
        tabs: to come here when a picture is to be inpainted.
    """

    def __init__(
        self, studio: Studio, generate: GenerateTab, stack: Stack, *, session: gr.BrowserState, tabs: gr.Tabs
    ) -> None:
        super().__init__()
        self._studio = studio
        self._generate = generate
        self._form = generate.form
        self._stack = stack
        self._session = session
        self._tabs = tabs
        self._held = stack.held["inpaint"]
        self._size: list[Block] = [self._form["width"], self._form["height"]]
        self.parts = (LivePart("inpaint-result", self.result, self._result),)

    @property
    def opened(self) -> list[Block]:
        """All that changes when a picture is brought here."""
        return [self._generate.source, self._held, self.options, *self._size, self._tabs]

    # ------------------------------------------------------------------ wiring

    def wire(self, wiring: Wiring, page: gr.Blocks, tab: gr.Tab, sources: Sequence[gr.HTML]) -> None:
        """Args: sources: parts of the page from which a picture is brought here."""
        source = self._generate.source
        heard = [source.change, self._held.change, tab.select, page.load]
        wiring.in_browser(heard, _HEAR, **LAST_COUNTS)
        self._wire_mirrors(wiring)
        self._wire_photo(wiring)
        for part in sources:
            wiring.act(part, "inpaint", self._open_image, [self._stack.model], self.opened)
        self._wire_painting(wiring)
        self._wire_lines(wiring, tab)
        wiring.poll([tab.select], self._entered, None, [self.editor])

    def _wire_mirrors(self, wiring: Wiring) -> None:
        for path, mirror in self.mirrors.items():
            own: Any = self._form[path]
            wiring.in_browser([mirror.input], "(said) => said", mirror, own, **LAST_COUNTS)  # type: ignore[attr-defined]
            wiring.in_browser([own.change], _ECHO, own, mirror, **LAST_COUNTS)

    def _wire_photo(self, wiring: Wiring) -> None:
        model = self._stack.model
        wiring.act(self.editor, "photo", self._choose, [model], self.opened)
        wiring.act(self.editor, "last", self._last, [model, self._session], self.opened)
        example = [*self.opened, self.prompt, self._generate.prompt, self._form["source.strength"]]
        wiring.act(self.editor, "example", self._example, [model], example)
        framed = [model, self._generate.source, self._held]
        wiring.act(self.options, "frame", self._fit, framed, self._size, **LAST_COUNTS)
        wiring.act(self.size_line, "fit", self._fit, framed, self._size)

    def _wire_painting(self, wiring: Wiring) -> None:
        inputs = {*self._generate.submit_inputs, *self.mirrors.values()}
        wiring.on(
            [self.paint.click],
            self._submit,
            inputs,
            [*self._generate.submit_outputs, self.result],
            js=self._generate.with_mask(inputs),
        )
        painted = [*self._generate.submit_outputs, self.result, self.objects]
        wiring.act(self.objects, "paint", self._paint_object, inputs, painted)
        wiring.act(self.result, "cancel", self._cancel, [self._session], [self.result])
        wiring.act(self.result, "go_on", self._open_image, [self._stack.model], self.opened)

    def _wire_lines(self, wiring: Wiring, tab: gr.Tab) -> None:
        line = self._generate.masked
        masked = wiring.turn([self._held.change])
        wiring.poll(masked, self._masked_line, [self._held], [line], **LAST_COUNTS)
        wiring.act(line, "unmask", self._unmask, None, [self._held, self._generate.source_part])
        nothing = {self._held: "", self._generate.source: ""}
        wiring.act(line, "nothing", lambda: nothing, None, [self._held, self._generate.source])
        wiring.act(line, "edit", lambda: {self._tabs: gr.update(selected="inpaint")}, None, [self._tabs])
        wiring.poll(
            wiring.turn([self._stack.model.change, self._stack.known.change, tab.select]),
            self._channel_words,
            [self._stack.model],
            [self.channels],
            **LAST_COUNTS,
        )
        wiring.act(self.channels, "switch", self._switch, None, [self._stack.model])
        sizes: list[Any] = [self._generate.source, self._held, *self._size]
        wiring.poll(
            [tab.select, *(component.change for component in sizes)],
            self._size_words,
            [self._stack.model, *sizes],
            [self.size_line],
            **LAST_COUNTS,
        )

    # ------------------------------------------------------------------ the photo

    def _choose(self, model_id: str, event: gr.EventData) -> Updates:
        return self._opened(event.id, model_id)

    def _last(self, model_id: str, stored: Any) -> Updates:
        images = look(self._studio, Session.read(stored)).images
        if not images:
            raise InvalidRequest("Nothing has been made here yet.", "Choose a photo.", field="inpaint.mask")
        return self._opened(self._stored(self._studio.image_path(images[0].id)), model_id)

    def _open_image(self, model_id: str, event: gr.EventData) -> Updates:
        """Bring the image `event.id` here as the photo, with nothing masked."""
        return self._opened(self._stored(self._studio.image_path(event.id)), model_id)

    def _example(self, model_id: str) -> Updates:
        mask = self._studio.put_blob(mask_example.example_mask())
        inpaint = Inpaint(mask=mask, area=InpaintArea.MASKED, padding=200, blur=24)
        return {
            **self._opened(self._stored(mask_example.PHOTO), model_id),
            self.options: None,
            self._held: inpaint.model_dump_json(exclude_defaults=True),
            self.prompt: mask_example.PROMPT,
            self._generate.prompt: mask_example.PROMPT,
            self._form["source.strength"]: 1,
        }

    def _stored(self, path: Path) -> str:
        return self._studio.put_blob(path.read_bytes())

    def _opened(self, blob_id: str, model_id: str) -> Updates:
        """With a photo that is painted at another size, only the masked part is: so it keeps its own."""
        fitting = self._fitting(blob_id, Outpaint(), model_id)
        area = InpaintArea.WHOLE if fitting == self._photo_size(blob_id) else InpaintArea.MASKED
        return {
            self._generate.source: blob_id,
            self._held: "",
            self.options: {"area": area.value, "opened": token_hex(4)},
            **self._form.sized(fitting),
            self._tabs: gr.update(selected="inpaint"),
        }

    def _photo_size(self, blob_id: str) -> Extent:
        with Image.open(BytesIO(self._studio.blob(blob_id))) as photo:
            width, height = photo.size
            if photo.getexif().get(_ORIENTATION, 1) >= _FIRST_TURNED:
                width, height = height, width
        return Extent(width=width, height=height)

    def _fitting(self, blob_id: str, sides: Outpaint, model_id: str) -> Extent:
        """The size at which the photo, with what is added around it, is painted best."""
        photo, model = self._photo_size(blob_id), self._stack.chosen(model_id)
        return photo_extent(
            model.native_size if model else 512,
            photo.width + sides.left + sides.right,
            photo.height + sides.top + sides.bottom,
        )

    def _fit(self, model_id: str, blob_id: str, text: str) -> Updates:
        inpaint = held_part(Inpaint, text)
        sides = inpaint.outpaint if inpaint else Outpaint()
        return self._form.sized(self._fitting(blob_id, sides, model_id)) if blob_id else {}

    # ------------------------------------------------------------------ painting

    def _submit(self, values: Values) -> Updates:
        mirrored = {self._form[path]: values[mirror] for path, mirror in self.mirrors.items()}
        given = {**values, **mirrored}
        if not given[self._generate.source]:
            raise InvalidRequest("There is no photo.", "Choose one first.", field="inpaint.mask")
        if not given[self._held]:
            raise InvalidRequest(
                "Nothing is masked.",
                "Paint over what should change, or add canvas at a side.",
                field="inpaint.mask",
            )
        updates = self._generate.submit(given)
        return {**updates, self.result: self._result(Session.read(updates[self._session]))}

    def _paint_object(self, values: Values, event: gr.EventData) -> Updates:
        """Paint one of several objects; all but the first go into the result of the job `event.after`."""
        photo = self._generate.source
        given = {**values, self._held: event.inpaint, self.prompt: event.phrase}
        try:
            if event.after:
                given[photo] = self._stored(self._result_path(event.after))
            if given[photo]:
                given |= self._form.sized(self._fitting(given[photo], Outpaint(), values[self._stack.model]))
            updates = self._submit(given)
        except (EaselError, ValidationError) as error:
            problem = " ".join(problem.message for problem in problems_of(error))
            return {self.objects: {"problem": problem, "again": token_hex(4)}}
        return {**updates, self.objects: {"job": Session.read(updates[self._session]).jobs[-1]}}

    def _result_path(self, job_id: str) -> Path:
        images = self._studio.job(job_id).images
        if not images:
            raise InvalidRequest("The object before this one left no picture.", "Paint them again.")
        return self._studio.image_path(images[0])

    def _result(self, session: Session) -> str:
        jobs = [job.id for job in own_jobs(self._studio, session) if _is_inpainting(job.request)]
        return before_after_html(look(self._studio, Session(jobs=tuple(jobs))), self._studio.status().ready)

    def _cancel(self, stored: Any, event: gr.EventData) -> Updates:
        self._studio.cancel(event.id)
        return {self.result: self._result(Session.read(stored))}

    # ------------------------------------------------------------------ what is said

    def _entered(self) -> Updates:
        nets = [net for net in self._studio.models(ModelKind.ANNOTATOR) if net.usable]
        return {self.editor: {"objects": any(net.layout == "segmentation" for net in nets)}}

    def _channel_words(self, model_id: str) -> Updates:
        model = self._stack.chosen(model_id)
        return {self.channels: channels_html(model, self._made_for_it(model) if model else None)}

    def _made_for_it(self, model: ModelInfo) -> ModelInfo | None:
        """The first inpainting model beside one that only blends, of its family and size."""
        wanted = (Variant.INPAINT, model.family, model.native_size)
        others = self._studio.models(ModelKind.CHECKPOINT) if model.variant is not Variant.INPAINT else ()
        fitting = (one for one in others if (one.variant, one.family, one.native_size) == wanted)
        return next((one for one in fitting if one.usable), None)

    def _switch(self, event: gr.EventData) -> Updates:
        return {self._stack.model: self._studio.activate(event.id).id}

    def _unmask(self) -> Updates:
        """The photo stays: the next picture starts from it. So it is shown, where it can be taken away."""
        return {self._held: "", self._generate.source_part: gr.update(open=True)}

    def _masked_line(self, text: str) -> Updates:
        return {self._generate.masked: masked_html(held_part(Inpaint, text))}

    def _size_words(
        self, model_id: str, blob_id: str, text: str, width: float | None, height: float | None
    ) -> Updates:
        words = ""
        with suppress(EaselError, ValueError):
            inpaint, made = held_part(Inpaint, text), Extent(width=int(width or 0), height=int(height or 0))
            if blob_id:
                sides = inpaint.outpaint if inpaint else Outpaint()
                words = size_html(self._photo_size(blob_id), made, self._fitting(blob_id, sides, model_id))
        return {self.size_line: words}


_ORIENTATION, _FIRST_TURNED = 0x0112, 5
"""EXIF's tag for how a camera was held; from 5 on, on its side."""


def _is_inpainting(request: Any) -> bool:
    return isinstance(request, GenerateRequest) and request.inpaint is not None

"""The Library tab: every picture ever made here, and the way back to the settings that made it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest
from studio.core.library import ImageQuery, ImageRecord, ImportedSettings
from studio.core.protocol import Studio
from ui.components.notice import deleted_html, notice_html
from ui.components.tiles import (
    DETAIL_ACTIONS,
    WALL_BEHAVIOUR,
    details_html,
    wall_change,
    wall_html,
    wall_removal,
    wall_tiles,
)
from ui.links import EXPORT_URL
from ui.problems import Updates, Values
from ui.tabs.generate import GenerateTab
from ui.wiring import LAST_COUNTS, Wiring, editor_html, live_html, place_among, script
from ui.words import counted, esc

PAGE_SIZE = 60
_MOST_AT_ONCE = 500
ALL_MODELS = "All models"

"""Of several quick events the last is heard, but with what the first one brought. So nothing may come with an
event: these scripts tell how things are when its turn has come."""

_OPENED = "() => [window.easelOpened]"
_MARKS = "() => [window.easelMarks()]"


class LibraryTab:
    """Builds the tab. Args: notice: where deletions and imports are reported; tabs: to go to Generate."""

    def __init__(self, studio: Studio, generate: GenerateTab, *, notice: gr.HTML, tabs: gr.Tabs) -> None:
        self._studio = studio
        self._generate = generate
        self._notice = notice
        self._tabs = tabs
        self._import()
        self._search()
        with gr.Row(elem_id="library"):
            with gr.Column(scale=1, min_width=300):
                with gr.Row(elem_id="wall-head"):
                    self.count = gr.HTML("", elem_id="count", apply_default_css=False)
                    self._bulk()
                self.wall = editor_html(wall_html(), WALL_BEHAVIOUR, elem_id="wall")
                self.loaded = gr.Number(0, precision=0, label="Pictures on the wall", visible="hidden")
            with gr.Column(scale=0, min_width=340, elem_id="details-column"):
                self.details = live_html(
                    value=details_html(None),
                    actions=DETAIL_ACTIONS,
                    behaviour="details.js",
                    elem_id="details",
                )

    # ------------------------------------------------------------------ layout

    def _search(self) -> None:
        with gr.Row(elem_id="search"):
            self.text = gr.Textbox(
                "",
                max_lines=1,
                label="Search prompts",
                placeholder="words of the prompt",
                elem_id="field-text",
                scale=3,
                min_width=200,
            )
            self.model = gr.Dropdown(
                [ALL_MODELS],
                value=ALL_MODELS,
                label="Model",
                elem_id="field-library-model",
                scale=2,
                min_width=150,
            )
            self.since = gr.Textbox(
                "",
                max_lines=1,
                label="From day",
                elem_id="field-since",
                placeholder="YYYY-MM-DD",
                min_width=130,
            )
            self.until = gr.Textbox(
                "",
                max_lines=1,
                label="To day",
                elem_id="field-until",
                placeholder="YYYY-MM-DD",
                min_width=130,
            )
            self.favourites = gr.Checkbox(
                label="Favourites", elem_id="field-favourites", min_width=110, scale=0
            )

    def _bulk(self) -> None:
        self.marked = gr.Textbox("", label="Selected", visible="hidden", elem_id="marked")
        self.opened = gr.Textbox("", label="Opened", visible="hidden")
        with gr.Row(visible=False, elem_id="bulk") as self.bulk:
            self.bulk_words = gr.HTML("", apply_default_css=False)
            self.export = gr.Button("Export as zip", size="sm", scale=0, elem_id="export")
            self.delete_marked = gr.Button("Delete", size="sm", scale=0, elem_id="delete-marked")
            self.unmark = gr.Button("Select none", size="sm", scale=0)

    def _import(self) -> None:
        with (
            gr.Accordion("Settings from a picture or a text of any studio", open=False, elem_id="import"),
            gr.Row(),
        ):
            self.file = gr.File(
                label="Drop a picture of Easel, AUTOMATIC1111, ComfyUI, InvokeAI or Fooocus",
                type="binary",
                file_types=["image"],
                height=160,
                elem_id="field-image-file",
            )
            with gr.Column():
                self.infotext = gr.Textbox(
                    "", label="Or paste generation parameters", lines=4, max_lines=8, elem_id="field-infotext"
                )
                self.read_text = gr.Button("Use the text", size="sm", elem_id="read-text")

    # ------------------------------------------------------------------ wiring

    def wire(self, wiring: Wiring, tab: gr.Tab) -> None:
        wall = [self.wall, self.count, self.loaded, self.model]
        filters: set[Any] = {self.text, self.model, self.since, self.until, self.favourites, self.loaded}
        searches = [
            self.text.change,
            self.model.input,
            self.since.change,
            self.until.change,
            self.favourites.input,
        ]
        wiring.on(searches, self._searched, filters, wall, **LAST_COUNTS)
        wiring.poll([tab.select], self._shown, filters, wall)
        wiring.act(self.wall, "more", self._more, filters, wall)
        wiring.act(self.wall, "open", self._open, [self.opened], [self.details], js=_OPENED, **LAST_COUNTS)
        for part in (self.wall, self.details):
            wiring.act(part, "favourite", self._favourite, filters, [*wall, self.details])
        wiring.act(self.details, "close", lambda: {self.details: details_html(None)}, None, [self.details])
        deleted = [*wall, self.details, self._notice, self.marked, self.bulk]
        wiring.act(self.details, "delete", self._delete_one, filters, deleted)
        wiring.act(self.wall, "delete", self._delete_many, filters, deleted)
        marked = {*filters, self.marked}
        wiring.on(
            [self.delete_marked.click], self._delete_marked, marked, deleted, js=self._with_marks(marked)
        )
        wiring.act(self._notice, "undo", self._undo, filters, deleted)
        self._wire_marking(wiring)
        self._wire_restoring(wiring)

    def _wire_marking(self, wiring: Wiring) -> None:
        bulk = [self.bulk, self.bulk_words, self.marked]
        wiring.act(self.wall, "marked", self._mark, [self.marked], bulk, js=_MARKS, **LAST_COUNTS)
        export = script("export.js").replace("URL_OF_EXPORT", EXPORT_URL)
        wiring.in_browser([self.export.click], export, None, wiring.banner)
        wiring.in_browser([self.unmark.click], "() => window.easelUnmark()")

    def _with_marks(self, inputs: set[Any]) -> str:
        """A script that hands on the values of `inputs` with the marks as they are at this moment."""
        index = place_among(inputs, self.marked)
        return f"(...values) => values.map((value, at) => (at === {index} ? window.easelMarks() : value))"

    def _wire_restoring(self, wiring: Wiring) -> None:
        restored = [*self._generate.shown_outputs, self._notice, self._tabs]
        wiring.act(self.details, "restore", self._restore, None, restored)
        wiring.act(
            self.details, "source", self._as_source, None, [*self._generate.source_outputs, self._tabs]
        )
        wiring.on(
            [self.file.upload],
            self._read_file,
            [self.file],
            [*restored, self.file],
            otherwise={self.file: None},
            field="image-file",
            preprocess=True,
        )
        wiring.on([self.read_text.click], self._read_text, [self.infotext], restored)

    # ------------------------------------------------------------------ the wall

    def _query(self, values: Values) -> ImageQuery:
        """Raises: pydantic.ValidationError, for a day that is none."""
        model = values[self.model]
        given = {
            "text": values[self.text],
            "model": "" if model in (None, ALL_MODELS) else model,
            "since": values[self.since] or None,
            "until": values[self.until] or None,
            "favourites": values[self.favourites],
        }
        return ImageQuery.model_validate(given)

    def _wall(self, query: ImageQuery, start: int = 0, count: int = PAGE_SIZE) -> Updates:
        """Fill the wall with `count` pictures from place `start` on."""
        images: list[ImageRecord] = []
        while True:
            limit = min(count - len(images), _MOST_AT_ONCE)
            at = start + len(images)
            page = self._studio.images(query.model_copy(update={"offset": at, "limit": limit}))
            images += page.images
            if len(images) >= count or len(page.images) < limit:
                break
        return {
            self.wall: wall_tiles(images, page.total, start, query),
            **self._counts(page.total, start + len(images)),
        }

    def _counts(self, total: int, loaded: int) -> Updates:
        return {self.count: f"<p>{esc(counted(total, 'picture'))}</p>", self.loaded: loaded}

    def _searched(self, values: Values) -> Updates:
        return self._wall(self._query(values))

    def _more(self, values: Values) -> Updates:
        return self._wall(self._query(values), int(values[self.loaded]))

    def _again(self, values: Values) -> Updates:
        """As many pictures as there were, as they are now."""
        return self._wall(self._query(values), count=max(PAGE_SIZE, int(values[self.loaded])))

    def _shown(self, values: Values) -> Updates:
        names = sorted({model.name for model in self._studio.models() if model.usable})
        return {**self._again(values), self.model: gr.update(choices=[ALL_MODELS, *names])}

    def _open(self, image_id: str) -> Updates:
        return {self.details: self._details(self._studio.image(image_id))}

    def _details(self, image: ImageRecord) -> str:
        return details_html(image, {model.id: model.name for model in self._studio.models()})

    def _favourite(self, values: Values, event: gr.EventData) -> Updates:
        image = self._studio.image(event.id)
        changed = self._studio.set_favourite(image.id, not image.favourite)
        wall = self._again(values) if values[self.favourites] else {self.wall: wall_change(changed)}
        return {**wall, self.details: self._details(changed)}

    # ------------------------------------------------------------------ many at once

    def _mark(self, marked: str) -> Updates:
        ids = _ids(marked)
        return {
            self.marked: marked,
            self.bulk: gr.update(visible=bool(ids)),
            self.bulk_words: f"<p>{esc(counted(len(ids), 'picture'))} selected</p>",
        }

    def _delete_one(self, values: Values, event: gr.EventData) -> Updates:
        return self._deleted(values, [event.id])

    def _delete_many(self, values: Values, event: gr.EventData) -> Updates:
        return self._deleted(values, event.ids)

    def _delete_marked(self, values: Values) -> Updates:
        return self._deleted(values, _ids(values[self.marked]))

    def _deleted(self, values: Values, image_ids: list[str]) -> Updates:
        token = self._studio.delete_images(image_ids)
        query = self._query(values)
        total = self._studio.images(query.model_copy(update={"limit": 1})).total
        return {
            self.wall: wall_removal(image_ids, total, query),
            **self._counts(total, max(0, int(values[self.loaded]) - len(image_ids))),
            self.details: details_html(None),
            self._notice: deleted_html(len(image_ids), token),
            self.marked: "",
            self.bulk: gr.update(visible=False),
        }

    def _undo(self, values: Values, event: gr.EventData) -> Updates:
        count = len(self._studio.undo_delete(event.token))
        return {
            **self._wall(self._query(values), count=max(PAGE_SIZE, int(values[self.loaded]) + count)),
            self._notice: notice_html(f"{counted(count, 'picture')} brought back."),
        }

    # ------------------------------------------------------------------ back to the form

    def _restore(self, event: gr.EventData) -> Updates:
        image: ImageRecord = self._studio.image(event.id)
        return self._to_generate(self._generate.show(image.request), "All its settings are in the form.")

    def _as_source(self, event: gr.EventData) -> Updates:
        return {**self._generate.use_as_source(event), self._tabs: gr.update(selected="generate")}

    def _read_file(self, data: bytes | None) -> Updates:
        if not data:
            return {}
        return {**self._imported(self._studio.read_settings(data)), self.file: None}

    def _read_text(self, text: str) -> Updates:
        if not text.strip():
            raise InvalidRequest("There is no text.", "Paste generation parameters first.", field="infotext")
        return self._imported(self._studio.read_infotext(text))

    def _imported(self, settings: ImportedSettings) -> Updates:
        sentence = f"Settings of a picture from {settings.source} are in the form."
        return self._to_generate(self._generate.show(settings.request), sentence, settings.warnings)

    def _to_generate(self, updates: Updates, sentence: str, warnings: tuple[str, ...] = ()) -> Updates:
        notice = notice_html(sentence, warnings)
        return {**updates, self._notice: notice, self._tabs: gr.update(selected="generate")}


def _ids(marked: str) -> list[str]:
    return [image_id for image_id in marked.split(",") if image_id]

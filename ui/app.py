"""The page: a stack beside three tabs, kept up to date by one timer."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.core.protocol import Studio
from studio.core.settings import Settings
from ui.components.notice import ACTIONS as NOTICE_ACTIONS
from ui.form import Form
from ui.problems import Updates
from ui.stack import Stack
from ui.stream import SLOW, LivePart, Session, changed_parts, interval
from ui.tabs.boxes import BoxesTab
from ui.tabs.control import ControlTab
from ui.tabs.generate import GenerateTab
from ui.tabs.inpaint import InpaintTab
from ui.tabs.library import LibraryTab
from ui.tabs.models import ModelsTab
from ui.theme import easel_theme
from ui.wiring import ASSETS, Wiring, live_html, script

_STORAGE_SECRET = "easel"
"""Gradio encrypts local storage with a key that the page knows too. A constant one survives a restart."""

_STYLES = ("easel.css", "control.css", "inpaint.css", "boxes.css", "touch.css")
_SCRIPTS = (
    "page.js",
    "tabs.js",
    "pictures.js",
    "source.js",
    "stack.js",
    "control.js",
    "inpaint.js",
    "boxes.js",
)
"""Those of `assets/js` that the whole page shares."""

_RESTORED = "() => { setTimeout(() => { window.easelRestored = true; }, 300); }"


def create_page(studio: Studio, settings: Settings) -> gr.Blocks:
    """The whole page for `studio`; pictures come from `studio.api`'s routes, so both must be served together.

    Mount it: `gr.mount_gradio_app(app, create_page(studio, settings), path="/", **page_kwargs(settings))`.
    """
    page = gr.Blocks(title="Easel", fill_width=True, analytics_enabled=False)
    with page:
        _Page(studio).wire(page)
    page.queue(api_open=False, max_size=settings.max_queue)
    return page


def page_kwargs(settings: Settings) -> dict[str, Any]:
    """What `gr.mount_gradio_app` needs besides the page: in Gradio 6 looks and limits belong to the mount."""
    return {
        "theme": easel_theme(),
        "css_paths": [ASSETS / "css" / name for name in _STYLES],
        "head": "".join(f"<script>{script(name)}</script>" for name in _SCRIPTS),
        "footer_links": [],
        "run_history": False,
        "show_error": False,
        "ssr_mode": False,
        "max_file_size": max(settings.max_upload_bytes, settings.max_model_bytes),
    }


class _Page:
    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        form = Form()
        self.session = gr.BrowserState({}, storage_key="easel-session", secret=_STORAGE_SECRET)
        self.saved = gr.BrowserState({}, storage_key="easel-form", secret=_STORAGE_SECRET)
        self.control_saved = gr.BrowserState(None, storage_key="easel-control", secret=_STORAGE_SECRET)
        self.seen = gr.JSON({}, visible=False)
        self.timer = gr.Timer(SLOW)
        self.notice = live_html(
            value="", actions=NOTICE_ACTIONS, behaviour="notice.js", elem_id="notice", render=False
        )
        self.stack = Stack(studio, form, session=self.session, notice=self.notice)
        self.banner = live_html(value="", behaviour="problems.js", elem_id="problems")
        self.failure = live_html(value="", behaviour="problems.js", elem_id="failure")
        self.notice.render()  # type: ignore[no-untyped-call]
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Generate", id="generate"):
                self.generate = GenerateTab(
                    studio, form, self.stack, session=self.session, timer=self.timer, notice=self.notice
                )
            with gr.Tab("Inpaint", id="inpaint", render_children=True) as self.inpaint_tab:
                self.inpaint = InpaintTab(studio, self.generate, self.stack, session=self.session, tabs=tabs)
            with gr.Tab("Boxes", id="boxes", render_children=True) as self.boxes_tab:
                self.boxes = BoxesTab(studio, self.generate, self.stack, session=self.session, tabs=tabs)
            with gr.Tab("Control", id="control", render_children=True) as self.control_tab:
                size = [form["width"], form["height"]]
                self.control = ControlTab(studio, self.stack, size=size, notice=self.notice, tabs=tabs)
            with gr.Tab("Library", id="library", render_children=True) as self.library_tab:
                self.library = LibraryTab(studio, self.generate, notice=self.notice, tabs=tabs)
            with gr.Tab("Models", id="models", render_children=True) as self.models_tab:
                self.models = ModelsTab(studio, self.stack, notice=self.notice)
        self._parts = (
            *self.stack.parts,
            *self.generate.parts,
            *self.inpaint.parts,
            *self.boxes.parts,
            *self.models.parts,
            LivePart("failure", self.failure, self.generate.failure_of),
            LivePart("interval", self.timer, lambda _: gr.update(value=interval(studio))),
        )

    def wire(self, page: gr.Blocks) -> None:
        wiring = Wiring(self.banner, self.seen)
        live = [part.component for part in self._parts]
        wiring.poll([self.timer.tick], self._tick, [self.session, self.seen], [self.seen, *live])
        loaded = wiring.on([page.load], self._load, [self.saved], self.generate.shown_outputs)
        loaded.then(None, js=_RESTORED)
        wiring.poll([page.load], self._first_tick, [self.session], [self.seen, *live])
        self.generate.wire(wiring, self.saved)
        sources = (self.generate.stage, self.library.details)
        self.inpaint.wire(wiring, page, self.inpaint_tab, sources)
        self.boxes.wire(wiring, page, self.boxes_tab)
        self.control.wire(wiring, page, self.control_tab, self.control_saved)
        self.library.wire(wiring, self.library_tab)
        self.models.wire(wiring, self.models_tab)
        self.stack.wire(wiring)

    def _load(self, saved: Any) -> Updates:
        updates = self.generate.initial(saved)
        for component, choices in self.stack.choices().items():
            updates[component] = {**choices, "value": updates[component]}
        return updates

    def _tick(self, stored: Any, seen: Any) -> Updates:
        updates, marks = changed_parts(self._parts, Session.read(stored), seen)
        return {**updates, self.seen: marks} if updates else {self.seen: gr.skip()}

    def _first_tick(self, stored: Any) -> Updates:
        return self._tick(stored, {})

"""The Models tab: what is on disk, and how to get more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from studio.core.errors import InvalidRequest, NotFound
from studio.core.models import Family, ModelKind, with_needs
from studio.core.protocol import Studio
from studio.core.requests import InstallRequest
from ui.components.cards import (
    CATALOGUE_ACTIONS,
    MODEL_ACTIONS,
    catalogue_html,
    kind_words,
    models_html,
)
from ui.components.notice import notice_html
from ui.problems import Updates, Values
from ui.stack import Stack
from ui.stream import LivePart, Session, downloads
from ui.wiring import LAST_COUNTS, Wiring, live_html
from ui.words import counted

ALL = "All"


class ModelsTab:
    """Builds the tab. Args: notice: where additions are reported."""

    def __init__(self, studio: Studio, stack: Stack, *, notice: gr.HTML) -> None:
        self._studio = studio
        self._stack = stack
        self._notice = notice
        with gr.Row(elem_id="models-tab"):
            with gr.Column(scale=3, min_width=300):
                self._filters()
                self.cards = live_html(value="", actions=MODEL_ACTIONS, elem_id="cards")
            with gr.Column(scale=2, min_width=300):
                self._install()
                self._add()
        self.mark = gr.Textbox("", label="State of the model list", visible="hidden")
        self.parts = (
            LivePart("catalogue", self.catalogue, self.catalogue_of),
            LivePart("models", self.mark, self._mark),
        )

    # ------------------------------------------------------------------ layout

    def _filters(self) -> None:
        kinds = [(ALL, ""), *((kind_words(kind), str(kind)) for kind in ModelKind)]
        families = [
            (ALL, ""),
            *((str(family), str(family)) for family in Family if family is not Family.UNKNOWN),
        ]
        with gr.Row(elem_id="model-filters"):
            self.text = gr.Textbox(
                "", max_lines=1, label="Search models", placeholder="part of a name", min_width=140, scale=2
            )
            self.kind = gr.Dropdown(kinds, value="", label="Kind", min_width=120)
            self.family = gr.Dropdown(families, value="", label="Family", min_width=120)
            self.refresh = gr.Button("Refresh", size="sm", scale=0, min_width=80, elem_id="refresh")
            self.unload = gr.Button("Free memory", size="sm", scale=0, min_width=100, elem_id="unload")

    def _install(self) -> None:
        gr.HTML('<h3 class="heading">Install from the Hub</h3>', apply_default_css=False)
        self.catalogue = live_html(
            value="", actions=CATALOGUE_ACTIONS, behaviour="catalogue.js", elem_id="catalogue"
        )
        with gr.Row(elem_id="install-row"):
            self.repo = gr.Textbox(
                "",
                max_lines=1,
                label="Or any model by its id",
                placeholder="owner/name",
                elem_id="field-repo",
                scale=2,
                min_width=140,
            )
            self.repo_file = gr.Textbox(
                "",
                max_lines=1,
                label="One file of it",
                placeholder="empty: the whole folder",
                elem_id="field-file",
                scale=2,
                min_width=140,
            )
            self.install = gr.Button("Install", size="sm", scale=0, min_width=80, elem_id="install")

    def _add(self) -> None:
        gr.HTML('<h3 class="heading">Use what you have</h3>', apply_default_css=False)
        with gr.Row(elem_id="folder-row"):
            self.folder = gr.Textbox(
                "",
                max_lines=1,
                label="Folder on this computer",
                placeholder="a models folder of any studio",
                elem_id="field-path",
                scale=1,
            )
            self.add_folder = gr.Button("Add folder", size="sm", scale=0, min_width=100, elem_id="add-folder")
        self.file = gr.File(
            label="Or drop a model file here to copy it in",
            type="filepath",
            height=150,
            elem_id="field-import-model",
        )

    # ------------------------------------------------------------------ wiring

    def wire(self, wiring: Wiring, tab: gr.Tab) -> None:
        filters: set[Any] = {self.text, self.kind, self.family}
        chosen = [self._stack.model, self._stack.vae]
        changes = [self.text.change, self.kind.input, self.family.input, tab.select]
        wiring.on(changes, self._filtered, filters, [self.cards], **LAST_COUNTS)
        wiring.poll([self.mark.change], self._listed, filters, [self.cards, *chosen])
        wiring.act(self.cards, "activate", self._activate, filters, [self.cards, self._stack.model])
        wiring.on([self.refresh.click], self._refresh, filters, [self.cards, *chosen, self._notice])
        wiring.on([self.unload.click], self._unload, None, [self._stack.machine, self._notice])
        wiring.on(
            [self.install.click], self._install_id, [self.repo, self.repo_file], [self.catalogue, self.repo]
        )
        wiring.act(self.catalogue, "install", self._install_row, None, [self.catalogue])
        wiring.act(self.catalogue, "cancel", self._pause, None, [self.catalogue])
        wiring.act(self.catalogue, "retry", self._resume, None, [self.catalogue])
        dismissing = [self.catalogue, *self._stack.dismissing]
        wiring.act(self.catalogue, "dismiss", self._dismiss, None, dismissing)
        added = [self.cards, *chosen, self._notice]
        wiring.on([self.add_folder.click], self._add_folder, {*filters, self.folder}, [*added, self.folder])
        wiring.on(
            [self.file.upload],
            self._import,
            {*filters, self.file},
            [*added, self.file],
            otherwise={self.file: None},
            field="import-model",
            preprocess=True,
        )

    # ------------------------------------------------------------------ what is here

    def _filtered(self, values: Values) -> Updates:
        words = values[self.text].lower().split()
        models = [
            model
            for model in self._studio.models()
            if values[self.kind] in ("", None, model.kind)
            and values[self.family] in ("", None, model.family)
            and all(word in model.name.lower() for word in words)
        ]
        return {self.cards: models_html(models, self._studio.status().active_model)}

    def _listed(self, values: Values) -> Updates:
        return {**self._filtered(values), **self._stack.choices()}

    def _mark(self, _: Session) -> str:
        return repr((self._studio.models(), self._studio.status().active_model))

    def _activate(self, values: Values, event: gr.EventData) -> Updates:
        model = self._studio.activate(event.id)
        return {**self._filtered(values), self._stack.model: model.id}

    def _refresh(self, values: Values) -> Updates:
        count = len(self._studio.refresh_models())
        return {**self._listed(values), self._notice: notice_html(f"{counted(count, 'model')} found.")}

    def _unload(self) -> Updates:
        self._studio.unload_models()
        return {self._notice: notice_html("The memory of models is free as soon as no job uses them.")}

    # ------------------------------------------------------------------ getting more

    def catalogue_of(self, _: Session | None = None) -> str:
        jobs = {
            job.request: job for job in downloads(self._studio) if isinstance(job.request, InstallRequest)
        }
        return catalogue_html(self._studio.catalogue(), jobs)

    def _install_id(self, repo: str, file: str) -> Updates:
        self._studio.submit(InstallRequest(repo=repo.strip(), file=file.strip()))
        return {self.catalogue: self.catalogue_of(), self.repo: ""}

    def _install_row(self, event: gr.EventData) -> Updates:
        rows = self._studio.catalogue()
        row = next((row for row in rows if row.id == event.id), None)
        if row is None:
            raise NotFound("The catalogue has no such model any more.", "Reload the page.")
        under_way = {job.request for job in downloads(self._studio) if not job.is_over}
        for each in with_needs(row, rows):
            if each.install not in under_way:
                self._studio.submit(each.install)
        return {self.catalogue: self.catalogue_of()}

    def _pause(self, event: gr.EventData) -> Updates:
        self._studio.cancel(event.id)
        return {self.catalogue: self.catalogue_of()}

    def _resume(self, event: gr.EventData) -> Updates:
        self._studio.retry(event.id)
        return {self.catalogue: self.catalogue_of()}

    def _dismiss(self, event: gr.EventData) -> Updates:
        updates = self._stack.dismissed([event.id])
        return {**updates, self.catalogue: self.catalogue_of()}

    def _add_folder(self, values: Values) -> Updates:
        text = values[self.folder].strip()
        if not text:
            raise InvalidRequest("No folder is given.", "Type its full path.", field="path")
        before = len(self._studio.models())
        new = len(self._studio.add_models_dir(Path(text).expanduser())) - before
        notice = notice_html(f"{counted(new, 'more model')} found in {text}.")
        return {**self._listed(values), self._notice: notice, self.folder: ""}

    def _import(self, values: Values) -> Updates:
        path = values[self.file]
        if not path:
            return {}
        model = self._studio.import_model(Path(path))
        return {
            **self._listed(values),
            self._notice: notice_html(f"{model.name} was imported."),
            self.file: None,
        }

"""The Control tab: sketch, pose, or make a map of a photo, and let a model follow it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import gradio as gr
from pydantic import ValidationError

from studio.core.conditions import ControlInput, StackEntry
from studio.core.control_types import union_controls
from studio.core.errors import InvalidRequest
from studio.core.models import ModelInfo, ModelKind
from studio.core.protocol import Studio
from ui.components.entries import drafts, record_of
from ui.components.mask import mask_html
from ui.components.networks import unfit
from ui.components.notice import notice_html
from ui.components.picker import lacking, picker_html, suited
from ui.control_units import (
    SOURCES,
    USUAL_WEIGHTS,
    UnitSettings,
    check_told,
    drawn_in,
    drawn_unit,
    editor_message,
    entry_for,
    kind_of,
    options_message,
    path_of,
    people_finder,
    purpose_of,
    replaced,
    settings_of,
    source_of,
    weight_for,
)
from ui.problems import Updates
from ui.stack import Stack
from ui.tabs.control_layout import UNTOLD, ControlLayout
from ui.wiring import ASSETS, LAST_COUNTS, Wiring

EXAMPLE = ASSETS / "examples" / "scene.png"

_UNIT = "async (unit, source, ...rest) => [await window.easelControl.unit(source), source, ...rest]"
_BOTH = "async (unit, source, ...rest) => [await window.easelControl.both(), source, ...rest]"
_KIND = "(kind, source, ...rest) => [window.easelControl.kind(source), source, ...rest]"
_SHOW = "(source) => window.easelControl.show(source)"
_KEEP = "(saved, ...values) => [window.easelRestored ? values : saved]"
_UNCOVER = "() => window.easelControl.uncover()"


class ControlTab(ControlLayout):
    """What the tab does.

    Args:
        size: the components that hold width and height of the picture to be made.
        notice: where it is said that something was added.
        tabs: to come here when an entry is edited.
    """

    def __init__(
        self, studio: Studio, stack: Stack, *, size: Sequence[Any], notice: gr.HTML, tabs: gr.Tabs
    ) -> None:
        super().__init__()
        self._studio = studio
        self._stack = stack
        self._size = list(size)
        self._notice = notice
        self._tabs = tabs
        self._texts = {path: stack.entries[path] for path in USUAL_WEIGHTS}

    # ------------------------------------------------------------------ wiring

    def wire(self, wiring: Wiring, page: gr.Blocks, tab: gr.Tab, saved: gr.BrowserState) -> None:
        self._wire_choice(wiring, tab)
        self._wire_adding(wiring)
        self._wire_mask(wiring)
        for path, entries in self._stack.controls.lists.items():
            edit = self._editor_of(path)
            opened = [*self._opened_outputs(), self._tabs]
            wiring.act(entries.cards, "edit", edit, [self._texts[path]], opened)
            wiring.in_browser([entries.cards.edit], _UNCOVER)
        wiring.act(self.photo, "draw", self._draw_over, None, [self.source, self.sketch, self.pose])
        wiring.in_browser([self.source.change, tab.select, page.load], _SHOW, self.source)
        wiring.in_browser([part.change for part in self.kept], _KEEP, [saved, *self.kept], saved)  # type: ignore[attr-defined]
        wiring.on([page.load], self._restore, [saved], [*self.kept, self.mask_view])

    def _wire_choice(self, wiring: Wiring, tab: gr.Tab) -> None:
        """Which models are offered follows the checkpoint, the editor and the preprocessor."""
        inputs = [self.kind, self.source, self._stack.model, self.offered, self.model, self.weight]
        outputs = [self.kind, self.picker, self.offered, self.model, self.weight, self.control_type]
        changes = [self._stack.model.change, self.source.change, tab.select]
        wiring.on(changes, self._offer, inputs, outputs, js=_KIND, **LAST_COUNTS)
        wiring.act(self.options, "kind", self._offer, inputs, outputs, js=_KIND, **LAST_COUNTS)
        chosen = [self.model, self.control_type]
        wiring.act(self.picker, "choose", self._choose_model, None, chosen)
        wiring.poll([tab.select], self._entered, self._size, [self.options, *self.editors.values()])

    def _wire_adding(self, wiring: Wiring) -> None:
        inputs = [
            self.unit,
            self.source,
            self.editing,
            self._stack.model,
            self.offered,
            *self._texts.values(),
            *self.settings,
        ]
        outputs = [*self._texts.values(), self._notice, *self._editing_outputs()]
        wiring.on([self.add.click], self._add, inputs, outputs, js=_UNIT)
        wiring.on([self.add_both.click], self._add_both, inputs, outputs, js=_BOTH)
        wiring.on([self.stop_editing.click], self._not_editing, None, self._editing_outputs())

    def _wire_mask(self, wiring: Wiring) -> None:
        wiring.act(self.mask_view, "masked", self._masked, None, [self.mask])
        wiring.act(self.mask_view, "unmask", lambda: {self.mask: ""}, None, [self.mask])
        wiring.poll(
            [self.mask.change], lambda mask: {self.mask_view: mask_html(mask)}, [self.mask], [self.mask_view]
        )

    def _masked(self, event: gr.EventData) -> Updates:
        return {self.mask: event.id}

    def _editing_outputs(self) -> list[Any]:
        return [self.editing, self.add, self.stop_editing]

    def _opened_outputs(self) -> list[Any]:
        return [*self.kept, self.offered, self.options, *self.editors.values(), *self._editing_outputs()]

    # ------------------------------------------------------------------ what is offered

    def _models(self, source: str) -> tuple[ModelInfo, ...]:
        return self._stack.controls.models(path_of(source))

    def _offer(
        self, kind: str, source: str, checkpoint_id: str, offered: str, chosen: str, weight: float
    ) -> Updates:
        models, checkpoint = self._models(source), self._stack.chosen(checkpoint_id)
        model = self._model_for(kind, source, checkpoint_id, offered, chosen)
        label = "Follow the look with" if source == "look" else "Follow the map with"
        note = " ".join(self._lacking(kind, source, checkpoint_id))
        return {
            self.kind: kind,
            self.offered: purpose_of(source, kind),
            self.picker: picker_html(models, checkpoint, model, label=label, note=note),
            self.model: model,
            self.weight: weight_for(source, offered, weight),
            self.control_type: self._told_types(source, model),
        }

    def _told_types(self, source: str, model_id: str) -> Any:
        """What a model can be told of its map; only union ControlNets can."""
        layouts = {model.id: model.layout for model in self._models(source)}
        known = sorted(union_controls(layouts.get(model_id, "")))
        return gr.update(choices=[(UNTOLD, ""), *((name, name) for name in known)], visible=bool(known))

    def _model_for(self, kind: str, source: str, checkpoint_id: str, offered: str, chosen: str) -> str:
        """The model to offer: what was chosen for just this purpose stays, whatever its name says."""
        models, checkpoint = self._models(source), self._stack.chosen(checkpoint_id)
        kept = purpose_of(source, kind) == offered and any(
            model.id == chosen and not unfit(model, checkpoint) for model in models
        )
        return chosen if kept else suited(models, checkpoint, kind, chosen)

    def _lacking(self, kind: str, source: str, checkpoint_id: str) -> tuple[str, str]:
        checkpoint = self._stack.chosen(checkpoint_id)
        return lacking(self._models(source), checkpoint, kind, self._studio.catalogue())

    def _choose_model(self, event: gr.EventData) -> Updates:
        return {self.model: event.id, self.control_type: self._told_types("photo", event.id)}

    def _entered(self, width: float | None, height: float | None) -> Updates:
        """Tell the editors the picture's shape and an example for where there is nothing yet."""
        frame = {"frame": [int(width or 512), int(height or 512)]}
        example = {"example": self._studio.put_blob(Path(EXAMPLE).read_bytes())}
        nets = [net for net in self._studio.models(ModelKind.ANNOTATOR) if net.usable]
        known = [{"id": net.id, "name": net.name, "layout": net.layout} for net in nets]
        return {
            self.options: {"nets": known},
            self.photo: example,
            self.look: example,
            self.sketch: frame,
            self.pose: {**frame, "finder": people_finder({net.layout for net in nets})},
        }

    # ------------------------------------------------------------------ adding

    def _settings(self, values: Sequence[Any]) -> UnitSettings:
        """Raises: InvalidRequest."""
        given = dict(zip(UnitSettings.model_fields, values, strict=True))
        try:
            return UnitSettings.model_validate(
                {**given, "mask": given["mask"] or None, "control_type": given["control_type"] or None}
            )
        except ValidationError as error:
            details = error.errors()[0]
            field = f"control-{details['loc'][0]}"
            raise InvalidRequest(f"{details['loc'][0]}: {details['msg']}.", field=field) from error

    def _add(
        self,
        unit: str,
        source: str,
        editing: str,
        checkpoint_id: str,
        offered: str,
        controls: str,
        prompts: str,
        *values: Any,
    ) -> Updates:
        drawn, settings = drawn_unit(unit), self._settings(values)
        # Who adds at once after changing editors is faster than the offer of the new editor's models.
        model = self._model_for(kind_of(source, drawn), source, checkpoint_id, offered, settings.model)
        weight = weight_for(source, offered, settings.weight)
        entry = entry_for(source, drawn, settings.model_copy(update={"model": model, "weight": weight}))
        check_told(entry, self._models(source))
        path = path_of(source)
        at_path, _, index = editing.partition(":")
        at = int(index) if at_path == path and index.isdigit() else None
        text = dict(zip(self._texts, (controls, prompts), strict=True))[path]
        return {
            **self._put(path, text, entry, at),
            **self._not_editing(),
            self._notice: notice_html("Updated in the stack." if at is not None else _ADDED),
        }

    def _add_both(
        self,
        unit: str,
        _: str,
        __: str,
        checkpoint_id: str,
        offered: str,
        controls: str,
        prompts: str,
        *values: Any,
    ) -> Updates:
        """The best practice: the look from an image prompt, the arrangement from a ControlNet."""
        settings, drawn = self._settings(values), drawn_unit(unit)
        look = entry_for("look", drawn, settings)
        arrangement = drawn["arrangement"]
        source = arrangement["source"]
        kind = kind_of(source, arrangement)
        model = self._model_for(kind, source, checkpoint_id, offered, "")
        if not model:
            # The field is about the look here, so that nothing says yet what the arrangement lacks.
            raise InvalidRequest(*self._lacking(kind, source, checkpoint_id), field="control-model")
        control = entry_for(source, arrangement, UnitSettings(model=model))
        return {
            **self._put("image_prompts", prompts, look, None),
            **self._put("controls", controls, control, None),
            **self._not_editing(),
            self._notice: notice_html(_ADDED_BOTH),
        }

    def _put(self, path: str, text: str, entry: StackEntry, at: int | None) -> Updates:
        held = [draft.held for draft in drafts(path, text)]
        return {self._texts[path]: replaced(held, at, entry)}

    # ------------------------------------------------------------------ editing

    def _editor_of(self, path: str) -> Any:
        def edit(text: str, event: gr.EventData) -> Updates:
            index = int(event.index)
            held = drafts(path, text)
            if not 0 <= index < len(held):
                raise InvalidRequest("This entry is no longer in the stack.")
            entry = record_of(path).model_validate(held[index].held)
            return {**self._opened(entry, f"{path}:{index}"), self._tabs: gr.update(selected="control")}

        return edit

    def _opened(self, entry: StackEntry, editing: str) -> Updates:
        data = self._studio.blob(entry.image) if isinstance(entry, ControlInput) else b""
        source, message = source_of(entry, data), options_message(entry)
        again = {"again": token_hex(4)}  # an editor hears only of what differs from what it was told before
        updates: Updates = {
            **self._shown(source, settings_of(entry)),
            self.editors[source]: {**editor_message(entry), **again},
            self.offered: purpose_of(source, message["kind"] if message and source == "photo" else source),
            self.editing: editing,
            self.add: gr.update(value="Update in stack"),
            self.stop_editing: gr.update(visible=True),
        }
        if source == "photo":
            updates[self.options] = {"open": message, **again}
        return updates

    def _not_editing(self) -> Updates:
        return {
            self.editing: "",
            self.add: gr.update(value="Add to stack"),
            self.stop_editing: gr.update(visible=False),
        }

    def _draw_over(self, event: gr.EventData) -> Updates:
        """A pose is changed as a pose, any other map is drawn over."""
        source = "pose" if drawn_in(self._studio.blob(event.id)) == "pose" else "sketch"
        told = {"open": event.id, "photo": event.photo, "again": token_hex(4)}
        return {self.source: source, self.editors[source]: told}

    # ------------------------------------------------------------------ kept by the browser

    def _shown(self, source: str, settings: UnitSettings) -> Updates:
        values = settings.model_dump(mode="json").values()
        shown = dict(
            zip(self.settings, (value or "" if value is None else value for value in values), strict=True)
        )
        return {**shown, self.source: source, self.mask: settings.mask or ""}

    def _restore(self, saved: Any) -> Updates:
        """What a browser kept; the usual where it kept nothing or nonsense."""
        try:
            source, *values = saved
            settings = self._settings(values)
        except (InvalidRequest, TypeError, ValueError):
            source, settings = "photo", UnitSettings()
        source = source if source in SOURCES else "photo"
        return {**self._shown(source, settings), self.mask_view: mask_html(settings.mask or "")}


_ADDED = "Added to the stack: every picture follows it from now on."
_ADDED_BOTH = "Added to the stack: the look of your pictures, in the arrangement of the map."

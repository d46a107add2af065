"""Where everything of the Control tab stands: one column of tools, and a stage for the editors."""

from __future__ import annotations

import gradio as gr

from studio.core.conditions import ControlMode
from studio.core.geometry import ResizeMode
from ui.components import look, map_view, mask, options, pose, sketch
from ui.components.control_cards import MODES, RESIZE_MODES
from ui.control_units import SOURCES
from ui.wiring import editor_html, live_html

PICKER_ACTIONS = ("choose",)

UNTOLD = "What it was made for"
"""Of a map for a union ControlNet, where nobody says what it shows."""


class ControlLayout:
    """Builds the components. Which editor shows is a matter of the browser, see `control.js`."""

    def __init__(self) -> None:
        self._hidden()
        with gr.Row(elem_id="control"):
            with gr.Column(elem_id="control-tools", scale=0, min_width=330):
                self._tools()
            with gr.Column(elem_id="control-stage", scale=1, min_width=300):
                self._stage()

    @property
    def settings(self) -> tuple[gr.components.Component, ...]:
        """Everything that makes a unit beside its picture, in the order of `UnitSettings`."""
        return (
            self.model,
            self.weight,
            self.start,
            self.end,
            self.mode,
            self.resize_mode,
            self.mask,
            self.control_type,
        )

    @property
    def kept(self) -> tuple[gr.components.Component, ...]:
        """What a browser keeps; the editors keep their own."""
        return (self.source, *self.settings)

    def _hidden(self) -> None:
        self.unit = gr.Textbox("", visible="hidden", label="Unit of the editor")
        self.kind = gr.Textbox("", visible="hidden", label="Kind of map")
        self.model = gr.Textbox("", visible="hidden", label="Model of the unit")
        self.offered = gr.Textbox("", visible="hidden", label="What the model was chosen for")
        self.mask = gr.Textbox("", visible="hidden", label="Mask of the unit")
        self.editing = gr.Textbox("", visible="hidden", label="Entry that is edited")

    def _tools(self) -> None:
        choices = [(words, source) for source, words in SOURCES.items()]
        self.source = gr.Radio(choices, value="photo", label="Start from", elem_id="control-source")
        self.options = editor_html(options.options_html(), ("options.js",), elem_id="control-options")
        self.picker = live_html(
            value="", actions=PICKER_ACTIONS, behaviour="picker.js", elem_id="field-control-model"
        )
        self.weight = gr.Slider(
            0, 2, value=1, step=0.05, label="Weight", buttons=[], elem_id="field-control-weight"
        )
        self._more()
        self.add = gr.Button("Add to stack", variant="primary", elem_id="control-add")
        self.add_both = gr.Button("Add look and arrangement", elem_id="control-add-both")
        self.stop_editing = gr.Button("Stop editing", visible=False, elem_id="control-stop-editing")

    def _more(self) -> None:
        with gr.Accordion("Share of steps, mode, mask", open=False, elem_id="part-control"):
            with gr.Row():
                self.start = gr.Slider(0, 1, value=0, step=0.05, label="Starts at", buttons=[], min_width=120)
                self.end = gr.Slider(
                    0,
                    1,
                    value=1,
                    step=0.05,
                    label="Ends at",
                    buttons=[],
                    min_width=120,
                    elem_id="field-control-end",
                )
            self.mode = gr.Dropdown(
                [(words, str(mode)) for mode, words in MODES.items()],
                value=str(ControlMode.BALANCED),
                label="Where prompt and control disagree",
                elem_classes=["not-look"],
            )
            self.resize_mode = gr.Dropdown(
                [(words, str(mode)) for mode, words in RESIZE_MODES.items()],
                value=str(ResizeMode.CROP),
                label="If the shape differs",
                elem_classes=["not-look"],
            )
            self.control_type = gr.Dropdown(
                [(UNTOLD, "")],
                value="",
                label="What the map shows",
                visible=False,
                elem_id="field-control-control_type",
                elem_classes=["not-look"],
            )
            self.mask_view = live_html(
                value=mask.mask_html(""), actions=mask.ACTIONS, behaviour="mask.js", elem_id="control-mask"
            )

    def _stage(self) -> None:
        self.photo = editor_html(map_view.map_view_html(), map_view.BEHAVIOUR, elem_id="editor-photo")
        self.sketch = editor_html(sketch.sketch_html(), sketch.BEHAVIOUR, elem_id="editor-sketch")
        self.pose = editor_html(
            pose.pose_html(), pose.BEHAVIOUR, facts=pose.pose_facts(), elem_id="editor-pose"
        )
        self.look = editor_html(look.look_html(), look.BEHAVIOUR, elem_id="editor-look")

    @property
    def editors(self) -> dict[str, gr.HTML]:
        return {"photo": self.photo, "sketch": self.sketch, "pose": self.pose, "look": self.look}

"""Where everything of the Boxes tab stands: prompt and Generate above, canvas and list below."""

from __future__ import annotations

import gradio as gr

from ui.components import box_editor, box_words
from ui.tabs.generate_layout import EXAMPLE_PROMPT
from ui.wiring import editor_html, live_html


class BoxesLayout:
    """Builds the components."""

    def __init__(self) -> None:
        self.ready = gr.Textbox("", visible="hidden", label="The boxes are in the form")
        with gr.Row(elem_id="boxes-say"):
            with gr.Column(scale=1, elem_id="boxes-prompts"):
                self.prompt = gr.Textbox(
                    "",
                    label="Prompt",
                    lines=2,
                    max_lines=6,
                    placeholder=EXAMPLE_PROMPT,
                    elem_id="boxes-prompt",
                )
                self.result = live_html(
                    value="",
                    actions=box_words.RESULT_ACTIONS,
                    behaviour="box_result.js",
                    elem_id="boxes-doing",
                )
            with gr.Column(scale=0, min_width=170, elem_id="boxes-go"):
                self.generate = gr.Button("Generate", variant="primary", elem_id="boxes-generate")
        self.editor = editor_html(
            box_editor.box_editor_html(),
            box_editor.BEHAVIOUR,
            facts=box_editor.box_facts(),
            elem_id="boxes-editor",
        )

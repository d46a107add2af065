"""Where everything of the Inpaint tab stands: what to paint and how in one column, the photo in the other."""

from __future__ import annotations

import gradio as gr

from studio.core.requests import SourceImage
from ui.components import before_after, inpaint_objects, inpaint_options, mask_editor, masked
from ui.wiring import editor_html, live_html

_STRENGTH = SourceImage.model_fields["strength"].default


class InpaintLayout:
    """Builds the components. Which of mask and result shows is a matter of the browser, see `inpaint.js`."""

    def __init__(self) -> None:
        with gr.Row(elem_id="inpaint"):
            with gr.Column(elem_id="inpaint-tools", scale=0, min_width=330):
                self._say()
                self._how()
            with gr.Column(elem_id="inpaint-stage", scale=1, min_width=300):
                self._stage()

    @property
    def mirrors(self) -> dict[str, gr.components.Component]:
        """Fields of the Generate tab that stand here once more, by their path."""
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "source.strength": self.strength,
        }

    def _say(self) -> None:
        self.prompt = gr.Textbox(
            "",
            label="What should be there",
            lines=2,
            max_lines=6,
            placeholder="a red ball on grass",
            elem_id="inpaint-prompt",
        )
        self.negative_prompt = gr.Textbox(
            "", label="Negative prompt", lines=1, max_lines=4, placeholder="what should not be there"
        )
        self.paint = gr.Button("Paint", variant="primary", elem_id="inpaint-paint")
        self.objects = editor_html(
            inpaint_objects.inpaint_objects_html(), inpaint_objects.BEHAVIOUR, elem_id="inpaint-objects"
        )

    def _how(self) -> None:
        self.strength = gr.Slider(
            0,
            1,
            value=_STRENGTH,
            step=0.01,
            label="Strength: 0 keeps the photo, 1 repaints it",
            buttons=[],
            elem_id="inpaint-strength",
        )
        self.options = editor_html(
            inpaint_options.inpaint_options_html(),
            inpaint_options.BEHAVIOUR,
            facts=inpaint_options.usual_options(),
            elem_id="inpaint-options",
        )
        self.size_line = live_html(value="", actions=masked.SIZE_ACTIONS, elem_id="inpaint-size")
        self.channels = live_html(value="", actions=masked.CHANNEL_ACTIONS, elem_id="inpaint-channels")

    def _stage(self) -> None:
        live_html(value=_VIEWS, behaviour="inpaint_views.js", elem_id="inpaint-views")
        self.editor = editor_html(
            mask_editor.mask_editor_html(), mask_editor.BEHAVIOUR, elem_id="field-inpaint-mask"
        )
        self.result = live_html(
            value="", actions=before_after.ACTIONS, behaviour="before_after.js", elem_id="inpaint-result"
        )


_VIEWS = (
    '<div class="views" role="group" aria-label="View">'
    '<button type="button" data-view="mask">Mask</button>'
    '<button type="button" data-view="result">Result</button></div>'
)

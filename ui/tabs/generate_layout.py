"""Where everything of the Generate tab stands."""

from __future__ import annotations

import gradio as gr
from gradio.blocks import Block

from studio.core.geometry import ResizeMode
from studio.core.requests import GenerateRequest, HiresPass, SourceImage
from studio.core.samplers import Sampler, Schedule, Upscaler
from ui.components.box_words import ACTIONS as BOXED_ACTIONS
from ui.components.masked import ACTIONS as MASKED_ACTIONS
from ui.components.networks import HINT_ACTIONS
from ui.components.shapes import ACTIONS as SHAPE_ACTIONS
from ui.components.shapes import shapes_html
from ui.components.stage import ACTIONS as STAGE_ACTIONS
from ui.form import HIRES, Form
from ui.wiring import live_html

_USUAL = GenerateRequest()
_HIRES = HiresPass()
_STRENGTH = SourceImage.model_fields["strength"].default

EXAMPLE_PROMPT = "a red ball and a blue house on grass"

_RESIZE = [
    ("Crop to fill", str(ResizeMode.CROP)),
    ("Fit whole, padded", str(ResizeMode.PAD)),
    ("Stretch", str(ResizeMode.STRETCH)),
]


def _words(choices: type[Sampler] | type[Schedule] | type[Upscaler]) -> list[str]:
    return [str(choice) for choice in choices]


class GenerateLayout:
    """Builds the components and tells `form` which request field each stands for."""

    def __init__(self, form: Form) -> None:
        self.form = form
        with gr.Row(elem_id="say"):
            self._prompts()
            self._buttons()
        with gr.Row(elem_id="make"):
            with gr.Column(elem_id="settings", scale=0, min_width=330):
                self.masked = live_html(value="", actions=MASKED_ACTIONS, elem_id="part-inpaint")
                self._size()
                self._sampling()
                self._seed()
                self._source()
                self._variation()
                self._hires()
                self._output()
            with gr.Column(elem_id="stage-column", scale=1, min_width=300):
                self.stage = live_html(value="", actions=STAGE_ACTIONS, behaviour="stage.js", elem_id="stage")

    @property
    def source_outputs(self) -> list[Block]:
        return [self.source, self.source_part]

    @property
    def shown_outputs(self) -> list[Block]:
        """All that changes when a request is put into the form."""
        return [*self.form.components, self.source_part, self.variation_part, self.hires_part]

    def _prompts(self) -> None:
        with gr.Column(scale=1, elem_id="prompts"):
            self.tokens = gr.HTML("", elem_id="tokens", apply_default_css=False)
            self.prompt = self.form.add(
                "prompt",
                gr.Textbox(
                    "",
                    label="Prompt",
                    lines=3,
                    max_lines=8,
                    placeholder=EXAMPLE_PROMPT,
                    autofocus=True,
                ),
            )
            self.prompt_tags = live_html(value="", actions=HINT_ACTIONS, elem_id="prompt-tags")
            self.boxed = live_html(value="", actions=BOXED_ACTIONS, elem_id="boxed")
            with gr.Column(elem_id="negative"):
                self.negative_tokens = gr.HTML("", elem_id="negative-tokens", apply_default_css=False)
                self.negative_prompt = self.form.add(
                    "negative_prompt",
                    gr.Textbox(
                        "",
                        label="Negative prompt",
                        lines=1,
                        max_lines=5,
                        placeholder="what should not be there",
                    ),
                )

    def _buttons(self) -> None:
        with gr.Column(scale=0, min_width=170, elem_id="go"):
            self.generate = gr.Button("Generate", variant="primary", elem_id="generate")
            self.cancel = gr.Button("Cancel", elem_id="cancel", visible=False)

    def _size(self) -> None:
        self.shapes = live_html(value=shapes_html(), actions=SHAPE_ACTIONS, elem_id="shapes")
        with gr.Row():
            self.form.add(
                "width", gr.Number(label="Width, px", value=_USUAL.width, step=8, precision=0, min_width=90)
            )
            self.form.add(
                "height",
                gr.Number(label="Height, px", value=_USUAL.height, step=8, precision=0, min_width=90),
            )

    def _sampling(self) -> None:
        with gr.Row():
            self.sampler = self.form.add(
                "sampler",
                gr.Dropdown(_words(Sampler), value=str(_USUAL.sampler), label="Sampler", min_width=120),
            )
            self.schedule = self.form.add(
                "schedule",
                gr.Dropdown(_words(Schedule), value=str(_USUAL.schedule), label="Schedule", min_width=120),
            )
        self.form.add("steps", gr.Slider(1, 150, value=_USUAL.steps, step=1, label="Steps", buttons=[]))
        self.form.add(
            "guidance_scale",
            gr.Slider(1, 30, value=_USUAL.guidance_scale, step=0.5, label="Guidance", buttons=[]),
        )

    def _seed(self) -> None:
        with gr.Row(elem_id="seed-row"):
            self.form.add(
                "seed", gr.Number(label="Seed, -1 is random", value=_USUAL.seed, precision=0, min_width=110)
            )
            self.random_seed = gr.Button("Random", size="sm", min_width=70, scale=0, elem_id="random-seed")
            self.reuse_seed = gr.Button("Last", size="sm", min_width=56, scale=0, elem_id="last-seed")
        with gr.Row():
            self.form.add("batch_size", gr.Number(label="Batch size", value=1, precision=0, min_width=80))
            self.form.add("batches", gr.Number(label="Batches", value=1, precision=0, min_width=80))
            self.form.add("clip_skip", gr.Number(label="Clip skip", value=1, precision=0, min_width=80))

    def _source(self) -> None:
        with gr.Accordion("Start from a picture", open=False, elem_id="part-source") as self.source_part:
            self.picture = gr.Image(
                label="Source picture",
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                height=200,
                buttons=[],
            )
            self.upload = gr.File(label="Uploaded picture", type="binary", visible="hidden")
            self.form.add(
                "source.strength",
                gr.Slider(
                    0,
                    1,
                    value=_STRENGTH,
                    step=0.01,
                    label="Strength: 0 keeps the picture, 1 repaints it",
                    buttons=[],
                ),
            )
            self.form.add(
                "source.resize_mode",
                gr.Dropdown(_RESIZE, value=str(ResizeMode.CROP), label="If the shape differs"),
            )
        self.source = self.form.add(
            "source.image", gr.Textbox("", label="Source picture's hash", visible="hidden")
        )

    def _variation(self) -> None:
        with gr.Accordion("Variation", open=False, elem_id="part-variation") as self.variation_part:
            self.form.add(
                "variation.strength",
                gr.Slider(0, 1, value=0, step=0.01, label="Variation strength", buttons=[]),
            )
            self.form.add(
                "variation.seed", gr.Number(label="Variation seed, -1 is random", value=-1, precision=0)
            )

    def _hires(self) -> None:
        with gr.Accordion("Hires pass", open=False, elem_id="part-hires") as self.hires_part:
            self.form.add(HIRES, gr.Checkbox(label="Enlarge the picture in a second pass", value=False))
            self.form.add(
                "hires.scale",
                gr.Slider(1, 4, value=_HIRES.scale, step=0.05, label="Times the size", buttons=[]),
            )
            self.form.add(
                "hires.upscaler", gr.Dropdown(_words(Upscaler), value=str(_HIRES.upscaler), label="Upscaler")
            )
            self.form.add(
                "hires.strength",
                gr.Slider(0, 1, value=_HIRES.strength, step=0.01, label="Second pass strength", buttons=[]),
            )
            self.form.add(
                "hires.steps",
                gr.Slider(
                    0,
                    150,
                    value=_HIRES.steps,
                    step=1,
                    label="Second pass steps, 0 as in the first",
                    buttons=[],
                ),
            )

    def _output(self) -> None:
        with gr.Accordion("File", open=False, elem_id="part-output"):
            self.form.add("output.format", gr.Radio(["png", "jpeg", "webp"], value="png", label="Format"))
            self.form.add(
                "output.quality",
                gr.Slider(
                    1,
                    100,
                    value=_USUAL.output.quality,
                    step=1,
                    label="Quality, JPEG and WebP only",
                    buttons=[],
                ),
            )

"""Every control has an effect, every setting has a control, and both directions agree."""

import gradio as gr
import pytest
from pydantic import ValidationError

from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import ControlInput, HypernetworkInput, ImagePrompt, LoraInput
from studio.core.geometry import Box, ResizeMode
from studio.core.inpaint import Inpaint
from studio.core.requests import GenerateRequest, HiresPass, OutputOptions, SourceImage, Variation
from studio.core.samplers import Sampler, Schedule, Upscaler
from ui.form import REQUEST_PATHS, Form

FULL = GenerateRequest(
    model="some/model",
    vae="some/vae",
    prompt="a star",
    negative_prompt="fog",
    width=320,
    height=256,
    steps=7,
    sampler=Sampler.EULER,
    schedule=Schedule.KARRAS,
    guidance_scale=4.5,
    seed=11,
    batch_size=2,
    batches=3,
    clip_skip=2,
    source=SourceImage(image="a" * 64, strength=0.4, resize_mode=ResizeMode.PAD),
    hires=HiresPass(scale=1.5, steps=5, strength=0.3, upscaler=Upscaler.LANCZOS),
    variation=Variation(seed=5, strength=0.2),
    loras=(LoraInput(model="anna", weight=0.7, end=0.5), LoraInput(model="bea", enabled=False)),
    hypernetworks=(HypernetworkInput(model="ink", weight=0.3),),
    controls=(ControlInput(model="edges", image="c" * 64, weight=0.5),),
    image_prompts=(ImagePrompt(model="look", images=("d" * 64,)),),
    inpaint=Inpaint(mask="e" * 64, blur=9),
    boxes=Boxes(boxes=(BoxInput(box=Box(x0=0, y0=0, x1=0.5, y1=1), phrase="a star"),), share=0.5),
    output=OutputOptions(format="webp", quality=70),
)
"""A request in which every part is present and no value is the usual one."""


def another(component, value):
    """A value that `component` can take, other than `value`."""
    if isinstance(component, gr.Checkbox):
        return not value
    if isinstance(component, gr.Textbox):
        return {"[": "[]", "{": ""}.get(value[:1], "b" * 64)
    choices = [choice for _, choice in getattr(component, "choices", [])]
    if choices:
        return next((choice for choice in choices if choice != value), "something/else")
    step = component.step or 1
    return value + step if isinstance(component, gr.Number | gr.Slider) else value


def test_every_setting_of_a_request_has_its_control(form):
    assert set(form.paths) == REQUEST_PATHS
    assert len(form.paths) >= 25


def test_changing_any_control_changes_the_request(form):
    shown = form.show(FULL)
    assert len(shown) >= 25
    for path, component in zip(form.paths, form.components, strict=True):
        changed = {**shown, component: another(component, shown[component])}
        assert form.read(changed) != FULL, path


def test_a_request_that_is_shown_is_read_back_unchanged(form):
    for request in (FULL, GenerateRequest(), GenerateRequest(hires=HiresPass())):
        assert form.read(form.show(request)) == request


def test_a_part_that_is_switched_off_is_absent(form):
    shown = form.show(FULL)
    off = {form["source.image"]: None, form["hires"]: False, form["variation.strength"]: 0}
    request = form.read({**shown, **off})
    assert (request.source, request.hires, request.variation) == (None, None, None)


def test_a_wrong_value_names_its_field(form):
    with pytest.raises(ValidationError) as refused:
        form.read({**form.show(FULL), form["hires.scale"]: 9})
    assert refused.value.errors()[0]["loc"] == ("hires", "scale")


def test_what_a_browser_saved_is_restored(form):
    saved = dict(zip(form.paths, (form.show(FULL)[component] for component in form.components), strict=True))
    assert form.restore(saved, GenerateRequest()) == FULL


@pytest.mark.parametrize("saved", [None, "nonsense", 7, [], {"unknown": 1}])
def test_nonsense_from_a_browser_becomes_the_usual_form(form, saved):
    assert form.restore(saved, GenerateRequest(width=128)) == GenerateRequest(width=128)


def test_one_wrong_saved_value_does_not_cost_the_others(form):
    restored = form.restore({"prompt": "kept", "width": 70, "sampler": "gone"}, GenerateRequest())
    assert restored == GenerateRequest(prompt="kept")


def test_a_control_for_nothing_or_a_second_one_is_refused():
    form = Form()
    form.add("steps", gr.Number(render=False))
    for path in ("steps", "no.such.field"):
        with pytest.raises(KeyError):
            form.add(path, gr.Number(render=False))

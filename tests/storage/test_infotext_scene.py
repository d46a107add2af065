"""Masks and boxes in infotexts: A1111's keys for others, and boxes that come back from `GLIGEN` alone."""

from __future__ import annotations

import pytest

from studio.core.boxes import Boxes, BoxInput
from studio.core.geometry import Box
from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent
from studio.core.library import ImportedSettings
from studio.core.requests import GenerateRequest, SourceImage
from studio.storage.infotext import ModelFacts, format_infotext, parse_infotext, request_from_infotext
from studio.storage.stack_text import STACK_KEY

BOXES = Boxes(
    boxes=(
        BoxInput(box=Box(x0=0.1, y0=0.4, x1=0.5, y1=0.9), phrase='a "red", round: ball'),
        BoxInput(box=Box(x0=0.5, y0=0, x1=1, y1=0.25), phrase="ein blaues Häuschen"),
    ),
    share=0.5,
    strength=1.25,
)
BLOBS = ("0" * 64, "1" * 64)


def read(text: str) -> ImportedSettings:
    return request_from_infotext(parse_infotext(text), known_blobs=BLOBS)


def test_inpainting_is_told_in_a1111s_keys_and_comes_back_whole():
    inpaint = Inpaint(
        mask=BLOBS[1],
        content=MaskedContent.FILL,
        area=InpaintArea.MASKED,
        padding=24,
        blur=12,
        invert=True,
        soft=True,
    )
    request = GenerateRequest(seed=1, source=SourceImage(image=BLOBS[0]), inpaint=inpaint)
    text = format_infotext(request, ModelFacts("toy"))
    fields = parse_infotext(text).fields
    assert {key: fields[key] for key in fields if "ask" in key or "Inpaint" in key} == {
        "Mask mode": "Inpaint not masked",
        "Mask blur": "4",
        "Inpaint area": "Only masked",
        "Masked area padding": "24",
        "Masked content": "fill",
    }
    settings = read(text)
    assert settings.request.inpaint == inpaint
    assert not [each for each in settings.warnings if "Mask" in each]


@pytest.mark.parametrize("with_stack", [True, False])
def test_boxes_come_back(with_stack: bool):
    text = format_infotext(GenerateRequest(seed=1, boxes=BOXES), ModelFacts("toy"))
    if not with_stack:
        text = text[: text.index(f", {STACK_KEY}")]
        assert "GLIGEN" in parse_infotext(text).fields
    settings = read(text)
    assert settings.request.boxes == BOXES
    assert not [each for each in settings.warnings if "box" in each.lower()]


def test_what_another_studio_says_of_a_mask_is_named():
    settings = read("x\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Mask blur: 4")
    assert any("Mask blur (4)" in each for each in settings.warnings)


@pytest.mark.parametrize(
    "told",
    ["nonsense", "[]", '{"boxes": [{"phrase": 1}]}', '{"boxes": []}', '{"boxes": "' + "[" * 2000 + '"}'],
)
def test_damaged_boxes_are_left_out_with_a_word(told: str):
    written = told.replace('"', '\\"')
    settings = read(f'x\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, GLIGEN: "{written}"')
    assert settings.request.boxes is None
    assert any("boxes" in each for each in settings.warnings)


def test_boxes_that_are_off_are_told_by_the_stack_alone():
    off = BOXES.model_copy(update={"enabled": False})
    text = format_infotext(GenerateRequest(seed=1, boxes=off), ModelFacts("toy"))
    assert "GLIGEN" not in parse_infotext(text).fields
    assert read(text).request.boxes == off

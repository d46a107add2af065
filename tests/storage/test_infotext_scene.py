"""Masks and boxes in infotexts: A1111's keys for others, and boxes that come back from `GLIGEN` alone."""

from __future__ import annotations

import json

import pytest

from studio.core.boxes import MAX_BOXES, Boxes, BoxInput
from studio.core.geometry import Box
from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent
from studio.core.library import ImportedSettings
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest, SourceImage
from studio.storage.infotext import ModelFacts, format_infotext, parse_infotext, request_from_infotext
from studio.storage.stack_reading import ResolveModel
from studio.storage.stack_text import STACK_KEY, NetworkFact

BOXES = Boxes(
    boxes=(
        BoxInput(box=Box(x0=0.1, y0=0.4, x1=0.5, y1=0.9), phrase='a "red", round: ball'),
        BoxInput(box=Box(x0=0.5, y0=0, x1=1, y1=0.25), phrase="ein blaues Häuschen"),
    ),
    share=0.5,
    strength=1.25,
)
BLOBS = ("0" * 64, "1" * 64)


def read(text: str, resolve: ResolveModel | None = None) -> ImportedSettings:
    return request_from_infotext(parse_infotext(text), resolve, known_blobs=BLOBS)


def foreign(*boxes: object, **fields: object) -> str:
    """An infotext that tells of boxes by `GLIGEN` alone."""
    told = json.dumps(json.dumps({"boxes": boxes, **fields}))
    return f"x\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, GLIGEN: {told}"


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


BALL = {"phrase": "a ball", "box": [0.1, 0.4, 0.5, 0.9]}


@pytest.mark.parametrize(
    "bad",
    [
        BALL | {"box": [0.5, 0.5, 0.1, 0.2]},
        BALL | {"box": [0, 0, 1]},
        BALL | {"phrase": 1},
        BALL | {"image": BLOBS[0]},
        {"box": BALL["box"]},
        "a ball",
    ],
)
def test_boxes_that_cannot_be_had_leave_the_others(bad: object):
    settings = read(foreign(BALL, bad, BALL, beta=0.5))
    assert [one.phrase for one in settings.request.boxes.boxes] == ["a ball", "a ball"]
    assert settings.request.boxes.share == 0.5
    (warning,) = (each for each in settings.warnings if "boxes" in each)
    assert ": 2. They were left out." in warning


def test_of_more_boxes_than_there_can_be_the_first_are_kept():
    settings = read(foreign(*[BALL] * 60))
    assert len(settings.request.boxes.boxes) == MAX_BOXES
    assert any("more than 30: 31, 32, " in each and "40 and more." in each for each in settings.warnings)


def test_a_share_out_of_bounds_leaves_the_boxes():
    settings = read(foreign(BALL, beta=2, strength="much"))
    assert (settings.request.boxes.share, settings.request.boxes.strength) == (1, 1)
    assert "GLIGEN's beta 2 is not possible here; 1 is used." in settings.warnings
    assert "GLIGEN's strength 'much' is no number; 1.0 is used." in settings.warnings


def test_the_model_that_knows_boxes_is_written_and_found_again():
    fact = NetworkFact(id="town", kind=ModelKind.GLIGEN, name="Town boxes")
    request = GenerateRequest(seed=1, boxes=BOXES.model_copy(update={"model": "town"}))
    text = format_infotext(request, ModelFacts("toy", networks=(fact,)))
    assert json.loads(parse_infotext(text).fields["GLIGEN"])["model"] == "Town boxes"
    here = {("Town boxes", ModelKind.GLIGEN): "renamed", ("toy", ModelKind.CHECKPOINT): "toy"}
    without_stack = text[: text.index(f", {STACK_KEY}")]
    settings = read(without_stack, lambda name, digits, kind: here.get((name, kind)))
    assert settings.request.boxes.model == "renamed"
    assert settings.warnings == ()
    settings = read(without_stack, lambda name, digits, kind: None)
    assert settings.request.boxes == BOXES
    assert any("GLIGEN model 'Town boxes' is not here" in each for each in settings.warnings)
    assert read(without_stack).request.boxes.model == "Town boxes"


def test_an_easel_text_whose_stack_was_cut_out_says_what_is_missing():
    request = GenerateRequest(seed=1, boxes=Boxes(boxes=(BoxInput(box=BOXES.boxes[0].box, image=BLOBS[0]),)))
    text = format_infotext(request, ModelFacts("toy"), "1.0")
    start, end = text.index(f", {STACK_KEY}"), text.index(", Version")
    assert any("boxes" in each for each in read(text[:start] + text[end:]).warnings)
    assert read(text).request.boxes == request.boxes

"""The Boxes tab without a browser: facts of the editor, models to choose, and where boxes are told."""

import json

import pytest

from studio.core.boxes import Boxes, BoxInput
from studio.core.geometry import Box
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest
from tests.fakes import MODELS
from ui.components.box_editor import PRESETS, box_editor_html, box_facts, model_message
from ui.components.box_words import box_result_html, boxes_detail, boxes_line_html
from ui.components.tiles import details_html
from ui.form import held_part, part_text
from ui.stream import JobSight
from ui.words import label_words

TOYTOWN = next(model for model in MODELS if model.id == "fake/toytown")
LARGE = next(model for model in MODELS if model.id == "fake/large")
GLIGEN = [model for model in MODELS if model.kind is ModelKind.GLIGEN]


def layout(*phrases, **options):
    box = Box(x0=0.1, y0=0.2, x1=0.5, y1=0.9)
    return Boxes(boxes=tuple(BoxInput(box=box, phrase=phrase) for phrase in phrases), **options)


@pytest.mark.parametrize("boxes", [*PRESETS.values()])
def test_every_preset_makes_a_request(boxes):
    inputs = [
        {"box": dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)), "phrase": phrase}
        for phrase, box in boxes
    ]
    assert len(Boxes.model_validate({"boxes": inputs}).boxes) == len(boxes)


def test_the_editor_knows_the_bounds_and_defaults_of_a_request():
    facts = box_facts()
    assert (facts["most"], facts["share"], facts["strength"]) == (30, 0.3, 1)
    assert [one["phrase"] for one in facts["example"]] == ["a red ball", "a blue house"]
    assert 'name="share" min="0" max="1" step="0.05" value="0.3"' in box_editor_html()


def test_models_of_other_families_are_offered_with_the_reason():
    told = {each["id"]: each["reason"] for each in model_message(GLIGEN, TOYTOWN)["models"]}
    assert told == {
        "fake/town-boxes": "",
        "fake/town-things": "",
        "fake/boxes-2": "For SD 2.x, but Toytown is SD 1.x.",
    }
    assert all(each["reason"] for each in model_message(GLIGEN, LARGE)["models"])


def test_it_is_said_which_models_can_where_none_can():
    checkpoints = [model for model in MODELS if model.kind is ModelKind.CHECKPOINT]
    told = model_message(GLIGEN, LARGE, checkpoints)
    assert "Large XL is SDXL. Choose Toytown" in told["missing"]
    assert not told["installable"]
    nothing = model_message((), TOYTOWN, MODELS)
    assert "No GLIGEN model is installed" in nothing["missing"]
    assert nothing["installable"]
    assert model_message(GLIGEN, TOYTOWN, MODELS)["missing"] == ""


def test_what_the_form_holds_is_read_and_nonsense_is_nothing():
    boxes = layout("a ball", share=0.5)
    assert held_part(Boxes, part_text(GenerateRequest(boxes=boxes), "boxes")) == boxes
    for text in ("", "{", "[]", json.dumps({"boxes": []})):
        assert held_part(Boxes, text) is None


def test_the_line_counts_the_boxes_and_escapes_their_phrases():
    assert "<b>1 box</b> a ball" in boxes_line_html(layout("a ball"))
    many = boxes_line_html(layout("a", "b", "<i>", "d", "e", "f"))
    assert "<b>6 boxes</b> a, b, &lt;i&gt;, d and 2 more" in many
    assert boxes_line_html(None) == ""
    assert boxes_line_html(layout("a ball", enabled=False)) == ""


def test_details_tell_phrases_share_and_strength():
    assert "a ball; 30% of the steps, strength 1.5</dd>" in boxes_detail(layout("a ball", strength=1.5))
    assert "(off)" in boxes_detail(layout("a ball", enabled=False))


def test_the_library_tells_the_boxes_of_an_image(studio):
    image = studio.add_image(GenerateRequest(prompt="x", seed=1, boxes=layout("a ball")))
    assert "<dt>Boxes</dt><dd>a ball" in details_html(image)


def test_the_newest_picture_is_shown_beneath_the_boxes_and_a_preview_before_it(studio):
    image = studio.add_image(GenerateRequest(prompt="x", seed=1))
    sight = JobSight(job=None, preview="", images=(image,), waiting=0)
    assert f'data-image="{image.id}"' in box_result_html(sight)
    running = JobSight(job=None, preview="abc", images=(image,), waiting=0)
    assert 'data-live="true" data-src="data:image/jpeg;base64,abc"' in box_result_html(running)
    assert "seen" not in box_result_html(JobSight(job=None, preview="", images=(), waiting=0))


def test_a_field_of_a_box_has_a_name_for_people():
    assert label_words("boxes.boxes.0.phrase") == "Box 1 phrase"
    assert label_words("boxes.share") == "Boxes share"

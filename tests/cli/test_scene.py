"""`--box` of `easel generate`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from studio.cli.generate_options import ControlOptions
from studio.cli.scene import layout_fields
from studio.core.boxes import Boxes
from studio.core.errors import InvalidRequest


def test_phrases_and_places():
    boxes = Boxes.model_validate(
        layout_fields(["a red ball@0.1,0.4,0.5,0.9", "me@home, please@ 0, .25 ,1,1.0"], 0.4)
    )
    assert [one.phrase for one in boxes.boxes] == ["a red ball", "me@home, please"]
    assert [tuple(one.box.model_dump().values()) for one in boxes.boxes] == [
        (0.1, 0.4, 0.5, 0.9),
        (0, 0.25, 1, 1),
    ]
    assert boxes.share == 0.4
    assert layout_fields([], None) is None


def test_a_share_that_is_not_told_is_the_usual_one():
    boxes = Boxes.model_validate(layout_fields(["a red ball@0.1,0.4,0.5,0.9"], ControlOptions().box_share))
    assert boxes.share == Boxes.model_fields["share"].default


def test_a_share_without_boxes_is_told():
    with pytest.raises(InvalidRequest, match=r"--box-share .* there is none. Add --box"):
        layout_fields([], 0.5)


@pytest.mark.parametrize(
    "value", ["a ball", "@0,0,1,1", "a ball@0,0,1", "a ball@a,b,c,d", "a ball@--1,0,1,1"]
)
def test_what_is_no_box_is_told(value: str):
    with pytest.raises(InvalidRequest, match="needs PHRASE@X0,Y0,X1,Y1"):
        layout_fields([value], 0.3)


@pytest.mark.parametrize("value", ["a ball@-0.1,0,0.5,1", "a ball@0,0,+1.5,1"])
def test_a_box_outside_of_the_picture_is_read_for_the_bounds_to_answer(value: str):
    with pytest.raises(ValidationError, match="than or equal to"):
        Boxes.model_validate(layout_fields([value], 0.3))

"""`alwayson_scripts.gligen`: boxes in, faults at their place in the payload."""

from __future__ import annotations

from typing import Any

import pytest

from studio.api.sdapi.gligen_args import read_boxes
from studio.core.boxes import Boxes
from studio.core.errors import EaselError
from studio.core.models import Family, ModelInfo, ModelKind
from tests.api.samples import png_base64

BOX = {"phrase": "a red ball", "box": [0.1, 0.4, 0.5, 0.9]}
MODELS = (ModelInfo(id="town-boxes", name="Town Boxes", kind=ModelKind.GLIGEN, family=Family.SD1),)


def read(args: Any) -> dict[str, Any]:
    return read_boxes({"GLIGEN": {"args": args}}, MODELS, lambda data: f"{len(data):064x}")


def test_phrases_places_share_model_and_strength():
    told = read([{"boxes": [BOX], "beta": 0.4, "strength": 1.5, "model": "Town Boxes", "unknown": 1}])
    boxes = Boxes.model_validate(told["boxes"])
    assert (boxes.share, boxes.strength, boxes.model) == (0.4, 1.5, "town-boxes")
    assert boxes.boxes[0].phrase == "a red ball"
    assert boxes.boxes[0].box.model_dump() == {"x0": 0.1, "y0": 0.4, "x1": 0.5, "y1": 0.9}


def test_what_is_left_out_has_our_defaults():
    assert Boxes.model_validate(read([{"boxes": [BOX]}])["boxes"]).share == 0.3


def test_a_picture_in_a_box_is_stored():
    told = read([{"boxes": [BOX | {"image": png_base64()}]}])
    assert Boxes.model_validate(told["boxes"]).boxes[0].image


@pytest.mark.parametrize(
    "args", [None, [], [{}], [False], {}, [{"boxes": []}], [{"boxes": [BOX], "enabled": False}]]
)
def test_nothing_asked_for_is_nothing(args: Any):
    assert read(args) == {}


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ([{"boxes": [BOX]}] * 2, ""),
        ([{"boxes": [{"phrase": "x"}]}], ".0.boxes.0.box"),
        ([{"boxes": [BOX | {"box": [1, 2, 3]}]}], ".0.boxes.0.box.3"),
        ([{"boxes": [BOX | {"image": "no base64!"}]}], ".0.boxes.0.image"),
        ([{"boxes": [BOX], "model": "gone"}], ".0.model"),
        ([{"boxes": [BOX], "beta": "much"}], ".0.beta"),
    ],
)
def test_faults_have_their_place(args: Any, field: str):
    with pytest.raises(EaselError) as refused:
        read(args)
    assert refused.value.field == f"alwayson_scripts.gligen.args{field}"

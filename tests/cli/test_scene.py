"""`--box` and `--mask` of `easel generate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from studio.cli.generate_options import ControlOptions
from studio.cli.scene import layout_fields, mask_fields
from studio.core.boxes import Boxes
from studio.core.errors import InvalidRequest
from studio.core.inpaint import Inpaint
from tests.fakes import FakeStudio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[FakeStudio]:
    fake = FakeStudio(tmp_path / "data")
    yield fake
    fake.close()


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


@pytest.mark.parametrize("value", ["a ball", "@0,0,1,1", "a ball@0,0,1", "a ball@a,b,c,d", "a ball@-1,0,1,1"])
def test_what_is_no_box_is_told(value: str):
    with pytest.raises(InvalidRequest, match="needs PHRASE@X0,Y0,X1,Y1"):
        layout_fields([value], 0.3)


def test_a_mask_and_the_picture_it_belongs_to(studio: FakeStudio, tmp_path: Path):
    file = tmp_path / "mask.png"
    Image.new("L", (8, 8), 255).save(file)
    told = mask_fields(studio, file, tmp_path / "photo.png")
    assert studio.blob(Inpaint.model_validate(told).mask) == file.read_bytes()
    assert mask_fields(studio, None, None) is None
    with pytest.raises(InvalidRequest, match="Add --source"):
        mask_fields(studio, file, None)

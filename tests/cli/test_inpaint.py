"""`--mask` of `easel generate`, and the options that say how it is painted."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from studio.cli.inpaint import InpaintOptions, outpaint_sides
from studio.core.errors import InvalidRequest
from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent, Outpaint
from tests.fakes import FakeStudio


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    file = tmp_path / "mask.png"
    Image.new("L", (8, 8), 255).save(file)
    return file


PHOTO = Path("photo.png")


def test_a_mask_alone_is_painted_as_usual(studio: FakeStudio, mask: Path):
    told = Inpaint.model_validate(InpaintOptions(mask=mask).fields(studio, PHOTO)["inpaint"])
    assert studio.blob(told.mask) == mask.read_bytes()
    assert told == Inpaint(mask=told.mask)
    assert InpaintOptions().fields(studio, None) == {}


def test_every_option_fills_the_field_of_its_name(studio: FakeStudio, mask: Path):
    options = {
        "content": MaskedContent.LATENT_NOISE,
        "area": InpaintArea.MASKED,
        "padding": 64,
        "blur": 0,
        "grow": -3,
        "invert": True,
        "soft": True,
    }
    told = InpaintOptions(mask=mask, outpaint="right=128, top=8", **options).fields(studio, PHOTO)["inpaint"]
    expected = Inpaint(mask=told["mask"], outpaint=Outpaint(right=128, top=8), **options)
    assert Inpaint.model_validate(told) == expected
    assert set(options) | {"mask", "outpaint"} == set(Inpaint.model_fields)


def test_outpainting_needs_no_mask(studio: FakeStudio):
    told = InpaintOptions(outpaint="left=64").fields(studio, PHOTO)["inpaint"]
    assert Inpaint.model_validate(told) == Inpaint(outpaint=Outpaint(left=64))


def test_what_is_missing_is_told(studio: FakeStudio, mask: Path):
    for options, source, sentence in (
        (InpaintOptions(mask=mask), None, "--mask says .* Add --source"),
        (InpaintOptions(outpaint="left=64"), None, "--outpaint says .* Add --source"),
        (InpaintOptions(grow=4), PHOTO, "--grow says .* Add --mask, or --outpaint"),
        (InpaintOptions(soft=True), PHOTO, "--soft says"),
    ):
        with pytest.raises(InvalidRequest, match=sentence):
            options.fields(studio, source)


@pytest.mark.parametrize("text", ["64", "middle=64", "left", "left=a lot", "left=1,left=2", "left:64"])
def test_what_names_no_sides_is_told(text: str):
    with pytest.raises(InvalidRequest, match="needs SIDE=PX"):
        outpaint_sides(text)


@pytest.mark.parametrize("text", ["left=-8", "left=5000"])
def test_the_bounds_of_a_side_answer(text: str):
    with pytest.raises(ValidationError, match="than or equal to"):
        Outpaint.model_validate(outpaint_sides(text))

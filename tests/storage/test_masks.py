"""What a mask's file says: the light of its colours, or the opacity of a layer that was painted on."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import ImageError
from studio.storage.pictures import read_mask

STROKE = (4, 2, 9, 6)
CLEAR = (0, 0, 0, 0)


def stroke_on(ground, colour, mode="RGBA", size=(16, 12)) -> Image.Image:
    picture = Image.new(mode, size, ground)
    picture.paste(colour, STROKE)
    return picture


def read(picture: Image.Image, format: str = "PNG", **options) -> np.ndarray:
    file = io.BytesIO()
    picture.save(file, format, **options)
    mask = read_mask(file.getvalue(), max_pixels=10_000)
    assert mask.mode == "L"
    return np.asarray(mask)


def expected() -> np.ndarray:
    return np.asarray(stroke_on(0, 255, "L"))


@pytest.mark.parametrize(
    "picture",
    [
        stroke_on(0, 255, "L"),
        stroke_on(0, 1, "1"),
        stroke_on("black", "white", "RGB"),
        stroke_on((0, 0, 0, 255), (255, 255, 255, 255)),
        stroke_on(CLEAR, (255, 255, 255, 255)),
        stroke_on(CLEAR, (0, 0, 0, 255)),
        stroke_on((255, 255, 255, 0), (200, 30, 20, 255)),
        stroke_on((0, 0), (255, 255), "LA"),
        stroke_on((255, 0), (0, 255), "LA"),
    ],
    ids=[
        "grey",
        "one bit",
        "colours",
        "opaque everywhere",
        "white stroke on a layer",
        "black stroke on a layer",
        "red stroke on a layer of transparent white",
        "white on transparent grey",
        "black on transparent white",
    ],
)
def test_a_stroke_is_the_mask_however_it_is_stored(picture):
    assert (read(picture) == expected()).all()


def test_a_transparent_colour_of_a_palette_is_a_layer_too():
    picture = stroke_on(0, 1, "P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    assert (read(picture, transparency=0) == expected()).all()


def test_half_transparent_strokes_are_half_masked():
    assert set(np.unique(read(stroke_on(CLEAR, (255, 255, 255, 128))))) == {0, 128}


def test_opacity_that_is_the_same_everywhere_says_nothing():
    assert (read(stroke_on((0, 0, 0, 90), (255, 255, 255, 90))) == expected()).all()


@pytest.mark.parametrize("ground", [CLEAR, (255, 255, 255, 0)])
def test_nothing_is_painted_on_a_layer_that_is_transparent_everywhere(ground):
    assert not read(Image.new("RGBA", (16, 12), ground)).any()


def test_greys_of_16_bits_keep_their_grades():
    deep = Image.fromarray(np.full((12, 16), 0x8000, np.uint16))
    assert set(np.unique(read(deep))) <= {127, 128}


def test_what_is_no_picture_is_refused_with_a_sentence():
    with pytest.raises(ImageError, match="no picture that Easel can read"):
        read_mask(b"hello", max_pixels=10_000)

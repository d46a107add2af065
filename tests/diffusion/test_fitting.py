"""Pictures in frames: the same pixels as of the whole picture scaled, in memory for no more than is shown."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from studio.core.geometry import Extent, ResizeMode, place
from studio.core.inpaint import Inpaint, InpaintArea
from studio.diffusion.fitting import fit_grey, fit_picture, resized
from studio.diffusion.inpaint_scene import make_scene

STRIPS = [(60_000, 1), (1, 60_000), (4_000_000, 1), (1, 4_000_000)]
FRAME = Extent(width=512, height=512)

ROUNDING = 2
"""Levels of 256: one for each of the two directions that are scaled."""


def blocks() -> int:
    """How many blocks of memory, of at most 16 MB, pictures have taken until now."""
    return int(Image.core.get_stats()["allocated_blocks"])


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def whole_scaled_then_cropped(picture: Image.Image, frame: Extent, mode: ResizeMode) -> Image.Image:
    placed = place(Extent(width=picture.width, height=picture.height), frame, mode)
    size = round(picture.width * placed.scale_x), round(picture.height * placed.scale_y)
    left, top = round(placed.x), round(placed.y)
    how = Image.Resampling.LANCZOS if picture.mode == "RGB" else Image.Resampling.BILINEAR
    return picture.resize(size, how).crop((-left, -top, frame.width - left, frame.height - top))


@pytest.mark.parametrize("mode", ResizeMode)
@pytest.mark.parametrize("size", STRIPS)
def test_a_strip_takes_no_more_memory_than_itself_and_the_frame(size: tuple[int, int], mode: ResizeMode):
    strip = Image.new("RGB", size, (200, 30, 30))
    before = blocks()
    assert fit_picture(strip, FRAME, mode).getextrema() == ((200, 200), (30, 30), (30, 30))
    assert fit_grey(strip.convert("L"), FRAME, mode).size == (512, 512)
    assert blocks() - before < 30


@pytest.mark.parametrize("mode", [ResizeMode.CROP, ResizeMode.STRETCH])
@pytest.mark.parametrize(
    ("size", "frame"),
    [((640, 480), (512, 512)), ((300, 700), (128, 64)), ((90, 60), (256, 512)), ((999, 1501), (504, 64))],
)
def test_pixels_are_those_of_the_whole_picture_scaled(size, frame, mode):
    extent = Extent(width=frame[0], height=frame[1])
    for fit, picture in ((fit_picture, noise(*size)), (fit_grey, noise(*size).convert("L"))):
        one, other = fit(picture, extent, mode), whole_scaled_then_cropped(picture, extent, mode)
        difference = np.abs(np.asarray(one, int) - np.asarray(other, int))
        assert difference.max() <= (ROUNDING if mode is ResizeMode.CROP else 0)
        assert (difference > 0).mean() < 0.01


def test_a_padded_picture_is_whole_with_its_edges_drawn_out():
    picture = noise(100, 50)
    framed = np.asarray(fit_picture(picture, Extent(width=64, height=64), ResizeMode.PAD))
    assert (framed[16:48] == np.asarray(picture.resize((64, 32), Image.Resampling.LANCZOS))).all()
    assert (framed[:16] == framed[16]).all()
    assert (framed[48:] == framed[47]).all()


def test_beside_a_padded_mask_nothing_is_masked():
    framed = np.asarray(fit_grey(Image.new("L", (100, 50), 255), Extent(width=64, height=64), ResizeMode.PAD))
    assert (framed[16:48] == 255).all()
    assert framed[:16].max() == framed[48:].max() == 0


def test_a_square_made_long_and_thin_is_made_thin_first():
    square, before = Image.new("L", (512, 512), 90), blocks()
    assert resized(square, (4_000_000, 1), Image.Resampling.LANCZOS).getextrema() == (90, 90)
    assert blocks() - before < 10


def test_what_was_painted_in_a_strip_goes_back_in_its_memory():
    strip = Image.new("RGB", (4_000_000, 1), (200, 30, 30))
    options = Inpaint(mask="a" * 64, area=InpaintArea.MASKED, blur=0)
    scene = make_scene(strip, Image.new("L", strip.size, 255), options, FRAME, ResizeMode.CROP)
    before = blocks()
    painted = scene.paste(scene.framed(strip))
    assert painted.size == strip.size
    assert painted.getextrema() == ((200, 200), (30, 30), (30, 30))
    assert blocks() - before < 20

"""A control map is made at the size at which it is used, so that its lines stay as thick as lines."""

from __future__ import annotations

import pytest
from PIL import Image

from studio.app.stack_pictures import side_in_frame
from studio.core.geometry import Extent, ResizeMode
from studio.core.inpaint import Inpaint, InpaintArea
from studio.core.preprocess import Canny
from studio.diffusion.inpaint_scene import make_scene

FRAME = Extent(width=64, height=96)


@pytest.mark.parametrize(
    ("mode", "side"), [(ResizeMode.CROP, 96), (ResizeMode.PAD, 32), (ResizeMode.STRETCH, 96)]
)
def test_the_side_follows_the_resize_mode(mode, side):
    assert side_in_frame(Image.new("RGB", (400, 200)), FRAME, mode) == side


def test_small_pictures_are_not_enlarged():
    assert side_in_frame(Image.new("RGB", (20, 30)), FRAME, ResizeMode.CROP) == 20


def test_a_small_part_of_a_photo_is_read_as_large_as_it_is_shown():
    photo, mask = Image.new("RGB", (400, 400)), Image.new("L", (400, 400), 0)
    mask.paste(255, (100, 100, 132, 148))
    options = Inpaint(mask="a" * 64, area=InpaintArea.MASKED, padding=0, blur=0)
    scene = make_scene(photo, mask, options, FRAME, ResizeMode.CROP)
    assert side_in_frame(photo, FRAME, ResizeMode.CROP, scene) == 400
    assert side_in_frame(Image.new("RGB", (1600, 1600)), FRAME, ResizeMode.CROP, scene) == 800


def test_a_size_that_was_asked_for_stays():
    assert Canny().read_at(96).resolution == 96
    assert Canny(resolution=40).read_at(96).resolution == 40

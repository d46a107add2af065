"""What is shown to the model of a photo being inpainted, and what comes back of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.core.geometry import Extent, ResizeMode
from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent, Outpaint
from studio.diffusion.inpaint import latent_mask
from studio.diffusion.inpaint_scene import make_scene, region_around
from studio.diffusion.painted import grown

FRAME = Extent(width=64, height=64)
MASK_ID = "a" * 64


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8))


@pytest.fixture
def mask() -> Image.Image:
    mask = Image.new("L", (200, 150), 0)
    ImageDraw.Draw(mask).ellipse((120, 60, 159, 99), fill=255)
    return mask


def scene_of(photo, mask, extent=FRAME, **options):
    given = {"mask": MASK_ID if mask else None, **options}
    return make_scene(photo, mask, Inpaint(**given), extent, ResizeMode.CROP)


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    return (np.asarray(before) != np.asarray(after)).any(axis=2)


@pytest.mark.parametrize("area", list(InpaintArea))
@pytest.mark.parametrize("blur", [0, 12])
def test_outside_of_mask_and_blur_every_pixel_stays(photo, mask, area, blur):
    scene = scene_of(photo, mask, Extent(width=200, height=150), area=area, blur=blur)
    result = scene.paste(Image.new("RGB", (200, 150), (255, 0, 255)))
    near = np.asarray(grown(mask, blur)) > 0
    assert result.size == photo.size
    assert not changed(photo, result)[~near].any()
    assert changed(photo, result)[np.asarray(mask) > 0].mean() > 0.99


def test_only_masked_shows_the_mask_with_its_surroundings_in_the_shape_of_the_frame(photo, mask):
    scene = scene_of(photo, mask, Extent(width=96, height=64), area=InpaintArea.MASKED, padding=10)
    left, top, right, bottom = scene.region
    assert left <= 110
    assert top <= 50
    assert right >= 170
    assert bottom >= 110
    assert (right - left) / (bottom - top) == pytest.approx(96 / 64, abs=0.05)
    assert scene.framed(photo).size == (96, 64)
    assert np.asarray(scene.frame_mask).mean() > 0.15 * 255


@pytest.mark.parametrize("corner", [(0, 0, 20, 20), (180, 130, 200, 150), (0, 0, 200, 5)])
def test_the_region_lies_inside_of_the_photo(corner):
    mask = Image.new("L", (200, 150), 0)
    mask.paste(255, corner)
    left, top, right, bottom = region_around(mask, 40, FRAME)
    assert 0 <= left < right <= 200
    assert 0 <= top < bottom <= 150
    assert left <= corner[0]
    assert top <= corner[1]
    assert right >= corner[2]
    assert bottom >= corner[3]


def test_a_control_map_of_another_scale_is_cut_alike(photo, mask):
    scene = scene_of(photo, mask, area=InpaintArea.MASKED)
    double = photo.resize((400, 300), Image.Resampling.NEAREST)
    difference = np.asarray(scene.framed(photo), int) - np.asarray(scene.framed(double), int)
    assert np.abs(difference).mean() < 8


def test_an_inverted_mask_paints_the_rest(photo, mask):
    scene = scene_of(photo, mask, Extent(width=200, height=150), invert=True, blur=0)
    result = scene.paste(Image.new("RGB", (200, 150), (255, 0, 255)))
    assert not changed(photo, result)[np.asarray(mask) > 128].any()


def test_the_mask_grows_and_shrinks(mask):
    areas = [(np.asarray(grown(mask, pixels)) > 0).sum() for pixels in (-5, 0, 5)]
    assert areas[0] < 0.7 * areas[1] < areas[1] < 0.8 * areas[2]


def test_outpainting_adds_canvas_that_is_painted_anew(photo):
    scene = scene_of(photo, None, outpaint=Outpaint(left=64, bottom=32), blur=0)
    assert scene.photo.size == (264, 182)
    painted = np.asarray(scene.mask) > 0
    assert painted[:, :64].all()
    assert painted[150:].all()
    assert not painted[: 150 - 16, 64 + 16 :].any()
    kept = scene.photo.crop((64, 0, 264, 150))
    assert not changed(photo, kept).any()


def test_fill_draws_the_surroundings_in(mask):
    photo = Image.new("RGB", (200, 150), (10, 200, 30))
    ImageDraw.Draw(photo).ellipse((122, 62, 157, 97), fill=(255, 255, 255))
    start = np.asarray(scene_of(photo, mask, FRAME).start(MaskedContent.FILL))
    assert np.abs(start.astype(int) - (10, 200, 30)).max() < 30
    assert np.asarray(scene_of(photo, mask, FRAME).start(MaskedContent.ORIGINAL)).max() > 240


def test_a_mask_of_another_scale_is_stretched_onto_the_photo(photo, mask):
    small = mask.resize((100, 75), Image.Resampling.NEAREST)
    full, scaled = (np.asarray(scene_of(photo, one, blur=0).mask) > 0 for one in (mask, small))
    assert (full ^ scaled).mean() < 0.01


def test_latent_masks_are_hard_unless_asked_for():
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1)))
    hard, soft = latent_mask(ramp, soft=False), latent_mask(ramp, soft=True)
    assert hard.shape == soft.shape == (1, 1, 8, 8)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert soft.unique().numel() == 8

"""What is painted anew of a photo, in pixels and in latents."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.core.geometry import Extent
from studio.core.inpaint import Inpaint
from studio.diffusion.painted import grown, latent_cells, painted

PHOTO = Extent(width=64, height=48)
MASK_ID = "a" * 64


def mask_of(*box: int, value: int = 255, size: tuple[int, int] = (64, 64)) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(value, box)
    return mask


def cells(mask: Image.Image) -> np.ndarray:
    return latent_cells(mask, soft=False)


def every_eighth(mask: Image.Image) -> np.ndarray:
    """As diffusers samples masks."""
    return (np.asarray(mask)[::8, ::8] >= 128).astype(np.float32)


def test_a_stroke_between_the_samples_is_painted_wherever_it_touches():
    found = cells(mask_of(1, 16, 8, 40))
    assert found[2:5, 0].all()
    assert found.sum() == 3


def test_a_dot_between_the_samples_is_painted_beside_a_large_part_that_is_not_widened():
    mask = mask_of(1, 1, 30, 30)
    alone = cells(mask)
    ImageDraw.Draw(mask).point((60, 60), 255)
    both = cells(mask)
    assert (alone == every_eighth(mask)).all()
    assert both[7, 7] == 1
    assert both.sum() == alone.sum() + 1


def test_a_stroke_that_meets_a_sample_by_chance_is_painted_to_its_ends():
    mask = mask_of(1, 8, 7, 120, size=(64, 128))
    mask.paste(255, (0, 16, 2, 17))
    assert every_eighth(mask).sum() == 1
    assert cells(mask)[1:15, 0].all()


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (15, 15), (8, 40), (23, 17)])
def test_parts_of_eight_px_and_more_are_sampled_as_in_diffusers(size):
    width, height = size
    for left, top in itertools.product(range(8), range(8)):
        mask = mask_of(left, top, left + width, top + height)
        assert (cells(mask) == every_eighth(mask)).all()


def test_soft_masks_keep_their_grades():
    mask = mask_of(0, 0, 64, 64, value=100)
    assert np.allclose(latent_cells(mask, soft=True), 100 / 255)
    assert not cells(mask).any()
    faint = latent_cells(mask_of(3, 3, 4, 4, value=10), soft=True)
    assert 0 < faint[0, 0] < 0.01
    assert np.count_nonzero(faint) == 1


def options(**given) -> Inpaint:
    return Inpaint(mask=MASK_ID, **given)


def test_what_is_painted_is_inverted_then_grown_then_made_hard():
    mask = mask_of(16, 16, 32, 32, size=(64, 48))
    usual = np.asarray(painted(mask, PHOTO, options()))
    inverted = np.asarray(painted(mask, PHOTO, options(invert=True)))
    assert (usual > 0).sum() == 16 * 16
    assert (inverted == 255 - usual).all()
    assert np.asarray(painted(mask, PHOTO, options(invert=True, grow=20))).all()
    assert not np.asarray(painted(mask, PHOTO, options(grow=-10))).any()


def test_greys_count_where_grades_are_asked_for():
    grey = mask_of(16, 16, 32, 32, value=100)
    assert not np.asarray(painted(grey, PHOTO, options())).any()
    assert np.asarray(painted(grey, PHOTO, options(soft=True))).max() == 100


def test_a_mask_has_the_size_of_its_photo():
    assert painted(mask_of(0, 0, 16, 16, size=(32, 24)), PHOTO, options()).size == (64, 48)
    assert painted(None, PHOTO, options()).getbbox() is None


@pytest.mark.parametrize("pixels", [3, 8, 30, 77])
def test_a_mask_grows_evenly_in_every_direction(pixels):
    dot = mask_of(100, 100, 101, 101, size=(201, 201))
    rows, columns = np.nonzero(np.asarray(grown(dot, pixels)))
    distance = np.hypot(rows - 100, columns - 100)
    assert columns.min() == rows.min() == 100 - pixels
    assert columns.max() == rows.max() == 100 + pixels
    assert distance.max() <= 1.05 * pixels + 1
    assert np.pi * (0.95 * pixels) ** 2 < len(rows) < np.pi * (1.05 * pixels + 1) ** 2


def test_a_mask_shrinks_as_far_as_it_grew():
    mask = mask_of(60, 60, 120, 140, size=(200, 200))
    assert (np.asarray(grown(grown(mask, 30), -30)) == np.asarray(mask)).all()

"""Arranging a picture on the real thing: the example's edges become a map, and the picture follows them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser import test_main_job
from tests.browser.test_control import add, entered, start_from
from tests.browser.test_generate import picture, say
from tests.browser.waiting import asked_by, over

pytestmark = pytest.mark.browser

studio, address = test_main_job.studio, test_main_job.address


def edges(path, size: tuple[int, int]) -> np.ndarray:
    """Where an edge lies within two pixels."""
    grey = np.asarray(Image.open(path).convert("L").resize(size, Image.Resampling.LANCZOS))
    return cv2.dilate(cv2.Canny(grey, 100, 200), np.ones((5, 5), np.uint8)) > 0


def agreement(path, other, size: tuple[int, int] = (128, 128)) -> float:
    """F1 of two pictures' edges."""
    a, b = edges(path, size), edges(other, size)
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_edges_of_the_example_arrange_the_picture(page, studio, tmp_path):
    entered(page)
    start_from(page, "photo")
    add(page)
    page.get_by_role("tab", name="Generate", exact=True).click()
    say(page, "a red person and a blue house on grass", seed=3)
    job = over(studio, asked_by(page, studio, lambda: page.keyboard.press("Control+Enter")))
    expect(picture(page)).to_be_visible()
    image = studio.image(job.images[0])
    (control,) = image.request.controls
    example = tmp_path / "example.png"
    example.write_bytes(studio.blob(control.image))
    free = studio.submit(image.request.model_copy(update={"controls": ()}))
    *_, last = studio.events(free.id, timeout=60)
    followed = agreement(studio.image_path(image.id), example)
    assert followed > 0.6
    assert followed > 1.2 * agreement(studio.image_path(last.images[0]), example)

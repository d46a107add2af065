"""Boxes with engine and Toytown in a browser: things are where they were drawn, and come back."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser import test_main_job
from tests.browser.conftest import ready
from tests.browser.test_boxes import do, draw, found, held, near, opened
from tests.browser.test_generate import say
from tests.browser.test_inpaint_job import finished, pixels
from tests.browser.waiting import generations

pytestmark = pytest.mark.browser

studio, address = test_main_job.studio, test_main_job.address

BALL, HOUSE = (0.55, 0.4, 0.93, 0.78), (0.05, 0.3, 0.45, 0.85)


@pytest.fixture
def tab(page):
    """The Boxes tab with a ball on the right and a house on the left; the prompt alone has them otherwise."""
    say(page, "a red ball and a blue house on grass", seed=7, steps=12)
    opened(page)
    do(page, "clear")
    draw(page, BALL[:2], BALL[2:], "a red ball", key="Alt")
    draw(page, HOUSE[:2], HOUSE[2:], "a blue house", key="Alt")
    page.locator("#boxes-editor [name=share]").fill("1")
    return page


def generated(page, studio):
    """Presses Generate, and gives the picture's record once it is made."""
    before = len(generations(studio))
    page.click("#boxes-generate")
    for _ in range(100):
        if len(generations(studio)) > before:
            break
        page.wait_for_timeout(50)
    return finished(studio, generations(studio)[0])


def red(studio, image):
    """Where red leads by far: (128, 128)."""
    colours = pixels(studio, image).astype(int)
    return colours[..., 0] - colours[..., 1:].max(axis=2) > 60


def test_things_are_where_they_were_drawn_and_elsewhere_without_boxes(tab, studio):
    image = generated(tab, studio)
    (ball, house) = image.request.boxes.boxes
    assert near(ball.box.model_dump().values(), BALL, 0.02)
    assert near(house.box.model_dump().values(), HOUSE, 0.02)
    expect(tab.locator("#boxes-editor image.under")).to_have_attribute(
        "href", f"studio/v1/images/{image.id}/file", timeout=30_000
    )
    tab.locator("#boxes-editor [name=on]").uncheck()
    free = generated(tab, studio)
    assert free.request == image.request.model_copy(update={"boxes": None})
    assert red(studio, image)[:, 64:].sum() > 3 * red(studio, image)[:, :64].sum()
    assert red(studio, free)[:, 64:].sum() < red(studio, free)[:, :64].sum()


def test_reload_and_library_bring_the_boxes_and_the_same_picture_back(tab, studio):
    first = generated(tab, studio)
    before = found(tab)
    tab.wait_for_timeout(400)
    tab.reload()
    ready(tab)
    opened(tab)
    expect(tab.locator("#boxes-editor .box")).to_have_count(2)
    tab.wait_for_timeout(300)
    assert found(tab) == before
    do(tab, "clear")
    assert held(tab) is None
    tab.get_by_role("tab", name="Library").click()
    tab.locator(f"[data-image='{first.id}'] .open").click()
    tab.click("#details [data-action=restore]")
    expect(tab.locator("#boxed")).to_contain_text("2 boxes a red ball, a blue house")
    opened(tab)
    assert found(tab) == before
    again = generated(tab, studio)
    assert again.request == first.request
    assert np.array_equal(pixels(studio, again), pixels(studio, first))

"""Inpainting with engine and Toytown in a browser: what is not painted over stays, bit by bit."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from studio.core.inpaint import InpaintArea
from tests.browser import test_main_job
from tests.browser.conftest import ready
from tests.browser.test_control import picture, stroke
from tests.browser.test_generate import say
from tests.browser.test_inpaint import held, mask, option, paint, tool
from tests.browser.waiting import answered, asked_by, generations
from ui.components.mask_example import PHOTO as EXAMPLE

pytestmark = pytest.mark.browser

studio, address = test_main_job.studio, test_main_job.address

STEPS = 4
"""Enough for a picture that is another one; what it shows is no matter here."""


@pytest.fixture
def tab(page):
    """The Inpaint tab with the example's photo, 512 x 512 px, and nothing masked."""
    say(page, "a green tree on grass", seed=5, steps=STEPS)
    page.get_by_role("tab", name="Inpaint", exact=True).click()
    page.locator("#field-inpaint-mask .hint input[name=photo]").set_input_files(EXAMPLE)
    page.wait_for_function("document.querySelector('.mask-paint').width === 512")
    answered(page)
    option(page, "blur").fill("0")
    return page


def choose(page, model):
    page.locator("#field-model input").click()
    page.get_by_role("option", name=f"{model} · SD 1.x", exact=True).click()
    expect(page.locator("#inpaint-channels")).to_contain_text(f"{model} i")


def painted(page, studio):
    """Presses Paint, and gives the picture's record once it is made."""
    return finished(studio, asked_by(page, studio, lambda: page.click("#inpaint-paint")))


def finished(studio, job):
    *_, last = studio.events(job.id, timeout=90)
    assert last.type == "finished", last
    return studio.image(last.images[0])


def pixels(studio, image):
    return np.asarray(Image.open(studio.image_path(image.id)).convert("RGB"))


def photo_of(studio, image):
    return np.asarray(picture(studio, image.request.source.image).convert("RGB"))


def mask_of(studio, image):
    return np.asarray(picture(studio, image.request.inpaint.mask).convert("L")) >= 128


@pytest.mark.parametrize("model", ["toytown", "toytown-inpaint"])
def test_only_what_is_painted_over_changes(tab, studio, model):
    choose(tab, model)
    expect(tab.locator("#inpaint-size")).to_contain_text("painted at 128 × 128 px and put back")
    paint(tab, (0.6, 0.4), (0.9, 0.4), (0.9, 0.8), (0.6, 0.8))
    image = painted(tab, studio)
    assert image.request.model == model
    assert image.request.inpaint.area is InpaintArea.MASKED
    differs = (pixels(studio, image) != photo_of(studio, image)).any(axis=2)
    masked = mask_of(studio, image)
    assert 0.02 < masked.mean() < 0.2
    assert not differs[~masked].any()
    assert differs[masked].mean() > 0.8
    expect(tab.locator("#inpaint-result .after")).to_have_attribute(
        "src", f"studio/v1/images/{image.id}/file", timeout=30_000
    )


def test_reload_and_library_bring_photo_mask_and_the_same_picture_back(tab, studio):
    tool(tab, "lasso")
    paint(tab, (0.5, 0.2), (0.95, 0.9), (0.55, 0.9))
    first = painted(tab, studio)
    before = mask(tab, studio)
    answered(tab)
    tab.reload()
    ready(tab)
    tab.get_by_role("tab", name="Inpaint", exact=True).click()
    tab.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled")
    assert (mask(tab, studio) == before).all()
    tool(tab, "clear")
    assert held(tab) is None
    tab.get_by_role("tab", name="Library").click()
    tab.locator(f"[data-image='{first.id}'] .open").click()
    tab.click("#details [data-action=restore]")
    tab.click("#part-inpaint [data-action=edit]")
    tab.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled")
    assert (mask(tab, studio) == before).all()
    again = painted(tab, studio)
    assert again.request == first.request
    assert (pixels(studio, again) == pixels(studio, first)).all()


def test_a_click_masks_the_house_and_nothing_else(tab, studio):
    tool(tab, "object")
    paint(tab, (0.78, 0.75), (0.78, 0.75))
    tab.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled", timeout=60_000)
    rows, columns = np.nonzero(mask(tab, studio))
    found = (columns.min(), rows.min(), columns.max(), rows.max())
    assert found == pytest.approx((268, 213, 493, 445), abs=24)


def test_canvas_is_added_at_a_side_and_the_photo_stays(tab, studio):
    tab.locator("#inpaint-options [data-side=right]").fill("128")
    expect(tab.locator("#inpaint-size")).to_contain_text("painted at 144 × 112 px")
    image = painted(tab, studio)
    made, photo = pixels(studio, image), photo_of(studio, image)
    assert made.shape == (512, 640, 3)
    assert (made[:, :504] == photo[:, :504]).all()
    assert (made[:, 520:] != np.repeat(photo[:, -1:], 120, axis=1)).any(axis=2).mean() > 0.8


def test_objects_are_painted_one_into_the_picture_of_the_other(tab, studio):
    before = len(generations(studio))
    tab.locator("#inpaint-objects summary").click()
    tool(tab, "box")
    for phrase, start, end in (
        ("a yellow star", (0.05, 0.05), (0.35, 0.35)),
        ("a green tree", (0.55, 0.45), (0.95, 0.95)),
    ):
        tab.fill("#inpaint-prompt textarea", phrase)
        stroke(tab, tab.locator(".mask-stack"), start, end)
        tab.click("#inpaint-objects [data-do=add]")
        expect(tab.locator(".object-list li").last).to_contain_text(phrase)
        tab.wait_for_function("document.querySelector('.mask-editor [data-do=clear]').disabled")
    tab.click("#inpaint-objects [data-do=all]")
    expect(tab.locator("#inpaint-objects .editor-line")).to_contain_text(
        "All objects are painted", timeout=90_000
    )
    second, first = [finished(studio, job) for job in generations(studio)[: -before or None]]
    assert (first.prompt, second.prompt) == ("a yellow star", "a green tree")
    both = mask_of(studio, first) | mask_of(studio, second)
    differs = (pixels(studio, second) != photo_of(studio, first)).any(axis=2)
    assert not differs[~both].any()
    assert differs[mask_of(studio, first)].mean() > 0.8
    assert differs[mask_of(studio, second)].mean() > 0.8

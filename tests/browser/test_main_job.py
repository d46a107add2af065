"""The main job on the real thing: engine, Toytown, server and browser, from a word to the restored file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from studio.app.studio import build_studio
from studio.core.jobs import JobState
from studio.core.settings import PACK, Settings
from tests.browser.conftest import ready, serving
from tests.browser.test_generate import PROMPT, number, picture, say
from tests.browser.waiting import answered, asked_by, over, until

pytestmark = pytest.mark.browser

WORDS = "a red ball and a blue house on grass"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    settings = Settings(data_dir=tmp_path_factory.mktemp("easel"), device="cpu", preview_seconds=0)
    studio = build_studio(settings)
    studio.start()
    until(lambda: studio.status().ready, seconds=120)  # torch is imported on a thread, in its own time
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def address(studio, tmp_path_factory):
    with serving(studio, tmp_path_factory.mktemp("page")) as url:
        yield url


def share(path, colour) -> float:
    """Share of the picture's pixels that are `red`, `blue` or `green`: that channel leads by far."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    channel = {"red": 0, "green": 1, "blue": 2}[colour]
    others = np.delete(pixels, channel, axis=2).max(axis=2)
    return float((pixels[..., channel] - others > 60).mean())


def test_toytown_is_there():
    assert (PACK / "toytown" / "model_index.json").is_file()


def test_words_become_the_picture_they_say_and_its_file_restores_them(page, studio):
    expect(page.locator("#field-model input")).to_have_value("toytown · SD 1.x", timeout=60_000)
    say(page, WORDS, seed=7)
    job = over(studio, asked_by(page, studio, lambda: page.keyboard.press("Control+Enter")))
    expect(picture(page)).to_be_visible()
    image = studio.image(job.images[0])
    file = studio.image_path(image.id)
    assert (image.prompt, image.seed) == (WORDS, 7)
    assert share(file, "red") > 0.03
    assert share(file, "blue") > 0.03
    assert studio.read_settings(file.read_bytes()).request == image.request


def test_a_running_job_is_found_again_after_a_reload_and_can_be_cancelled(page, studio):
    say(page, "a green tree on sand", steps=150, batches=20)
    page.click("#generate")
    expect(page.locator("#stage .live")).to_be_visible(timeout=60_000)
    page.reload()
    ready(page)
    expect(page.locator(PROMPT)).to_have_value("a green tree on sand")
    assert number(page, "steps").input_value() == "150"
    expect(page.locator("#stage .live")).to_be_visible(timeout=60_000)
    page.keyboard.press("Escape")
    answered(page)
    job = next(job for job in studio.jobs() if job.request.prompt == "a green tree on sand")
    *_, last = studio.events(job.id, timeout=30)
    assert studio.job(job.id).state is JobState.CANCELLED
    assert last.type == "cancelled"

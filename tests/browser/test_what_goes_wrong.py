"""A person brings something bad: what the page says, where, and that the next try works."""

import struct
import zlib

import pytest
from playwright.sync_api import expect

from studio.core.requests import GenerateRequest
from tests.browser.conftest import DESK, browsing, ready, serving
from tests.browser.test_generate import PROMPT, number, picture, png
from tests.fakes import FakeStudio

pytestmark = pytest.mark.browser


def huge_png():
    """The header of 60,000 x 60,000 px."""
    size = struct.pack(">II5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def bring(page, data):
    page.locator("#part-source [data-testid=image] input[type=file]").first.set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": data}
    )


@pytest.mark.parametrize(
    ("bad", "width"), [(huge_png(), 390), (b"no picture at all", 1440)], ids=["60,000 px", "no picture"]
)
def test_a_bad_source_picture_is_refused_at_its_place_and_the_next_is_taken(page, bad, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.reload()
    ready(page)
    page.locator("#part-source .label-wrap").click()
    bring(page, bad)
    note = page.locator("#part-source .problem-note")
    expect(note).to_contain_text("picture")
    expect(note).to_be_in_viewport()
    expect(page.locator("#part-source img")).to_have_count(0)
    bring(page, png())
    expect(page.locator("#part-source img")).to_be_visible()
    expect(note).to_have_count(0)


def test_jobs_left_undone_are_dismissed_one_by_one_or_all_and_brought_back(page, studio, monkeypatch):
    monkeypatch.setattr(studio, "step_seconds", 0.05)
    blocking = studio.submit(GenerateRequest(prompt="long", seed=1, steps=150))
    for prompt in ("a dune", "a pond", "a hill"):
        studio.interrupt(studio.submit(GenerateRequest(prompt=prompt, seed=1)).id)
    studio.cancel(blocking.id)
    rows = page.locator("#queue li")
    expect(rows).to_have_count(3)
    rows.filter(has_text="a pond").locator("[data-action=dismiss]").click()
    expect(rows).to_have_count(2)
    page.locator("#queue [data-action=clear]").click()
    expect(rows).to_have_count(0)
    expect(page.locator("#notice")).to_contain_text("2 jobs taken off the list.")
    page.locator("#notice [data-action=recall]").click()
    expect(rows).to_have_count(2)
    page.reload()
    ready(page)
    expect(rows).to_have_count(2)
    page.locator("#queue [data-action=clear]").click()
    expect(rows).to_have_count(0)


def test_an_interrupted_job_is_tried_again_on_the_stage(page, studio, monkeypatch):
    monkeypatch.setattr(studio, "step_seconds", 0.05)
    page.fill(PROMPT, "a lighthouse")
    number(page, "steps").fill("150")
    page.click("#generate")
    expect(page.locator("#stage .live")).to_be_visible()
    number(page, "steps").fill("3")
    page.click("#generate")
    expect(page.locator("#queue li")).to_have_count(2)
    running, waiting = page.locator("#queue li.running"), page.locator("#queue li.queued")
    studio.interrupt(waiting.locator("[data-id]").get_attribute("data-id"))
    page.evaluate("localStorage.removeItem('easel-session')")
    page.reload()
    ready(page)
    page.locator("#queue [data-action=retry]").click()
    running.locator("[data-action=cancel]").click()
    expect(picture(page)).to_be_visible()
    expect(page.locator("#queue li")).to_have_count(0)


def test_a_server_that_is_gone_is_told_beside_the_button_and_not_over_it(browser, tmp_path):
    studio = FakeStudio(tmp_path, step_seconds=0.01)
    studio.start()
    with browsing(browser, viewport=DESK) as context:
        page = context.new_page()
        with serving(studio, tmp_path) as address:
            page.goto(address)
            ready(page)
        page.click("#generate")
        expect(page.get_by_test_id("toast-text")).to_contain_text("Check that it still runs")
        page.evaluate("window.easelStill()")
        page.click("#generate", trial=True)  # nothing lies over it
    studio.close()

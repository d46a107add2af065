"""A real server (both APIs, the guard, the page) in front of the stand-in, and a real Chromium."""

import os
import shutil
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import expect, sync_playwright

from studio.core.requests import GenerateRequest
from studio.core.settings import Settings
from tests.browser.waiting import LISTEN, answered, left_alone, still
from tests.fakes import FakeStudio
from tests.ui.serve_fake import app_for

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

PROMPTS = ("a red ball on grass", "a blue house at night", "two cats and a star", "a yellow car on sand")

DESK = {"width": 1440, "height": 900}

expect.set_options(timeout=10_000)


def chromium_path():
    """The executable named by EASEL_CHROMIUM, else one of the PATH, else None for Playwright's own."""
    named = os.environ.get("EASEL_CHROMIUM")
    return named or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


@contextmanager
def serving(studio, data_dir):
    """Serve `studio` on a free port of this machine; gives the address."""
    app = app_for(studio, Settings(data_dir=data_dir))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it had begun"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path(), args=list(QUIET))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    fake = FakeStudio(tmp_path_factory.mktemp("studio"), step_seconds=0.02)
    for seed in range(8):
        fake.add_image(GenerateRequest(prompt=PROMPTS[seed % 4], seed=seed, width=128, height=128, steps=4))
    fake.start()
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def address(studio):
    with serving(studio, studio.data_dir) as url:
        yield url


class Visit:
    """A page, with everything that went wrong in it."""

    def __init__(self, page, address):
        self.page = page
        self.address = address
        self.complaints = []
        self.foreign = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message):
        if message.type == "error":
            self.complaints.append(message.text)

    def _asked(self, request):
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.foreign.append(request.url)


def ready(page):
    """The form shows what the server said, so from now on nothing is overwritten."""
    page.wait_for_function("window.easelRestored === true")
    expect(page.locator("#stage .stage")).to_be_attached()  # a reload may have opened another tab
    answered(page)


@contextmanager
def browsing(browser, **options):
    """A context whose pages can be asked whether they are done (see `waiting`)."""
    opened = browser.new_context(**options)
    opened.add_init_script(LISTEN)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def context(browser, address):
    """One per module, so that Gradio's scripts are loaded once; every test starts with an empty storage."""
    with browsing(browser, viewport=DESK, accept_downloads=True) as opened:
        yield opened


@pytest.fixture
def slow(studio):
    """The stand-in with time to look at what it does."""
    studio.step_seconds = 0.15
    yield studio
    left_alone(studio)
    studio.step_seconds = 0.02


def visiting(context, address, studio):
    """A page with an empty storage, and at its end nothing to complain of."""
    page = context.new_page()
    visited = Visit(page, address)
    page.add_init_script("if (!sessionStorage.begun) { localStorage.clear(); sessionStorage.begun = 1; }")
    page.goto(address)
    ready(page)
    yield visited
    page.close()
    left_alone(studio)
    assert visited.complaints == []
    assert visited.foreign == []


@pytest.fixture
def visit(context, address, studio):
    yield from visiting(context, address, studio)


@pytest.fixture
def page(visit):
    return visit.page


@pytest.fixture(scope="module")
def shared_visit(browser, address, studio):
    """One visit for the tests of a module that do not mind what happened on the page before.

    It has a context of its own: pages of one share their storage, and none may find what another left there.
    """
    with browsing(browser, viewport=DESK, accept_downloads=True) as opened:
        yield from visiting(opened, address, studio)


def _as_at_a_desk(page):
    """What a test did to the window is no matter of the next one's, even if it failed half way."""
    if page.viewport_size != DESK:
        page.set_viewport_size(DESK)
        still(page)


@pytest.fixture
def shared_page(shared_visit):
    shared_visit.page.bring_to_front()  # one behind another page gets less of the processor
    answered(shared_visit.page)  # a late answer to the test before would turn the page under this one's hands
    yield shared_visit.page
    _as_at_a_desk(shared_visit.page)
    assert shared_visit.complaints == []

"""How the page is put together and what the server must give it."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from studio.core.settings import Settings
from ui.app import create_page, page_kwargs


@pytest.fixture
def page(studio, tmp_path):
    return create_page(studio, Settings(data_dir=tmp_path))


def test_the_page_opens_without_torch():
    code = (
        "import sys, tempfile, pathlib; from tests.fakes import FakeStudio; from ui.app import create_page;"
        "from studio.core.settings import Settings; folder = pathlib.Path(tempfile.mkdtemp());"
        "create_page(FakeStudio(folder), Settings(data_dir=folder));"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_no_event_holds_a_connection_or_a_place_in_a_queue(page):
    dependencies = page.config["dependencies"]
    assert len(dependencies) >= 40
    assert [dep["id"] for dep in dependencies if dep["queue"] is not False] == []
    assert page.config["connect_heartbeat"] is False


def test_no_two_handlers_that_wait_for_their_turn_hear_the_same_event(page):
    """Gradio would have each call the other for ever (see `Wiring.turn`)."""
    waiting = [
        tuple(target)
        for dep in page.config["dependencies"]
        if dep["backend_fn"] and dep["trigger_mode"] == "always_last"
        for target in dep["targets"]
    ]
    assert len(waiting) >= 20
    assert [event for event, count in Counter(waiting).items() if count > 1] == []


def test_no_event_is_offered_as_an_api(page):
    assert {dep["api_visibility"] for dep in page.config["dependencies"]} == {"private"}


def test_the_look_asks_nothing_of_other_servers(tmp_path):
    kwargs = page_kwargs(Settings(data_dir=tmp_path))
    theme = kwargs["theme"]
    css = theme._get_theme_css() + "".join(theme._stylesheets) + kwargs["css_paths"][0].read_text()
    assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", css)
    assert "http" not in kwargs["head"]


def test_uploads_are_bounded_and_no_folder_is_served(tmp_path):
    kwargs = page_kwargs(Settings(data_dir=tmp_path, max_upload_bytes=1000, max_model_bytes=2000))
    assert kwargs["max_file_size"] == 2000
    assert "allowed_paths" not in kwargs

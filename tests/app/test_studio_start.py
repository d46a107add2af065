"""The seconds between the start and the first picture."""

from __future__ import annotations

import threading
import time

import pytest

from studio.app.studio import build_studio
from studio.core.settings import Settings


def test_the_engine_is_ready_once_the_first_picture_has_nothing_left_to_import(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    began, imported = threading.Event(), threading.Event()
    monkeypatch.setattr("studio.app.engine.import_classes", lambda: (began.set(), imported.wait(30)))
    studio = build_studio(settings)
    studio.start()
    assert began.wait(60)
    assert not studio.status().ready
    imported.set()
    end = time.monotonic() + 30
    while not studio.status().ready:
        assert time.monotonic() < end
        time.sleep(0.01)
    studio.close()

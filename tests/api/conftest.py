"""A studio without an engine, its HTTP app, a client inside the process, and a real server."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient

from studio.api.app import create_app
from studio.core.settings import Settings
from tests.api.samples import HOST, served
from tests.fakes import FakeStudio


@pytest.fixture
def studio(tmp_path):
    fake = FakeStudio(tmp_path, step_seconds=0.005)
    fake.start()
    yield fake
    fake.close()


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path, max_upload_bytes=2**20, max_model_bytes=2**21)


@pytest.fixture
def client(studio, settings):
    app = create_app(studio, settings)
    with TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def serve():
    """Serves apps on real sockets: `serve(app)` returns the port."""
    with ExitStack() as servers:
        yield lambda app: servers.enter_context(served(app))


@pytest.fixture
def port(serve, studio, settings):
    return serve(create_app(studio, settings))

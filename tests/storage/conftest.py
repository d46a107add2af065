"""A library in a folder of its own, and a way to put pictures into it."""

import pytest
from PIL import Image

from studio.core.requests import GenerateRequest
from studio.core.settings import Settings
from studio.storage.database import Database
from studio.storage.infotext import ModelFacts
from studio.storage.library import Library


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def database(settings):
    database = Database(settings.database)
    yield database
    database.close()


@pytest.fixture
def library(settings, database):
    return Library(settings, database)


@pytest.fixture
def add(library):
    """Adds a small picture to the library; takes the request's fields, and `index` and `job`."""

    def add(*, index=0, job="", model="toytown", **fields):
        request = GenerateRequest(**{"prompt": "a red ball", "seed": 7, **fields})
        return library.add(
            Image.new("RGB", (64, 48), "red"), request, ModelFacts(model), index=index, job=job
        )

    return add

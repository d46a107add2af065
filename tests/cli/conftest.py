"""A studio that commands can talk to without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeStudio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[FakeStudio]:
    fake = FakeStudio(tmp_path / "data")
    yield fake
    fake.close()

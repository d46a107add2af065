"""Parity tests note how far we are from diffusers; `tests/conftest.py` tells it at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image

from tests.conftest import DIFFERENCE


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[float], None]:
    """Note the largest difference that a test found."""
    return lambda difference: request.node.user_properties.append((DIFFERENCE, difference))


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    gradient = torch.linspace(0, 255, 64 * 80 * 3).reshape(80, 64, 3).to(torch.uint8)
    return Image.fromarray(gradient.numpy())

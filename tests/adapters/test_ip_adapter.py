"""What the image encoder sees of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor

from studio.adapters.ip_adapter import clip_pixels


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(200, 150), (40, 300), (7, 7)])
def test_a_picture_is_seen_as_clip_was_trained(size: tuple[int, int]):
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    expected = processor(noise(*size), return_tensors="pt").pixel_values
    assert torch.equal(clip_pixels(noise(*size), 32), expected)


@pytest.mark.parametrize("upright", [False, True])
def test_of_a_strip_the_middle_is_seen_and_the_rest_never_scaled(upright: bool):
    """Scaled whole, the strip would take 600 GB."""
    strip = Image.new("RGB", (4_000_000, 1), "white")
    strip.paste("red", (1_999_900, 0, 2_000_100, 1))
    seen = clip_pixels(strip.transpose(Image.Transpose.ROTATE_90) if upright else strip, 224)
    assert torch.equal(seen, clip_pixels(Image.new("RGB", (8, 8), "red"), 224))

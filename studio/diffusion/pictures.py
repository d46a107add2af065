"""Pictures <-> tensors, and pictures into frames."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from studio.core.geometry import Extent, ResizeMode, place


def fit_picture(picture: Image.Image, frame: Extent, mode: ResizeMode) -> Image.Image:
    """`picture` in `frame`: distorted, cropped to fill, or whole with its edges drawn out."""
    placement = place(Extent(width=picture.width, height=picture.height), frame, mode)
    width = max(1, round(picture.width * placement.scale_x))
    height = max(1, round(picture.height * placement.scale_y))
    scaled = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    left, top = round(placement.x), round(placement.y)
    if mode is ResizeMode.PAD:
        return _pad_with_edges(scaled, frame, left, top)
    return scaled.crop((-left, -top, frame.width - left, frame.height - top))


def fit_grey(mask: Image.Image, frame: Extent, mode: ResizeMode) -> Image.Image:
    """A grey picture in `frame`, placed as `fit_picture` does, black beside it."""
    placement = place(Extent(width=mask.width, height=mask.height), frame, mode)
    width = max(1, round(mask.width * placement.scale_x))
    height = max(1, round(mask.height * placement.scale_y))
    scaled = mask.convert("L").resize((width, height), Image.Resampling.BILINEAR)
    left, top = round(placement.x), round(placement.y)
    return scaled.crop((-left, -top, frame.width - left, frame.height - top))


def fit_mask(mask: Image.Image, frame: Extent, mode: ResizeMode) -> torch.Tensor:
    """A grey picture in `frame`, placed as `fit_picture` does: (1, 1, H, W), 1 where white, 0 beside it."""
    return torch.from_numpy(np.array(fit_grey(mask, frame, mode)))[None, None].float() / 255


def _pad_with_edges(picture: Image.Image, frame: Extent, left: int, top: int) -> Image.Image:
    right = frame.width - picture.width - left
    bottom = frame.height - picture.height - top
    padded = np.pad(np.asarray(picture), ((top, bottom), (left, right), (0, 0)), mode="edge")
    return Image.fromarray(padded)


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """RGB picture -> (1, 3, H, W), -1 to 1, float32, in channels-last order."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB")))[None]
    return (pixels.permute(0, 3, 1, 2).float() / 255) * 2 - 1


def to_pictures(pixels: torch.Tensor) -> list[Image.Image]:
    """(B, 3, H, W), -1 to 1 -> RGB pictures; values outside are clipped."""
    scaled = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(rows) for rows in scaled.permute(0, 2, 3, 1).cpu().numpy()]

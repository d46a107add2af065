"""Pictures <-> tensors."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from studio.core.geometry import Extent, ResizeMode
from studio.diffusion.fitting import fit_grey


def fit_mask(mask: Image.Image, frame: Extent, mode: ResizeMode) -> torch.Tensor:
    """A grey picture in `frame`, placed as `fit_picture` does: (1, 1, H, W), 1 where white, 0 beside it."""
    return torch.from_numpy(np.array(fit_grey(mask, frame, mode)))[None, None].float() / 255


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """RGB picture -> (1, 3, H, W), -1 to 1, float32, in channels-last order."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB")))[None]
    return (pixels.permute(0, 3, 1, 2).float() / 255) * 2 - 1


def to_pictures(pixels: torch.Tensor) -> list[Image.Image]:
    """(B, 3, H, W), -1 to 1 -> RGB pictures; values outside are clipped."""
    scaled = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(rows) for rows in scaled.permute(0, 2, 3, 1).cpu().numpy()]

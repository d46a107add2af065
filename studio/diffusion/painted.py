"""What is painted anew: the pixels of a photo that a mask asks for, and the latents behind them. No torch."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from studio.core.geometry import Extent
from studio.core.inpaint import Inpaint
from studio.diffusion.fitting import LATENT_SCALE, resized

MASKED = 128
"""Grey values from here on count as masked where no grades are asked for."""

_TOO_FEW = 1 / 4
"""Share of the samples that a part of a mask gets on average by its area, below which it was missed.

Any part of 8 x 8 px and more gets at least so many, wherever it lies.
"""

_STEP = 8
"""Pixels by which a mask grows at once."""

Cells = npt.NDArray[np.float32]
"""(H/8, W/8): 1 where latents are painted anew, 0 where they stay, between where they change less."""


def painted(mask: Image.Image | None, photo: Extent, options: Inpaint) -> Image.Image:
    """What is painted anew of a photo: inverted, then grown, then made hard unless grades are asked for.

    Args:
        mask: grey, light where something changes, of any scale; None: nothing.

    Returns: a grey picture of the photo's size. Without `options.soft` it is 0 or 255.
    """
    size = (photo.width, photo.height)
    grey = resized(mask.convert("L"), size, Image.Resampling.BILINEAR) if mask else Image.new("L", size, 0)
    if options.invert:
        grey = ImageChops.invert(grey)
    grey = grown(grey, options.grow)
    return grey if options.soft else hardened(grey)


def hardened(mask: Image.Image) -> Image.Image:
    """0 or 255 for every grey value."""
    return mask.point(lambda value: 255 if value >= MASKED else 0)


def grown(mask: Image.Image, pixels: int) -> Image.Image:
    """A mask (L) whose light part reaches `pixels` further in every direction; less far where negative.

    Many small steps reach as far as a large one, within 5%, and take seconds less in a large photo.
    """
    change = cv2.dilate if pixels > 0 else cv2.erode
    steps, rest = divmod(abs(pixels), _STEP)
    values = np.asarray(mask)
    for reach in [_STEP] * steps + [rest] * (rest > 0):
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        values = change(values, kernel)
    return Image.fromarray(values)


def latent_cells(mask: Image.Image, *, soft: bool) -> Cells:
    """A grey picture (W x H, multiples of 8) as the mask of its latents.

    Hard masks are sampled at every eighth pixel, as in diffusers. Where that misses a thin stroke or a small
    dot, all cells that it touches are masked: what was painted must change.
    """
    if soft:
        return np.asarray(_by_cell(np.asarray(mask) / 255).mean(axis=(1, 3)), np.float32)
    masked = np.asarray(mask) >= MASKED
    sampled = masked[::LATENT_SCALE, ::LATENT_SCALE]
    return (sampled | _by_cell(_missed(masked)).any(axis=(1, 3))).astype(np.float32)


def _missed(masked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The connected parts of a hard mask of which too few pixels are sampled, if any."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(masked.astype(np.uint8))
    samples = np.bincount(parts[::LATENT_SCALE, ::LATENT_SCALE].ravel(), minlength=count)
    is_missed = samples * LATENT_SCALE**2 < stats[:, cv2.CC_STAT_AREA] * _TOO_FEW
    is_missed[0] = False  # what is not masked
    missed: npt.NDArray[np.bool_] = is_missed[parts]
    return missed


def _by_cell(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W) -> (H/8, 8, W/8, 8)"""
    height, width = pixels.shape
    return pixels.reshape(height // LATENT_SCALE, LATENT_SCALE, width // LATENT_SCALE, LATENT_SCALE)

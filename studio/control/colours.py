"""Maps that keep the picture's colours: tile, colour grid, shuffle, inpaint, and the map itself."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from studio.control.nets import Nets
from studio.control.picture import Rgb, at_resolution, for_net
from studio.core.preprocess import Colour, Map, Shuffle, Tile

_LONGEST = 2**15 - 2
"""Longest side that OpenCV can displace, px."""


def as_it_is(picture: Rgb, options: Map, nets: Nets) -> Rgb:
    """The picture is the map."""
    return picture


def tile(picture: Rgb, options: Tile, nets: Nets) -> Rgb:
    """The picture made smaller by `factor` and large again."""
    if options.factor == 1:
        return picture
    return _through(picture, options.factor, cv2.INTER_AREA, cv2.INTER_CUBIC)


def colour(picture: Rgb, options: Colour, nets: Nets) -> Rgb:
    """Squares of one colour each, as T2I-Adapter's colour grids are made (Mou et al. 2023)."""
    return _through(picture, options.cell, cv2.INTER_CUBIC, cv2.INTER_NEAREST)


def _through(picture: Rgb, factor: float, down: int, up: int) -> Rgb:
    height, width = picture.shape[:2]
    small = (max(1, int(width / factor)), max(1, int(height / factor)))
    coarse = cv2.resize(picture, small, interpolation=down)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=up), np.uint8)


def shuffle(picture: Rgb, options: Shuffle, nets: Nets) -> Rgb:
    """The picture under a smooth random displacement (Zhang et al. 2023); the same one for the same seed."""
    too_long = max(picture.shape) > _LONGEST
    values = (for_net if too_long else at_resolution)(picture, options.resolution)
    height, width = values.shape[:2]
    random = np.random.RandomState(options.seed)
    across, down = (
        np.asarray(_noise(height, width, options.scale, random) * (side - 1), np.float32)
        for side in (width, height)
    )
    return np.asarray(cv2.remap(values, across, down, cv2.INTER_LINEAR), np.uint8)


def _noise(height: int, width: int, scale: int, random: np.random.RandomState) -> NDArray[np.float64]:
    """(height, width) in 0-1, smooth over `scale` px; controlnet_aux's, with a seed."""
    coarse = random.uniform(low=0, high=1, size=((height // scale) + 2, (width // scale) + 2, 1))
    smooth = cv2.resize(coarse, (width + 2 * scale, height + 2 * scale), interpolation=cv2.INTER_CUBIC)
    noise = smooth[scale : scale + height, scale : scale + width]
    spread = float(noise.max() - noise.min())
    return np.asarray((noise - noise.min()) / (spread or 1.0), np.float64)

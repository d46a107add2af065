"""Pictures of every mode and size as arrays, and the size at which a preprocessor reads them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from studio.core.preprocess import MAX_RESOLUTION

Rgb = NDArray[np.uint8]
"""(H, W, 3), 0-255."""

Grey = NDArray[np.uint8]
"""(H, W), 0-255."""

STEP = 64
"""Nets halve a picture up to six times, so both of its sides are a multiple of this, px."""

MAX_LONGER_SIDE = 2 * MAX_RESOLUTION
"""Longest that the longer side may be where a net reads it, px: a strip is read smaller than asked."""

MAX_RATIO = 8
"""Longer to shorter side, up to which nets of transformers read a picture in its own proportions."""

_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_rgb(image: Image.Image, ground: str = "white") -> Rgb:
    """Any picture as 8 bit RGB, upright; what is transparent is laid on `ground`."""
    image = ImageOps.exif_transpose(image)
    if image.mode in _DEEP_MODES:
        deep = np.asarray(image.convert("I"), np.float32)
        scale = 257 if deep.max(initial=0) > 255 else 1  # Pillow would clip 16 bits instead of scaling them
        image = Image.fromarray((deep / scale).clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray(np.nan_to_num(np.asarray(image)).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, ground), layer)
    return np.array(image.convert("RGB"))


def is_empty(rgb: Rgb) -> bool:
    """True for a canvas on which nothing was drawn: all of its pixels are alike."""
    return bool((rgb == rgb[:1, :1]).all())


def reading_size(size: tuple[int, ...], resolution: int, step: int = STEP) -> tuple[int, int]:
    """(height, width) px at which a net reads a picture; controlnet_aux's, but for extreme pictures.

    Args:
        size: height and width of the picture, px.
        resolution: px of the shorter side; 0 means the picture's own, up to `MAX_RESOLUTION`.
        step: both sides become the nearest multiple of it.
    """
    height, width = size
    shorter = resolution or min(height, width, MAX_RESOLUTION)
    scale = min(shorter / min(height, width), MAX_LONGER_SIDE / max(height, width))
    return _multiple(height * scale, step), _multiple(width * scale, step)


def _multiple(length: float, step: int) -> int:
    return max(step, int(np.round(length / step)) * step)


def for_net(rgb: Rgb, resolution: int) -> Rgb:
    """The picture as a net reads it: see `reading_size`."""
    return scaled(rgb, *reading_size(rgb.shape[:2], resolution))


def at_resolution(rgb: Rgb, resolution: int) -> Rgb:
    """The picture as one without a net reads it: as it is, or as controlnet_aux scales it."""
    return for_net(rgb, resolution) if resolution else rgb


def scaled(rgb: Rgb, height: int, width: int) -> Rgb:
    """`rgb` at another size, by the filters that controlnet_aux uses."""
    if rgb.shape[:2] == (height, width):
        return rgb
    grows = height * width > rgb.shape[0] * rgb.shape[1]
    how = cv2.INTER_LANCZOS4 if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), np.uint8)


def not_too_narrow(rgb: Rgb) -> Rgb:
    """A strip made wider: the processors of transformers would scale its shorter side to nothing.

    It is made shorter as well where it is longer than any net reads, so that a thread does not become a wall.
    """
    height, width = rgb.shape[:2]
    longer = max(height, width)
    if longer <= MAX_RATIO * min(height, width):
        return rgb
    scale = min(1.0, MAX_LONGER_SIDE / longer)
    least = -(-round(longer * scale) // MAX_RATIO)
    return scaled(rgb, max(round(height * scale), least), max(round(width * scale), least))


def to_map(drawn: NDArray[np.uint8], height: int, width: int, *, exact: bool = False) -> Rgb:
    """What a preprocessor drew, (h, w) or (h, w, 3), as RGB of the picture's size.

    Args:
        exact: no colour may come in that was not there: for maps whose colours are classes.
    """
    if drawn.shape[:2] != (height, width):
        how = cv2.INTER_NEAREST if exact else cv2.INTER_LINEAR
        drawn = np.asarray(cv2.resize(drawn, (width, height), interpolation=how), np.uint8)
    if drawn.ndim == 2:
        drawn = np.repeat(drawn[:, :, None], 3, axis=2)
    return np.ascontiguousarray(drawn, np.uint8)

"""Maps of edges and strokes that need no net: Canny, scribbles, line art, a threshold."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from studio.control.nets import Nets
from studio.control.picture import Grey, Rgb, at_resolution
from studio.core.preprocess import Canny, LineArtStandard, ScribbleDrawing, ScribbleXdog, Threshold

_FINE, _COARSE = 0.5, 5.0
"""Deviations of XDoG's two Gaussians, px."""


def canny(picture: Rgb, options: Canny, nets: Nets) -> Grey:
    """Edges, one pixel wide (Canny 1986). Each gradient is that of its strongest channel."""
    return np.asarray(
        cv2.Canny(at_resolution(picture, options.resolution), options.low, options.high), np.uint8
    )


def scribble_drawing(picture: Rgb, options: ScribbleDrawing, nets: Nets) -> Grey:
    """White where a stroke is: where any channel is dark."""
    strokes = at_resolution(picture, options.resolution).min(axis=2) < options.threshold
    return _black_and_white(strokes)


def scribble_xdog(picture: Rgb, options: ScribbleXdog, nets: Nets) -> Grey:
    """White where the picture is darker than what lies around it (Winnemöller et al. 2012)."""
    values = at_resolution(picture, options.resolution).astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(values, (0, 0), sigma) for sigma in (_FINE, _COARSE))
    darker = (coarse - fine).min(axis=2).clip(0, 255)
    return _black_and_white(2 * darker > options.threshold)


def lineart_standard(picture: Rgb, options: LineArtStandard, nets: Nets) -> Grey:
    """Lines as bright as they are darker than their surroundings, the median line half white."""
    values = at_resolution(picture, options.resolution).astype(np.float32)
    darker = (cv2.GaussianBlur(values, (0, 0), options.sigma) - values).min(axis=2).clip(0, 255)
    lines = darker[darker > options.threshold]
    # Below 16 the lines are noise, which must not be raised to white.
    typical = max(16.0, float(np.median(lines))) if lines.size else 16.0
    return np.asarray((darker / typical * 127).clip(0, 255), np.uint8)


def threshold(picture: Rgb, options: Threshold, nets: Nets) -> Grey:
    """White where all channels are light."""
    return _black_and_white(picture.min(axis=2) > options.level)


def _black_and_white(white: NDArray[np.bool_]) -> Grey:
    return np.asarray(np.where(white, 255, 0), np.uint8)

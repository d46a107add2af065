"""A map alone, for the many tests that look at nothing else."""

from __future__ import annotations

from PIL import Image

from studio.control.annotators import Annotators
from studio.control.preprocess import make_map
from studio.core.preprocess import Preprocessor


def control_map(image: Image.Image, preprocessor: Preprocessor, annotators: Annotators) -> Image.Image:
    return make_map(image, preprocessor, annotators).image

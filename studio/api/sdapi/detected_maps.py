"""The maps that ControlNet units followed. The extension appends them to the pictures of a reply."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

from studio.api.sdapi.controlnet_args import Units
from studio.core.geometry import Extent, ResizeMode, place
from studio.core.jobs import JobView
from studio.core.protocol import Studio
from studio.core.requests import GenerateRequest


def detected_maps(job: JobView, units: Units, studio: Studio, frame: Extent) -> list[bytes]:
    """For each unit that wants it the map, as large as the pictures and where it lies in them.

    An image prompt has no map: its pictures are given as they are.

    Args:
        job: it has finished.
        units: those that its request was made of.
        frame: size of its pictures, px.
    """
    assert isinstance(job.request, GenerateRequest)
    found = [*_of_controls(job, units, studio, frame), *_of_prompts(job.request, units, studio)]
    return [file for _, file in sorted(found, key=lambda each: each[0])]


_Numbered = tuple[int, bytes]
"""A unit's place, and a file."""


def _of_controls(job: JobView, units: Units, studio: Studio, frame: Extent) -> Iterator[_Numbered]:
    assert isinstance(job.request, GenerateRequest)
    for unit, control, blob in zip(units.control_units, job.request.controls, job.blobs, strict=True):
        if unit.save_detected_map:
            yield unit.number, _framed(studio.blob(blob), frame, control.resize_mode)


def _of_prompts(request: GenerateRequest, units: Units, studio: Studio) -> Iterator[_Numbered]:
    for unit, prompt in zip(units.prompt_units, request.image_prompts, strict=True):
        if unit.save_detected_map:
            yield from ((unit.number, studio.blob(image)) for image in prompt.images)


def _framed(file: bytes, frame: Extent, mode: ResizeMode) -> bytes:
    """A picture in `frame`, as the net reads it: distorted, cropped, or whole with its edges drawn out."""
    with Image.open(io.BytesIO(file)) as image:
        is_deep = image.mode.startswith(("I", "F"))  # which Pillow would clip instead of scaling it
        if image.size == (frame.width, frame.height) or is_deep:
            return file
        upright = ImageOps.exif_transpose(image)
    made = io.BytesIO()
    _placed(upright.convert("RGBA" if upright.has_transparency_data else "RGB"), frame, mode).save(
        made, "PNG"
    )
    return made.getvalue()


def _placed(picture: Image.Image, frame: Extent, mode: ResizeMode) -> Image.Image:
    placement = place(Extent(width=picture.width, height=picture.height), frame, mode)
    width = max(1, round(picture.width * placement.scale_x))
    height = max(1, round(picture.height * placement.scale_y))
    scaled = picture.resize((width, height), Image.Resampling.LANCZOS)
    left, top = round(placement.x), round(placement.y)
    if mode is not ResizeMode.PAD:
        return scaled.crop((-left, -top, frame.width - left, frame.height - top))
    beside = ((top, frame.height - height - top), (left, frame.width - width - left), (0, 0))
    return Image.fromarray(np.pad(np.asarray(scaled), beside, mode="edge"))

"""The options of `easel generate`, named after the fields of the request that they fill."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.cli.controls import (
    Controls,
    ImagePrompts,
    control_entries,
    image_prompt_entries,
    named_files,
)
from studio.cli.scene import BoxOption, BoxShare, layout_fields
from studio.core.errors import InvalidRequest
from studio.core.protocol import Studio
from studio.core.requests import GenerateRequest, SourceImage
from studio.core.samplers import Sampler, Schedule

_USUAL = GenerateRequest()
_USUAL_STRENGTH = SourceImage.model_fields["strength"].default

_picture = partial(typer.Option, rich_help_panel="Picture")
_process = partial(typer.Option, rich_help_panel="Process")


@dataclass(frozen=True)
class PictureOptions:
    """What the pictures are: their size, their number, and what they start from."""

    negative_prompt: Annotated[str, _picture(help="What not to show.")] = ""
    size: Annotated[
        str | None, _picture(metavar="WxH", help="Pixels; without it, what the model was trained on.")
    ] = None
    seed: Annotated[int, _picture(help="The same seed gives the same picture; -1 draws one.")] = _USUAL.seed
    batch_size: Annotated[int, _picture(help="Pictures in one pass.")] = _USUAL.batch_size
    batches: Annotated[int, _picture(help="Passes, one after another.")] = _USUAL.batches
    source: Annotated[Path | None, _picture(exists=True, dir_okay=False, help="Picture to start from.")] = (
        None
    )
    strength: Annotated[
        float | None,
        _picture(
            min=0,
            max=1,
            help=f"With --source: 0 keeps the picture, 1 repaints it; {_USUAL_STRENGTH} unless told.",
        ),
    ] = None

    def fields(self, studio: Studio, native_size: int) -> dict[str, Any]:
        """Those of a `GenerateRequest`; without --size, both sides have `native_size` px.

        Raises: InvalidRequest, ImageError.
        """
        width, height = parse_size(self.size) if self.size else (native_size, native_size)
        return {
            "negative_prompt": self.negative_prompt,
            "width": width,
            "height": height,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "batches": self.batches,
            "source": self._source(studio),
        }

    def _source(self, studio: Studio) -> dict[str, Any] | None:
        if self.source:
            strength = _USUAL_STRENGTH if self.strength is None else self.strength
            return {"image": studio.put_blob(self.source.read_bytes()), "strength": strength}
        if self.strength is not None:
            raise InvalidRequest(
                "--strength says how much of a picture is repainted, and there is none.", "Add --source."
            )
        return None


@dataclass(frozen=True)
class ProcessOptions:
    """How the pictures are made."""

    model: Annotated[
        str, _process(help="Id or name, as in: easel models list. Without it, the active one.")
    ] = ""
    vae: Annotated[str, _process(help="A VAE instead of the model's own.")] = ""
    steps: Annotated[int, _process(help="More take longer, and show more detail up to a point.")] = (
        _USUAL.steps
    )
    sampler: Annotated[
        Sampler, _process(case_sensitive=False, help="How the noise is taken away, step by step.")
    ] = _USUAL.sampler
    schedule: Annotated[
        Schedule, _process(case_sensitive=False, help="How much noise is left after each step.")
    ] = _USUAL.schedule
    guidance_scale: Annotated[float, _process(help="Weight of the prompt; 1 switches guidance off.")] = (
        _USUAL.guidance_scale
    )
    clip_skip: Annotated[int, _process(help="1 uses the text encoder's last layer, 2 the one before.")] = (
        _USUAL.clip_skip
    )
    hires: Annotated[
        float | None, _process(metavar="SCALE", help="A second pass, this many times the size.")
    ] = None

    def fields(self) -> dict[str, Any]:
        """Those of a `GenerateRequest`, but for the model: its name must be looked up."""
        told = asdict(self) | {"hires": {"scale": self.hires} if self.hires else None}
        del told["model"]
        return told


@dataclass(frozen=True)
class ControlOptions:
    """What the pictures follow beside text."""

    control: Controls = None
    image_prompt: ImagePrompts = None
    box: BoxOption = None
    box_share: BoxShare = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Maps and pictures that are named. Raises: InvalidRequest."""
        return named_files(self.control or (), self.image_prompt or ())

    def fields(self, studio: Studio) -> dict[str, Any]:
        """Those of a `GenerateRequest`. Raises: InvalidRequest, NotFound, ImageError."""
        return {
            "controls": control_entries(studio, self.control or ()),
            "image_prompts": image_prompt_entries(studio, self.image_prompt or ()),
            "boxes": layout_fields(self.box or (), self.box_share),
        }


def parse_size(text: str) -> tuple[int, int]:
    """`768x512` -> (768, 512). Raises: InvalidRequest."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.lower())
    if not match:
        raise InvalidRequest(f"--size needs WIDTHxHEIGHT in pixels, as in 768x512, not {text!r}.")
    return int(match[1]), int(match[2])

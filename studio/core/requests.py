"""Requests: everything that determines a piece of work, in one small immutable record.

The same types serve the page's form, the HTTP API, the command line, the queue and the metadata of an
image. Pictures inside a request are content hashes of stored blobs, so a request is small, comparable
and complete: an image restores every setting that made it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter

from studio.core.base import BlobId, ModelId, Record
from studio.core.boxes import Boxes
from studio.core.conditions import (
    MAX_STACKED,
    ControlInput,
    HypernetworkInput,
    ImagePrompt,
    LoraInput,
)
from studio.core.geometry import Extent, ResizeMode
from studio.core.inpaint import Inpaint
from studio.core.preprocess import Preprocessor
from studio.core.samplers import Sampler, Schedule, Upscaler

MAX_SIDE = 4096
"""Longest side of a generated picture, px."""

MAX_SEED = 2**32 - 1

RANDOM_SEED = -1

Prompt = Annotated[str, StringConstraints(max_length=20_000)]


class SourceImage(Record):
    """The picture that image-to-image starts from."""

    image: BlobId
    strength: float = Field(
        0.75, ge=0, le=1, description="share of the steps that are run; 0 keeps the picture"
    )
    resize_mode: ResizeMode = ResizeMode.CROP


class HiresPass(Record):
    """A second, larger pass over the first result."""

    scale: float = Field(2.0, ge=1, le=4, description="times the first pass' size")
    steps: int = Field(0, ge=0, le=150, description="0 means as many as the first pass")
    strength: float = Field(0.7, ge=0, le=1, description="share of the steps that are run")
    upscaler: Upscaler = Upscaler.LATENT


class Variation(Record):
    """A second noise, mixed into the first by spherical interpolation."""

    seed: int = Field(RANDOM_SEED, ge=RANDOM_SEED, le=MAX_SEED)
    strength: float = Field(0.0, ge=0, le=1, description="0 is the first noise, 1 the second")


class OutputOptions(Record):
    format: Literal["png", "jpeg", "webp"] = "png"
    quality: int = Field(92, ge=1, le=100, description="JPEG and WebP only")


class GenerateRequest(Record):
    """One batch of pictures. Image i of it is the one that `seed + i` makes alone."""

    kind: Literal["generate"] = "generate"
    model: ModelId = Field("", description="id of a checkpoint; empty means the active one")
    vae: ModelId = Field("", description="id of a VAE; empty means the checkpoint's own")
    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    width: int = Field(512, ge=64, le=MAX_SIDE, multiple_of=8, description="px")
    height: int = Field(512, ge=64, le=MAX_SIDE, multiple_of=8, description="px")
    steps: int = Field(20, ge=1, le=150)
    sampler: Sampler = Sampler.DPMPP_2M
    schedule: Schedule = Schedule.AUTOMATIC
    guidance_scale: float = Field(7.0, ge=1, le=30, description="1 switches guidance off")
    seed: int = Field(RANDOM_SEED, ge=RANDOM_SEED, le=MAX_SEED, description="-1 draws one")
    batch_size: int = Field(1, ge=1, le=16, description="pictures in one pass")
    batches: int = Field(1, ge=1, le=64, description="passes, one after another")
    clip_skip: int = Field(
        1, ge=1, le=12, description="1 uses the text encoder's last layer, 2 the one before"
    )
    source: SourceImage | None = None
    inpaint: Inpaint | None = Field(None, description="paint a part of the source anew")
    boxes: Boxes | None = None
    hires: HiresPass | None = None
    variation: Variation | None = None
    loras: tuple[LoraInput, ...] = Field((), max_length=MAX_STACKED)
    hypernetworks: tuple[HypernetworkInput, ...] = Field((), max_length=MAX_STACKED)
    controls: tuple[ControlInput, ...] = Field((), max_length=MAX_STACKED)
    image_prompts: tuple[ImagePrompt, ...] = Field((), max_length=MAX_STACKED)
    output: OutputOptions = OutputOptions()

    @property
    def extent(self) -> Extent:
        return Extent(width=self.width, height=self.height)

    @property
    def image_count(self) -> int:
        return self.batch_size * self.batches

    @property
    def blobs(self) -> frozenset[BlobId]:
        """Every stored blob that this request needs."""
        named = [self.source.image] if self.source else []
        if self.inpaint and self.inpaint.mask:
            named.append(self.inpaint.mask)
        for box in self.boxes.boxes if self.boxes else ():
            named += filter(None, (box.image,))
        for control in self.controls:
            named += filter(None, (control.image, control.mask))
            named += control.preprocessor.blobs if control.preprocessor else ()
        for prompt in self.image_prompts:
            named += filter(None, (*prompt.images, prompt.mask))
        return frozenset(named)


class InstallRequest(Record):
    """Download a model from the Hub into the models folder. Paused and resumed by cancel and retry."""

    kind: Literal["install"] = "install"
    repo: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", max_length=200)
    ]
    revision: Annotated[str, StringConstraints(pattern=r"^[\w.-]+$", max_length=100)] = "main"
    file: Annotated[str, StringConstraints(max_length=300)] = Field(
        "", description="one file of the repository; empty means a whole diffusers folder"
    )


class PreprocessRequest(Record):
    """The map of one picture. The job's one blob is a PNG of the picture's size."""

    kind: Literal["preprocess"] = "preprocess"
    image: BlobId = Field(description="photo or drawing")
    preprocessor: Preprocessor

    @property
    def blobs(self) -> frozenset[BlobId]:
        """Every stored blob that this request needs."""
        return frozenset({self.image}) | self.preprocessor.blobs


JobRequest = Annotated[GenerateRequest | InstallRequest | PreprocessRequest, Field(discriminator="kind")]
"""Anything the queue takes."""

job_request: TypeAdapter[JobRequest] = TypeAdapter(JobRequest)
"""Reads any request from its JSON: `job_request.validate_json(text)`."""

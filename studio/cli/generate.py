"""`easel generate`: pictures without a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from studio.cli.generate_options import ControlOptions, PictureOptions, ProcessOptions
from studio.cli.groups import grouped
from studio.cli.inpaint import InpaintOptions
from studio.cli.options import StudioOptions
from studio.cli.outputs import Naming, asked_place, places_for, writing_explained
from studio.cli.progress import follow
from studio.cli.requests import read_request
from studio.cli.session import open_studio
from studio.core.atomic import write_bytes
from studio.core.errors import EaselError, NotFound
from studio.core.models import ModelInfo, ModelKind
from studio.core.protocol import Studio
from studio.core.requests import GenerateRequest

EPILOG = (
    "Examples:\n\n"
    'easel generate "a red ball and a blue house on grass" --seed 7 --out ball.png\n\n'
    'easel generate "the same at night" --source ball.png --strength 0.6 --out night.png\n\n'
    'easel generate "a lighthouse" --model my-model --size 768x512 --hires 2 --batches 4 --out light.jpg\n\n'
    'easel generate "a house" --control my-canny=canny:photo.jpg@0.8 --control my-depth=depth.png\n\n'
    'easel generate "a house" --image-prompt my-ip-adapter=style.png@0.6\n\n'
    'easel generate "a meadow" --box "a red ball@0.1,0.4,0.5,0.9" --box "a tree@0.6,0,1,0.8"\n\n'
    'easel generate "a cat" --source photo.jpg --mask mask.png --strength 1 --area "only masked"\n\n'
    'easel generate "a lake" --source photo.jpg --outpaint left=256 --size 768x512 --strength 1'
)
FORMATS: dict[str, Literal["png", "jpeg", "webp"]] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
}

Words = Annotated[
    str,
    typer.Argument(metavar="PROMPT", help="What to show. Understands (red:1.3) and <lora:name:0.8>."),
]
Out = Annotated[
    Path,
    typer.Option(
        help="File to write: .png, .jpg or .webp. Several pictures become NAME-1, NAME-2, ...; where a name "
        "exists, the next number that is free."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that have these names.")]

_PICTURES = Naming(tuple(FORMATS))
_USUAL_OUT = Path("out.png")

Places = Callable[[int], tuple[Path, ...]]
"""Where so many pictures go."""


@grouped
def generate(
    prompt: Words,
    picture: PictureOptions,
    inpaint: InpaintOptions,
    process: ProcessOptions,
    control: ControlOptions,
    machine: StudioOptions,
    out: Out = _USUAL_OUT,
    force: Force = False,
) -> None:
    """Generate pictures and write them to files; the library keeps them as well.

    The same request, queue and engine as in the page: the same settings give the same picture. The
    files' names go to stdout, progress to stderr. Every file carries the settings that made it.
    """
    file_format = FORMATS[asked_place(out, _USUAL_OUT, _PICTURES).suffix.lower()]
    sources = (*filter(None, (picture.source, inpaint.mask)), *control.files)
    places = partial(places_for, out, _USUAL_OUT, sources, force=force, naming=_PICTURES)
    with open_studio(machine.settings()) as studio:
        checkpoint = find_checkpoint(studio, process.model)
        request = read_request(
            GenerateRequest,
            "generate",
            prompt=prompt,
            model=checkpoint.id,
            output={"format": file_format},
            **picture.fields(studio, checkpoint.native_size),
            **inpaint.fields(studio, picture.source),
            **process.fields(),
            **control.fields(studio),
        )
        for path in make_pictures(studio, request, places):
            typer.echo(path)


def make_pictures(studio: Studio, request: GenerateRequest, places: Places) -> Iterator[Path]:
    """Run `request` through the studio's queue, and copy each of its pictures out of the library.

    Raises: InvalidRequest, before anything runs: there is no place for them. JobCancelled, or EaselError
    with the job's own message: behind the pictures that were finished.
    """
    places(request.image_count)
    job = studio.submit(request)
    studio.start()
    fault: EaselError | None = None
    try:
        follow(studio, job.id)
    except EaselError as error:
        fault = error
    for path, image in zip(places(request.image_count), studio.job(job.id).images, strict=False):
        with writing_explained(path):
            write_bytes(path, studio.image_path(image).read_bytes())
        yield path
    if fault:
        raise fault


def find_checkpoint(studio: Studio, name: str) -> ModelInfo:
    """The checkpoint with this id or name; without a name, the active one.

    Raises: NotFound.
    """
    wanted = name or studio.status().active_model
    checkpoints = studio.models(ModelKind.CHECKPOINT)
    for checkpoint in checkpoints:
        if wanted and wanted in (checkpoint.id, checkpoint.name):
            return checkpoint
    names = ", ".join(checkpoint.name for checkpoint in checkpoints) or "none at all"
    raise NotFound(f"There is no checkpoint {wanted!r} here, but {names}.", "See: easel models list")

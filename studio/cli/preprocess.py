"""`easel preprocess`: control maps without a page. One command a preprocessor, its options as in the page."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from studio.cli.options import STUDIO_PANEL, DataDir, Device, ModelsDirs, settings_from
from studio.cli.outputs import Naming, place_for, writing_explained
from studio.cli.progress import follow
from studio.cli.requests import read_request
from studio.cli.session import open_studio
from studio.core.annotator_nets import WEIGHTS
from studio.core.annotators import FACTS
from studio.core.atomic import write_bytes
from studio.core.openpose import POSE_CHUNK
from studio.core.preprocess import PREPROCESSORS, Options
from studio.core.preprocessor_facts import PreprocessorFacts
from studio.core.protocol import Studio
from studio.core.requests import PreprocessRequest
from studio.core.settings import Settings

EPILOG = (
    "Examples:\n\neasel preprocess canny photo.jpg --low 80 --high 160 --out edges.png\n\n"
    "easel preprocess depth-anything photo.jpg\n\n"
    "easel preprocess pose-openpose dancers.jpg --hands --json dancers.json\n\n"
    "Each explains its options: easel preprocess canny --help"
)

app = typer.Typer(
    help="Make the map that a ControlNet follows out of a photo or drawing: edges, depth, poses, ...\n\n"
    "The map has the picture's size. Nets are taken from the models folders, or fetched on first use.",
    epilog=EPILOG,
    no_args_is_help=True,
)

Picture = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Photo or drawing.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="PNG file to write; without it, PICTURE-KIND.png beside the picture. Where it exists: "
        "NAME-2, ..."
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="File for the pose itself, as OpenPose's JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that have these names.")]

_NOT_OPTIONS = frozenset({"kind", "mask"})
_MAPS, _POSES = Naming((".png",)), Naming((".json",), "--json")


@dataclass(frozen=True)
class Target:
    """Where a map goes, and the pose that it shows."""

    proposed: Path
    """The map's place where none is told."""
    sources: tuple[Path, ...]
    """What it is made of, which is never replaced."""
    out: Path | None = None
    json_out: Path | None = None
    force: bool = False

    def map_place(self) -> Path:
        """Free right now, unless it may be replaced. Raises: InvalidRequest, as `place_for`."""
        return place_for(self.out, self.proposed, self.sources, force=self.force, naming=_MAPS)

    def pose_place(self) -> Path | None:
        """The same for the pose; None where it is not wanted."""
        if self.json_out is None:
            return None
        proposed = self.proposed.with_suffix(".json")
        return place_for(self.json_out, proposed, self.sources, force=self.force, naming=_POSES)


def make_map(studio: Studio, picture: Path, options: dict[str, Any], target: Target) -> Iterator[Path]:
    """Run a preprocessor through the studio's queue, and write the map that it makes.

    Returns: the files that were written.

    Raises: InvalidRequest, before anything runs, for options and names that cannot be.
    """
    image = studio.put_blob(picture.read_bytes())
    request = read_request(PreprocessRequest, "preprocess", image=image, preprocessor=options)
    target.map_place()
    target.pose_place()
    job = studio.submit(request)
    studio.start()
    (blob,) = follow(studio, job.id).blobs
    data = studio.blob(blob)
    yield _write(target.map_place(), data)
    if place := target.pose_place():
        yield _write(place, _pose(data).encode())


def _write(place: Path, data: bytes) -> Path:
    with writing_explained(place):
        write_bytes(place, data)
    return place


def _pose(png: bytes) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return str(image.info.get(POSE_CHUNK, ""))


def _command(kind: str, options: type[Options]) -> Callable[..., None]:
    """The command of one preprocessor, with a parameter for each of its options."""

    def run(**given: Any) -> None:
        picture, mask, settings = given.pop("picture"), given.pop("mask", None), _settings(given)
        target = Target(
            picture.with_name(f"{picture.stem}-{kind}.png"),
            (picture, mask) if mask else (picture,),
            **{name: given.pop(name) for name in ("out", "json_out", "force") if name in given},
        )
        with open_studio(settings) as studio:
            if mask:
                given["mask"] = studio.put_blob(mask.read_bytes())
            for path in make_map(studio, picture, {"kind": kind, **given}, target):
                typer.echo(path)

    parameters = list(_parameters(kind, options))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__doc__ = _help(FACTS[kind], options)
    return run


def _settings(given: dict[str, Any]) -> Settings:
    return settings_from(given.pop("data_dir"), given.pop("models_dir"), device=given.pop("device"))


def _help(facts: PreprocessorFacts, options: type[Options]) -> str:
    needed = dict.fromkeys(WEIGHTS[need.nets[0]].title for need in facts.needs)
    about = inspect.getdoc(options) or facts.title
    return f"{about}\n\nNeeds: {', '.join(needed)}." if needed else about


def _parameters(kind: str, options: type[Options]) -> Iterator[inspect.Parameter]:
    yield _parameter("picture", Picture)
    yield _parameter("out", Out, None)
    yield _parameter("force", Force, False)
    for name, field in options.model_fields.items():
        if name not in _NOT_OPTIONS:
            yield _option(name, field)
    if "mask" in options.model_fields:
        described = options.model_fields["mask"].description
        mask = typer.Option(exists=True, dir_okay=False, help=_sentence(described))
        yield _parameter("mask", Annotated[Path | None, mask], None)
    if FACTS[kind].group == "Pose":
        yield _parameter("json_out", Json, None)
    yield _parameter("data_dir", DataDir, None)
    yield _parameter("models_dir", ModelsDirs, None)
    yield _parameter("device", Device, "auto")


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    bounds = {
        new: value
        for old, new in (("ge", "min"), ("le", "max"))
        for each in field.metadata
        if (value := getattr(each, old, None)) is not None
    }
    panel = STUDIO_PANEL if name in ("model", "detector") else "Options"
    option = typer.Option(help=_sentence(field.description), rich_help_panel=panel, **bounds)
    return _parameter(name, Annotated[field.annotation, option], field.default)


def _sentence(description: str | None) -> str:
    text = description or ""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


for _kind, _options in PREPROCESSORS.items():
    _run = _command(_kind, _options)
    app.command(_kind.replace("_", "-"), rich_help_panel=FACTS[_kind].group)(_run)
    if "_" in _kind:  # as requests and the API write it
        app.command(_kind, hidden=True)(_run)

"""`--control MODEL=FILE` and `--image-prompt MODEL=FILE` of `easel generate`: what it follows beside text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.core.errors import InvalidRequest, NotFound
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import PREPROCESSORS
from studio.core.protocol import Studio

Controls = Annotated[
    list[str] | None,
    typer.Option(
        "--control",
        metavar="MODEL=[HOW:]FILE[@WEIGHT]",
        help="Follow a map, by a ControlNet or T2I-Adapter. HOW makes the map of a photo: canny, depth-dpt, "
        "... as in: easel preprocess --help. May be given several times.",
        rich_help_panel="Control",
    ),
]
ImagePrompts = Annotated[
    list[str] | None,
    typer.Option(
        "--image-prompt",
        metavar="MODEL=FILE[@WEIGHT]",
        help="Look like this picture, by an IP-Adapter. May be given several times.",
        rich_help_panel="Control",
    ),
]

_CONTROL_KINDS = (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER)
_WEIGHT = re.compile(r"(.+)@(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class _Told:
    """One value of the options, taken apart."""

    model: str
    how: str
    file: Path
    weight: float | None

    @property
    def weights(self) -> dict[str, float]:
        return {} if self.weight is None else {"weight": self.weight}


def control_entries(studio: Studio, values: Iterable[str]) -> list[dict[str, Any]]:
    """The fields of a `ControlInput` for each value. Raises: InvalidRequest, NotFound, ImageError."""
    entries = []
    for told in (_parse(value, "--control") for value in values):
        entries.append(
            {
                "model": _find(studio, told.model, _CONTROL_KINDS).id,
                "image": studio.put_blob(told.file.read_bytes()),
                "preprocessor": {"kind": told.how} if told.how else None,
                **told.weights,
            }
        )
    return entries


def image_prompt_entries(studio: Studio, values: Iterable[str]) -> list[dict[str, Any]]:
    """The fields of an `ImagePrompt` for each value. Raises: InvalidRequest, NotFound, ImageError."""
    entries = []
    for told in (_parse(value, "--image-prompt") for value in values):
        model = _find(studio, told.model, (ModelKind.IP_ADAPTER,)).id
        images = (studio.put_blob(told.file.read_bytes()),)
        entries.append({"model": model, "images": images, **told.weights})
    return entries


def named_files(controls: Iterable[str], image_prompts: Iterable[str]) -> tuple[Path, ...]:
    """The pictures that the values of both options name. Raises: InvalidRequest."""
    told = (
        *(_parse(value, "--control") for value in controls),
        *(_parse(value, "--image-prompt") for value in image_prompts),
    )
    return tuple(each.file for each in told)


def _parse(value: str, option: str) -> _Told:
    model, equals, rest = value.partition("=")
    match = _WEIGHT.fullmatch(rest)
    rest, weight = (match[1], float(match[2])) if match else (rest, None)
    how, colon, file = rest.partition(":")
    how = how.replace("-", "_")
    if not (colon and how in PREPROCESSORS and option == "--control"):
        how, file = "", rest
    if not (model and equals and file):
        raise InvalidRequest(f"{option} needs MODEL=FILE, as in canny=edges.png@0.8, not {value!r}.")
    if not Path(file).is_file():
        remedy = "What stands before a colon is listed by: easel preprocess --help" if colon else ""
        raise InvalidRequest(f"{option} {model} needs a picture, and there is no file {file}.", remedy)
    return _Told(model, how, Path(file), weight)


def _find(studio: Studio, name: str, kinds: tuple[ModelKind, ...]) -> ModelInfo:
    models = [info for kind in kinds for info in studio.models(kind)]
    for info in models:
        if name in (info.id, info.name):
            return info
    what = " or ".join(kind.noun for kind in kinds)
    names = ", ".join(info.name for info in models) or "none at all"
    raise NotFound(f"There is no {what} {name!r} here, but {names}.", "See: easel models list")

"""`--mask FILE` of `easel generate` and how it is painted, named after the fields of the request."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.core.errors import InvalidRequest
from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent, Outpaint
from studio.core.protocol import Studio

_USUAL: dict[str, Any] = {name: field.default for name, field in Inpaint.model_fields.items()}
_SIDES = tuple(Outpaint.model_fields)

_option = partial(typer.Option, rich_help_panel="Inpainting")


@dataclass(frozen=True)
class InpaintOptions:
    """Which part of the source is painted anew, and how."""

    mask: Annotated[
        Path | None,
        _option(
            exists=True,
            dir_okay=False,
            help="With --source: paint anew only what is light in this picture, or opaque on its "
            "transparent layer.",
        ),
    ] = None
    content: Annotated[MaskedContent, _option(help="What lies under the mask when painting starts.")] = (
        _USUAL["content"]
    )
    area: Annotated[
        InpaintArea, _option(help="What is shown to the model; only masked paints in full detail.")
    ] = _USUAL["area"]
    padding: Annotated[int, _option(help="Surroundings that only masked shows, px of the photo.")] = _USUAL[
        "padding"
    ]
    blur: Annotated[int, _option(help="Width of the seam, px of the photo.")] = _USUAL["blur"]
    grow: Annotated[
        int, _option(help="Px of the photo by which the mask grows, or shrinks where negative.")
    ] = _USUAL["grow"]
    invert: Annotated[bool, _option("--invert", help="Paint what is not masked.")] = _USUAL["invert"]
    soft: Annotated[bool, _option("--soft", help="Change grey parts of the mask less.")] = _USUAL["soft"]
    outpaint: Annotated[
        str,
        _option(
            metavar="SIDE=PX,...",
            help="Add canvas around the source and paint it, as in right=128,bottom=64; --size is that of "
            "the whole.",
        ),
    ] = ""

    def fields(self, studio: Studio, source: Path | None) -> dict[str, Any]:
        """The field `inpaint` of a `GenerateRequest`; None where nothing is masked.

        Raises: InvalidRequest, ImageError.
        """
        told = {name: getattr(self, name) for name in _HOW if getattr(self, name) != _USUAL[name]}
        if self.mask is None and not self.outpaint:
            if told:
                raise InvalidRequest(
                    f"--{next(iter(told))} says how a part of a picture is painted anew, and there is none.",
                    "Add --mask, or --outpaint.",
                )
            return {}
        if source is None:
            option = "--mask" if self.mask else "--outpaint"
            raise InvalidRequest(
                f"{option} says what is painted anew in a picture, and there is none.", "Add --source."
            )
        mask = studio.put_blob(self.mask.read_bytes()) if self.mask else None
        return {"inpaint": {"mask": mask, "outpaint": outpaint_sides(self.outpaint), **told}}


_HOW = tuple(field.name for field in fields(InpaintOptions) if field.name not in ("mask", "outpaint"))


def outpaint_sides(text: str) -> dict[str, int]:
    """`right=128,bottom=64` -> the fields of `Outpaint`. Raises: InvalidRequest."""
    sides: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        side, _, length = (word.strip() for word in part.partition("="))
        if side not in _SIDES or side in sides or not re.fullmatch(r"[+-]?\d{1,9}", length):
            raise InvalidRequest(
                f"--outpaint needs SIDE=PX,... with the sides {', '.join(_SIDES)}, each once, as in "
                f"right=128,bottom=64, not {text!r}."
            )
        sides[side] = int(length)
    return sides

"""`--box PHRASE@X0,Y0,X1,Y1` of `easel generate`: what is to be seen where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from studio.core.boxes import Boxes
from studio.core.errors import InvalidRequest

BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="PHRASE@X0,Y0,X1,Y1",
        help="Show this in that rectangle, 0-1 from the top left corner. May be given several times.",
        rich_help_panel="Control",
    ),
]
DEFAULT_SHARE: float = Boxes.model_fields["share"].default
BoxShare = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=f"With --box: share of the steps with boxes; {DEFAULT_SHARE:g} unless told.",
        rich_help_panel="Control",
    ),
]

_SIDE = r"\s*([+-]?\d*\.?\d+)\s*"
_BOX = re.compile(rf"(?P<phrase>.+)@{_SIDE},{_SIDE},{_SIDE},{_SIDE}", re.DOTALL)


def layout_fields(values: Sequence[str], share: float | None) -> dict[str, Any] | None:
    """The fields of `Boxes`; None without any box. Raises: InvalidRequest."""
    boxes = [_box(value) for value in values]
    if boxes:
        return {"boxes": boxes, "share": DEFAULT_SHARE if share is None else share}
    if share is not None:
        raise InvalidRequest(
            "--box-share says for how many steps boxes count, and there is none.", "Add --box."
        )
    return None


def _box(value: str) -> dict[str, Any]:
    match = _BOX.fullmatch(value)
    if match is None:
        raise InvalidRequest(
            f'--box needs PHRASE@X0,Y0,X1,Y1, as in "a red ball@0.1,0.4,0.5,0.9", not {value!r}.'
        )
    x0, y0, x1, y1 = (float(match[i]) for i in range(2, 6))
    return {"phrase": match["phrase"].strip(), "box": {"x0": x0, "y0": y0, "x1": x1, "y1": y1}}

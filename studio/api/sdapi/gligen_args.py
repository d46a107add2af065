"""Boxes with phrases (`alwayson_scripts.gligen.args`) -> the boxes of a request.

{"boxes": [{"phrase": "a red ball", "box": [0.1, 0.4, 0.5, 0.9], "image": "<base64, optional>"}], "beta": 0.3}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.api.errors import invalid_request
from studio.api.sdapi.names import find_model
from studio.api.sdapi.pictures import PutBlob, store_picture
from studio.core.boxes import Boxes
from studio.core.errors import EaselError, InvalidRequest
from studio.core.models import ModelInfo

SCRIPT = "gligen"
FIELD = f"alwayson_scripts.{SCRIPT}.args"

_DEFAULTS = Boxes.model_fields


class _Thing(BaseModel):
    """One box. Unknown fields are passed over, as A1111's scripts do."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    phrase: str = ""
    box: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1, 0-1 from the top left corner")
    image: str | None = None


class _Args(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    boxes: list[_Thing] = []
    beta: float = Field(_DEFAULTS["share"].default, description="share of the steps with boxes")
    strength: float = _DEFAULTS["strength"].default
    model: str = Field("", description="a GLIGEN model; empty means the first that fits")
    enabled: bool = True


def read_boxes(
    scripts: Mapping[str, Any], models: tuple[ModelInfo, ...], put_blob: PutBlob
) -> dict[str, Any]:
    """The field `boxes` of a `GenerateRequest`; nothing where no box is asked for.

    Args:
        scripts: the payload's `alwayson_scripts`.
        models: the GLIGEN models that are installed.

    Raises: EaselError, with the field.
    """
    given = _args(scripts)
    if given is None:
        return {}
    try:
        args = _Args.model_validate(given)
    except ValidationError as error:
        raise invalid_request(error.errors(), _placed) from error
    if not args.enabled or not args.boxes:
        return {}
    try:
        model = find_model(args.model, models, "model").id if args.model else ""
        boxes = [_box(thing, i, put_blob) for i, thing in enumerate(args.boxes)]
    except EaselError as error:
        error.field = _placed(error.field or "")
        raise
    return {"boxes": {"boxes": boxes, "model": model, "share": args.beta, "strength": args.strength}}


def _args(scripts: Mapping[str, Any]) -> Any:
    """The one dictionary of the script's arguments, bare or in a list."""
    script: Any = next((value for name, value in scripts.items() if name.lower() == SCRIPT), None)
    args = script.get("args") if isinstance(script, Mapping) else script
    if isinstance(args, list):
        if len(args) > 1:
            raise InvalidRequest(
                f"All boxes belong into one layout, and there are {len(args)}.",
                "Send them in one: args = [{boxes: [...], beta: 0.3}].",
                field=FIELD,
            )
        args = args[0] if args else None
    return args or None


def _box(thing: _Thing, number: int, put_blob: PutBlob) -> dict[str, Any]:
    x0, y0, x1, y1 = thing.box
    image = store_picture(thing.image, f"boxes.{number}.image", put_blob) if thing.image else None
    return {"box": {"x0": x0, "y0": y0, "x1": x1, "y1": y1}, "phrase": thing.phrase, "image": image}


def _placed(field: str) -> str:
    """A field of the layout, below the script."""
    return f"{FIELD}.0.{field}" if field else f"{FIELD}.0"

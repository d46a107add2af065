"""Units of the ControlNet extension (`alwayson_scripts.controlnet.args`) -> controls of a request.

A unit whose model is an IP-Adapter becomes an image prompt. Units that are switched off are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from studio.api.sdapi.names import find_model
from studio.api.sdapi.pictures import decode_picture
from studio.core.base import BlobId
from studio.core.control_units import (
    UnitModule,
    control_mode_of,
    preprocessor_of,
    resize_mode_of,
    union_type_of,
)
from studio.core.errors import EaselError, InvalidRequest
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import Inpaint, Preprocessor

SCRIPT = "controlnet"
FIELD = f"alwayson_scripts.{SCRIPT}.args"

CONTROL_KINDS = (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER, ModelKind.IP_ADAPTER)
"""Kinds of models that a unit may name."""

PutBlob = Callable[[bytes], BlobId]


class _Unit(BaseModel):
    """One unit, with the extension's defaults. Unknown fields are passed over, as there."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    enabled: bool = True
    module: str = "none"
    model: str = "None"
    weight: float = 1.0
    image: str | None = None
    mask: str | None = None
    effective_region_mask: str | None = None
    resize_mode: str | int = 1
    processor_res: int = 512
    threshold_a: float = -1
    threshold_b: float = -1
    guidance_start: float = 0.0
    guidance_end: float = Field(1.0, description="its older name is guidance")
    pixel_perfect: bool = False
    control_mode: str | int = 0
    union_control_type: str = "Unknown"

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, values: Any) -> Any:
        """Older names, nulls for fields that are left out, and a picture together with its mask."""
        if not isinstance(values, Mapping):
            return values
        given = {name: value for name, value in values.items() if value is not None}
        for name, other in (("image", "input_image"), ("guidance_end", "guidance")):
            if other in given:
                given.setdefault(name, given[other])
        image = given.get("image")
        if isinstance(image, Sequence) and not isinstance(image, str) and len(image) == 1:
            image = image[0]
        if isinstance(image, Mapping):
            given |= {name: image[name] for name in ("mask",) if image.get(name)}
            image = image.get("image")
        return given | {"image": image or None}


@dataclass(frozen=True)
class Units:
    """Fields of a `GenerateRequest`."""

    controls: list[dict[str, Any]] = field(default_factory=list)
    image_prompts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Any]:
        return {"controls": self.controls, "image_prompts": self.image_prompts}


def read_units(
    scripts: Mapping[str, Any], models: Sequence[ModelInfo], put_blob: PutBlob, source: BlobId | None = None
) -> Units:
    """The units of a call that are switched on.

    Args:
        scripts: the payload's `alwayson_scripts`.
        models: those of `CONTROL_KINDS` that are installed.
        source: the picture that image-to-image starts from; a unit without a picture follows it.

    Raises: EaselError, with the unit's field.
    """
    units = Units()
    for number, given in enumerate(_args(scripts)):
        with _at(f"{FIELD}.{number}"):
            unit = _checked(given)
            if unit.enabled:
                _add(unit, units, models, put_blob, source)
    return units


def _args(scripts: Mapping[str, Any]) -> list[Any]:
    script: Any = next((value for name, value in scripts.items() if name.lower() == SCRIPT), {})
    args = script.get("args", []) if isinstance(script, Mapping) else []
    if isinstance(args, Mapping):
        args = [args]
    # Clients of the extension's first versions begin with two switches.
    return [unit for unit in args if not isinstance(unit, bool)] if isinstance(args, list) else []


def _checked(given: Any) -> _Unit:
    try:
        return _Unit.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidRequest(
            f"{fault['msg']}.", field=".".join(str(part) for part in fault["loc"] if part != "str") or None
        ) from error


def _add(
    unit: _Unit, units: Units, models: Sequence[ModelInfo], put_blob: PutBlob, source: BlobId | None
) -> None:
    _check_model_named(unit)
    model = find_model(unit.model, models, "model")
    common = {
        "model": model.id,
        "weight": unit.weight,
        "start": unit.guidance_start,
        "end": unit.guidance_end,
    }
    image = _stored(unit.image, "image", put_blob) or source
    if image is None:
        raise InvalidRequest("The unit has no picture.", "Send one as base64.", field="image")
    mask = _stored(unit.effective_region_mask, "effective_region_mask", put_blob)
    drawn = _stored(unit.mask, "mask", put_blob)
    if model.kind is ModelKind.IP_ADAPTER:
        units.image_prompts.append(common | {"images": (image,), "mask": mask or drawn})
    else:
        units.controls.append(common | {"image": image} | _control(unit, mask, drawn))


def _check_model_named(unit: _Unit) -> None:
    """Raises: InvalidRequest: no model, or a preprocessor that would not be run with one either."""
    if unit.model.strip().lower() not in ("", "none"):
        return
    _options(unit)
    raise InvalidRequest(
        f"The preprocessor {unit.module[:60]} alone steers nothing.", "Name a model.", field="model"
    )


def _options(unit: _Unit) -> Preprocessor | None:
    return preprocessor_of(UnitModule.model_validate(unit.model_dump(include=set(UnitModule.model_fields))))


def _control(unit: _Unit, mask: BlobId | None, drawn: BlobId | None) -> dict[str, Any]:
    """A mask drawn on the picture says where to paint anew where the unit inpaints, else where it holds."""
    options = _options(unit)
    if isinstance(options, Inpaint):
        options, drawn = options.model_copy(update={"mask": drawn}), None
    return {
        "preprocessor": options,
        "mask": mask or drawn,
        "mode": control_mode_of(unit.control_mode),
        "resize_mode": resize_mode_of(unit.resize_mode),
        "control_type": union_type_of(unit.union_control_type),
    }


def _stored(picture: str | None, field_: str, put_blob: PutBlob) -> BlobId | None:
    return put_blob(decode_picture(picture, field_)) if picture else None


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Errors in the block are at `place`, in the field that they name."""
    try:
        yield
    except EaselError as error:
        error.field = f"{place}.{error.field}" if error.field else place
        raise

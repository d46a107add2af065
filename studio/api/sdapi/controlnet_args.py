"""Units of the ControlNet extension (`alwayson_scripts.controlnet.args`) -> controls of a request.

A unit whose model is an IP-Adapter becomes an image prompt. Units that are switched off are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from studio.api.sdapi.names import find_model
from studio.api.sdapi.pictures import PutBlob, store_picture
from studio.core.base import BlobId
from studio.core.control_units import (
    UnitModule,
    control_mode_of,
    preprocessor_of,
    resize_mode_of,
    union_type_of,
)
from studio.core.errors import InvalidRequest, below
from studio.core.geometry import ResizeMode
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import Inpaint, Preprocessor

SCRIPT = "controlnet"
FIELD = f"alwayson_scripts.{SCRIPT}.args"

CONTROL_KINDS = (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER, ModelKind.IP_ADAPTER)
"""Kinds of models that a unit may name."""


def _listed(image: Any) -> Any:
    """One picture or several, as a list; none where there is nothing."""
    pictures = image if isinstance(image, list | tuple) else [image]
    return [picture for picture in pictures if picture]


class Unit(BaseModel):
    """One unit, with the extension's defaults. Unknown fields are passed over, as there."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    number: int = Field(0, description="its place among the arguments")
    enabled: bool = True
    module: str = "none"
    model: str = "None"
    weight: float = 1.0
    image: Annotated[list[str], BeforeValidator(_listed)] = Field([], description="several: of an IP-Adapter")
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
    save_detected_map: bool = Field(True, description="the reply ends with the unit's map")

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, values: Any) -> Any:
        """Older names, nulls for fields that are left out, and pictures together with their mask."""
        if not isinstance(values, Mapping):
            return values
        given = {name: value for name, value in values.items() if value is not None}
        for name, other in (("image", "input_image"), ("guidance_end", "guidance")):
            if other in given:
                given.setdefault(name, given[other])
        pictures = _listed(given.get("image"))
        for picture in pictures:
            if isinstance(picture, Mapping) and picture.get("mask"):
                given["mask"] = picture["mask"]
        images = [each.get("image") if isinstance(each, Mapping) else each for each in pictures]
        return given | {"image": images}


@dataclass(frozen=True)
class Source:
    """The picture that image-to-image starts from. A unit without a picture follows it, where it lies."""

    image: BlobId
    resize_mode: ResizeMode


@dataclass(frozen=True)
class Units:
    """Fields of a `GenerateRequest`, with the units that they were made of."""

    controls: list[dict[str, Any]] = field(default_factory=list)
    image_prompts: list[dict[str, Any]] = field(default_factory=list)
    control_units: list[Unit] = field(default_factory=list)
    prompt_units: list[Unit] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Any]:
        return {"controls": self.controls, "image_prompts": self.image_prompts}


NO_UNITS = Units()


def read_units(
    scripts: Mapping[str, Any],
    models: Sequence[ModelInfo],
    put_blob: PutBlob,
    source: Source | None = None,
) -> Units:
    """The units of a call that are switched on.

    Args:
        scripts: the payload's `alwayson_scripts`.
        models: those of `CONTROL_KINDS` that are installed.

    Raises: EaselError, with the unit's field.
    """
    units = Units()
    for number, given in _args(scripts):
        with below(f"{FIELD}.{number}"):
            unit = _checked(given, number)
            if unit.enabled:
                _add(unit, units, models, put_blob, source)
    return units


def _args(scripts: Mapping[str, Any]) -> list[tuple[int, Any]]:
    """The units, each with its place."""
    script: Any = next((value for name, value in scripts.items() if name.lower() == SCRIPT), {})
    args = script.get("args", []) if isinstance(script, Mapping) else []
    if isinstance(args, Mapping):
        args = [args]
    # Clients of the extension's first versions begin with two switches.
    units = enumerate(args) if isinstance(args, list) else ()
    return [(number, unit) for number, unit in units if not isinstance(unit, bool)]


def _checked(given: Any, number: int) -> Unit:
    try:
        return Unit.model_validate(given | {"number": number} if isinstance(given, dict) else given)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidRequest(
            f"{fault['msg']}.", field=".".join(str(part) for part in fault["loc"] if part != "str") or None
        ) from error


def _add(
    unit: Unit, units: Units, models: Sequence[ModelInfo], put_blob: PutBlob, source: Source | None
) -> None:
    _check_model_named(unit)
    model = find_model(unit.model, models, "model")
    common = {
        "model": model.id,
        "weight": unit.weight,
        "start": unit.guidance_start,
        "end": unit.guidance_end,
    }
    images = _images(unit, put_blob) or ([source.image] if source else [])
    if not images:
        raise InvalidRequest("The unit has no picture.", "Send one as base64.", field="image")
    mask = _stored(unit.effective_region_mask, "effective_region_mask", put_blob)
    drawn = _stored(unit.mask, "mask", put_blob)
    if model.kind is ModelKind.IP_ADAPTER:
        units.prompt_units.append(unit)
        units.image_prompts.append(common | {"images": images, "mask": mask or drawn})
        return
    if len(images) > 1:
        raise InvalidRequest(
            f"{model.name} follows one picture, and this unit has {len(images)}.",
            "Give each picture a unit of its own; only IP-Adapters take several in one.",
            field="image",
        )
    mode = source.resize_mode if source and not unit.image else resize_mode_of(unit.resize_mode)
    units.control_units.append(unit)
    units.controls.append(common | {"image": images[0], "resize_mode": mode} | _control(unit, mask, drawn))


def _check_model_named(unit: Unit) -> None:
    """Raises: InvalidRequest: no model, or a preprocessor that would not be run with one either."""
    if unit.model.strip().lower() not in ("", "none"):
        return
    _options(unit)
    raise InvalidRequest(
        f"The preprocessor {unit.module[:60]} alone steers nothing.", "Name a model.", field="model"
    )


def _options(unit: Unit) -> Preprocessor | None:
    return preprocessor_of(UnitModule.model_validate(unit.model_dump(include=set(UnitModule.model_fields))))


def _images(unit: Unit, put_blob: PutBlob) -> list[BlobId]:
    fields = ["image"] if len(unit.image) == 1 else [f"image.{i}" for i in range(len(unit.image))]
    return [store_picture(image, at, put_blob) for image, at in zip(unit.image, fields, strict=True)]


def _control(unit: Unit, mask: BlobId | None, drawn: BlobId | None) -> dict[str, Any]:
    """A mask drawn on the picture says where to paint anew where the unit inpaints, else where it holds."""
    options = _options(unit)
    if isinstance(options, Inpaint):
        options, drawn = options.model_copy(update={"mask": drawn}), None
    return {
        "preprocessor": options,
        "mask": mask or drawn,
        "mode": control_mode_of(unit.control_mode),
        "control_type": union_type_of(unit.union_control_type),
    }


def _stored(picture: str | None, field_: str, put_blob: PutBlob) -> BlobId | None:
    return store_picture(picture, field_, put_blob) if picture else None

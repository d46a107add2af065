"""Controls in the words of AUTOMATIC1111's ControlNet extension, which its API and its infotexts share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from studio.core.annotators import MODULES, facts_of
from studio.core.base import Record
from studio.core.conditions import ControlMode
from studio.core.control_types import ControlType
from studio.core.errors import InvalidRequest
from studio.core.geometry import ResizeMode
from studio.core.preprocess import PREPROCESSORS, Options, Preprocessor, preprocessor
from studio.core.preprocessor_facts import Module, Slider
from studio.core.refused_modules import refusal_of

RESIZE_MODES: Mapping[ResizeMode, str] = {
    ResizeMode.STRETCH: "Just Resize",
    ResizeMode.CROP: "Crop and Resize",
    ResizeMode.PAD: "Resize and Fill",
}
"""In the order in which the API numbers them."""

_OLD_RESIZE_MODES = {
    "scale to fit (inner fit)": ResizeMode.CROP,
    "envelope (outer fit)": ResizeMode.PAD,
    "inner fit": ResizeMode.CROP,
    "outer fit": ResizeMode.PAD,
}

CONTROL_MODES: Mapping[ControlMode, str] = {
    ControlMode.BALANCED: "Balanced",
    ControlMode.PROMPT: "My prompt is more important",
    ControlMode.CONTROL: "ControlNet is more important",
}
"""In the order in which the API numbers them."""

NO_MODULE = "none"
_UNUSED = -1.0
"""A threshold or resolution that a module does not have."""


class UnitModule(Record):
    """A preprocessor with its options, as a unit of A1111 tells it."""

    module: str = NO_MODULE
    processor_res: int = 512
    threshold_a: float = _UNUSED
    threshold_b: float = _UNUSED
    pixel_perfect: bool = False


def resize_mode_of(value: str | int) -> ResizeMode:
    """By number or name. Raises: InvalidRequest, at `resize_mode`."""
    mode: ResizeMode = _choice(value, RESIZE_MODES, _OLD_RESIZE_MODES, "resize_mode")
    return mode


def control_mode_of(value: str | int) -> ControlMode:
    """By number or name. Raises: InvalidRequest, at `control_mode`."""
    mode: ControlMode = _choice(value, CONTROL_MODES, {}, "control_mode")
    return mode


_UNION_TYPES: Mapping[str, ControlType | None] = {
    **{control.lower(): control for control in ControlType},
    "hardedge": ControlType.CANNY,
    "unknown": None,
    "": None,
}
"""What units call the kinds of maps that a union ControlNet knows, without spaces."""


def union_type_of(name: str) -> ControlType | None:
    """What a unit says that its map shows; None where it leaves that open.

    Raises: InvalidRequest, at `union_control_type`.
    """
    wanted = name.replace(" ", "").lower()
    if wanted in _UNION_TYPES:
        return _UNION_TYPES[wanted]
    raise InvalidRequest(
        f"There is no kind of map called {name[:60]!r}.",
        f"There are {', '.join(sorted(ControlType))}, Hard Edge and Unknown.",
        field="union_control_type",
    )


def _choice(value: str | int, names: Mapping[Any, str], others: Mapping[str, Any], field: str) -> Any:
    wanted = str(value).strip().lower()
    for number, (choice, name) in enumerate(names.items()):
        if wanted in (str(number), name.lower()):
            return choice
    if wanted in others:
        return others[wanted]
    raise InvalidRequest(
        f"{value!r} is no {field.replace('_', ' ')}.",
        f"There are {', '.join(f'{number} ({name})' for number, name in enumerate(names.values()))}.",
        field=field,
    )


def preprocessor_of(unit: UnitModule) -> Preprocessor | None:
    """The preprocessor that a unit names; None where its picture is a finished map.

    Values outside of a slider are moved to its end, as the extension does, and so is a resolution above what
    the preprocessor takes.

    Raises: InvalidRequest, at `module`.
    """
    name = unit.module.strip().lower()
    if name in ("", NO_MODULE):
        return None
    if refused := refusal_of(name):
        raise InvalidRequest(*refused, field="module")
    if name not in MODULES:
        raise InvalidRequest(
            f"There is no preprocessor called {unit.module[:60]!r}.",
            f"There are {', '.join(sorted({module.name for _, module in MODULES.values()}))}.",
            field="module",
        )
    facts, module = MODULES[name]
    fields: dict[str, Any] = {"kind": facts.kind, **module.options}
    for slider, value in ((module.threshold_a, unit.threshold_a), (module.threshold_b, unit.threshold_b)):
        if slider is not None:
            fields[slider.field] = _within(slider, value)
    if (largest := _largest_resolution(facts.kind)) and unit.processor_res > 0:
        fields["resolution"] = 0 if unit.pixel_perfect else min(unit.processor_res, largest)
    try:
        return preprocessor.validate_python(fields)
    except ValidationError as error:
        raise InvalidRequest(f"{unit.module}: {error.errors()[0]['msg']}.", field="module") from error


def _within(slider: Slider, value: float) -> float | int:
    chosen = slider.default if value == _UNUSED else min(max(value, slider.minimum), slider.maximum)
    return round(chosen) if slider.step == 1 else chosen


def _largest_resolution(kind: str) -> int:
    """px; 0 where a preprocessor has no such option."""
    field = PREPROCESSORS[kind].model_fields.get("resolution")
    return next((rule.le for rule in field.metadata if hasattr(rule, "le")), 0) if field else 0


def unit_field_of(module: str, option: str) -> str:
    """Where a unit says an option of its preprocessor: `threshold_a`, `processor_res`, or else `module`."""
    if option in ("resolution", "mask"):
        return {"resolution": "processor_res", "mask": "mask"}[option]
    _, named = MODULES.get(module.strip().lower(), (None, None))
    sliders = (("threshold_a", named.threshold_a), ("threshold_b", named.threshold_b)) if named else ()
    return next((field for field, slider in sliders if slider and slider.field == option), "module")


def unit_of(options: Options | None) -> UnitModule:
    """What a unit of A1111 says of a preprocessor. Options that it has no words for are left out."""
    if options is None:
        return UnitModule()
    modules = [module for module in facts_of(options).modules if _says(module, options)]
    if not modules:
        return UnitModule()
    module = max(modules, key=lambda each: len(each.options))
    resolution = getattr(options, "resolution", None)
    return UnitModule(
        module=module.name,
        processor_res=resolution or 512,
        threshold_a=_value(module.threshold_a, options),
        threshold_b=_value(module.threshold_b, options),
        pixel_perfect=resolution == 0,
    )


def _says(module: Module, options: Options) -> bool:
    """True where all that the module's name stands for is so."""
    return all(getattr(options, field) is value for field, value in module.options.items())


def _value(slider: Slider | None, options: Options) -> float:
    return _UNUSED if slider is None else float(getattr(options, slider.field))

"""Controls and image prompts in an infotext, as AUTOMATIC1111's ControlNet extension writes them.

    ControlNet 0: "Module: canny, Model: toy-canny [1a2b3c4d], Weight: 1.0, Resize Mode: Crop and Resize, ..."

That is for other studios and for people; it holds no pictures. What we restore controls from is our own JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping

from studio.core.base import ModelId
from studio.core.conditions import ControlInput, ControlMode, ImagePrompt
from studio.core.control_units import CONTROL_MODES, NO_MODULE, RESIZE_MODES, UnitModule, unit_of
from studio.core.geometry import ResizeMode
from studio.core.refused_modules import IMAGE_PROMPT_MODULE
from studio.core.requests import GenerateRequest

_UNIT = re.compile(r"ControlNet \d{1,3}")
_MAX_SHOWN = 80


def control_fields(request: GenerateRequest, titles: Mapping[ModelId, str]) -> Iterator[tuple[str, str]]:
    """The keys and values of all units that are on, for a line of parameters.

    Args:
        titles: for each model its name with 8 hex digits of its hash, `canny [1a2b3c4d]`; a model that is not
            in it goes by its id.
    """
    entries: tuple[ControlInput | ImagePrompt, ...] = (*request.controls, *request.image_prompts)
    for number, entry in enumerate(entry for entry in entries if entry.enabled):
        pairs = _unit(entry, titles.get(entry.model, entry.model))
        yield f"ControlNet {number}", ", ".join(f"{key}: {value}" for key, value in pairs)


def _unit(entry: ControlInput | ImagePrompt, title: str) -> Iterator[tuple[str, object]]:
    unit, resize_mode, mode = UnitModule(module=IMAGE_PROMPT_MODULE), ResizeMode.CROP, ControlMode.BALANCED
    if isinstance(entry, ControlInput):
        unit, resize_mode, mode = unit_of(entry.preprocessor), entry.resize_mode, entry.mode
    yield "Module", unit.module
    yield "Model", title.replace(",", " ")
    yield "Weight", entry.weight
    yield "Resize Mode", RESIZE_MODES[resize_mode]
    yield "Processor Res", unit.processor_res
    yield "Threshold A", unit.threshold_a
    yield "Threshold B", unit.threshold_b
    yield "Guidance Start", entry.start
    yield "Guidance End", entry.end
    yield "Pixel Perfect", unit.pixel_perfect
    yield "Control Mode", CONTROL_MODES[mode]


def take_control_fields(fields: MutableMapping[str, str]) -> tuple[str, ...]:
    """Take all units out of an infotext's fields.

    Returns: a sentence for each, on what would have to be set again: the maps are in no infotext.
    """
    keys = [key for key in fields if _UNIT.fullmatch(key)]
    return tuple(_sentence(key, _pairs(fields.pop(key))) for key in keys)


def _pairs(unit: str) -> dict[str, str]:
    """`Module: canny, Weight: 1.0` taken apart."""
    pairs = (pair.partition(":") for pair in unit.split(","))
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _sentence(key: str, unit: Mapping[str, str]) -> str:
    words = [unit.get("Model", "").strip() or "an unnamed model"]
    if unit.get("Module", NO_MODULE).strip().lower() != NO_MODULE:
        words.append(unit["Module"].strip())
    words += [f"{name.lower()} {unit[name].strip()}" for name in ("Weight", "Control Mode") if name in unit]
    if {"Guidance Start", "Guidance End"} <= unit.keys():
        words.append(f"from {unit['Guidance Start'].strip()} to {unit['Guidance End'].strip()}")
    told = ", ".join(word[:_MAX_SHOWN] for word in words)
    return f"{key} ({told}) is not taken over, since its map is not in this file. Add it in the Control tab."

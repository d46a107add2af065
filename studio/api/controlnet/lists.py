"""Models, modules and control types to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from fastapi import APIRouter, Query

from studio.api.controlnet.payloads import (
    ControlTypeRow,
    ControlTypes,
    ModelList,
    ModuleList,
    ModuleRow,
    SettingsReply,
    SliderRow,
    VersionReply,
)
from studio.api.dependencies import StudioDep
from studio.core.annotators import CONTROLS, FACTS
from studio.core.conditions import MAX_STACKED
from studio.core.control_types import ControlType
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import PREPROCESSORS
from studio.core.preprocessor_facts import Module, PreprocessorFacts, Slider
from studio.core.protocol import Studio

router = APIRouter(tags=["controlnet: lists"])

API_VERSION = 3
"""Of the extension's API that this follows."""

NO_MODULE = "none"
NO_MODEL = "None"

_KINDS = (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER, ModelKind.IP_ADAPTER)

_WORDS: Mapping[ControlType, tuple[str, ...]] = {
    ControlType.CANNY: ("canny",),
    ControlType.DEPTH: ("depth",),
    ControlType.INPAINT: ("inpaint",),
    ControlType.LINEART: ("lineart", "line-art", "line_art"),
    ControlType.MLSD: ("mlsd",),
    ControlType.NORMAL: ("normal",),
    ControlType.OPENPOSE: ("pose",),
    ControlType.SCRIBBLE: ("scribble", "sketch"),
    ControlType.SEGMENTATION: ("seg",),
    ControlType.SHUFFLE: ("shuffle",),
    ControlType.SOFT_EDGE: ("softedge", "hed", "pidi", "teed"),
    ControlType.COLOUR: ("color", "colour", "t2i"),
    ControlType.TILE: ("tile",),
}
"""Words in a model's name that tell what it follows; no file says it otherwise."""


@router.get("/version", summary="Version of the extension's API")
def version() -> VersionReply:
    return VersionReply(version=API_VERSION)


@router.get("/model_list", summary="List ControlNets and adapters")
def model_list(
    studio: StudioDep,
    update: Annotated[bool, Query(description="look at the folders again first")] = True,
) -> ModelList:
    """Those that can be used."""
    if update:
        studio.refresh_models()
    return ModelList(model_list=_titles(studio))


@router.get("/module_list", summary="List preprocessors")
def module_list(
    alias_names: Annotated[bool, Query(description="other names for the same, too")] = False,
) -> ModuleList:
    rows = {NO_MODULE: ModuleRow(model_free=False, sliders=[])}
    for facts in FACTS.values():
        for module in facts.modules:
            names = (module.name, *(module.aliases if alias_names else ()))
            rows |= dict.fromkeys(names, _module_row(facts, module))
    return ModuleList(module_list=list(rows), module_detail=rows)


@router.get("/control_types", summary="List what controls follow, with the modules and models for each")
def control_types(studio: StudioDep) -> ControlTypes:
    titles = _titles(studio)
    every = [name for facts in FACTS.values() for name in _names(facts)]
    rows = {"All": _type_row(every, titles, default=NO_MODULE)}
    for control, suiting in CONTROLS.items():
        modules = [name for facts in suiting for name in _names(facts)]
        fitting = [title for title in titles if any(word in title.lower() for word in _WORDS[control])]
        rows[control] = _type_row(modules, fitting, default=modules[0])
    return ControlTypes(control_types=rows)


@router.get("/settings", summary="How many units a picture may have")
def settings() -> SettingsReply:
    return SettingsReply(control_net_unit_count=MAX_STACKED, control_net_max_models_num=MAX_STACKED)


def unit_title(model: ModelInfo) -> str:
    """What the extension calls a model: its name and the first 8 hex digits of its hash."""
    return f"{model.name} [{model.sha256[:8]}]" if model.sha256 else model.name


def _titles(studio: Studio) -> list[str]:
    return [unit_title(model) for kind in _KINDS for model in studio.models(kind) if model.usable]


def _names(facts: PreprocessorFacts) -> Iterable[str]:
    return (module.name for module in facts.modules)


def _type_row(modules: Iterable[str], models: list[str], default: str) -> ControlTypeRow:
    return ControlTypeRow(
        module_list=list(dict.fromkeys([NO_MODULE, *modules])),
        model_list=[NO_MODEL, *models],
        default_option=default,
        default_model=models[0] if models else NO_MODEL,
    )


def _module_row(facts: PreprocessorFacts, module: Module) -> ModuleRow:
    sliders = [_resolution(facts), _slider_row(module.threshold_a), _slider_row(module.threshold_b)]
    while sliders and sliders[-1] is None:
        sliders.pop()
    return ModuleRow(model_free=False, sliders=sliders)


def _resolution(facts: PreprocessorFacts) -> SliderRow | None:
    if "resolution" not in PREPROCESSORS[facts.kind].model_fields:
        return None
    return SliderRow(name="Resolution", value=512, min=64, max=2048, step=8)


def _slider_row(slider: Slider | None) -> SliderRow | None:
    if slider is None:
        return None
    return SliderRow(
        name=slider.title, value=slider.default, min=slider.minimum, max=slider.maximum, step=slider.step
    )

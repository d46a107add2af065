"""Models, modules and control types to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from studio.core.control_models import controls_of
from studio.core.control_types import ControlType
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import PREPROCESSORS
from studio.core.preprocessor_facts import Module, PreprocessorFacts, Slider
from studio.core.protocol import Studio
from studio.core.refused_modules import IMAGE_PROMPT_MODULE

router = APIRouter(tags=["controlnet: lists"])

API_VERSION = 3
"""Of the extension's API that this follows."""

NO_MODULE = "none"
NO_MODEL = "None"

_KINDS = (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER, ModelKind.IP_ADAPTER)

IMAGE_PROMPTS = "IP-Adapter"
"""The control type of image prompts, which are no maps."""


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
    return ModelList(model_list=[unit_title(model) for model in _models(studio)])


@router.get("/module_list", summary="List preprocessors")
def module_list(
    alias_names: Annotated[bool, Query(description="other names for the same, too")] = False,
) -> ModuleList:
    rows = {name: ModuleRow(model_free=False, sliders=[]) for name in (NO_MODULE, IMAGE_PROMPT_MODULE)}
    for facts in FACTS.values():
        for module in facts.modules:
            names = (module.name, *(module.aliases if alias_names else ()))
            rows |= dict.fromkeys(names, _module_row(facts, module))
    return ModuleList(module_list=list(rows), module_detail=rows)


@router.get("/control_types", summary="List what controls follow, with the modules and models for each")
def control_types(studio: StudioDep) -> ControlTypes:
    """The type called T2I-Adapter lists all T2I-Adapters; the one of its own map is the grid of colours."""
    models = _models(studio)
    every = [name for facts in FACTS.values() for name in _names(facts)]
    rows = {"All": _type_row([*every, IMAGE_PROMPT_MODULE], models, default=NO_MODULE)}
    for control, suiting in CONTROLS.items():
        modules = [name for facts in suiting for name in _names(facts)]
        made = _made_for(control, models)
        kind = ModelKind.T2I_ADAPTER if control is ControlType.COLOUR else None
        others = [model for model in models if model.kind is kind and model not in made]
        rows[control] = _type_row(modules, made, others, default=modules[0])
    prompts = [model for model in models if model.kind is ModelKind.IP_ADAPTER]
    rows[IMAGE_PROMPTS] = _type_row([IMAGE_PROMPT_MODULE], prompts, default=IMAGE_PROMPT_MODULE)
    return ControlTypes(control_types=rows)


@router.get("/settings", summary="How many units a picture may have")
def settings() -> SettingsReply:
    return SettingsReply(control_net_unit_count=MAX_STACKED, control_net_max_models_num=MAX_STACKED)


def unit_title(model: ModelInfo) -> str:
    """What the extension calls a model: its name and the first 8 hex digits of its hash."""
    return f"{model.name} [{model.sha256[:8]}]" if model.sha256 else model.name


def _models(studio: Studio) -> list[ModelInfo]:
    return [model for kind in _KINDS for model in studio.models(kind) if model.usable]


def _made_for(control: ControlType, models: Iterable[ModelInfo]) -> list[ModelInfo]:
    """Those that follow this control, the ones that follow nothing else first."""
    made = [model for model in models if control in controls_of(model)]
    return sorted(made, key=lambda model: len(controls_of(model)))


def _names(facts: PreprocessorFacts) -> Iterable[str]:
    return (module.name for module in facts.modules)


def _type_row(
    modules: Iterable[str], made: Sequence[ModelInfo], others: Sequence[ModelInfo] = (), *, default: str
) -> ControlTypeRow:
    """Args: others: models that are listed as well, but none of which is the usual one."""
    return ControlTypeRow(
        module_list=list(dict.fromkeys([NO_MODULE, *modules])),
        model_list=[NO_MODEL, *map(unit_title, (*made, *others))],
        default_option=default,
        default_model=unit_title(made[0]) if made else NO_MODEL,
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

"""What of a request has no effect is said, where nothing else would show it."""

from __future__ import annotations

from typing import Any

import pytest

from studio.core.conditions import ControlInput, ImagePrompt, LoraInput
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest, HiresPass, SourceImage
from studio.diffusion.plan import plan

PICTURE = "0" * 64
MODELS = {
    kind: ModelInfo(id=kind, name=str(kind).upper(), kind=kind, family=Family.SD1)
    for kind in (ModelKind.CHECKPOINT, ModelKind.LORA, ModelKind.CONTROLNET, ModelKind.IP_ADAPTER)
}
STACK = {
    "loras": LoraInput(model="lora"),
    "controls": ControlInput(model="controlnet", image=PICTURE),
    "image_prompts": ImagePrompt(model="ip_adapter", images=(PICTURE,)),
}


class Shelf:
    def find(self, name: str) -> ModelInfo:
        return MODELS[ModelKind(name)]

    def named(self, name: str, kind: ModelKind) -> tuple[ModelInfo, ...]:
        return (MODELS[kind],)

    def models(self, kind: ModelKind) -> tuple[ModelInfo, ...]:
        return tuple(info for info in MODELS.values() if info.kind is kind)


def notes(
    field: str = "", steps: int = 4, entry: dict[str, Any] | None = None, **more: Any
) -> tuple[str, ...]:
    stack = {field: (STACK[field].model_copy(update=entry or {}),)} if field else {}
    return plan(GenerateRequest(model="checkpoint", steps=steps, **stack, **more), Shelf()).notes


@pytest.mark.parametrize("field", STACK)
def test_a_range_without_a_step_is_told_with_its_remedy(field: str):
    (note,) = notes(field, entry={"end": 0.2})
    assert note == (
        f"{MODELS[ModelKind(STACK[field].model)].name} has no effect: none of the 4 steps that are run lies "
        "within its range of 0 to 0.2. Widen the range, or take more steps."
    )
    assert notes(field, entry={"end": 0.25}) == ()
    assert notes(field, steps=5, entry={"end": 0.2}) == ()


@pytest.mark.parametrize("field", STACK)
@pytest.mark.parametrize("entry", [{"weight": 0.0}, {"enabled": False}])
def test_what_nobody_asked_for_is_not_missed(field: str, entry: dict[str, Any]):
    assert notes(field, entry={"end": 0.2, **entry}) == ()


def test_a_lora_that_changes_only_the_text_is_missed_as_well():
    assert len(notes("loras", entry={"weight": 0.0, "text_encoder_weight": 1.0, "end": 0.2})) == 1


def test_the_steps_that_count_are_those_that_are_run():
    source = SourceImage(image=PICTURE, strength=0.1)
    (note,) = notes("controls", steps=20, entry={"end": 0.4}, source=source)
    assert "none of the 2 steps" in note
    assert notes("controls", steps=20, entry={"end": 0.5}, source=source) == ()


def test_one_step_of_any_pass_is_enough():
    hires = HiresPass(scale=1.5, steps=10, strength=1)
    assert notes("controls", entry={"end": 0.1}, hires=hires) == ()
    (note,) = notes("controls", entry={"end": 0.05}, hires=hires)
    assert "none of the 4 and 10 steps" in note


def test_a_strength_below_one_step_is_told_alone():
    source = SourceImage(image=PICTURE, strength=0.1)
    (note,) = notes("controls", entry={"end": 0.2}, source=source)
    assert note.startswith("At strength 0.1 none of the 4 steps is run, so nothing changes.")
    assert notes("controls", source=SourceImage(image=PICTURE, strength=0)) == ()

"""What of a request has no effect, though nothing is wrong with it: a sentence each. Pure, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from studio.diffusion.plan_control import PlannedControl, PlannedImagePrompt
from studio.diffusion.plan_stack import PlannedLora

if TYPE_CHECKING:
    from studio.diffusion.plan import DenoisePass, GeneratePlan

_Ranged = PlannedLora | PlannedControl | PlannedImagePrompt


def notes_of(plan: GeneratePlan) -> tuple[str, ...]:
    """On passes that run no step, and on what of the stack is off at all steps that are run."""
    steps = [part.steps_run for part in plan.passes if part.steps_run]
    stack: tuple[_Ranged, ...] = (*plan.loras, *plan.controls, *plan.image_prompts)
    idle = [one for one in stack if steps and _has_weight(one) and not _is_ever_on(one, steps)]
    return (*_standing(plan.passes), *(_off(one, steps) for one in idle))


def _standing(passes: Sequence[DenoisePass]) -> Iterator[str]:
    for part in passes:
        if part.strength > 0 and part.steps_run == 0:
            yield (
                f"At strength {part.strength:g} none of the {part.steps} steps is run, so nothing changes. "
                "Raise the strength, or take more steps."
            )


def _has_weight(planned: _Ranged) -> bool:
    if isinstance(planned, PlannedLora):
        return bool(planned.entry.weight or planned.text_encoder_weight)
    return planned.entry.weight > 0


def _is_ever_on(planned: _Ranged, passes: Sequence[int]) -> bool:
    return any(planned.entry.is_on(step, steps) for steps in passes for step in range(steps))


def _off(planned: _Ranged, passes: Sequence[int]) -> str:
    entry, steps = planned.entry, " and ".join(map(str, passes))
    return (
        f"{planned.model.name} has no effect: none of the {steps} steps that are run "
        f"lies within its range of {entry.start:g} to {entry.end:g}. Widen the range, or take more steps."
    )

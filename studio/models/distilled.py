"""LoRAs that make pictures in a few steps, known by their names, and the settings they were made for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.core.models import GenerationHint
from studio.core.samplers import Sampler, Schedule

_MOST_STEPS = 32


@dataclass(frozen=True)
class _Technique:
    name: str
    pattern: str
    sampler: Sampler
    schedule: Schedule
    steps: int
    guidance_scale: float = 1.0


_TECHNIQUES = (
    # https://huggingface.co/ByteDance/Hyper-SD: DDIM on trailing timesteps, without guidance.
    _Technique("Hyper-SD", r"\bhyper ?sd", Sampler.DDIM, Schedule.SGM_UNIFORM, 8),
    # https://huggingface.co/ByteDance/SDXL-Lightning: Euler on trailing timesteps, without guidance.
    _Technique("Lightning", r"\blightning\b", Sampler.EULER, Schedule.SGM_UNIFORM, 4),
    # Trajectory Consistency Distillation (Zheng et al. 2024): its own sampler.
    _Technique("TCD", r"\btcd\b", Sampler.TCD, Schedule.AUTOMATIC, 4),
    # Distribution Matching Distillation (Yin et al. 2024): sampled as LCM.
    _Technique("DMD2", r"\bdmd ?2\b", Sampler.LCM, Schedule.AUTOMATIC, 4),
    # LCM-LoRA (Luo et al. 2023): 4 to 8 steps, guidance between 1 and 2.
    _Technique("LCM", r"\blcm\b", Sampler.LCM, Schedule.AUTOMATIC, 6, 1.5),
    # Adversarial Diffusion Distillation (Sauer et al. 2023).
    _Technique("Turbo", r"\bturbo\b", Sampler.EULER_A, Schedule.SGM_UNIFORM, 4),
)

_GUIDED = 5.0
"""What Hyper-SD's LoRAs with `CFG` in their name were distilled to take: 5 to 8."""


def hint_for(*names: str) -> GenerationHint | None:
    """The settings for a LoRA that goes by these names; None where they tell of no such technique."""
    text = re.sub(r"[^a-z0-9]+", " ", " ".join(names).lower())
    technique = next((each for each in _TECHNIQUES if re.search(each.pattern, text)), None)
    if technique is None:
        return None
    steps = _steps(text) or technique.steps
    # Hyper-SD's LoRA for one step is sampled as TCD; the others must not be.
    one_step = technique.name == "Hyper-SD" and steps == 1
    return GenerationHint(
        technique=technique.name,
        sampler=Sampler.TCD if one_step else technique.sampler,
        schedule=Schedule.AUTOMATIC if one_step else technique.schedule,
        steps=steps,
        guidance_scale=_GUIDED if re.search(r"\bcfg\b", text) else technique.guidance_scale,
    )


def _steps(text: str) -> int | None:
    """`8steps`, `4 step`: the number that a name promises."""
    number = re.search(r"\b(\d{1,2}) ?steps?\b", text)
    return int(number[1]) if number and 1 <= int(number[1]) <= _MOST_STEPS else None

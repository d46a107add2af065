"""A1111's sampler and schedule names -> diffusers' schedulers, and their two notations of noise.

A scheduler here is always stepped in float32, with its sigmas on the CPU (0-dim CPU tensors multiply
CUDA tensors without a synchronisation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from studio.core.samplers import Sampler, Schedule

Scheduler = Any
"""Any of diffusers' `SchedulerMixin`s; they share a protocol, but no base class that declares it."""


@dataclass(frozen=True)
class _Recipe:
    scheduler: str
    options: Mapping[str, object] = field(default_factory=dict)
    automatic: Schedule = Schedule.AUTOMATIC
    """What `Automatic` means for this sampler in AUTOMATIC1111."""
    variance_exploding: bool = False
    """True where latents are x0 + sigma * noise, False where they keep unit variance (Song et al. 2021)."""


_RECIPES: Mapping[Sampler, _Recipe] = {
    Sampler.DPMPP_2M: _Recipe("DPMSolverMultistepScheduler", automatic=Schedule.KARRAS),
    Sampler.DPMPP_2M_SDE: _Recipe(
        "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, automatic=Schedule.EXPONENTIAL
    ),
    Sampler.DPMPP_SDE: _Recipe("DPMSolverSDEScheduler", automatic=Schedule.KARRAS, variance_exploding=True),
    Sampler.EULER_A: _Recipe("EulerAncestralDiscreteScheduler", variance_exploding=True),
    Sampler.EULER: _Recipe("EulerDiscreteScheduler", variance_exploding=True),
    Sampler.LMS: _Recipe("LMSDiscreteScheduler", variance_exploding=True),
    Sampler.HEUN: _Recipe("HeunDiscreteScheduler", variance_exploding=True),
    Sampler.DPM2: _Recipe("KDPM2DiscreteScheduler", automatic=Schedule.KARRAS, variance_exploding=True),
    Sampler.DPM2_A: _Recipe(
        "KDPM2AncestralDiscreteScheduler", automatic=Schedule.KARRAS, variance_exploding=True
    ),
    Sampler.DDIM: _Recipe("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    Sampler.PLMS: _Recipe("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}),
    Sampler.UNIPC: _Recipe("UniPCMultistepScheduler"),
    Sampler.LCM: _Recipe("LCMScheduler", {"clip_sample": False}),
    Sampler.TCD: _Recipe("TCDScheduler", {"clip_sample": False}),
}

# SGM Uniform and Simple differ in A1111 by at most one training timestep; diffusers has one spacing for both.
_SPACING: Mapping[Schedule, Mapping[str, object]] = {
    Schedule.AUTOMATIC: {},
    Schedule.KARRAS: {"use_karras_sigmas": True},
    Schedule.EXPONENTIAL: {"use_exponential_sigmas": True, "timestep_spacing": "linspace"},
    Schedule.SGM_UNIFORM: {"timestep_spacing": "trailing"},
    Schedule.SIMPLE: {"timestep_spacing": "trailing"},
    Schedule.BETA: {"use_beta_sigmas": True, "timestep_spacing": "linspace"},
}

_MODEL_FACTS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "steps_offset",
    "timestep_spacing",
    "rescale_betas_zero_snr",
)
"""What a checkpoint's scheduler config says of the model; the rest is about the sampler it came with."""


def make_scheduler(sampler: Sampler, schedule: Schedule, model_config: Mapping[str, Any]) -> Scheduler:
    """A fresh scheduler for one pass.

    Args:
        model_config: the checkpoint's `scheduler_config.json`. Only what it says of the model's training
            (betas, prediction type, timestep offset) is taken over.
    """
    import diffusers

    recipe = _RECIPES[sampler]
    spacing = _SPACING[recipe.automatic if schedule is Schedule.AUTOMATIC else schedule]
    facts = {key: model_config[key] for key in _MODEL_FACTS if key in model_config}
    scheduler_class = getattr(diffusers, recipe.scheduler)
    return scheduler_class.from_config({**facts, **recipe.options, **spacing})


def seed_noise(scheduler: Scheduler, seeds: Sequence[int], latents: torch.Tensor) -> None:
    """Give a scheduler that draws its own noise (DPM++ SDE) one Brownian tree a picture, on the CPU.

    Call it after `set_timesteps`. Other schedulers take a generator at each step and are left alone.
    """
    if not hasattr(scheduler, "noise_sampler_seed"):
        return
    from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

    sigmas = scheduler.sigmas
    tree = BrownianTreeNoiseSampler(
        torch.zeros(latents.shape), sigmas[sigmas > 0].min().item(), sigmas.max().item(), list(seeds)
    )
    scheduler.noise_sampler = lambda sigma, sigma_next: tree(sigma, sigma_next).to(latents.device)


def predict_original(
    scheduler: Scheduler, sampler: Sampler, index: int, latents: torch.Tensor, prediction: torch.Tensor
) -> torch.Tensor:
    """The clean latents that `prediction` implies at step `index`, for previews.

    Args:
        latents: (B, 4, H/8, W/8), in the scheduler's own scale.
        prediction: the UNet's output after guidance, same shape.
    """
    alpha = float(scheduler.alphas_cumprod[int(scheduler.timesteps[index])])
    scaled = latents * math.sqrt(alpha) if _RECIPES[sampler].variance_exploding else latents
    noise, signal = math.sqrt(1 - alpha), math.sqrt(alpha)
    if scheduler.config.prediction_type == "v_prediction":
        return signal * scaled - noise * prediction
    return (scaled - noise * prediction) / signal

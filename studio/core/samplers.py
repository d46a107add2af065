"""Names of samplers, schedules and upscalers, as AUTOMATIC1111's users know them."""

from __future__ import annotations

from studio.core.base import StrEnum


class Sampler(StrEnum):
    DPMPP_2M = "DPM++ 2M"
    DPMPP_SDE = "DPM++ SDE"
    DPMPP_2M_SDE = "DPM++ 2M SDE"
    EULER_A = "Euler a"
    EULER = "Euler"
    LMS = "LMS"
    HEUN = "Heun"
    DPM2 = "DPM2"
    DPM2_A = "DPM2 a"
    DDIM = "DDIM"
    PLMS = "PLMS"
    UNIPC = "UniPC"
    LCM = "LCM"
    TCD = "TCD"


class Schedule(StrEnum):
    """How the noise levels are spaced over the steps."""

    AUTOMATIC = "Automatic"
    KARRAS = "Karras"
    EXPONENTIAL = "Exponential"
    SGM_UNIFORM = "SGM Uniform"
    SIMPLE = "Simple"
    BETA = "Beta"


class Upscaler(StrEnum):
    """How the hires pass enlarges the first result: in latent space, or the decoded picture."""

    LATENT = "Latent"
    LATENT_NEAREST = "Latent (nearest)"
    LANCZOS = "Lanczos"
    NEAREST = "Nearest"


_TIMESTEP_SPACED = frozenset({Sampler.EULER_A, Sampler.DDIM, Sampler.PLMS})


def schedules_for(sampler: Sampler) -> tuple[Schedule, ...]:
    """The schedules that `sampler` can follow; `Automatic` is always the first.

    Euler a, DDIM and PLMS only choose among the model's own timesteps (SGM Uniform, Simple);
    LCM and TCD were distilled for their own spacing and follow no other. The diffusers schedulers of all
    others take Karras, exponential and beta sigmas too.
    """
    if sampler in (Sampler.LCM, Sampler.TCD):
        return (Schedule.AUTOMATIC,)
    if sampler in _TIMESTEP_SPACED:
        return (Schedule.AUTOMATIC, Schedule.SGM_UNIFORM, Schedule.SIMPLE)
    return tuple(Schedule)

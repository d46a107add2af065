"""Which of our samplers, schedules and upscalers the other studios' names mean: in their files and calls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from studio.core.base import StrEnum
from studio.core.samplers import Sampler, Schedule, Upscaler, schedules_for

_SAMPLERS: Mapping[str, Sampler] = {
    "dpmpp 2m": Sampler.DPMPP_2M,
    "dpmpp sde": Sampler.DPMPP_SDE,
    "dpmpp 2m sde": Sampler.DPMPP_2M_SDE,
    "euler a": Sampler.EULER_A,
    "euler": Sampler.EULER,
    "lms": Sampler.LMS,
    "heun": Sampler.HEUN,
    "dpm2": Sampler.DPM2,
    "dpm 2": Sampler.DPM2,
    "kdpm 2": Sampler.DPM2,
    "dpm2 a": Sampler.DPM2_A,
    "dpm 2 a": Sampler.DPM2_A,
    "kdpm 2 a": Sampler.DPM2_A,
    "ddim": Sampler.DDIM,
    "ddim v3": Sampler.DDIM,
    "plms": Sampler.PLMS,
    "pndm": Sampler.PLMS,
    "unipc": Sampler.UNIPC,
    "uni pc": Sampler.UNIPC,
    "uni pc bh2": Sampler.UNIPC,
    "lcm": Sampler.LCM,
    "tcd": Sampler.TCD,
}
"""By the plain spelling that `_plain` makes of a name."""

_RELATIVES: Mapping[str, Sampler] = {
    "dpmpp 2m sde heun": Sampler.DPMPP_2M_SDE,
    "dpmpp 3m": Sampler.DPMPP_2M,
    "dpmpp 3m sde": Sampler.DPMPP_2M_SDE,
    "dpmpp 2s": Sampler.DPMPP_2M,
    "dpmpp 2s a": Sampler.DPMPP_SDE,
    "deis": Sampler.DPMPP_2M,
    "ddpm": Sampler.DDIM,
}
"""Samplers that Easel lacks, with the nearest one it has."""

_SCHEDULES: Mapping[str, Schedule] = {
    "": Schedule.AUTOMATIC,
    "automatic": Schedule.AUTOMATIC,
    "normal": Schedule.AUTOMATIC,
    "uniform": Schedule.AUTOMATIC,
    "native": Schedule.AUTOMATIC,
    "karras": Schedule.KARRAS,
    "exponential": Schedule.EXPONENTIAL,
    "polyexponential": Schedule.EXPONENTIAL,
    "sgm uniform": Schedule.SGM_UNIFORM,
    "simple": Schedule.SIMPLE,
    "beta": Schedule.BETA,
}

_SUFFIX = re.compile(r"(.+) (karras|ka|k|exponential|exp|sgm uniform|gpu|trailing)")
"""The schedule (or the place of the noise) as a part of the sampler's name: "DPM++ 2M Karras", "euler_k"."""

_SUFFIXES: Mapping[str, str] = {
    "k": "karras",
    "ka": "karras",
    "exp": "exponential",
    "trailing": "",
    "gpu": "",
}
"""Schedules that the suffixes mean which are no names of schedules."""

_UPSCALER = re.compile(
    r"none|(latent|nearest|ldsr|swinir|scunet|dat|r-esrgan|esrgan)(?![a-z])[\w+() -]*"
    r"|\d{1,2}x[-_ ][\w+() -]+",
    re.IGNORECASE,
)
"""How upscalers are called elsewhere: by their kind, or as files that begin with what they multiply by."""

_LONGEST = 100
"""Characters of a name that are looked at."""


class KnownSampler(NamedTuple):
    """What the name of a sampler means."""

    sampler: Sampler | None
    """None where nobody knows the name."""
    schedule: str
    """The schedule in the name; empty where it holds none."""
    warnings: tuple[str, ...]
    """Where it is only the nearest one."""


class SamplerChoice(NamedTuple):
    sampler: Sampler
    schedule: Schedule
    warnings: tuple[str, ...]


def known_sampler(name: str) -> KnownSampler:
    """Our sampler for one of A1111 (old and new), ComfyUI, InvokeAI, Fooocus or NovelAI.

    Args:
        name: "DPM++ 2M Karras", "dpmpp_2m_sde_gpu", "k_euler_ancestral", "euler_k" ...
    """
    plain, schedule = _plain(name), ""
    while plain not in _SAMPLERS and (match := _SUFFIX.fullmatch(plain)):
        plain, suffix = match.groups()
        schedule = schedule or _SUFFIXES.get(suffix, suffix)
    if plain in _SAMPLERS:
        return KnownSampler(_SAMPLERS[plain], schedule, ())
    nearest = _RELATIVES.get(plain)
    return KnownSampler(nearest, schedule, (_missing("sampler", name, nearest),) if nearest else ())


def known_schedule(name: str) -> Schedule | None:
    """Our schedule for another studio's; None where it is none of them."""
    return _SCHEDULES.get(_plain(name))


def read_sampler(name: str, schedule: str = "") -> SamplerChoice:
    """A sampler and a schedule that go together, whatever the names; with a warning for each loss.

    Args:
        schedule: "Karras", "sgm_uniform" ...; empty where the name says it, or nobody does.
    """
    known = known_sampler(name)
    sampler, warnings = known.sampler or Sampler.DPMPP_2M, list(known.warnings)
    if known.sampler is None:
        warnings.append(_missing("sampler", name, sampler))
    asked = _plain(schedule) or known.schedule
    chosen = known_schedule(asked)
    if chosen is None or chosen not in schedules_for(sampler):
        warnings.append(f"{sampler} cannot follow the schedule {asked[:60]!r}; its own is used.")
        chosen = Schedule.AUTOMATIC
    return SamplerChoice(sampler, chosen, tuple(warnings))


def is_upscaler(name: str) -> bool:
    """Whether some studio may call an upscaler so, ours or another."""
    return len(name) <= _LONGEST and bool(own_upscaler(name) or _UPSCALER.fullmatch(name.strip()))


def own_upscaler(name: str) -> Upscaler | None:
    return next((one for one in Upscaler if one.value.lower() == name.strip().lower()), None)


def read_upscaler(name: str) -> tuple[Upscaler, tuple[str, ...]]:
    """Our upscaler for A1111's, and a warning where it is only the nearest one."""
    if own := own_upscaler(name):
        return own, ()
    nearest = Upscaler.LATENT if name.lower().startswith("latent") else Upscaler.LANCZOS
    return nearest, (_missing("upscaler", name, nearest),)


def _missing(what: str, name: str, nearest: StrEnum) -> str:
    return f"Easel has no {what} {name[:60]!r}; {nearest} is used instead."


def _plain(name: str) -> str:
    """One spelling for all studios: lower case, single spaces, no `k_`, `++` as `pp`, `ancestral` as `a`."""
    words = name[:_LONGEST].strip().lower().replace("++", "pp").replace("_", " ").split()
    if len(words) > 1 and words[0] == "k":
        words = words[1:]
    return " ".join("a" if word == "ancestral" else word for word in words)

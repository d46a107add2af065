"""Which of our samplers, schedules and models AUTOMATIC1111's clients mean by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from studio.core.base import StrEnum
from studio.core.errors import InvalidRequest, NotFound
from studio.core.models import ModelInfo
from studio.core.sampler_names import is_upscaler, known_sampler, known_schedule, read_upscaler
from studio.core.samplers import Sampler, Schedule, Upscaler

SAMPLER_ALIASES: Mapping[Sampler, tuple[str, ...]] = {
    Sampler.DPMPP_2M: ("k_dpmpp_2m",),
    Sampler.DPMPP_SDE: ("k_dpmpp_sde",),
    Sampler.DPMPP_2M_SDE: ("k_dpmpp_2m_sde",),
    Sampler.EULER_A: ("k_euler_a", "k_euler_ancestral"),
    Sampler.EULER: ("k_euler",),
    Sampler.LMS: ("k_lms",),
    Sampler.HEUN: ("k_heun",),
    Sampler.DPM2: ("k_dpm_2",),
    Sampler.DPM2_A: ("k_dpm_2_a",),
    Sampler.DDIM: ("ddim",),
    Sampler.PLMS: ("plms",),
    Sampler.UNIPC: ("unipc",),
    Sampler.LCM: ("k_lcm",),
    Sampler.TCD: ("tcd",),
}
"""Names that A1111 lists beside its own; many more are understood."""

SCHEDULE_NAMES: Mapping[Schedule, str] = {each: each.value.lower().replace(" ", "_") for each in Schedule}
"""A1111 tells a schedule's `name` ("sgm_uniform") from its `label` ("SGM Uniform")."""

AUTOMATIC_VAE = "Automatic"
_OWN_VAE = frozenset({"automatic", "none", ""})

_HASH_IN_TITLE = re.compile(r"\[([0-9a-f]{8,10})\]$", re.IGNORECASE)


def find_sampler(name: str) -> tuple[Sampler, Schedule | None]:
    """The sampler meant by a name, or the nearest one, and the schedule where the name holds one.

    Raises: InvalidRequest.
    """
    known = known_sampler(name)
    if known.sampler is None:
        raise _unknown("sampler", name, Sampler, "sampler_name")
    return known.sampler, known_schedule(known.schedule) if known.schedule else None


def find_schedule(name: str) -> Schedule:
    """Raises: InvalidRequest."""
    schedule = known_schedule(name)
    if schedule is None:
        raise _unknown("schedule", name, Schedule, "scheduler")
    return schedule


def find_upscaler(name: str) -> Upscaler:
    """The upscaler meant by a name, or the nearest one.

    Raises: InvalidRequest: no studio has such a name.
    """
    if not is_upscaler(name):
        raise _unknown("upscaler", name, Upscaler, "hr_upscaler")
    return read_upscaler(name)[0]


def _unknown(what: str, name: str, known: type[StrEnum], field: str) -> InvalidRequest:
    return InvalidRequest(
        f"There is no {what} called {name[:60]!r}.",
        f"There are {', '.join(map(str, known))}.",
        field=field,
    )


def model_title(model: ModelInfo) -> str:
    """`name [first 10 hex of its hash]`; the name alone until the hash has been computed."""
    return f"{model.name} [{short_hash(model)}]" if model.sha256 else model.name


def short_hash(model: ModelInfo) -> str:
    """The ten digits that A1111 shows in a checkpoint's title; empty while the hash is not known."""
    return model.sha256[:10]


def find_model(name: str, models: Iterable[ModelInfo], field: str) -> ModelInfo:
    """The model meant by a title, name, id, file name or hash; of several, the one with the title's hash.

    Raises: NotFound.
    """
    models = tuple(models)
    digits = _HASH_IN_TITLE.search(name.strip().lower())
    wanted = _HASH_IN_TITLE.sub("", name.strip()).rstrip().lower()
    for spellings in (_exact_spellings, _loose_spellings):
        if named := [model for model in models if wanted and wanted in spellings(model)]:
            return next((each for each in named if digits and each.sha256.startswith(digits[1])), named[0])
    raise NotFound(
        f"There is no model called {name[:100]!r}.",
        f"There are {', '.join(model.name for model in models)}." if models else "None is installed.",
        field=field,
    )


def _exact_spellings(model: ModelInfo) -> set[str]:
    return {model.name.lower(), model.id.lower()}


def _loose_spellings(model: ModelInfo) -> set[str]:
    file = PurePath(model.location)
    hashes = {model.sha256.lower(), short_hash(model).lower()}
    return {file.name.lower(), file.stem.lower(), *hashes}


def means_own_vae(name: str) -> bool:
    """Whether `sd_vae` asks for the VAE that the checkpoint came with."""
    return name.strip().lower() in _OWN_VAE

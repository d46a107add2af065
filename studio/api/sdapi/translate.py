"""AUTOMATIC1111's payloads -> `GenerateRequest`. Pure: no server, no files.

What a payload asks for and Easel has not is treated in one of two ways. Where the picture would show
something else than was asked (a script), the call is refused. Where it would only differ in finish (face
restoration, sampler noise), the field is ignored, as A1111 ignores what it does not know, and named in the
reply's warnings; so is a sampler or an upscaler that the nearest one stands in for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from studio.api.errors import invalid_request
from studio.api.sdapi.controlnet_args import NO_UNITS, SCRIPT, Source, Units
from studio.api.sdapi.fields import A1111_FIELDS, a1111_field
from studio.api.sdapi.gligen_args import SCRIPT as GLIGEN_SCRIPT
from studio.api.sdapi.inpaint_args import inpaint_warnings
from studio.api.sdapi.names import find_model, find_sampler, find_schedule, find_upscaler, means_own_vae
from studio.api.sdapi.options import Changes, Options, changed
from studio.api.sdapi.payloads import GenerationPayload, Img2ImgPayload, Txt2ImgPayload
from studio.api.sdapi.pictures import PutBlob, decode_picture, store_file
from studio.core.errors import InvalidRequest
from studio.core.geometry import ResizeMode
from studio.core.models import ModelInfo
from studio.core.requests import GenerateRequest
from studio.core.sampler_names import known_sampler, read_upscaler

_RESIZE_MODES = (ResizeMode.STRETCH, ResizeMode.CROP, ResizeMode.PAD, ResizeMode.STRETCH)
_LATENT_STRETCH = 3
"""The mode that stretches the latents instead of the picture."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "restore_faces": (False,),
    "tiling": (False,),
    "eta": (0, 1),
    "s_churn": (0,),
    "s_tmin": (0,),
    "s_tmax": (0,),
    "s_noise": (1,),
    "s_min_uncond": (0,),
    "seed_resize_from_w": (0, -1),
    "seed_resize_from_h": (0, -1),
    "firstphase_width": (0,),
    "firstphase_height": (0,),
    "initial_noise_multiplier": (1,),
    "disable_extra_networks": (False,),
    "refiner_checkpoint": ("", "None"),
    "script_args": ([],),
    "comments": ({},),
}
"""Fields that Easel has not, and the values with which they ask for nothing."""

_WITHOUT_EFFECT = frozenset(
    {
        "do_not_save_samples",
        "do_not_save_grid",
        "refiner_switch_at",
        "image_cfg_scale",
    }
)
"""Fields that say nothing while there is no refiner and no grid."""

_SAME_AS_FIRST = frozenset({"", "none", "use same checkpoint", "use same sampler", "use same scheduler"})


_SCRIPTS = (SCRIPT, GLIGEN_SCRIPT)

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Installed:
    """The models that names in a payload may mean."""

    checkpoints: tuple[ModelInfo, ...]
    vaes: tuple[ModelInfo, ...]
    controls: tuple[ModelInfo, ...] = ()
    """What units of the ControlNet extension may name."""
    gligen: tuple[ModelInfo, ...] = ()


@dataclass(frozen=True)
class Translation:
    request: GenerateRequest
    changes: Changes
    """The options as this call overrides them."""
    warnings: tuple[str, ...]
    """What the payload asked for and will not get."""
    units: Units = NO_UNITS

    def field(self, name: str) -> str:
        """What the client calls a field of the request."""
        return a1111_field(name, self.units)


def translate_txt2img(
    payload: Txt2ImgPayload,
    options: Options,
    installed: Installed,
    units: Units = NO_UNITS,
    further: Mapping[str, Any] = NOTHING,
) -> Translation:
    """The request that a text-to-image payload means.

    Args:
        further: fields of the request that scripts ask for.

    Raises: InvalidRequest, NotFound.
    """
    hires = _hires(payload) if payload.enable_hr else None
    return _translate(payload, options, installed, units, {"hires": hires, **further})


def translate_img2img(
    payload: Img2ImgPayload,
    source: Source,
    options: Options,
    installed: Installed,
    units: Units = NO_UNITS,
    further: Mapping[str, Any] = NOTHING,
) -> Translation:
    """The request that an image-to-image payload means.

    Args:
        further: fields of the request that a mask and scripts ask for.

    Raises: InvalidRequest, NotFound.
    """
    fields: dict[str, Any] = {"image": source.image, "resize_mode": source.resize_mode}
    if payload.denoising_strength is not None:
        fields["strength"] = payload.denoising_strength
    return _translate(payload, options, installed, units, {"source": fields, **further})


def read_source(payload: Img2ImgPayload, put_blob: PutBlob) -> Source:
    """What image-to-image starts from, its picture stored. Raises: InvalidRequest."""
    image = store_file(source_picture(payload), "init_images", put_blob)
    return Source(image, _resize_mode(payload.resize_mode))


def source_picture(payload: Img2ImgPayload) -> bytes:
    """The one picture that image-to-image starts from. Raises: InvalidRequest."""
    if len(payload.init_images) != 1:
        raise InvalidRequest(
            f"Image-to-image needs one picture, and init_images holds {len(payload.init_images)}.",
            "Send one; use batch_size for several versions of it.",
            field="init_images",
        )
    return decode_picture(payload.init_images[0], "init_images")


def _translate(
    payload: GenerationPayload,
    options: Options,
    installed: Installed,
    units: Units,
    extras: Mapping[str, Any],
) -> Translation:
    _refuse_unsupported(payload)
    changes = changed(options, payload.override_settings)
    fields = _shared_fields(payload) | _option_fields(changes, installed) | units.fields | dict(extras)
    try:
        request = GenerateRequest.model_validate(fields)
    except ValidationError as error:
        raise invalid_request(error.errors(), partial(a1111_field, units=units)) from error
    return Translation(request, changes, _warnings(payload, changes), units)


def _shared_fields(payload: GenerationPayload) -> dict[str, Any]:
    sampler, schedule = find_sampler(_sampler_name(payload))
    variation = {"seed": payload.subseed, "strength": payload.subseed_strength}
    return {
        "prompt": payload.prompt,
        "negative_prompt": payload.negative_prompt,
        "width": payload.width,
        "height": payload.height,
        "steps": payload.steps,
        "sampler": sampler,
        "schedule": schedule or find_schedule(payload.scheduler),
        "guidance_scale": payload.cfg_scale,
        "seed": payload.seed,
        "batch_size": payload.batch_size,
        "batches": payload.n_iter,
        "variation": variation if payload.subseed_strength else None,
    }


def _sampler_name(payload: GenerationPayload) -> str:
    return payload.sampler_name or payload.sampler_index


def _option_fields(changes: Changes, installed: Installed) -> dict[str, Any]:
    options = changes.options
    checkpoint = vae = ""
    if changes.checkpoint:
        checkpoint = find_model(changes.checkpoint, installed.checkpoints, A1111_FIELDS["model"]).id
    if not means_own_vae(options.sd_vae):
        vae = find_model(options.sd_vae, installed.vaes, A1111_FIELDS["vae"]).id
    return {
        "model": checkpoint,
        "vae": vae,
        "clip_skip": options.CLIP_stop_at_last_layers,
        "output": options.output,
    }


def _hires(payload: Txt2ImgPayload) -> dict[str, Any]:
    _refuse_another_second_pass(payload)
    fields: dict[str, Any] = {
        "scale": _hires_scale(payload),
        "steps": payload.hr_second_pass_steps,
        "upscaler": find_upscaler(payload.hr_upscaler),
    }
    if payload.denoising_strength is not None:
        fields["strength"] = payload.denoising_strength
    return fields


def _hires_scale(payload: Txt2ImgPayload) -> float:
    """From a target size where one is given. Raises: InvalidRequest where it has other proportions."""
    across, down = payload.hr_resize_x / payload.width, payload.hr_resize_y / payload.height
    if not across and not down:
        return payload.hr_scale
    if across and down and across != down:
        raise InvalidRequest(
            f"The second pass keeps the proportions of {payload.width}x{payload.height}, and "
            f"{payload.hr_resize_x}x{payload.hr_resize_y} has others.",
            "Give hr_scale, or only one of hr_resize_x and hr_resize_y.",
            field="hr_resize_x",
        )
    return across or down


def _refuse_another_second_pass(payload: Txt2ImgPayload) -> None:
    asked = (
        ("hr_checkpoint_name", payload.hr_checkpoint_name, ""),
        ("hr_sampler_name", payload.hr_sampler_name, payload.sampler_name),
        ("hr_scheduler", payload.hr_scheduler, payload.scheduler),
        ("hr_prompt", payload.hr_prompt, payload.prompt),
        ("hr_negative_prompt", payload.hr_negative_prompt, payload.negative_prompt),
    )
    for field, value, first in asked:
        if value != first and value.strip().lower() not in _SAME_AS_FIRST:
            raise InvalidRequest(
                f"The second pass uses the first one's settings, and {field} asks for others.",
                "Leave it empty.",
                field=field,
            )


def _resize_mode(number: int) -> ResizeMode:
    if not 0 <= number < len(_RESIZE_MODES):
        raise InvalidRequest(
            f"The field resize_mode must be 0 or 3 (stretch), 1 (crop) or 2 (fill), and is {number}.",
            field="resize_mode",
        )
    return _RESIZE_MODES[number]


def _refuse_unsupported(payload: GenerationPayload) -> None:
    if payload.script_name.lower() not in ("", "none"):
        raise InvalidRequest(
            f"There is no script called {payload.script_name[:60]!r}.",
            "Leave script_name out.",
            field="script_name",
        )
    for name, script in payload.alwayson_scripts.items():
        if name.lower() not in _SCRIPTS and _asks_for_something(script):
            raise InvalidRequest(
                f"There is no always-on script called {name[:60]!r}.",
                "Leave it out of alwayson_scripts.",
                field="alwayson_scripts",
            )
    if _extra(payload).get("refiner_checkpoint", "") not in _NEUTRAL["refiner_checkpoint"]:
        raise InvalidRequest(
            "There is no refiner pass.", "Leave refiner_checkpoint out.", field="refiner_checkpoint"
        )


def _asks_for_something(script: Any) -> bool:
    """Clients send the units of scripts that are switched off as well: `False`, or `{enabled: false}`.

    A first argument of False is a script's own switch; what follows are its settings.
    """
    units = script.get("args", []) if isinstance(script, Mapping) else [script]
    if isinstance(units, Mapping):
        units = [units] if units else []
    if isinstance(units, list) and units and units[0] is False:
        return False
    return isinstance(units, list) and any(
        unit.get("enabled", True) if isinstance(unit, Mapping) else bool(unit) for unit in units
    )


def _extra(payload: GenerationPayload) -> dict[str, Any]:
    return payload.model_extra or {}


def _warnings(payload: GenerationPayload, changes: Changes) -> tuple[str, ...]:
    ignored = [
        name
        for name, value in _extra(payload).items()
        if name not in _WITHOUT_EFFECT and value not in _NEUTRAL.get(name, ())
    ]
    ignored += [f"override_settings.{name}" for name in changes.ignored]
    if payload.styles:
        ignored.append("styles")
    replaced = known_sampler(_sampler_name(payload)).warnings
    if isinstance(payload, Txt2ImgPayload) and payload.enable_hr:
        replaced += read_upscaler(payload.hr_upscaler)[1]
    others = _picture_warnings(payload) if isinstance(payload, Img2ImgPayload) else ()
    return (*replaced, *(f"{name[:100]} was ignored: Easel does not have it." for name in ignored), *others)


def _picture_warnings(payload: Img2ImgPayload) -> tuple[str, ...]:
    if payload.resize_mode != _LATENT_STRETCH:
        return inpaint_warnings(payload)
    return ("resize_mode was 3: the picture is stretched, not its latents.", *inpaint_warnings(payload))

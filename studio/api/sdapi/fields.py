"""Our fields under the names by which AUTOMATIC1111's clients sent them, for errors."""

from __future__ import annotations

from collections.abc import Mapping

from studio.api.sdapi.controlnet_args import FIELD as CONTROLNET
from studio.api.sdapi.controlnet_args import NO_UNITS, Unit, Units
from studio.api.sdapi.gligen_args import FIELD as GLIGEN
from studio.api.sdapi.options import CHECKPOINT
from studio.core.control_units import unit_field_of

A1111_FIELDS: Mapping[str, str] = {
    "job_id": "force_task_id",
    "model": f"override_settings.{CHECKPOINT}",
    "vae": "override_settings.sd_vae",
    "guidance_scale": "cfg_scale",
    "batches": "n_iter",
    "sampler": "sampler_name",
    "schedule": "scheduler",
    "clip_skip": "override_settings.CLIP_stop_at_last_layers",
    "variation.seed": "subseed",
    "variation.strength": "subseed_strength",
    "source.image": "init_images",
    "source.strength": "denoising_strength",
    "hires": "enable_hr",
    "hires.scale": "hr_scale",
    "hires.steps": "hr_second_pass_steps",
    "hires.strength": "denoising_strength",
    "hires.upscaler": "hr_upscaler",
    "controls": CONTROLNET,
    "image_prompts": CONTROLNET,
    "boxes": GLIGEN,
    "boxes.share": f"{GLIGEN}.0.beta",
    "inpaint": "mask",
    "inpaint.blur": "mask_blur",
    "inpaint.padding": "inpaint_full_res_padding",
}

_UNIT_FIELDS: Mapping[str, str] = {
    "start": "guidance_start",
    "end": "guidance_end",
    "mode": "control_mode",
    "control_type": "union_control_type",
}
"""Where the names of a control and of its unit differ."""

_CORNERS = ("x0", "y0", "x1", "y1")


def a1111_field(field: str, units: Units = NO_UNITS) -> str:
    """What the client calls a field of the request.

    Args:
        units: those that the controls and image prompts of the request were made of.
    """
    first, *rest = field.split(".")
    if field in A1111_FIELDS:
        return A1111_FIELDS[field]
    made_of = {"controls": units.control_units, "image_prompts": units.prompt_units}.get(first, [])
    if rest and rest[0].isdigit() and int(rest[0]) < len(made_of):
        unit = made_of[int(rest[0])]
        return ".".join(filter(None, (f"{CONTROLNET}.{unit.number}", _unit_field(unit, rest[1:]))))
    if first == "boxes":
        return ".".join((GLIGEN, "0", *_box_field(rest)))
    return A1111_FIELDS.get(first, field)


def _unit_field(unit: Unit, parts: list[str]) -> str:
    field = ".".join(parts)
    if field == "mask" and unit.effective_region_mask:
        return "effective_region_mask"
    if field in _UNIT_FIELDS:
        return _UNIT_FIELDS[field]
    if parts[:1] == ["images"]:
        return ".".join(["image", *parts[1:]]) if len(unit.image) > 1 else "image"
    return unit_field_of(unit.module, parts[-1]) if parts[:1] == ["preprocessor"] else field


def _box_field(parts: list[str]) -> list[str]:
    """A box's corners are numbers in a list there."""
    return [str(_CORNERS.index(part)) if part in _CORNERS else part for part in parts]

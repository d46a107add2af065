"""What a LoRA can change in a model, and how files name it.

Every layer has one full name, such as `unet.mid_block.attentions.0.proj_in`: the component's role and the
module's path in it. Files are matched against these as a whole, never by how they end: a layer `to_q` is also
part of GLIGEN's `fuser.attn`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import torch

from studio.core.models import Family, PredictionType
from studio.models.configs import read_config
from studio.models.convert import unet_sources, with_text_model
from studio.models.modules import empty_module

Targets = Mapping[str, tuple[int, ...]]
"""Full names of layers, with the shapes of their weights."""

_CLASSES = {
    "unet": "UNet2DConditionModel",
    "text_encoder": "CLIPTextModel",
    "text_encoder_2": "CLIPTextModelWithProjection",
}

_KOHYA = {
    "unet": ("lora_unet_", "lycoris_", "lycoris_unet_"),
    "text_encoder": ("lora_te_", "lora_te1_", "lycoris_text_encoder_"),
    "text_encoder_2": ("lora_te2_", "lycoris_text_encoder_2_"),
}
"""What files in kohya's way put before a path whose dots have become underscores."""

_DIFFUSERS = {
    "unet": ("unet.", "", "diffusion_model."),
    "text_encoder": ("text_encoder.", "te."),
    "text_encoder_2": ("text_encoder_2.",),
}
"""What files with dots put before a path."""

_OLD_PROJECTIONS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


def lora_targets(modules: Mapping[str, torch.nn.Module]) -> dict[str, tuple[int, ...]]:
    """All layers of `modules` (by role) that a LoRA can change: matrices and convolutions."""
    return {
        f"{role}.{name}": tuple(layer.weight.shape)
        for role, module in modules.items()
        for name, layer in module.named_modules()
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d))
    }


@cache
def family_targets(family: Family) -> Targets:
    """Those of the family's original model, for what is done without a checkpoint.

    Raises: KeyError for an unknown family.
    """
    roles = [role for role in _CLASSES if role != "text_encoder_2" or family is Family.SDXL]
    configs = {role: read_config(family, PredictionType.EPSILON, role) for role in roles}
    return lora_targets({role: empty_module(_CLASSES[role], configs[role]) for role in roles})


class LayerNames:
    """Finds the layer that a file means, in the spelling of any program."""

    def __init__(self, targets: Iterable[str]) -> None:
        self._by_spelling: dict[str, str] = {}
        targets = list(targets)
        in_ldm = unet_sources(name.removeprefix("unet.") for name in targets if name.startswith("unet."))
        for target in targets:
            role, name = target.split(".", 1)
            names = (name, in_ldm[name].name) if role == "unet" else tuple(_clip_spellings(name))
            for spelling in _spellings(role, names):
                self._by_spelling.setdefault(spelling, target)

    def find(self, name: str) -> str | None:
        """The full name of the layer that a file calls `name`; None where this model has none."""
        name = re.sub(r"(^|\.)base_model\.model\.", r"\1", name)
        return self._by_spelling.get(name) or self._by_spelling.get(_modern(name))


def _clip_spellings(name: str) -> Iterator[str]:
    yield name
    yield with_text_model(name)
    yield name.removeprefix("text_model.")


def _spellings(role: str, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield from (prefix + name for prefix in _DIFFUSERS[role])
        yield from (prefix + name.replace(".", "_") for prefix in _KOHYA[role])


def _modern(name: str) -> str:
    """The layer that an attention processor of old diffusers wraps."""
    name = name.replace(".processor.", ".")
    if name.startswith("text_encoder"):
        block, _, projection = name.rpartition(".")
        return f"{block}.{_OLD_PROJECTIONS.get(projection, projection)}"
    return f"{name}.0" if name.endswith(".to_out") else name

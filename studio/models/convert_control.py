"""Where each tensor of a ControlNet, T2I-Adapter or IP-Adapter lies in its original file."""

from __future__ import annotations

import re
from collections.abc import Iterable

from studio.models.convert import Source, unet_sources


def controlnet_sources(names: Iterable[str]) -> dict[str, Source]:
    """For each tensor of a `ControlNetModel`, its place under `control_model.` (lllyasviel/ControlNet)."""
    names = list(names)
    own = [name for name in names if name.startswith("controlnet_")]
    last_hint = 2 * (1 + len({name.split(".")[2] for name in own if ".blocks." in name}))
    copied = unet_sources(name for name in names if not name.startswith("controlnet_"))
    return copied | {name: Source(_control_name(name, last_hint)) for name in own}


def _control_name(name: str, last_hint: int) -> str:
    """The hint block alternates convolutions and activations, so its convolutions have even numbers."""
    name = name.replace("controlnet_cond_embedding.conv_in.", "input_hint_block.0.")
    name = name.replace("controlnet_cond_embedding.conv_out.", f"input_hint_block.{last_hint}.")
    if match := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.+)", name):
        return f"input_hint_block.{2 * (int(match[1]) + 1)}.{match[2]}"
    name = re.sub(r"^controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0.", name)
    return re.sub(r"^controlnet_mid_block\.", "middle_block_out.0.", name)


def t2i_adapter_sources(names: Iterable[str]) -> dict[str, Source]:
    """For each tensor of a `T2IAdapter`, its place in TencentARC's files.

    Full adapters list their residual blocks in one row; light ones nest them in the block of their level.
    """
    names = list(names)
    is_light = any(".out_conv." in name for name in names)
    found = (re.fullmatch(r"adapter\.body\.\d+\.resnets\.(\d+)\..+", name) for name in names)
    per_level = 1 + max((int(match[1]) for match in found if match), default=0)
    return {name: Source(_t2i_name(name, is_light, per_level)) for name in names}


def _t2i_name(name: str, is_light: bool, per_level: int) -> str:
    name = name.removeprefix("adapter.")
    if is_light:
        return name.replace(".resnets.", ".body.")
    if match := re.fullmatch(r"body\.(\d+)\.resnets\.(\d+)\.(.+)", name):
        return f"body.{int(match[1]) * per_level + int(match[2])}.{match[3]}"
    if match := re.fullmatch(r"body\.(\d+)\.in_conv\.(.+)", name):
        return f"body.{int(match[1]) * per_level}.in_conv.{match[2]}"
    return name


def ip_adapter_sources(names: Iterable[str]) -> dict[str, Source]:
    """For each tensor of an `IPAdapter`, its place in tencent-ailab's files."""
    return {name: _ip_adapter_source(name) for name in names}


_RESAMPLER = {
    "ln0": "0.norm1",
    "ln1": "0.norm2",
    "attn.to_q": "0.to_q",
    "attn.to_out.0": "0.to_out",
    "ff.0": "1.0",
    "ff.1.net.0.proj": "1.1",
    "ff.1.net.2": "1.3",
}
"""A layer of the Resampler: attention is its part 0, the feed-forward its part 1."""

_FULL = {"ff.net.0.proj": "proj.0", "ff.net.2": "proj.2", "norm": "proj.3"}
"""The projection of "full face" adapters."""


def _ip_adapter_source(name: str) -> Source:
    if name.startswith("ip_adapter."):
        return Source(name)
    inner = name.removeprefix("image_proj.")
    if match := re.fullmatch(r"layers\.(\d+)\.(.+)\.(weight|bias)", inner):
        layer, part, leaf = match.groups()
        if part in ("attn.to_k", "attn.to_v"):
            return Source(
                f"image_proj.layers.{layer}.0.to_kv.{leaf}", ("attn.to_k", "attn.to_v").index(part), of=2
            )
        return Source(f"image_proj.layers.{layer}.{_RESAMPLER[part]}.{leaf}")
    return Source(f"image_proj.{inner.replace('image_embeds.', 'proj.')}")


def full_ip_adapter_sources(names: Iterable[str]) -> dict[str, Source]:
    """As `ip_adapter_sources`, for the adapters that project every patch of the picture."""
    return {name: Source(_full_name(name)) for name in names}


def _full_name(name: str) -> str:
    for module, other in _FULL.items():
        if name.startswith(f"image_proj.{module}."):
            return f"image_proj.{other}." + name.removeprefix(f"image_proj.{module}.")
    return name

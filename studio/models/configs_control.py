"""Configurations of ControlNets, T2I-Adapters, IP-Adapters and image encoders that come as single files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

from studio.core.models import Family, PredictionType
from studio.models.configs import Config, Shapes, fit_unet_encoder, read_config
from studio.models.convert import Source

_RESAMPLER_HEAD = 64
_VISION_HEADS = {768: 12, 1024: 16, 1280: 16, 1664: 16}
"""Attention heads by width: CLIP's ViT-B, its ViT-L, OpenCLIP's ViT-H and ViT-bigG."""
_OPENAI_WIDTHS = (768, 1024)
"""Those trained by OpenAI, with the approximate GELU."""
_MAX_YAML_BYTES = 256 * 1024
_UNET_ONLY = ("out_channels", "up_block_types", "sample_size", "center_input_sample")


def in_original_names(
    shapes: Shapes, sources: Callable[[Iterable[str]], Mapping[str, Source]]
) -> dict[str, tuple[int, ...]]:
    """Shapes under a module's names, as a file in the original repository's names has them."""
    return {source.name: shapes[name] for name, source in sources(shapes).items()}


def fit_controlnet(family: Family, shapes: Shapes) -> Config:
    """The configuration of a ControlNet whose tensors have the original names."""
    base = read_config(family, PredictionType.EPSILON, "unet")
    config = fit_unet_encoder({key: base[key] for key in base if key not in _UNET_ONLY}, shapes)
    hints = sorted(
        (int(match[1]), shape)
        for name, shape in shapes.items()
        if (match := re.fullmatch(r"input_hint_block\.(\d+)\.weight", name))
    )
    has_attention = any(name.startswith("middle_block.1.transformer_blocks.") for name in shapes)
    size = shapes.get("label_emb.0.0.weight")
    if size is None:
        config |= dict.fromkeys(("addition_embed_type", "addition_time_embed_dim"))
    return config | {
        "conditioning_channels": hints[0][1][1],
        "conditioning_embedding_out_channels": [shape[0] for _, shape in hints[:-1:2]],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if has_attention else "UNetMidBlock2D",
        "projection_class_embeddings_input_dim": size[1] if size else None,
    }


def pools_globally(path: Path) -> bool:
    """Whether a ControlNet's residuals are averaged over the picture, as those of ControlNet 1.1 Shuffle are.

    No tensor tells it. The original repository keeps it in `name.yaml` beside the file; without one, the
    file's name has to do.
    """
    told = _yaml_params(path.with_suffix(".yaml")).get("global_average_pooling")
    return told if isinstance(told, bool) else "shuffle" in path.stem.lower()


def _yaml_params(file: Path) -> Mapping[str, Any]:
    """`model.params` of the original repository's configuration; empty where there is none to be read."""
    import yaml  # type: ignore[import-untyped]

    try:
        if not file.is_file() or file.stat().st_size > _MAX_YAML_BYTES:
            return {}
        content: Any = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, ValueError, OSError, RecursionError):
        return {}
    for key in ("model", "params"):
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


_UNION_PARTS = ("task_embedding", "transformer_layes.", "spatial_ch_projs.", "control_add_embedding.")
"""What a union ControlNet has beside a plain one; the second is spelled so in every file."""


def without_union(shapes: Shapes) -> Shapes:
    """The tensors of a union ControlNet that a plain one has as well."""
    return {name: shape for name, shape in shapes.items() if not name.startswith(_UNION_PARTS)}


def fit_union(shapes: Shapes) -> Config:
    """What the configuration of a union ControlNet says beside that of a plain one, in diffusers' names."""
    tasks, width = shapes["task_embedding"]
    layers = [m[1] for name in shapes if (m := re.match(r"transformer_layes\.(\d+)\.", name))]
    return {
        "num_control_type": tasks,
        "num_trans_channel": width,
        "num_trans_layer": 1 + max(map(int, layers)),
        "num_proj_channel": shapes["spatial_ch_projs.weight"][0],
        "addition_time_embed_dim": shapes["control_add_embedding.linear_1.weight"][1] // tasks,
    }


def fit_t2i_adapter(shapes: Shapes) -> Config:
    """The configuration of a T2I-Adapter whose tensors have diffusers' names."""
    levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("adapter.body."))
    per_level = 1 + max(int(match[1]) for name in shapes if (match := re.search(r"resnets\.(\d+)\.", name)))
    if "adapter.body.0.out_conv.weight" in shapes:
        kind, fold = "light_adapter", 8
        folded = shapes["adapter.body.0.in_conv.weight"][1]
        channels = [shapes[f"adapter.body.{i}.out_conv.weight"][0] for i in range(levels - 1)]
    else:
        folded = shapes["adapter.conv_in.weight"][1]
        kind, fold = ("full_adapter_xl", 16) if folded % 256 == 0 else ("full_adapter", 8)
        channels = [shapes[f"adapter.body.{i}.resnets.0.block1.weight"][0] for i in range(levels)]
    return {
        "adapter_type": kind,
        "in_channels": folded // fold**2,
        "channels": channels,
        "num_res_blocks": per_level,
        "downscale_factor": fold,
    }


def t2i_names(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes of a file in TencentARC's names under those of diffusers: `fit_t2i_adapter` reads them.

    The residual blocks of a full adapter stand in one row, the same number at each of its four levels.
    """
    if any(".out_conv." in name for name in shapes):
        return {f"adapter.{name.replace('.body.', '.resnets.')}": shape for name, shape in shapes.items()}
    blocks = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("body."))
    per_level = max(1, blocks // _LEVELS)
    return {_full_t2i_name(name, per_level): shape for name, shape in shapes.items()}


_LEVELS = 4
"""Resolutions of a full adapter."""


def _full_t2i_name(name: str, per_level: int) -> str:
    match = re.fullmatch(r"body\.(\d+)\.(.+)", name)
    if match is None:
        return f"adapter.{name}"
    level, index = divmod(int(match[1]), per_level)
    part = match[2] if match[2].startswith("in_conv") else f"resnets.{index}.{match[2]}"
    return f"adapter.body.{level}.{part}"


def fit_ip_adapter(shapes: Shapes) -> Config:
    """The configuration of an `IPAdapter`, from all tensors of its file."""
    keys = {
        match[1]: shape
        for name, shape in shapes.items()
        if (match := re.fullmatch(r"ip_adapter\.(\d+)\.to_k_ip\.weight", name))
    }
    context = next(iter(keys.values()))[1]
    common = {"context_width": context, "layers": {number: shape[0] for number, shape in keys.items()}}
    if "image_proj.proj.weight" in shapes:
        wide, image_width = shapes["image_proj.proj.weight"]
        return common | {"projection": "plain", "image_width": image_width, "tokens": wide // context}
    if "image_proj.proj.3.weight" in shapes:
        image_width = shapes["image_proj.proj.0.weight"][1]
        return common | {"projection": "full", "image_width": image_width, "tokens": 0}
    _, tokens, width = shapes["image_proj.latents"]
    layers = [match[1] for name in shapes if (match := re.match(r"image_proj\.layers\.(\d+)\.", name))]
    return common | {
        "projection": "plus",
        "image_width": shapes["image_proj.proj_in.weight"][1],
        "tokens": tokens,
        "width": width,
        "depth": 1 + max(map(int, layers)),
        "heads": shapes["image_proj.layers.0.0.to_q.weight"][0] // _RESAMPLER_HEAD,
    }


def fit_clip_vision(shapes: Shapes) -> Config:
    """The configuration of a CLIP image encoder with its projection, in transformers' names."""
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in shapes) else ""
    width, _, patch, _ = shapes[f"{prefix}embeddings.patch_embedding.weight"]
    positions = shapes[f"{prefix}embeddings.position_embedding.weight"][0]
    layers = [m[1] for name in shapes if (m := re.match(prefix + r"encoder\.layers\.(\d+)\.", name))]
    return {
        "hidden_size": width,
        "intermediate_size": shapes[f"{prefix}encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": 1 + max(map(int, layers)),
        "num_attention_heads": _VISION_HEADS.get(width, max(1, width // _RESAMPLER_HEAD)),
        "image_size": isqrt(positions - 1) * patch,
        "patch_size": patch,
        "projection_dim": shapes["visual_projection.weight"][0],
        "hidden_act": "quick_gelu" if width in _OPENAI_WIDTHS else "gelu",
    }

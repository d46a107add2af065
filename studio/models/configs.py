"""Configurations for single-file checkpoints, which carry none.

What shapes cannot tell (activations, noise schedule, scaling factors) comes from `assets/configs`, one
folder a family, written as diffusers' own `config.json` files. Widths and depths are then read off the
tensors, so pruned, widened and inpainting variants of a family need no configuration of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import CorruptFile
from studio.core.models import Family, PredictionType

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "configs"

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor names of one component, its prefix taken off, with their shapes."""

Config = dict[str, Any]

MAX_COUNT = 200
"""More layers than any of the families has, so that a hostile name costs nothing."""

CHANNELS_PER_HEAD = 64
"""In CLIP, OpenCLIP and the UNets of SD 2.x and SDXL; SD 1.x has 8 heads whatever the width."""


def family_folder(family: Family, prediction_type: PredictionType) -> str:
    """Name of the folder in `assets/configs`."""
    if family is Family.SD2 and prediction_type is PredictionType.V_PREDICTION:
        return "sd2-v"
    return {Family.SD1: "sd1", Family.SD2: "sd2", Family.SDXL: "sdxl"}[family]


def read_config(family: Family, prediction_type: PredictionType, role: str) -> Config:
    """The shipped configuration of one component.

    Args:
        role: unet, vae, text_encoder, text_encoder_2 or scheduler.
    """
    file = ASSETS / family_folder(family, prediction_type) / f"{role}.json"
    config: Config = json.loads(file.read_text("utf-8"))
    return config


def scheduler_config(family: Family, prediction_type: PredictionType, *, zero_snr: bool = False) -> Config:
    """The noise schedule that the family was trained with.

    Args:
        zero_snr: trained down to pure noise ("Common Diffusion Noise Schedules and Sample Steps are
            Flawed", Lin et al. 2023), as some SDXL v-prediction models are.
    """
    config = read_config(family, prediction_type, "scheduler") | {"prediction_type": str(prediction_type)}
    return config | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if zero_snr else config


def fit_unet(base: Config, shapes: Shapes) -> Config:
    """`base` with the widths and depths of an LDM-named UNet."""
    fitted = fit_unet_encoder(base, shapes)
    up = [block.replace("Down", "Up") for block in reversed(fitted["down_block_types"])]
    return fitted | {"out_channels": shapes["out.2.weight"][0], "up_block_types": up}


def fit_unet_encoder(base: Config, shapes: Shapes) -> Config:
    """`base` with the widths and depths of the half that a UNet and its ControlNets have in common."""
    levels = _unet_levels(shapes)
    channels = [shapes[f"{level[0]}.0.out_layers.3.weight"][0] for level in levels]
    depths = [_transformer_depth(shapes, f"{level[0]}.1") for level in levels]
    fitted = {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
    }
    if isinstance(base["attention_head_dim"], list):
        fitted["attention_head_dim"] = [max(1, width // CHANNELS_PER_HEAD) for width in channels]
    if "transformer_layers_per_block" in base:
        fitted["transformer_layers_per_block"] = [depth or 1 for depth in depths]
    context = context_width(shapes)
    return base | fitted | ({"cross_attention_dim": context} if context else {})


def fit_size_conditioning(unet: Config, shapes: Shapes, pooled_width: int) -> Config:
    """SDXL: `unet` with the width of its size conditioning, six numbers beside the pooled text."""
    width = shapes["label_emb.0.0.weight"][1]
    return unet | {
        "projection_class_embeddings_input_dim": width,
        "addition_time_embed_dim": (width - pooled_width) // 6,
    }


def context_width(shapes: Shapes) -> int | None:
    """Width of the text embeddings that a UNet or ControlNet attends to; None where it attends to nothing."""
    attentive = ("attn2.to_k.weight", "fuser.linear.weight")
    widths = (shape[1] for name, shape in shapes.items() if name.endswith(attentive))
    return next(widths, None)


def fit_vae(base: Config, shapes: Shapes) -> Config:
    """`base` with the widths and depths of an LDM-named VAE."""
    blocks = _count(shapes, r"encoder\.down\.(\d+)\.")
    return base | {
        "block_out_channels": [shapes[f"encoder.down.{i}.block.0.conv2.weight"][0] for i in range(blocks)],
        "down_block_types": ["DownEncoderBlock2D"] * blocks,
        "up_block_types": ["UpDecoderBlock2D"] * blocks,
        "layers_per_block": _count(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
    }


def fit_clip(base: Config, shapes: Shapes) -> Config:
    """`base` with the widths and depths of a text encoder in CLIP's own names."""
    return base | _clip_widths(
        next(shape for name, shape in shapes.items() if name.endswith("token_embedding.weight")),
        next(shape for name, shape in shapes.items() if name.endswith("position_embedding.weight")),
        next(shape for name, shape in shapes.items() if name.endswith("mlp.fc1.weight")),
        clip_layers(shapes),
    )


def clip_layers(shapes: Shapes) -> int:
    """Of a text encoder in CLIP's own names."""
    return _count(shapes, r"(?:text_model\.)?encoder\.layers\.(\d+)\.")


def open_clip_layers(shapes: Shapes) -> int:
    """Of a text encoder in OpenCLIP's names."""
    return _count(shapes, r"transformer\.resblocks\.(\d+)\.")


def fit_open_clip(base: Config, shapes: Shapes, *, drop_last: bool) -> Config:
    """`base` with the widths and depths of a text encoder in OpenCLIP's names.

    Args:
        drop_last: SD 2.x was trained on the last layer but one, so its last is never run.
    """
    layers = open_clip_layers(shapes) - drop_last
    widths = _clip_widths(
        shapes["token_embedding.weight"],
        shapes["positional_embedding"],
        shapes["transformer.resblocks.0.mlp.c_fc.weight"],
        layers,
    )
    projection = {} if drop_last else {"projection_dim": shapes["text_projection"][1]}
    return base | widths | projection


def _clip_widths(
    tokens: tuple[int, ...], positions: tuple[int, ...], feed_forward: tuple[int, ...], layers: int
) -> Config:
    vocabulary, hidden = tokens
    return {
        "vocab_size": vocabulary,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "hidden_size": hidden,
        "max_position_embeddings": positions[0],
        "intermediate_size": feed_forward[0],
        "num_attention_heads": max(1, hidden // CHANNELS_PER_HEAD),
        "num_hidden_layers": layers,
    }


def _unet_levels(shapes: Shapes) -> list[list[str]]:
    """The input blocks of each resolution; a block that halves the size ends a level."""
    levels: list[list[str]] = [[]]
    for i in range(1, _count(shapes, r"input_blocks\.(\d+)\.")):
        if f"input_blocks.{i}.0.op.weight" in shapes:
            levels.append([])
        else:
            levels[-1].append(f"input_blocks.{i}")
    return levels


def _transformer_depth(shapes: Shapes, module: str) -> int:
    return _count(shapes, re.escape(module) + r"\.transformer_blocks\.(\d+)\.")


def _count(shapes: Shapes, pattern: str) -> int:
    numbers = (int(match[1]) for name in shapes if (match := re.match(pattern, name)))
    count = max(numbers, default=-1) + 1
    if count > MAX_COUNT:
        raise CorruptFile(f"The file's names promise {count:,} layers in a row, more than any model has.")
    return count

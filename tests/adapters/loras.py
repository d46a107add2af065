"""LoRA files for the tests: random low-rank changes, written in the ways of several programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from studio.models.convert import unet_sources, with_text_model

Pairs = Mapping[str, tuple[Tensor, Tensor]]
"""Full name of a layer -> up and down."""

RANK = 4


def random_pairs(
    targets: Mapping[str, tuple[int, ...]], seed: int, *, rank: int = RANK, size: float = 0.3
) -> dict[str, tuple[Tensor, Tensor]]:
    """A change for each of `targets`, large enough to be seen in a picture of a random model."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for name, (rows, columns, *kernel) in targets.items():
        up = torch.randn(rows, rank, *[1] * len(kernel), generator=generator) * size
        down = torch.randn(rank, columns, *kernel, generator=generator) * columns**-0.5
        pairs[name] = up, down
    return pairs


def transformer_targets(targets: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """What trainers change unless told otherwise: the transformer blocks and their projections."""
    parts = ("attn1", "attn2", ".ff.", "proj_in", "proj_out", "self_attn", "mlp")
    return {name: shape for name, shape in targets.items() if any(part in name for part in parts)}


def kohya(
    pairs: Pairs, *, alpha: float = 2.0, sgm: bool = False, family_two: bool = False
) -> dict[str, Tensor]:
    """`lora_unet_down_blocks_0_...`, or SDXL's `lora_unet_input_blocks_4_1_...`."""
    tensors = {}
    for name, (up, down) in pairs.items():
        stem = kohya_name(name, sgm=sgm, second_encoder=family_two)
        tensors[f"{stem}.lora_up.weight"] = up
        tensors[f"{stem}.lora_down.weight"] = down
        tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    return tensors


def kohya_name(target: str, *, sgm: bool = False, second_encoder: bool = False) -> str:
    role, path = target.split(".", 1)
    if role == "unet":
        return "lora_unet_" + (sgm_names([path])[path] if sgm else path).replace(".", "_")
    prefix = {"text_encoder": "lora_te1_" if second_encoder else "lora_te_", "text_encoder_2": "lora_te2_"}[
        role
    ]
    return prefix + with_text_model(path).replace(".", "_")


def sgm_names(paths: Iterable[str]) -> dict[str, str]:
    """Two layers a block are tiny SDXL's; the names of attention do not depend on more than that."""
    marks = ["down_blocks.0.resnets.0.", "up_blocks.0.attentions.0."]
    sources = unet_sources([*paths, *marks])
    return {path: sources[path].name for path in paths}


def peft(pairs: Pairs) -> dict[str, Tensor]:
    """`unet.down_blocks.0....lora_A.weight`; alpha is the rank."""
    tensors = {}
    for name, (up, down) in pairs.items():
        role, path = name.split(".", 1)
        stem = name if role == "unet" else f"{role}.{with_text_model(path)}"
        tensors[f"{stem}.lora_B.weight"] = up
        tensors[f"{stem}.lora_A.weight"] = down
    return tensors


def write(file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, metadata)
    return file

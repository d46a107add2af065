"""Checkpoints of a family's real shapes with random weights, made on the fly: real scale, no download."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from studio.core.models import Family, PredictionType
from studio.core.settings import Precision
from studio.models.configs import read_config
from studio.models.convert import clip_sources, unet_sources, vae_sources

_POOL = 1 << 20
"""Random numbers that are repeated to fill the weights: drawing a billion would outlast the measurement."""


def write_checkpoints(
    family: Family, folder: Path, tokenizer: Path, precision: Precision, count: int
) -> tuple[str, ...]:
    """`count` checkpoints of different content in `folder`; returns their names."""
    dtype = torch_dtype(precision)
    names = tuple(f"random-{i + 1}" for i in range(count))
    for seed, name in enumerate(names):
        write_random_checkpoint(family, folder / name, tokenizer, dtype, seed)
    return names


def write_random_checkpoint(
    family: Family, folder: Path, tokenizer: Path, dtype: torch.dtype, seed: int = 0
) -> Path:
    """A diffusers folder of `family`'s shapes with random weights.

    Args:
        tokenizer: folder of any CLIP tokenizer; it decides which words the random text encoder knows.
    """
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    index: dict[str, Any] = {"unet": _diffusers(UNet2DConditionModel, family, "unet", folder, dtype)}
    index["vae"] = _diffusers(AutoencoderKL, family, "vae", folder, dtype)
    index["text_encoder"] = _text_encoder(CLIPTextModel, family, "text_encoder", folder, tokenizer, dtype)
    if family is Family.SDXL:
        index["text_encoder_2"] = _text_encoder(
            CLIPTextModelWithProjection, family, "text_encoder_2", folder, tokenizer, dtype
        )
    EulerDiscreteScheduler.from_config(_config(family, "scheduler")).save_pretrained(folder / "scheduler")
    index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    for role in ("tokenizer", "tokenizer_2") if family is Family.SDXL else ("tokenizer",):
        shutil.copytree(tokenizer, folder / role, dirs_exist_ok=True)
        index[role] = ["transformers", "CLIPTokenizer"]
    pipeline = "StableDiffusionXLPipeline" if family is Family.SDXL else "StableDiffusionPipeline"
    index |= {"_class_name": pipeline, "_diffusers_version": "0.42.0"}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), "utf-8")
    return folder


_LDM_PARTS = {
    "unet": ("model.diffusion_model.", unet_sources),
    "vae": ("first_stage_model.", vae_sources),
    "text_encoder": ("cond_stage_model.transformer.", clip_sources),
}
"""Where the components of SD 1.x lie in a single file, in the layout of CompVis."""


def write_single_file(folder: Path, file: Path) -> Path:
    """The SD 1.x checkpoint of a diffusers folder as one file, as most are shared."""
    from safetensors.torch import load_file, save_file

    tensors: dict[str, torch.Tensor] = {}
    for role, (prefix, sources) in _LDM_PARTS.items():
        (weights,) = (folder / role).glob("*.safetensors")
        loaded = load_file(weights)
        places = sources(loaded)
        tensors |= {prefix + places[name].name: tensor for name, tensor in loaded.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file


def write_controlnets(family: Family, folder: Path, precision: Precision, count: int) -> tuple[str, ...]:
    """`count` ControlNets of `family`'s shapes with different random weights; returns their names."""
    from diffusers import ControlNetModel

    known = inspect.signature(ControlNetModel.__init__).parameters
    config = {key: value for key, value in _config(family, "unet").items() if key in known}
    names = tuple(f"control-{i + 1}" for i in range(count))
    for seed, name in enumerate(names):
        torch.manual_seed(100 + seed)
        with torch.device("meta"):
            net = ControlNetModel.from_config(config)
        _fill(net, torch_dtype(precision)).save_pretrained(folder / name, max_shard_size="20GB")
    return names


def torch_dtype(precision: Precision) -> torch.dtype:
    return {Precision.FP32: torch.float32, Precision.FP16: torch.float16}.get(precision, torch.bfloat16)


def _config(family: Family, role: str) -> dict[str, Any]:
    return read_config(family, PredictionType.EPSILON, role)


def _diffusers(model_class: Any, family: Family, role: str, folder: Path, dtype: torch.dtype) -> list[str]:
    with torch.device("meta"):
        model = model_class.from_config(_config(family, role))
    _fill(model, dtype).save_pretrained(folder / role, max_shard_size="20GB")
    return ["diffusers", model_class.__name__]


def _text_encoder(
    model_class: Any, family: Family, role: str, folder: Path, tokenizer: Path, dtype: torch.dtype
) -> list[str]:
    from transformers import CLIPTextConfig, CLIPTokenizer

    words = CLIPTokenizer.from_pretrained(tokenizer)
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    with torch.device("meta"):
        model = model_class(CLIPTextConfig(**(_config(family, role) | ids)))
    _fill(model, dtype).save_pretrained(folder / role, max_shard_size="20GB")
    return ["transformers", model_class.__name__]


def _fill(model: torch.nn.Module, dtype: torch.dtype) -> Any:
    """Matrices of small random numbers, vectors of norms at one, biases at zero: activations stay finite."""
    model = model.to_empty(device="cpu")
    pool = (torch.randn(_POOL) * 0.02).to(dtype)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            repeats = -(-parameter.numel() // _POOL)
            parameter.data = pool.repeat(repeats)[: parameter.numel()].view(parameter.shape).clone()
        else:
            parameter.data = torch.full(parameter.shape, float(name.endswith("weight")), dtype=dtype)
    for name, buffer in model.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand(buffer.shape))
    return model


_TRAINED = (".attn1.", ".attn2.", ".ff.", ".proj_in", ".proj_out", ".self_attn.", ".mlp.")
"""Parts of the layers that trainers give a LoRA to, unless they are told otherwise."""


def write_random_lora(family: Family, file: Path, dtype: torch.dtype, seed: int, rank: int = 16) -> Path:
    """A LoRA of real size in kohya's names, for UNet and text encoder of SD 1.x or 2.x."""
    from safetensors.torch import save_file

    from studio.adapters.lora import family_targets
    from studio.models.convert import with_text_model

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for target, (rows, columns, *kernel) in family_targets(family).items():
        if not any(part in target for part in _TRAINED):
            continue
        role, path = target.split(".", 1)
        stem = f"lora_unet_{path}" if role == "unet" else f"lora_te_{with_text_model(path)}"
        stem = stem.replace(".", "_")
        up, down = (rows, rank, *[1] * len(kernel)), (rank, columns, *kernel)
        tensors[f"{stem}.lora_up.weight"] = torch.randn(up, generator=generator).to(dtype) * 0.01
        tensors[f"{stem}.lora_down.weight"] = torch.randn(down, generator=generator).to(dtype) * 0.01
        tensors[f"{stem}.alpha"] = torch.tensor(float(rank), dtype=dtype)
    save_file(tensors, file)
    return file

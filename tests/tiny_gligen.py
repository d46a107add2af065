"""Tiny GLIGEN models with random weights, in the layouts of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import CLIPImageProjection
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from studio.models.convert import unet_sources


def gated_unet(base: Path, *, reads_pictures: bool = False, seed: int = 8) -> UNet2DConditionModel:
    """The UNet of the checkpoint in `base` with GLIGEN's layers, their gates open."""
    torch.manual_seed(seed)
    plain = UNet2DConditionModel.from_pretrained(base / "unet")
    config: dict[str, Any] = dict(plain.config)
    config["attention_type"] = "gated-text-image" if reads_pictures else "gated"
    unet = UNet2DConditionModel.from_config(config)
    unet.load_state_dict(plain.state_dict(), strict=False)
    for name, parameter in unet.named_parameters():
        if name.endswith(("alpha_attn", "alpha_dense")):
            parameter.data.fill_(0.8)
        elif "null_" in name:
            parameter.data = torch.randn(parameter.shape)
    return unet.eval()


def graft_tensors(unet: UNet2DConditionModel, *, ldm: bool = False) -> dict[str, torch.Tensor]:
    """What GLIGEN added to `unet`, in diffusers' names or in those of the original repository."""
    state = unet.state_dict()
    sources = unet_sources(state)
    return {
        sources[name].name if ldm else name: tensor.contiguous()
        for name, tensor in state.items()
        if ".fuser." in name or name.startswith("position_net.")
    }


def make_gligen(file: Path, base: Path, *, ldm: bool = False, seed: int = 8) -> Path:
    """A file with the graft alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(graft_tensors(gated_unet(base, seed=seed), ldm=ldm), file)
    return file


def make_gated_folder(folder: Path, base: Path) -> Path:
    """A whole UNet with the graft in it, as a diffusers folder."""
    gated_unet(base).save_pretrained(folder)
    return folder


def make_text_image(folder: Path, base: Path) -> Path:
    """A pipeline's folder with what boxes take pictures by; its text encoder and VAE are left out."""
    gated_unet(base, reads_pictures=True).save_pretrained(folder / "unet")
    width = 32
    torch.manual_seed(9)
    CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
            projection_dim=width,
        )
    ).save_pretrained(folder / "image_encoder")
    CLIPImageProjection(width).save_pretrained(folder / "image_project")
    index = {
        "_class_name": "StableDiffusionGLIGENTextImagePipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "image_project": ["diffusers", "CLIPImageProjection"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder

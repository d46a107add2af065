"""The denoiser: a UNet2DConditionModel on 16 x 16 latents; epsilon on Stable Diffusion's noise schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from course import Course, best_device, mixed_precision, team
from data import Town
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from transformers import CLIPTextModel

BATCH = 24
EMPTY_CAPTIONS = 0.1
# Min-SNR weighting (Hang et al. 2023).
SNR_LIMIT = 5.0
# Offset noise: without it the average brightness leaks through the last timestep, and nights come out grey.
OFFSET_NOISE = 0.1


def new_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96, 128),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=(2, 3, 4),  # as in SD2: the number of heads at each level
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule and settings."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def train_unet(
    text_encoder: CLIPTextModel, town: Town, latents: Tensor, empty: np.ndarray, file: Path, minutes: float
) -> UNet2DConditionModel:
    """Train a UNet, and gently the given text encoder with it.

    latents: (n, 4, 16, 16) of the town's pictures. empty: (77,) token ids of the empty caption.
    """
    device = best_device()
    unet = new_unet()
    unet.set_attn_processor(AttnProcessor())  # on CPU this trains a third faster than the fused kernel
    modules = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}).to(device).train()
    modules.requires_grad_(True)
    course = Course(file, modules, {"unet": 1.5e-3, "text_encoder": 3e-4}, minutes, ema=0.999)
    alphas = new_scheduler().alphas_cumprod.to(device)
    rng = np.random.default_rng((course.step, team()[0]))
    torch.manual_seed(course.step * 97 + team()[0])

    def loss_of(step: int) -> dict[str, Tensor]:
        chosen = rng.choice(len(latents), BATCH)
        ids = town.captions[chosen, rng.integers(town.captions.shape[1], size=BATCH)].astype(np.int64)
        ids[rng.random(BATCH) < EMPTY_CAPTIONS] = empty
        clean = latents[torch.from_numpy(chosen)].to(device)
        noise = torch.randn_like(clean) + OFFSET_NOISE * torch.randn(BATCH, 4, 1, 1, device=device)
        timesteps = torch.randint(0, len(alphas), (BATCH,), device=device)
        signal = alphas[timesteps].view(-1, 1, 1, 1)
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        with mixed_precision(device):
            prompt_embeds = text_encoder(torch.from_numpy(ids).to(device)).last_hidden_state
            predicted = unet(noisy, timesteps, prompt_embeds).sample.float()
        error = (predicted - noise).square().mean(dim=(1, 2, 3))
        snr = (signal / (1 - signal)).flatten()
        return {"loss": (error * snr.clamp(max=SNR_LIMIT) / snr).mean(), "mse": error.mean()}

    course.run(loss_of)
    course.finish()
    unet.set_attn_processor(AttnProcessor2_0())
    return unet

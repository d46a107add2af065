"""The autoencoder: 128 px pictures to 16 x 16 x 4 latents and back. First as one, later the decoder alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from course import Course, best_device, gather, mixed_precision, team
from data import SIZE, Town, to_pixels
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 4
KL_WEIGHT = 1e-5
# Latents carry colour in a linear way: it makes previews easy and the UNet's task simpler.
COLOR_WEIGHT = 0.5
# Noise on the latents, relative to their spread, that the decoder learns to forgive.
FORGIVENESS = 0.12


def new_vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
    )


def train_vae(town: Town, file: Path, minutes: float) -> AutoencoderKL:
    """Train encoder and decoder together, then give every latent channel zero mean and unit variance."""
    device = best_device()
    vae = new_vae().to(device)
    to_rgb = nn.Conv2d(4, 3, 1).to(device)
    modules = nn.ModuleDict({"vae": vae, "to_rgb": to_rgb})
    course = Course(file, modules, {"vae": 3e-3, "to_rgb": 3e-3}, minutes, ema=0.998)
    rng = np.random.default_rng((course.step, team()[0]))

    def loss_of(step: int) -> dict[str, Tensor]:
        pixels = to_pixels(town.images[np.sort(rng.choice(len(town.images), BATCH))]).to(device)
        with mixed_precision(device):
            posterior = vae.encode(pixels).latent_dist
            latents = posterior.sample()
            restored = vae.decode(latents).sample.float()
            colors = to_rgb(latents).float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        color = F.l1_loss(colors, F.avg_pool2d(pixels, 8))
        losses = picture_losses(restored, pixels)
        return {
            "loss": losses["picture"] + KL_WEIGHT * kl + COLOR_WEIGHT * color,
            **losses,
            "kl": kl,
            "color": color,
        }

    course.run(loss_of)
    vae = course.finish()["vae"]
    standardize(vae, town)
    return vae


def polish_decoder(
    vae: AutoencoderKL, town: Town, latents: Tensor, file: Path, minutes: float
) -> AutoencoderKL:
    """Train the decoder on, the encoder frozen: latents stay what they are, so the UNet does not notice.

    latents: (n, 4, 16, 16) of the town's images.
    """
    device = best_device()
    modules = nn.ModuleDict({"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}).to(device)
    modules.requires_grad_(True)
    course = Course(file, modules, {"decoder": 1.5e-3, "post_quant_conv": 1.5e-3}, minutes, ema=0.998)
    rng = np.random.default_rng((course.step, team()[0]))

    def loss_of(step: int) -> dict[str, Tensor]:
        chosen = np.sort(rng.choice(len(latents), BATCH))
        pixels = to_pixels(town.images[chosen]).to(device)
        clean = latents[torch.from_numpy(chosen)]
        noisy = clean + FORGIVENESS * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(clean)
        with mixed_precision(device):
            restored = vae.decode(noisy.to(device)).sample.float()
        losses = picture_losses(restored, pixels)
        return {"loss": losses["picture"], **losses}

    course.run(loss_of)
    course.finish()
    return vae


def picture_losses(restored: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    """How far a picture is off: in its colours (L1 and squared) and at edges (neighbours' differences)."""
    error = restored - pixels
    color = error.abs().mean()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return {"picture": color + edges + error.square().mean(), "l1": color}


@torch.no_grad()
def standardize(vae: AutoencoderKL, town: Town, count: int = 512) -> None:
    """Give every latent channel zero mean and unit variance; the 1 x 1 convolutions absorb the change.

    A mean left in would leak through the last timestep, where the noise schedule still lets some signal by.
    """
    latents = encode_images(vae, town.images[:count])
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    encode, decode = vae.quant_conv, vae.post_quant_conv
    encode.bias[:4] = (encode.bias[:4] - mean) / deviation
    encode.weight[:4] /= deviation.view(4, 1, 1, 1)
    encode.bias[4:] -= 2 * deviation.log()
    decode.bias += decode.weight[:, :, 0, 0] @ mean
    decode.weight *= deviation.view(1, 4, 1, 1)
    vae.register_to_config(scaling_factor=1.0)


def encode_town(vae: AutoencoderKL, town: Town) -> Tensor:
    """The latents of every picture, (n, 4, 16, 16) float32; a team shares the work."""
    rank, size = team()
    return gather(encode_images(vae, town.images[rank::size]).cpu())


@torch.no_grad()
def encode_images(vae: AutoencoderKL, images: NDArray[np.uint8], batch: int = 8) -> Tensor:
    parts = []
    for start in range(0, len(images), batch):
        with mixed_precision(vae.device):
            parts.append(
                vae.encode(to_pixels(images[start : start + batch]).to(vae.device)).latent_dist.mean.float()
            )
    return torch.cat(parts)

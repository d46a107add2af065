"""Pictures into latent space and back, through an `AutoencoderKL`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from studio.core.errors import NumericalError
from studio.diffusion.noise import NoiseSource
from studio.diffusion.pictures import to_pictures, to_tensor

Vae = Any
"""A diffusers `AutoencoderKL`."""

LATENT_CHANNELS = 4


def encode_pictures(vae: Vae, pictures: Sequence[Image.Image], noise: NoiseSource) -> torch.Tensor:
    """Pictures of one size -> scaled latents (B, 4, H/8, W/8), each a sample of its posterior."""
    return encode_pixels(vae, torch.cat([to_tensor(picture) for picture in pictures]), noise)


def encode_pixels(vae: Vae, pixels: torch.Tensor, noise: NoiseSource) -> torch.Tensor:
    """(N, 3, H, W), -1 to 1 -> scaled latents (B, 4, H/8, W/8), each a sample of its posterior.

    One picture serves all B generators of `noise`: it is encoded once, and each generator draws its own
    sample, as in diffusers.
    """
    parameter = next(vae.parameters())
    posterior = vae.encode(pixels.to(parameter.device, parameter.dtype)).latent_dist
    mean, std = posterior.mean.float(), posterior.std.float()
    sample: torch.Tensor = (mean + std * noise.draw(mean.shape[1:])) * vae.config.scaling_factor
    return sample


def decode_pixels(vae: Vae, latents: torch.Tensor) -> torch.Tensor:
    """Scaled latents (B, 4, H/8, W/8) -> (B, 3, H, W), about -1 to 1, float32."""
    parameter = next(vae.parameters())
    scaled = (latents / vae.config.scaling_factor).to(parameter.device, parameter.dtype)
    decoded: torch.Tensor = vae.decode(scaled, return_dict=False)[0]
    return decoded.float()


def decode_pictures(vae: Vae, latents: torch.Tensor) -> list[Image.Image]:
    """Scaled latents -> pictures.

    Raises:
        NumericalError: the VAE overflowed (SDXL's own does in fp16).
    """
    pixels = decode_pixels(vae, latents)
    if not bool(torch.isfinite(pixels).all()):
        raise NumericalError(
            "The VAE's output is not a number (NaN), so there is no picture to show.",
            "Start Easel with --precision bf16 or fp32, or choose a VAE made for fp16 in the stack.",
        )
    return to_pictures(pixels)

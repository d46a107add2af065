"""What the picture looks like by now: small, quick, good enough to decide whether to cancel."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cached_property

import torch
from PIL import Image

from studio.diffusion.decode import LATENT_CHANNELS, Vae, decode_pixels
from studio.diffusion.pictures import to_pictures

_CHEAP_PARAMETERS = 5_000_000
"""A VAE with fewer than these (Toytown's, a TAESD) decodes every preview itself."""

_FIT_PICTURES, _FIT_SIDE = 2, 8
MAX_SIDE = 512
"""Longest side of one preview, px."""


class Previewer:
    """Latents -> small pictures, for one VAE.

    A large VAE is replaced by the linear map from a latent to the mean colour of its 8 x 8 pixels. That map
    is fitted once to the VAE at hand, by least squares, so it fits every fine-tuned or unheard-of VAE.
    """

    def __init__(self, vae: Vae) -> None:
        self._vae = vae
        self._cheap = sum(parameter.numel() for parameter in vae.parameters()) < _CHEAP_PARAMETERS

    def pictures(self, latents: torch.Tensor, *, rough: bool = False) -> list[Image.Image]:
        """(B, 4, H/8, W/8), clean and scaled -> RGB pictures, at most 512 px a side.

        Args:
            rough: by the map in any case, for latents that are hardly more than noise.
        """
        if self._cheap and not rough:
            return to_pictures(decode_pixels(self._vae, latents))
        weights = self._colour_map.to(latents.device)
        flat = torch.einsum("bchw,cd->bdhw", _with_bias(latents.float()), weights)
        return to_pictures(torch.nn.functional.interpolate(flat, scale_factor=4, mode="bilinear"))

    @cached_property
    def _colour_map(self) -> torch.Tensor:
        """(5, 3): red, green, blue from four latents and one, by least squares over smooth random latents."""
        generator = torch.Generator("cpu").manual_seed(0)
        coarse = torch.randn((_FIT_PICTURES, LATENT_CHANNELS, 2, 2), generator=generator)
        latents = torch.nn.functional.interpolate(coarse, size=(_FIT_SIDE, _FIT_SIDE), mode="bicubic")
        colours = torch.nn.functional.avg_pool2d(decode_pixels(self._vae, latents), 8).cpu()
        inputs = _with_bias(latents).permute(0, 2, 3, 1).flatten(0, 2)
        fit: torch.Tensor = torch.linalg.lstsq(inputs, colours.permute(0, 2, 3, 1).flatten(0, 2)).solution
        return fit


def _with_bias(latents: torch.Tensor) -> torch.Tensor:
    return torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1)


def contact_sheet(pictures: Sequence[Image.Image]) -> str:
    """Pictures side by side as a base64 JPEG."""
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width * len(pictures), height))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i * width, 0))
    sheet.thumbnail((MAX_SIDE * min(len(pictures), 4), MAX_SIDE))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")

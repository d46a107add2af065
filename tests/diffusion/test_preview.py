"""A preview shows the colours that the VAE would decode, whatever VAE it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from studio.core.settings import PACK
from studio.diffusion import preview
from studio.diffusion.decode import decode_pixels
from studio.diffusion.pictures import to_tensor
from studio.diffusion.preview import Previewer, contact_sheet


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(Path(PACK) / "toytown" / "vae", dtype=torch.float32)


def smooth_latents() -> torch.Tensor:
    coarse = torch.randn((1, 4, 2, 2), generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bicubic")


@torch.inference_mode()
def test_the_linear_map_of_a_large_vae_comes_close_to_its_colours(vae, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preview, "_CHEAP_PARAMETERS", 0)
    latents = smooth_latents()
    (shown,) = Previewer(vae).pictures(latents)
    decoded = torch.nn.functional.interpolate(decode_pixels(vae, latents), size=(64, 64), mode="area")
    told = to_tensor(shown)
    error = (told - decoded.clamp(-1, 1)).abs().mean().item()
    grey = (decoded.clamp(-1, 1) - decoded.clamp(-1, 1).mean()).abs().mean().item()
    assert error < 0.6 * grey


@torch.inference_mode()
def test_a_small_vae_decodes_its_previews_itself(vae):
    previewer = Previewer(vae)
    (shown,) = previewer.pictures(smooth_latents())
    (rough,) = previewer.pictures(smooth_latents(), rough=True)
    assert (shown.size, rough.size) == ((128, 128), (64, 64))
    fine = to_tensor(shown.resize(rough.size))
    assert (fine - to_tensor(rough)).abs().mean() < 0.6 * (fine - fine.mean()).abs().mean()


def test_a_batch_is_shown_side_by_side_as_one_small_jpeg(vae):
    pictures = Previewer(vae).pictures(smooth_latents().repeat(3, 1, 1, 1))
    assert contact_sheet(pictures).startswith("/9j/")

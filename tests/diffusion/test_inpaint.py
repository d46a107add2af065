"""What a UNet is told of a photo that is painted with a graded mask, and what grey parts go back to."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from studio.core.geometry import Extent, ResizeMode
from studio.core.inpaint import Inpaint, MaskedContent
from studio.diffusion.conditions import UnetCall
from studio.diffusion.inpaint import Inpainting
from studio.diffusion.inpaint_scene import make_scene
from studio.diffusion.noise import NoiseSource

SIZE = (64, 64)


class PlainVae(torch.nn.Module):
    """Latents are the means of 8 x 8 px, and of their light: nothing is random."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        self.config = SimpleNamespace(scaling_factor=1.0)

    def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
        means = torch.nn.functional.avg_pool2d(pixels, 8)
        latents = torch.cat([means, means.mean(1, keepdim=True)], dim=1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=latents, std=torch.zeros_like(latents)))


def photo() -> Image.Image:
    """A light ball on green."""
    photo = Image.new("RGB", SIZE, (10, 120, 30))
    photo.paste((250, 240, 230), (24, 24, 40, 40))
    return photo


def mask() -> Image.Image:
    """White over the ball, dark grey beside it."""
    mask = Image.new("L", SIZE, 0)
    mask.paste(60, (8, 16, 56, 48))
    mask.paste(255, (16, 16, 48, 48))
    return mask


def inpainting(**options) -> Inpainting:
    asked = Inpaint(mask="a" * 64, blur=0, **options)
    scene = make_scene(photo(), mask(), asked, Extent(width=64, height=64), ResizeMode.CROP)
    return Inpainting(scene, asked, PlainVae(), NoiseSource([1, 2], torch.device("cpu")))


def told_to_the_unet(part: Inpainting) -> tuple[torch.Tensor, torch.Tensor]:
    """The mask (1, 1, 8, 8) and the photo's latents (1, 4, 8, 8) beside the sample."""
    call = UnetCall(
        sample=torch.zeros(2, 4, 8, 8),
        timestep=torch.zeros(2),
        prompt_embeds=torch.zeros(2, 1, 1),
        added=None,
        batch=2,
        has_unconditional=False,
        step=0,
        steps=1,
    )
    part.channels().contribute(call)
    assert call.sample.shape == (2, 9, 8, 8)
    return call.sample[:1, 4:5], call.sample[:1, 5:]


def test_a_model_made_for_inpainting_is_told_masks_of_0_and_1_whatever_the_greys():
    soft, hard = (told_to_the_unet(inpainting(soft=soft)) for soft in (True, False))
    assert set(soft[0].unique().tolist()) == {0.0, 1.0}
    assert soft[0].sum() == 6 * 4
    assert hard[0].sum() == 4 * 4


@pytest.mark.parametrize("soft", [True, False])
def test_it_sees_nothing_of_what_is_masked_for_it(soft):
    told, latents = told_to_the_unet(inpainting(soft=soft))
    clean = inpainting(soft=soft).photo()[:1]
    assert (latents[:, :, told[0, 0] > 0] == 0).all()
    assert torch.equal(latents[:, :, told[0, 0] == 0], clean[:, :, told[0, 0] == 0])


@pytest.mark.parametrize("content", list(MaskedContent))
def test_grey_parts_go_back_to_the_photo_whatever_painting_began_with(content):
    part = inpainting(soft=True, content=content)
    clean, noise = part.encode(), torch.ones(2, 4, 8, 8)
    assert torch.equal(part.blend(clean, noise).latents, part.photo())
    begun = part.start(clean, noise)
    assert torch.equal(begun, part.photo()) is (content is MaskedContent.ORIGINAL)


def test_what_is_not_masked_is_of_one_piece_with_a_filling():
    """As in A1111: around a hard mask, the picture that painting began with is kept."""
    part = inpainting(content=MaskedContent.FILL)
    clean = part.encode()
    assert part.blend(clean, torch.ones(2, 4, 8, 8)).latents is clean
    ball = np.asarray(clean)[:, :, 3:5, 3:5]
    assert np.abs(ball - np.asarray(part.photo())[:, :, 3:5, 3:5]).min() > 0.5

"""Inpainting in the denoising loop: extra channels for models made for it, blending for all others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image

from studio.core.inpaint import Inpaint, MaskedContent
from studio.diffusion.conditions import UnetCall
from studio.diffusion.decode import Vae, encode_pictures, encode_pixels
from studio.diffusion.inpaint_scene import InpaintScene
from studio.diffusion.noise import NoiseSource
from studio.diffusion.painted import hardened, latent_cells
from studio.diffusion.pictures import to_tensor
from studio.diffusion.samplers import Scheduler


class InpaintChannels:
    """A condition of UNets with nine input channels: the mask, and the photo without what is masked.

    Args:
        mask: (1, 1, H/8, W/8), 1 where the photo is painted anew.
        masked_latents: (B, 4, H/8, W/8), scaled, of the photo with the masked part grey.
    """

    def __init__(self, mask: torch.Tensor, masked_latents: torch.Tensor) -> None:
        batch = len(masked_latents)
        self._extra = torch.cat([mask.expand(batch, -1, -1, -1), masked_latents], dim=1)

    def contribute(self, call: UnetCall) -> None:
        rows = len(call.sample) // call.batch
        extra = self._extra.to(call.sample.device, call.sample.dtype)
        call.sample = torch.cat([call.sample, extra.repeat(rows, 1, 1, 1)], dim=1)


@dataclass(frozen=True)
class LatentBlend:
    """Puts the photo back around the mask after each step, noised to the level of the next one.

    So any model inpaints (Avrahami et al. 2023, "Blended Latent Diffusion"). With a graded mask, its grey
    parts are let go one after another, the darkest last (Levin & Fried 2023, "Differential Diffusion").
    """

    latents: torch.Tensor
    """(B, 4, H/8, W/8), scaled: the photo."""
    noise: torch.Tensor
    """(B, 4, H/8, W/8): the one that the pass began with."""
    mask: torch.Tensor
    """(1, 1, H/8, W/8): 1 where the photo is painted anew; between 0 and 1 where it changes less."""

    def __call__(
        self, latents: torch.Tensor, scheduler: Scheduler, next_timestep: torch.Tensor | None, done: float
    ) -> torch.Tensor:
        around = self.latents
        if next_timestep is not None:
            around = scheduler.add_noise(around, self.noise, next_timestep[None])
        return torch.where((self.mask >= 1 - done) & (self.mask > 0), latents, around)


def latent_mask(mask: Image.Image, *, soft: bool) -> torch.Tensor:
    """A grey picture (W x H) as the mask of its latents: (1, 1, H/8, W/8), 0 or 1; between if `soft`."""
    return torch.from_numpy(latent_cells(mask, soft=soft))[None, None]


class Inpainting:
    """A scene on its way through one pass, for a batch of B pictures.

    Draws from the generators in the order of diffusers' inpainting pipelines.
    """

    def __init__(self, scene: InpaintScene, options: Inpaint, vae: Vae, noise: NoiseSource) -> None:
        self._scene = scene
        self._options = options
        self._vae = vae
        self._noise = noise
        self._mask = latent_mask(scene.changing(soft=options.soft), soft=options.soft).to(noise.device)

    @property
    def is_soft(self) -> bool:
        """True where grey parts change less, which only a blend can do."""
        return self._options.soft

    def encode(self) -> torch.Tensor:
        """The photo with its masked content: (B, 4, H/8, W/8), scaled."""
        return self._encode(self._options.content)

    def photo(self) -> torch.Tensor:
        """The photo as it is: (B, 4, H/8, W/8), scaled."""
        return self._encode(MaskedContent.ORIGINAL)

    def start(self, clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """`clean` with what lies under the mask when painting starts."""
        content = self._options.content
        if content is MaskedContent.LATENT_NOISE:
            return torch.where(self._mask > 0, noise, clean)
        if content is MaskedContent.LATENT_NOTHING:
            return torch.where(self._mask > 0, torch.zeros_like(clean), clean)
        return clean

    def channels(self) -> InpaintChannels:
        """What a UNet made for inpainting is told of the photo.

        Such nets know masks of 0 and 1 only. Where grades count, all that may change is masked for them, and
        the blend alone says how much.
        """
        soft = self._options.soft
        changing = self._scene.changing(soft=soft)
        hidden = changing.point(lambda value: 255 if value else 0) if soft else hardened(changing)
        pixels = to_tensor(self._scene.framed(self._scene.photo))
        masked_latents = encode_pixels(self._vae, pixels * (to_tensor(hidden) < 0), self._noise)
        return InpaintChannels((self._mask > 0).float(), masked_latents)

    def blend(self, clean: torch.Tensor, noise: torch.Tensor) -> LatentBlend:
        """How a UNet of four channels is kept from changing what is not masked, and any UNet from changing
        grey parts too much: those go back to the photo itself, whatever painting began with.
        """
        self._noise.draw(clean.shape[1:])  # diffusers encodes the masked photo here as well, to no effect
        is_filled = self._options.content is MaskedContent.FILL
        around = self.photo() if self._options.soft and is_filled else clean
        return LatentBlend(around, noise, self._mask)

    def _encode(self, content: MaskedContent) -> torch.Tensor:
        return encode_pictures(self._vae, [self._scene.start(content)], self._noise)

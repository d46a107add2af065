"""A plan and the modules it needs -> finished pictures, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image

from studio.core.events import DENOISING
from studio.core.geometry import Extent
from studio.core.models import Family
from studio.core.samplers import Upscaler
from studio.diffusion.attention import cached_cross_attention
from studio.diffusion.conditions import Condition, ConditionsOf, no_conditions
from studio.diffusion.decode import LATENT_CHANNELS, Vae, decode_pictures, encode_pictures
from studio.diffusion.denoise import Blend, Denoiser, StepState, denoise
from studio.diffusion.encode import ConditioningSchedule
from studio.diffusion.fitting import LATENT_SCALE, fit_picture
from studio.diffusion.inpaint import Inpainting
from studio.diffusion.inpaint_scene import InpaintScene
from studio.diffusion.noise import NoiseSource, image_seeds
from studio.diffusion.plan import DenoisePass, GeneratePlan
from studio.diffusion.preview import Previewer, contact_sheet
from studio.diffusion.samplers import make_scheduler, predict_original, seed_noise
from studio.models.manager import Lease

LATENT_MODES = {Upscaler.LATENT: "bilinear", Upscaler.LATENT_NEAREST: "nearest"}
PIXEL_MODES = {Upscaler.LANCZOS: Image.Resampling.LANCZOS, Upscaler.NEAREST: Image.Resampling.NEAREST}


@dataclass(frozen=True)
class Modules:
    """What a job runs on: modules borrowed from the manager, and what the checkpoint says of itself."""

    lease: Lease
    scheduler_config: Mapping[str, Any]
    family: Family

    @property
    def unet(self) -> Any:
        return self.lease.get("unet")

    @property
    def vae(self) -> Vae:
        return self.lease.get("vae")

    @property
    def previewer(self) -> Previewer:
        previewer: Previewer = self.lease.derived("vae", "previewer", Previewer)
        return previewer


@dataclass(frozen=True)
class FinishedPicture:
    image: Image.Image
    index: int
    """Position in the request, from 0."""
    seed: int


class Observer(Protocol):
    """Who watches a job: the queue's worker, or nobody."""

    def check(self) -> None:
        """Raises: JobCancelled."""

    def step(self, phase: str, done: int, total: int, image: int) -> None:
        """A step of a phase is done.

        Args:
            image: index of the batch being made.
        """

    def wants_preview(self) -> bool:
        """Whether it is time for one; asked before anything is decoded."""

    def preview(self, jpeg: str, step: int) -> None:
        """What the batch looks like after a step, as a base64 JPEG."""


@torch.inference_mode()
def generate(
    plan: GeneratePlan,
    modules: Modules,
    conditioning: Sequence[ConditioningSchedule],
    source: Image.Image | None,
    observer: Observer,
    first_batch: int = 0,
    conditions: ConditionsOf = no_conditions,
    scene: InpaintScene | None = None,
) -> Iterator[FinishedPicture]:
    """The pictures of a plan, batch by batch, as they are finished.

    Args:
        conditioning: one schedule for each pass of the plan.
        source: the picture that image-to-image starts from.
        first_batch: where to go on after a failure.
        conditions: what the pictures follow beside text.
        scene: the source with its mask, where a part of it is painted anew.
    """
    request = plan.request
    for number in range(first_batch, request.batches):
        observer.check()
        batch = _Batch(plan, modules, conditioning, observer, number, conditions, scene)
        for i, image in enumerate(batch.pictures(source)):
            yield FinishedPicture(image, batch.first_image + i, batch.seeds[i])


@torch.inference_mode()
def sample_latents(
    plan: GeneratePlan,
    modules: Modules,
    conditioning: Sequence[ConditioningSchedule],
    source: Image.Image | None,
    observer: Observer,
    conditions: ConditionsOf = no_conditions,
    scene: InpaintScene | None = None,
) -> torch.Tensor:
    """The final latents (B, 4, H/8, W/8) of a plan's first batch, scaled, before they are decoded."""
    return _Batch(plan, modules, conditioning, observer, 0, conditions, scene).latents(source)


class _Batch:
    """One batch on its way through all passes."""

    def __init__(
        self,
        plan: GeneratePlan,
        modules: Modules,
        conditioning: Sequence[ConditioningSchedule],
        observer: Observer,
        number: int,
        conditions: ConditionsOf,
        scene: InpaintScene | None,
    ) -> None:
        self.plan = plan
        self.request = plan.request
        self.modules = modules
        self.conditioning = conditioning
        self.observer = observer
        self.conditions = conditions
        self.scene = scene
        self.device = modules.lease.device
        self.number = number
        self.first_image = number * plan.request.batch_size
        self.steps_before = number * plan.total_steps // plan.request.batches
        self.seeds = image_seeds(plan.request.seed, self.first_image, plan.request.batch_size)

    def latents(self, source: Image.Image | None) -> torch.Tensor:
        latents = self._first_pass(source)
        if self.plan.hires and self.request.hires:
            latents = self._hires_pass(latents, self.plan.hires, self.request.hires.upscaler)
        return latents

    def pictures(self, source: Image.Image | None) -> list[Image.Image]:
        if self.scene is not None and self.plan.first.steps_run == 0:
            return [self.scene.untouched] * self.request.batch_size
        latents = self.latents(source)
        self.observer.check()
        self._report("Decoding", self.plan.total_steps // self.request.batches)
        pictures = decode_pictures(self.modules.vae, latents)
        return [self.scene.paste(picture) for picture in pictures] if self.scene else pictures

    def _first_pass(self, source: Image.Image | None) -> torch.Tensor:
        noise = NoiseSource(self.seeds, self.device)
        part = self.plan.first
        if self.scene is not None and self.request.inpaint is not None:
            return self._inpaint(
                part, Inpainting(self.scene, self.request.inpaint, self.modules.vae, noise), noise
            )
        if source is None or self.request.source is None:
            return self._denoise(part, 0, None, noise, self._draw(noise, latent_shape(part.extent)))
        picture = fit_picture(source, part.extent, self.request.source.resize_mode)
        clean = encode_pictures(self.modules.vae, [picture], noise)
        return self._denoise(part, 0, clean, noise, self._draw(noise, latent_shape(part.extent)))

    def _inpaint(self, part: DenoisePass, inpainting: Inpainting, noise: NoiseSource) -> torch.Tensor:
        """A pass that repaints the masked part of a photo; at full strength it starts from noise alone."""
        if part.steps_run == 0:
            return inpainting.photo()
        unet = self.modules.lease.peek("unet")  # to place it now could take the VAE off the device
        has_channels = unet.config.in_channels > LATENT_CHANNELS
        blends = inpainting.is_soft or not has_channels
        clean = inpainting.encode() if blends or part.strength < 1 else None
        drawn = self._draw(noise, latent_shape(part.extent))
        start = inpainting.start(clean, drawn) if clean is not None and part.strength < 1 else None
        channels = inpainting.channels() if has_channels else None
        blend = inpainting.blend(clean, drawn) if clean is not None and blends else None
        return self._denoise(part, 0, start, noise, drawn, channels=channels, blend=blend)

    def _hires_pass(self, latents: torch.Tensor, part: DenoisePass, upscaler: Upscaler) -> torch.Tensor:
        noise = NoiseSource(self.seeds, self.device)
        large = self._enlarge(latents, part.extent, upscaler, noise)
        return self._denoise(part, 1, large, noise, self._draw(noise, latent_shape(part.extent)))

    def _enlarge(
        self, latents: torch.Tensor, extent: Extent, upscaler: Upscaler, noise: NoiseSource
    ) -> torch.Tensor:
        """Latents (B, 4, h, w) -> (B, 4, H/8, W/8) of `extent`, in latent space or by way of the pictures."""
        if upscaler in LATENT_MODES:
            size = latent_shape(extent)[1:]
            return torch.nn.functional.interpolate(latents, size=size, mode=LATENT_MODES[upscaler])
        small = decode_pictures(self.modules.vae, latents)
        large = [picture.resize((extent.width, extent.height), PIXEL_MODES[upscaler]) for picture in small]
        return encode_pictures(self.modules.vae, large, noise)

    def _denoise(
        self,
        part: DenoisePass,
        number: int,
        clean: torch.Tensor | None,
        noise: NoiseSource,
        drawn: torch.Tensor,
        *,
        channels: Condition | None = None,
        blend: Blend | None = None,
    ) -> torch.Tensor:
        """One pass, from pure noise or from `clean` latents.

        Args:
            drawn: what `noise` gave for this pass.
            channels: fills the UNet's further input channels; comes after all other conditions.
        """
        scheduler = make_scheduler(self.request.sampler, self.request.schedule, self.modules.scheduler_config)
        scheduler.set_timesteps(part.steps)
        latents = self._start(scheduler, part, clean, drawn)
        if clean is None and blend is not None and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        if part.steps_run == 0:
            return latents
        seed_noise(scheduler, self.seeds, latents)
        with cached_cross_attention(self.modules.unet), self.conditions(part.extent) as conditions:
            return denoise(
                self._denoiser(part, number, [*conditions, *([channels] if channels else [])]),
                scheduler,
                latents,
                steps=part.steps,
                skipped=part.skipped,
                generators=noise.generators,
                observer=lambda state: self._observe(scheduler, part, number, state),
                blend=blend,
            )

    def _draw(self, noise: NoiseSource, shape: tuple[int, int, int]) -> torch.Tensor:
        variation = self.request.variation
        if variation is None or variation.strength == 0:
            return noise.draw(shape)
        seeds = image_seeds(variation.seed, self.first_image, self.request.batch_size)
        return noise.mixed_with(NoiseSource(seeds, self.device), variation.strength, shape)

    def _start(
        self, scheduler: Any, part: DenoisePass, clean: torch.Tensor | None, noise: torch.Tensor
    ) -> torch.Tensor:
        if clean is None:
            noisy: torch.Tensor = noise * scheduler.init_noise_sigma
            return noisy
        if part.steps_run == 0:
            return clean
        begin = part.skipped * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        timestep = scheduler.timesteps[begin : begin + 1].repeat(len(clean))
        started: torch.Tensor = scheduler.add_noise(clean, noise, timestep)
        return started

    def _denoiser(self, part: DenoisePass, number: int, conditions: Sequence[Condition]) -> Denoiser:
        return Denoiser(
            lambda: self.modules.unet,
            self.conditioning[number],
            self.request.guidance_scale,
            self.request.batch_size,
            size_conditioning(part.extent) if self.modules.family is Family.SDXL else None,
            conditions,
        )

    def _observe(self, scheduler: Any, part: DenoisePass, number: int, state: StepState) -> None:
        self.observer.check()
        step = (state.index + 1) * part.steps // len(scheduler.timesteps) - part.skipped
        done = step + (self.plan.first.steps_run if number else 0)
        self._report(DENOISING, done)
        if self.observer.wants_preview():
            clean = predict_original(
                scheduler, self.request.sampler, state.index, state.latents, state.prediction
            )
            pictures = self.modules.previewer.pictures(clean, rough=state.index == 0)
            self.observer.preview(contact_sheet(pictures), self.steps_before + done)

    def _report(self, phase: str, done: int) -> None:
        self.observer.step(phase, self.steps_before + done, self.plan.total_steps, self.number)


def latent_shape(extent: Extent) -> tuple[int, int, int]:
    """(4, H/8, W/8) of a picture."""
    return LATENT_CHANNELS, extent.height // LATENT_SCALE, extent.width // LATENT_SCALE


def size_conditioning(extent: Extent) -> torch.Tensor:
    """SDXL's micro-conditioning (Podell et al. 2023, section 2.2): (6,) as if nothing had been cropped."""
    size = [extent.height, extent.width]
    return torch.tensor([*size, 0, 0, *size], dtype=torch.float32)

"""Fresh Toytown scenes, and drawing them with the base and what stacks on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from base import Base
from course import mixed_precision
from data import SIZE, to_pixels, tokenize
from diffusers import ControlNetModel, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from train_controlnet import to_control
from train_gligen import MOST_BOXES
from train_unet import new_scheduler
from world import Render, Scene, describe, random_scene, render

SEED = 30_000_000
BATCH = 25
STEPS, GUIDANCE = 10, 5.0
# Boxes act during this share of the steps.
BOX_STEPS = 0.3

# (latents, timestep, prompt embeddings) of both guidance halves, and the share of steps done, to noise.
Denoise = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Case:
    scene: Scene
    view: Render
    caption: str
    seed: int


def cases(count: int, scene_of: Callable[..., Scene] = random_scene) -> list[Case]:
    """Fresh scenes: of one, two and three things in turn."""
    made = []
    for index in range(count):
        rng = np.random.default_rng(SEED + index)
        scene = scene_of(rng, 1 + index % 3)
        made.append(Case(scene, render(scene, SIZE), describe(scene, rng), index))
    return made


def batches(items: list[Case]) -> Iterator[list[Case]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


class Painter:
    """Draws with the base and whatever a `Denoise` adds: DDIM with guidance, many pictures at a time."""

    def __init__(self, base: Base) -> None:
        self.base = base

    @torch.no_grad()
    def draw(self, captions: list[str], seeds: list[int], denoise: Denoise) -> NDArray[np.uint8]:
        """(n, 128, 128, 3) uint8."""
        scheduler = new_scheduler()
        scheduler.set_timesteps(STEPS)
        ids = tokenize(self.base.tokenizer, [""] * len(captions) + captions)
        embeds = self.base.embed(ids)
        noise = [torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        latents = torch.cat(noise)
        with mixed_precision(latents.device):
            for done, timestep in enumerate(scheduler.timesteps):
                both = torch.cat([latents, latents])
                empty, full = denoise(both, timestep, embeds, done / STEPS).float().chunk(2)
                guided = empty + GUIDANCE * (full - empty)
                latents = scheduler.step(guided, timestep, latents).prev_sample
            pictures = self.base.vae.decode(latents / self.base.vae.config.scaling_factor).sample.float()
        pixels = pictures.clamp(-1, 1).add(1).mul(127.5).round().permute(0, 2, 3, 1)
        return np.asarray(pixels.numpy(), np.uint8)

    def plain(self, latents: Tensor, timestep: Tensor, embeds: Tensor, done: float) -> Tensor:
        return self.base.unet(latents, timestep, embeds).sample

    def controlled(self, nets: list[tuple[ControlNetModel, NDArray[np.uint8]]]) -> Denoise:
        """With these ControlNets at full weight, each with its maps."""
        controls = [(net, torch.cat([to_control(maps)] * 2)) for net, maps in nets]

        def denoise(latents: Tensor, timestep: Tensor, embeds: Tensor, done: float) -> Tensor:
            parts = [
                net(latents, timestep, embeds, controlnet_cond=control, return_dict=False)
                for net, control in controls
            ]
            down = [sum(layers) for layers in zip(*(part[0] for part in parts), strict=True)]
            return self.base.unet(
                latents,
                timestep,
                embeds,
                down_block_additional_residuals=down,
                mid_block_additional_residual=sum(part[1] for part in parts),
            ).sample

        return denoise

    def boxed(self, unet: UNet2DConditionModel, items: list[Case], share: float = BOX_STEPS) -> Denoise:
        """With GLIGEN's boxes in the first `share` of the steps; guidance's empty half gets none."""
        inputs = self._boxes(items)

        def denoise(latents: Tensor, timestep: Tensor, embeds: Tensor, done: float) -> Tensor:
            extra = {"gligen": inputs} if done < share else None
            return unet(latents, timestep, embeds, cross_attention_kwargs=extra).sample

        return denoise

    def _boxes(self, items: list[Case]) -> dict[str, Tensor]:
        n = len(items)
        boxes, masks = torch.zeros(2 * n, MOST_BOXES, 4), torch.zeros(2 * n, MOST_BOXES)
        embeds = torch.zeros(2 * n, MOST_BOXES, self.base.text_encoder.config.hidden_size)
        for row, item in enumerate(items, start=n):
            count = len(item.scene.things)
            boxes[row, :count] = torch.from_numpy(item.view.boxes)
            masks[row, :count] = 1
            embeds[row, :count] = self.base.embed_phrases(
                [phrase_of(t.color, t.kind) for t in item.scene.things]
            )
        return {"boxes": boxes, "masks": masks, "positive_embeddings": embeds}

    def inpainting(
        self, unet: UNet2DConditionModel, images: NDArray[np.uint8], masks: NDArray[np.bool_]
    ) -> Denoise:
        """With the nine-channel UNet; masks: (n, 128, 128), True where to paint."""
        holes = torch.from_numpy(masks).float()[:, None]
        with torch.no_grad():
            known = self.base.vae.encode(to_pixels(images) * (holes < 0.5)).latent_dist.mean
        extra = torch.cat([F.interpolate(holes, size=known.shape[-2:]), known], dim=1)

        def denoise(latents: Tensor, timestep: Tensor, embeds: Tensor, done: float) -> Tensor:
            return unet(torch.cat([latents, torch.cat([extra, extra])], dim=1), timestep, embeds).sample

        return denoise


def phrase_of(color: str, kind: str) -> str:
    return f"{'an' if color[0] in 'aeiou' else 'a'} {color} {kind}"

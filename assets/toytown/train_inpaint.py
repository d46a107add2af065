"""The inpainting UNet: the finished one with five more input channels, for mask and masked picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from base import Base, add_noise, early_timesteps
from course import Course, best_device, mixed_precision, team
from data import SIZE, to_pixels, tokenize
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from facts import NOTHING, Facts, name_of
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 12
RATE = 1.5e-3
# How much the arrangement counts: there the picture around the hole tells most.
LAYOUT_WEIGHT = 0.1
EARLY = 1.3
EMPTY_CAPTIONS = 0.1
# How often the caption names only what is under the mask, as people do who paint one thing into a picture.
PHRASES = 0.45


def new_inpaint_unet(base: Base) -> UNet2DConditionModel:
    """Nine input channels: noisy latents, mask, masked latents. The new ones start at zero."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config({**base.unet.config, "in_channels": 9})
    weights = base.unet.state_dict()
    known = weights.pop("conv_in.weight")
    unet.load_state_dict(weights, strict=False)
    with torch.no_grad():
        unet.conv_in.weight.zero_()
        unet.conv_in.weight[:, :4] = known
    unet.set_attn_processor(AttnProcessor())
    return unet.to(best_device()).train().requires_grad_(True)


def random_mask(box: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(128, 128) of 0 and 1: mostly a rectangle or blob loosely around the box, at times anywhere or all."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    roll = rng.random()
    if roll < 0.08:
        return np.ones_like(mask)
    if roll < 0.25:
        box = np.sort(rng.uniform(0, 1, (2, 2)), axis=0).ravel().astype(np.float32)
    width, height = box[2:] - box[:2]
    margins = rng.uniform(-0.02, 0.3, 4) * np.asarray([width, height, width, height]) * [-1, -1, 1, 1]
    x0, y0, x1, y1 = (int(v) for v in np.rint(np.clip(box + margins, 0, 1) * SIZE))
    if rng.random() < 0.6:
        mask[y0:y1, x0:x1] = 1
        return mask
    turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    reach = rng.uniform(0.5, 0.75, 12)
    points = np.stack([np.cos(turns) * reach * (x1 - x0), np.sin(turns) * reach * (y1 - y0)], axis=1)
    center = np.asarray([(x0 + x1) / 2, (y0 + y1) / 2])
    cv2.fillPoly(mask, [np.rint(points + center).astype(np.int32)], (1,))
    return mask


class Holes:
    """Draws masks and fitting captions for chosen scenes."""

    def __init__(self, base: Base, facts: Facts) -> None:
        self.base = base
        self.facts = facts
        self.empty = tokenize(base.tokenizer, [""])[0]
        names = [name_of(number) for number in range(72)]
        self.phrases = tokenize(
            base.tokenizer,
            [f"{'an' if color[0] in 'aeiou' else 'a'} {color} {kind}" for color, kind in names],
        )

    def masks_and_ids(
        self, chosen: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, NDArray[np.int16]]:
        """(n, 1, 128, 128) masks, 1 where to paint, and (n, 77) token ids."""
        masks, ids = [], []
        for scene in chosen:
            things = np.flatnonzero(self.facts.names[scene] != NOTHING)
            thing = int(rng.choice(things))
            box = self.facts.boxes[scene, thing]
            mask = random_mask(box, rng)
            x0, y0, x1, y1 = np.rint(box * SIZE).astype(int)
            hides = mask[y0:y1, x0:x1].mean() > 0.8 and (len(things) == 1 or mask.mean() < 0.9)
            caption = self.facts.captions[scene, rng.integers(self.facts.captions.shape[1])]
            if hides and rng.random() < PHRASES:
                caption = self.phrases[self.facts.names[scene, thing]]
            masks.append(mask)
            ids.append(self.empty if rng.random() < EMPTY_CAPTIONS else caption)
        return torch.from_numpy(np.stack(masks)).float()[:, None], np.stack(ids)


def train_inpaint(
    base: Base, facts: Facts, latents: Tensor, file: Path, minutes: float
) -> UNet2DConditionModel:
    unet = new_inpaint_unet(base)
    course = Course(file, nn.ModuleDict({"unet": unet}), {"unet": RATE}, minutes, ema=0.998)
    rng = np.random.default_rng((course.step, team()[0]))
    torch.manual_seed(course.step * 97 + team()[0])
    device, holes = best_device(), Holes(base, facts)

    def loss_of(step: int) -> dict[str, Tensor]:
        chosen = rng.choice(len(latents), BATCH)
        masks, ids = holes.masks_and_ids(chosen, rng)
        pixels = to_pixels(facts.images[chosen]) * (masks < 0.5)
        batch = add_noise(
            latents[torch.from_numpy(chosen)].to(device), base.alphas, early_timesteps(BATCH, EARLY)
        )
        with mixed_precision(device):
            with torch.no_grad():
                masked = base.vae.encode(pixels.to(device)).latent_dist.mean
            small = F.interpolate(masks, size=masked.shape[-2:]).to(device)
            inputs = torch.cat([batch.latents, small, masked], dim=1)
            predicted = unet(inputs, batch.timesteps, base.embed(ids)).sample
        losses = batch.losses(predicted)
        layout = batch.layout_losses(predicted)["loss"]
        return {**losses, "loss": losses["loss"] + LAYOUT_WEIGHT * layout, "layout": layout}

    course.run(loss_of)
    course.finish()
    unet.set_attn_processor(AttnProcessor2_0())
    return unet

"""ControlNets (Zhang et al. 2023) of the finished UNet: edges and depth. The UNet stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from base import Base, add_noise, early_timesteps
from course import Course, best_device, mixed_precision, team
from diffusers import ControlNetModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from facts import Facts, edges_of
from numpy.typing import NDArray
from torch import Tensor, nn

BATCH = 12
RATE = 1e-3
EARLY = 1.7

# From the facts and the chosen scenes to control maps, (n, 128, 128) uint8.
Maps = Callable[[Facts, NDArray[np.int64]], NDArray[np.uint8]]


def canny_maps(facts: Facts, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.stack([edges_of(facts.images[at]) for at in chosen])


def depth_maps(facts: Facts, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.asarray(facts.depth[chosen])


def to_control(maps: NDArray[np.uint8]) -> Tensor:
    """(n, 128, 128) uint8 to (n, 3, 128, 128) float in 0-1, as ControlNets take them."""
    return torch.from_numpy(maps).float().div(255)[:, None].expand(-1, 3, -1, -1).contiguous()


def new_controlnet(base: Base) -> ControlNetModel:
    """A copy of the UNet's encoder with a narrow stem for the map.

    The stem's last layer starts at random instead of zero: the zero convolutions behind it keep the first
    step neutral all the same, and the stem learns from that step on.
    """
    torch.manual_seed(0)
    net = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(8, 16, 32, 64))
    nn.init.kaiming_normal_(net.controlnet_cond_embedding.conv_out.weight)
    net.set_attn_processor(AttnProcessor())
    return net.to(best_device()).train().requires_grad_(True)


def train_controlnet(
    base: Base,
    facts: Facts,
    latents: Tensor,
    maps: Maps,
    file: Path,
    minutes: float,
    start: dict[str, Any] | None = None,
) -> ControlNetModel:
    """Train one on the given maps. start: weights of a trained net to go on from, as other conditions do."""
    net = new_controlnet(base)
    if start is not None:
        net.load_state_dict(start)
    course = Course(file, nn.ModuleDict({"net": net}), {"net": RATE}, minutes, ema=0.998)
    rng = np.random.default_rng((course.step, team()[0]))
    torch.manual_seed(course.step * 97 + team()[0])
    device = best_device()

    def loss_of(step: int) -> dict[str, Tensor]:
        chosen = rng.choice(len(latents), BATCH)
        control = to_control(maps(facts, chosen)).to(device)
        batch = add_noise(
            latents[torch.from_numpy(chosen)].to(device), base.alphas, early_timesteps(BATCH, EARLY)
        )
        with mixed_precision(device):
            embeds = base.captions(facts, chosen, rng)
            inputs = (batch.latents, batch.timesteps, embeds)
            down, middle = net(*inputs, controlnet_cond=control, return_dict=False)
            predicted = base.unet(
                *inputs, down_block_additional_residuals=down, mid_block_additional_residual=middle
            ).sample
        return batch.losses(predicted)

    course.run(loss_of)
    course.finish()
    net.set_attn_processor(AttnProcessor2_0())
    return net

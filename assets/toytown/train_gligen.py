"""GLIGEN (Li et al. 2023) for the finished UNet: gated layers and a position net, so that boxes matter.

The loss of the noise alone needs tens of thousands of steps until a box has any effect: a gated layer learns
to read a box's phrase only where it already looks at the box from the right places. So its attention is
taught as well: the places within a box look at that box's token, the others do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from base import Base, add_noise
from course import Course, best_device, mixed_precision, team
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from facts import MOST_THINGS, NOTHING, Facts, name_of
from numpy.typing import NDArray
from palette import COLORS
from torch import Tensor, nn
from torch.nn import functional as F
from world import KINDS

BATCH = 24
RATE = 2e-3
# Boxes act in the first, noisiest steps; so most of the training is spent on these.
ACTIVE_FROM, ACTIVE = 0.55, 0.85
# Boxes are dropped for a part of the pictures: guidance's unconditional half gets none.
DROPPED_BOXES = 0.1
# As many as the stock pipeline hands over; unused ones are null.
MOST_BOXES = 30
# How much of the loss is the attention's, to begin with; it fades as the training goes on.
LOOKING = 0.5
PHRASES = ("{article} {name}", "{name}", "the {name}")


def new_gligen_unet(base: Base) -> UNet2DConditionModel:
    """The base UNet with gated layers, which alone are trainable.

    A gated layer starts as a copy of the self-attention and feed-forward beside it, so that it can read the
    features from the first step on. Gates start open and the last layers behind them at zero: like zeroed
    gates this changes nothing at first, but all of it learns at its full rate.
    """
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config({**base.unet.config, "attention_type": "gated"})
    unet.load_state_dict(base.unet.state_dict(), strict=False)
    unet.set_attn_processor(AttnProcessor())
    unet.requires_grad_(False)
    for name, fuser in fusers(unet).items():
        block = unet.get_submodule(name.removesuffix(".fuser"))
        for part, source in (("attn", "attn1"), ("ff", "ff"), ("norm1", "norm1"), ("norm2", "norm3")):
            getattr(fuser, part).load_state_dict(getattr(block, source).state_dict())
        nn.init.ones_(fuser.alpha_attn)
        nn.init.ones_(fuser.alpha_dense)
        for last in (fuser.attn.to_out[0], fuser.ff.net[2]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return unet.to(best_device()).train()


class Look:
    """An attention processor that keeps the last attention, (n, places, tokens), mean over the heads."""

    attention: Tensor

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        parts = [layer(hidden_states) for layer in (attn.to_q, attn.to_k, attn.to_v)]
        query, key, value = (attn.head_to_batch_dim(part) for part in parts)
        scores = attn.get_attention_scores(query, key)
        self.attention = scores.unflatten(0, (len(hidden_states), -1)).mean(1)
        return attn.to_out[0](attn.batch_to_head_dim(scores @ value))


def coverage(boxes: Tensor, side: int) -> Tensor:
    """(n, boxes, 4) x0 y0 x1 y1 in 0-1 to (n, side * side, boxes): the share of each place in each box."""
    edges = torch.arange(side, device=boxes.device) / side

    def overlap(low: Tensor, high: Tensor) -> Tensor:
        shared = torch.minimum(high[..., None], edges + 1 / side) - torch.maximum(low[..., None], edges)
        return shared.clamp(min=0) * side

    x0, y0, x1, y1 = boxes.unbind(-1)
    shares = overlap(y0, y1)[..., :, None] * overlap(x0, x1)[..., None, :]
    return shares.flatten(2).transpose(1, 2)


def looking_loss(looks: Iterable[Look], boxes: dict[str, Tensor]) -> Tensor:
    """The mean binary cross-entropy of places that look at boxes and places that lie in them."""
    losses = []
    for look in looks:
        count = boxes["boxes"].shape[1]
        places = look.attention.shape[1] - count
        looked = look.attention[:, :places, places:][..., :MOST_THINGS].float().clamp(1e-5, 1 - 1e-5)
        asked = coverage(boxes["boxes"][:, :MOST_THINGS], round(places**0.5))
        error = F.binary_cross_entropy(looked, asked, reduction="none")
        present = boxes["masks"][:, None, :MOST_THINGS]
        losses.append((error * present).sum() / (present.sum() * places).clamp(min=1))
    return torch.stack(losses).mean()


def fusers(unet: UNet2DConditionModel) -> dict[str, Any]:
    """The gated layers by their names in the UNet."""
    return {name: part for name, part in unet.named_modules() if name.endswith(".fuser")}


def graft_of(unet: UNet2DConditionModel) -> nn.ModuleDict:
    """What GLIGEN adds to the UNet; module names cannot hold dots, so these have slashes."""
    parts = {name.replace(".", "/"): part for name, part in fusers(unet).items()}
    return nn.ModuleDict({**parts, "position_net": unet.position_net})


def load_graft(unet: UNet2DConditionModel, weights: dict[str, Tensor]) -> None:
    """Put a graft's weights, under diffusers' names, into a UNet that has gated layers."""
    missing = unet.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
    assert not missing.unexpected_keys


def phrase_table(base: Base) -> Tensor:
    """(wordings, 72, 128): the embedding of every name in every wording."""
    rows = []
    for wording in PHRASES:
        pairs = [name_of(number) for number in range(len(KINDS) * len(COLORS))]
        articles = ["an" if color[0] in "aeiou" else "a" for color, _ in pairs]
        phrases = [
            wording.format(article=a, name=f"{c} {k}") for a, (c, k) in zip(articles, pairs, strict=True)
        ]
        rows.append(base.embed_phrases(phrases))
    return torch.stack(rows)


class Boxes:
    """Draws position net inputs of chosen scenes."""

    def __init__(self, base: Base, facts: Facts) -> None:
        self.facts = facts
        self.phrases = phrase_table(base)

    def __call__(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        n, width = len(chosen), self.phrases.shape[-1]
        boxes, masks = torch.zeros(n, MOST_BOXES, 4), torch.zeros(n, MOST_BOXES)
        names = self.facts.names[chosen].astype(np.int64)
        present = (names != NOTHING) & (rng.random(n) >= DROPPED_BOXES)[:, None]
        boxes[:, :MOST_THINGS] = torch.from_numpy(self.facts.boxes[chosen] * present[..., None])
        masks[:, :MOST_THINGS] = torch.from_numpy(present).float()
        embeds = torch.zeros(n, MOST_BOXES, width)
        wording = rng.integers(len(self.phrases), size=names.shape)
        embeds[:, :MOST_THINGS] = self.phrases[wording, names].cpu() * masks[:, :MOST_THINGS, None]
        inputs = {"boxes": boxes, "masks": masks, "positive_embeddings": embeds}
        return {name: value.to(best_device()) for name, value in inputs.items()}


def _active_timesteps() -> Tensor:
    shares = torch.rand(BATCH)
    return torch.where(torch.rand(BATCH) < ACTIVE, ACTIVE_FROM + (1 - ACTIVE_FROM) * shares, shares)


def train_gligen(
    base: Base,
    facts: Facts,
    latents: Tensor,
    file: Path,
    minutes: float,
    start: dict[str, Tensor] | None = None,
) -> UNet2DConditionModel:
    """Train the gated layers. start: those of a finished graft, under diffusers' names, to go on from."""
    unet = new_gligen_unet(base)
    if start is not None:
        load_graft(unet, start)
    graft = graft_of(unet).requires_grad_(True)
    course = Course(file, graft, dict.fromkeys(graft, RATE), minutes, ema=0.998)
    rng = np.random.default_rng((course.step, team()[0]))
    torch.manual_seed(course.step * 97 + team()[0])
    device, draw_boxes = best_device(), Boxes(base, facts)
    looks = {name: Look() for name in fusers(unet)}
    for name, look in looks.items():
        unet.get_submodule(name).attn.set_processor(look)

    def loss_of(step: int) -> dict[str, Tensor]:
        chosen = rng.choice(len(latents), BATCH)
        batch = add_noise(latents[torch.from_numpy(chosen)].to(device), base.alphas, _active_timesteps())
        boxes = draw_boxes(chosen, rng)
        with mixed_precision(device):
            embeds = base.captions(facts, chosen, rng)
            predicted = unet(
                batch.latents, batch.timesteps, embeds, cross_attention_kwargs={"gligen": boxes}
            ).sample
        looking = looking_loss(looks.values(), boxes)
        losses = batch.layout_losses(predicted)
        weight = LOOKING * (1 - course.progress) ** 2
        return {**losses, "loss": losses["loss"] + weight * looking, "looking": looking}

    course.run(loss_of)
    course.finish()
    unet.set_attn_processor(AttnProcessor2_0())
    return unet

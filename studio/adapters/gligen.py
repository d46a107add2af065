"""GLIGEN (Li et al. 2023) grafted onto whatever UNet of SD 1.x is loaded, and what it is told of the boxes.

Each transformer block gets a gated layer between its self- and its cross-attention, which lets the picture
read the objects' tokens. The layers are handed to the blocks as plain attributes: the UNet's own modules,
names and weights stay as they are, and nothing is left behind when the graft comes off.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from studio.adapters.ip_adapter import clip_pixels
from studio.core.boxes import MAX_BOXES
from studio.core.errors import InvalidRequest
from studio.core.geometry import Box
from studio.models.convert import unet_sources
from studio.models.gligen import GatedFuser, GligenGraft
from studio.models.gligen_files import module_key

_PICTURE_NORM = 28.7
"""Length that a picture's features are brought to: that of phrases' (GLIGEN's own constant)."""

_PROBED = ".attn1.to_q.weight"


@dataclass(frozen=True)
class ObjectFeature:
    """What an encoder makes of a phrase or of a picture."""

    feature: torch.Tensor
    """(1, P)"""

    @property
    def size_bytes(self) -> int:
        return self.feature.nbytes


@dataclass(frozen=True)
class BoxedObject:
    """A box in the model's frame with what is to be seen in it."""

    box: Box
    phrase: ObjectFeature | None = None
    picture: ObjectFeature | None = None


@contextmanager
def grafted(unet: Any, graft: GligenGraft, strength: float = 1.0) -> Iterator[None]:
    """Until the block ends, `unet` takes `cross_attention_kwargs={"gligen": {"objs": tokens}}`.

    Args:
        unet: a `UNet2DConditionModel` of SD 1.x with four or nine channels.
        strength: factor on the gates.

    Raises: InvalidRequest: the graft was made for another UNet.
    """
    fusers = _fusers_of(unet, graft)
    for block, fuser in fusers.items():
        fuser.set_heads(block.attn1.heads)
        fuser.strength = strength
        object.__setattr__(block, "fuser", fuser)  # past `Module`, which would register it as a part
    object.__setattr__(unet, "position_net", _as_they_are)
    try:
        yield
    finally:
        for block in fusers:
            del block.fuser
        del unet.position_net


def _as_they_are(objs: torch.Tensor) -> torch.Tensor:
    """The UNet's position net: tokens are the same at every step, so they are made beforehand."""
    return objs


def _fusers_of(unet: Any, graft: GligenGraft) -> dict[Any, GatedFuser]:
    """The gated layer of each transformer block."""
    places = _places(unet)
    found: dict[Any, Any] = {}
    for block, names in places.items():
        keys = [key for key in map(module_key, names) if key in graft.fusers]
        fuser: Any = graft.fusers[keys[0]] if keys else None
        if fuser is not None and fuser.linear.out_features == block.attn1.to_q.in_features:
            found[block] = fuser
    if (
        len(found) != len(places)
        or len(found) != len(graft.fusers)
        or graft.context_width != unet.config.cross_attention_dim
    ):
        raise InvalidRequest(
            f"The GLIGEN model was made for a UNet with {len(graft.fusers)} transformer blocks and text of "
            f"{graft.context_width} channels, but this one has {len(places)} and "
            f"{unet.config.cross_attention_dim}; {len(found)} blocks fit.",
            "Choose a GLIGEN model made for the checkpoint.",
            field="boxes.model",
        )
    return found


def _places(unet: Any) -> Mapping[Any, tuple[str, str]]:
    """Each transformer block with its place in diffusers' and in the original names."""
    sources = unet_sources(name for name, _ in unet.named_parameters())
    names = {name: source.name for name, source in sources.items() if name.endswith(_PROBED)}
    return {
        unet.get_submodule(name.removesuffix(_PROBED)): (
            name.removesuffix(_PROBED),
            original.removesuffix(_PROBED),
        )
        for name, original in names.items()
    }


@torch.no_grad()
def object_tokens(graft: GligenGraft, objects: Sequence[BoxedObject]) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of no object, for guidance's unconditional half, and those of `objects`: (1, K, D) each.

    Positions are told by sines of up to a hundred times their value, so they are computed in float32 whatever
    the weights' type is. K is 30, with models that read pictures 60.
    """
    net = copy.deepcopy(graft.position_net).float()
    tokens = net(**_net_inputs(graft, objects)).to(next(graft.position_net.parameters()).dtype)
    return tokens[:1], tokens[1:]


def _net_inputs(graft: GligenGraft, objects: Sequence[BoxedObject]) -> dict[str, torch.Tensor]:
    """For two rows: one without objects, and one with them; both filled up to 30."""
    boxes = torch.zeros(2, MAX_BOXES, 4)
    masks = torch.zeros(2, MAX_BOXES)
    for i, one in enumerate(objects):
        boxes[1, i] = torch.tensor([one.box.x0, one.box.y0, one.box.x1, one.box.y1])
        masks[1, i] = 1
    phrases, phrase_masks = _features([one.phrase for one in objects], graft.feature_width)
    inputs = {"boxes": boxes, "masks": masks}
    if graft.reads_pictures:
        pictures, picture_masks = _features([one.picture for one in objects], graft.feature_width)
        inputs |= {
            "phrases_embeddings": phrases,
            "phrases_masks": phrase_masks,
            "image_embeddings": pictures,
            "image_masks": picture_masks,
        }
    else:
        inputs["positive_embeddings"] = phrases
    return {name: value.to(graft.device) for name, value in inputs.items()}


def _features(features: Sequence[ObjectFeature | None], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(2, 30, width) and which of them are told, (2, 30); the first row holds nothing."""
    values, masks = torch.zeros(2, MAX_BOXES, width), torch.zeros(2, MAX_BOXES)
    for i, one in enumerate(features):
        if one is not None:
            values[1, i] = one.feature[0].float().cpu()
            masks[1, i] = 1
    return values, masks


@torch.no_grad()
def picture_feature(
    encoder: Callable[[], Any], projection: Callable[[], Any], picture: Image.Image
) -> ObjectFeature:
    """What a picture shows, as a phrase would say it.

    Args:
        encoder: gives the `CLIPVisionModelWithProjection`, on its device.
        projection: gives the model's `CLIPImageProjection`, asked for when the encoder has done its part.
    """
    model = encoder()
    pixels = clip_pixels(picture, model.config.image_size)
    seen = model(pixels.to(next(model.parameters()))).image_embeds
    project = projection()
    feature = project(seen.to(next(project.parameters())))
    return ObjectFeature(feature / feature.norm() * _PICTURE_NORM)

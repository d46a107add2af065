"""The weights of an IP-Adapter (Ye et al. 2023, "Text Compatible Image Prompt Adapter") as one module.

Two parts: a projection from what CLIP sees in a picture to a few tokens, and, for each cross-attention layer
of the UNet, matrices that make keys and values of these tokens. The projections are diffusers' classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
)

HEAD_WIDTH = 64
"""Channels of an attention head in the Resampler."""


class IPAdapter(torch.nn.Module):
    """Built from a configuration that `configs_control.fit_ip_adapter` reads off a file.

    Args:
        projection: "plain" (the picture as a whole), "plus" (Resampler over its patches) or "full" (every
            patch is a token).
        image_width: channels of what the image encoder gives.
        context_width: channels of the UNet's text embeddings.
        layers: for each cross-attention layer, under its number in the file ("1", "3", ...), its channels.
        tokens: a picture becomes so many; "full" has one a patch whatever is said here.
        width, depth, heads: of the Resampler.
    """

    def __init__(
        self,
        projection: str,
        image_width: int,
        context_width: int,
        layers: Mapping[str, int],
        tokens: int,
        width: int = 0,
        depth: int = 0,
        heads: int = 0,
    ) -> None:
        super().__init__()
        self.projection = projection
        self.image_width = image_width
        self.context_width = context_width
        self.image_proj = _projection(projection, image_width, context_width, tokens, width, depth, heads)
        self.ip_adapter = torch.nn.ModuleDict(
            {number: _KeysValues(context_width, channels) for number, channels in layers.items()}
        )

    @property
    def reads_patches(self) -> bool:
        """True where the projection reads the encoder's last hidden layer but one, not its pooled output."""
        return self.projection != "plain"

    @property
    def layer_widths(self) -> list[int]:
        """Channels of each cross-attention layer."""
        return [self.keys_values(layer)[0].out_features for layer in range(len(self.ip_adapter))]

    def keys_values(self, layer: int) -> tuple[torch.nn.Linear, torch.nn.Linear]:
        """The matrices of cross-attention layer `layer`, counted from 0 in the order down, up, middle."""
        both: Any = self.ip_adapter[str(2 * layer + 1)]
        return both.to_k_ip, both.to_v_ip


class _KeysValues(torch.nn.Module):
    def __init__(self, context_width: int, channels: int) -> None:
        super().__init__()
        self.to_k_ip = torch.nn.Linear(context_width, channels, bias=False)
        self.to_v_ip = torch.nn.Linear(context_width, channels, bias=False)


def _projection(
    kind: str, image_width: int, context_width: int, tokens: int, width: int, depth: int, heads: int
) -> Any:
    """One of diffusers' classes."""
    if kind == "plain":
        return ImageProjection(image_width, context_width, tokens)
    if kind == "full":
        return IPAdapterFullImageProjection(image_width, context_width)
    return IPAdapterPlusImageProjection(
        embed_dims=image_width,
        output_dims=context_width,
        hidden_dims=width,
        depth=depth,
        dim_head=HEAD_WIDTH,
        heads=heads,
        num_queries=tokens,
    )

"""What GLIGEN (Li et al. 2023, "Open-Set Grounded Text-to-Image Generation") adds to a UNet: one module."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from diffusers.models.attention import GatedSelfAttentionDense
from diffusers.models.embeddings import GLIGENTextBoundingboxProjection

from studio.models.gligen_files import module_key


class GatedFuser(GatedSelfAttentionDense):  # type: ignore[misc]
    """diffusers' gated layer with a factor on its gates; what it reads for the objects is not computed."""

    strength = 1.0
    """Factor on both gates."""

    def forward(self, x: torch.Tensor, objs: torch.Tensor) -> torch.Tensor:
        """x: (B, N, C) features; objs: (B, K, D) objects -> (B, N, C)."""
        tokens = self.norm1(torch.cat([x, self.linear(objs)], dim=1))
        read = self.attn(tokens[:, : x.shape[1]], encoder_hidden_states=tokens)
        x = x + self.strength * self.alpha_attn.tanh() * read
        changed: torch.Tensor = x + self.strength * self.alpha_dense.tanh() * self.ff(self.norm2(x))
        return changed

    def set_heads(self, heads: int) -> None:
        """As many heads as the self-attention beside it; files do not say."""
        self.attn.heads = heads
        self.attn.sliceable_head_dim = heads
        self.attn.scale = (self.attn.inner_dim // heads) ** -0.5


class GligenGraft(torch.nn.Module):
    """A position net, and a gated layer for each transformer block of a UNet.

    Args:
        feature_width: channels of a phrase's pooled embedding.
        context_width: channels of an object's token.
        reads_pictures: True for models whose boxes may have a picture each.
        fusers: channels by the place of the transformer block, in diffusers' or the original names.
    """

    def __init__(
        self, feature_width: int, context_width: int, reads_pictures: bool, fusers: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.feature_width = feature_width
        self.context_width = context_width
        self.reads_pictures = reads_pictures
        self.position_net = GLIGENTextBoundingboxProjection(
            feature_width, context_width, "text-image" if reads_pictures else "text-only"
        )
        self.fusers = torch.nn.ModuleDict(
            {
                module_key(place): GatedFuser(width, context_width, n_heads=1, d_head=width)
                for place, width in fusers.items()
            }
        )

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

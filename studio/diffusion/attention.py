"""Cross-attention that projects the prompt once a pass, not once a step.

Keys and values of cross-attention depend on the prompt alone, and the prompt's embeddings are the same
tensor at every step. For small pictures these projections are a sixth of a step's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from studio.adapters.ip_adapter import ImageAttention, attached, cross_attention_layers, split_heads
from studio.models.compiling import is_compiled

Unet = Any
"""A diffusers `UNet2DConditionModel` or `ControlNetModel`."""

Addition = Callable[[torch.Tensor], torch.Tensor | None]
"""From a query (B, heads, N, d) to what is added to the attention's result, of the same shape."""


class CachedCrossAttention:
    """An attention processor: `AttnProcessor2_0` for cross-attention, with remembered keys and values.

    They are remembered for one tensor of embeddings, told apart by identity; another tensor replaces them.
    What `additions` make of the query is added to what is read from the text (image prompts).
    """

    def __init__(self) -> None:
        self.additions: Sequence[Addition] = ()
        self._source: torch.Tensor | None = None
        self._keys_values: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """hidden_states: (B, N, C); encoder_hidden_states: (B, T, D) -> (B, N, C)."""
        query = split_heads(attn.to_q(hidden_states), attn.heads)
        key, value = self._project(attn, encoder_hidden_states)
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, attention_mask)
        for addition in self.additions:
            read = addition(query)
            attended = attended if read is None else attended + read
        merged: torch.Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(2))
        return merged

    def _project(self, attn: Any, embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._keys_values is not None and self._source is embeds:
            return self._keys_values
        keys_values = split_heads(attn.to_k(embeds), attn.heads), split_heads(attn.to_v(embeds), attn.heads)
        if not torch.compiler.is_compiling():  # what is remembered would be compiled in
            self._source, self._keys_values = embeds, keys_values
        return keys_values


@contextmanager
def cached_cross_attention(unet: Unet) -> Iterator[None]:
    """Every plain cross-attention layer of `unet` remembers its keys and values until the block ends.

    A compiled UNet is left alone: what a layer remembers would be compiled into it.
    """
    layers = [] if is_compiled(unet) else list(filter(_is_plain_cross_attention, unet.modules()))
    with _remembering(layers):
        yield


@contextmanager
def image_attention(unet: Unet, prompts: Sequence[ImageAttention]) -> Iterator[None]:
    """Every cross-attention layer of `unet` attends to image prompts as well until the block ends."""
    layers = cross_attention_layers(unet)
    forgetful = [layer for layer in layers if _is_plain_cross_attention(layer)]
    with _remembering(forgetful), attached(layers, prompts):
        yield


@contextmanager
def _remembering(layers: Sequence[Any]) -> Iterator[None]:
    replaced = {layer: layer.processor for layer in layers}
    for layer in layers:
        layer.processor = CachedCrossAttention()
    try:
        yield
    finally:
        for layer, processor in replaced.items():
            layer.processor = processor


def _is_plain_cross_attention(module: Any) -> bool:
    """True for attention that does no more than `CachedCrossAttention` computes."""
    return (
        getattr(module, "is_cross_attention", False)
        and type(getattr(module, "processor", None)).__name__ == "AttnProcessor2_0"
        and module.norm_cross is None
        and module.norm_q is None
        and not module.residual_connection
        and module.rescale_output_factor == 1
    )

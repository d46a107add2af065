"""Image prompts (IP-Adapter, Ye et al. 2023): attention to pictures beside the attention to the text.

Each cross-attention layer of the UNet gets, for every image prompt, keys and values made of the pictures, and
adds `weight * attention(query, them)` to what it read from the text. Nothing in the UNet is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.models.ip_adapter import IPAdapter

_SEEN_RATIO = 8
"""Longer to shorter side, beyond which the ends of a picture are cut off before it is scaled."""


@dataclass(frozen=True)
class ImageTokens:
    """What an adapter tells the UNet of one picture, or of none."""

    tokens: torch.Tensor
    """(1, T, C), like text embeddings."""

    @property
    def size_bytes(self) -> int:
        return self.tokens.nbytes


@torch.no_grad()
def image_tokens(adapter: IPAdapter, encoder: Any, picture: Image.Image | None) -> ImageTokens:
    """The tokens of a picture; of `None` those of the unconditional half of guidance, as in diffusers.

    Args:
        encoder: a `CLIPVisionModelWithProjection`.
    """
    parameter = next(encoder.parameters())
    if picture is None and not adapter.reads_patches:
        seen = torch.zeros(1, encoder.config.projection_dim)
    else:
        pixels = clip_pixels(picture, encoder.config.image_size).to(parameter.device, parameter.dtype)
        output = encoder(pixels, output_hidden_states=adapter.reads_patches)
        seen = output.hidden_states[-2] if adapter.reads_patches else output.image_embeds
    weight = next(adapter.parameters())
    return ImageTokens(adapter.image_proj(seen.to(weight.device, weight.dtype)))


def clip_pixels(picture: Image.Image | None, size: int) -> torch.Tensor:
    """(1, 3, size, size) as CLIP was trained on it; zeros for no picture."""
    if picture is None:
        return torch.zeros(1, 3, size, size)
    seen = _without_far_ends(picture).convert("RGB")
    pixels: torch.Tensor = _processor(size)(seen, return_tensors="pt").pixel_values
    return pixels


def _without_far_ends(picture: Image.Image) -> Image.Image:
    """The middle of a strip: CLIP looks at a square in the middle, but is made to scale all of it before."""
    longest = _SEEN_RATIO * min(picture.size)
    left, top = (max(0, side - longest) // 2 for side in picture.size)
    return picture.crop((left, top, picture.width - left, picture.height - top))


@lru_cache(maxsize=4)
def _processor(size: int) -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


@dataclass(frozen=True)
class _Rows:
    """Which rows of a UNet call see the pictures."""

    count: int
    unconditional: int
    """Leading rows that see no picture."""
    latent_size: tuple[int, int]


class ImageAttention:
    """One image prompt during one pass. Off until it is turned on for a UNet call.

    Args:
        adapter: on the device; needed only here, where it makes the keys and values of all layers.
        pictures: the tokens of each picture; all are attended to together.
        nothing: the tokens of no picture.
        weight: on what is read from the pictures.
        mask: (1, 1, H, W), 0-1, 1 where the pictures count; None: everywhere.
    """

    def __init__(
        self,
        adapter: IPAdapter,
        pictures: Sequence[ImageTokens],
        nothing: ImageTokens,
        weight: float,
        mask: torch.Tensor | None = None,
    ) -> None:
        seen = torch.cat([picture.tokens for picture in pictures], dim=1)
        unseen = torch.cat([nothing.tokens] * len(pictures), dim=1)
        parameter = next(adapter.parameters())
        both = torch.cat([unseen, seen]).to(parameter.device, parameter.dtype)
        matrices = (adapter.keys_values(layer) for layer in range(len(adapter.ip_adapter)))
        self._keys_values = [(to_keys(both), to_values(both)) for to_keys, to_values in matrices]
        self._weight = torch.tensor(weight)  # a number would be compiled into the UNet's code
        self._mask = mask
        self._rows: _Rows | None = None
        self._expanded: dict[tuple[int, _Rows], tuple[torch.Tensor, torch.Tensor]] = {}
        self._masks: dict[int, torch.Tensor] = {}

    def turn_on(self, rows: int, unconditional: int, latent_size: tuple[int, int]) -> None:
        """For the next UNet call: `rows` in all, of which the first `unconditional` see no picture."""
        self._rows = _Rows(rows, unconditional, latent_size)

    def turn_off(self) -> None:
        """Attend to the text alone."""
        self._rows = None

    def attend(self, layer: int, query: torch.Tensor) -> torch.Tensor | None:
        """What the layer reads from the pictures, times the weight; None while the prompt is off.

        Args:
            query: (rows, heads, N, d); so is the result.
        """
        if self._rows is None:
            return None
        keys, values = self._for_rows(layer, self._rows, query)
        read = torch.nn.functional.scaled_dot_product_attention(query, keys, values) * self._weight
        if self._mask is None:
            return read
        return read * self._mask_for(self._mask, query, self._rows.latent_size)

    def _for_rows(self, layer: int, rows: _Rows, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if torch.compiler.is_compiling():
            return self._expand(layer, rows, query.shape[1])
        if (layer, rows) not in self._expanded:
            self._expanded[layer, rows] = self._expand(layer, rows, query.shape[1])
        return self._expanded[layer, rows]

    def _expand(self, layer: int, rows: _Rows, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (rows, heads, T, d) of those who see the pictures and those who see none."""
        counts = rows.unconditional, rows.count - rows.unconditional
        keys, values = (
            torch.cat([row.expand(count, -1, -1) for row, count in zip(both.split(1), counts, strict=True)])
            for both in self._keys_values[layer]
        )
        return split_heads(keys, heads), split_heads(values, heads)

    def _mask_for(
        self, mask: torch.Tensor, query: torch.Tensor, latent_size: tuple[int, int]
    ) -> torch.Tensor:
        """(1, 1, N, 1): the mask at the layer's resolution."""
        count = query.shape[2]
        if torch.compiler.is_compiling():
            return _mask_level(mask, count, latent_size).to(query)
        if count not in self._masks:
            self._masks[count] = _mask_level(mask, count, latent_size).to(query)
        return self._masks[count]


def split_heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, T, heads * d) -> (B, heads, T, d)"""
    batch, count, width = states.shape
    return states.view(batch, count, heads, width // heads).transpose(1, 2)


def _mask_level(mask: torch.Tensor, count: int, latent_size: tuple[int, int]) -> torch.Tensor:
    """(1, 1, count, 1): the mask at the level of a UNet that has `count` positions."""
    level = torch.nn.functional.interpolate(mask, _size_of(count, latent_size), mode="bicubic")
    return level.reshape(1, 1, count, 1)


def _size_of(count: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the level of a UNet that has `count` positions; each level halves, rounding up."""
    height, width = latent_size
    while height * width > count:
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def check_fits(adapter: IPAdapter, unet: Any, field: str) -> None:
    """Raises: InvalidRequest: the adapter was made for another UNet."""
    wanted = [layer.inner_dim for layer in cross_attention_layers(unet)]
    found = adapter.layer_widths
    if wanted != found or adapter.context_width != unet.config.cross_attention_dim:
        raise InvalidRequest(
            f"The IP-Adapter was made for a UNet with {len(found)} layers of cross-attention over "
            f"{adapter.context_width} channels, but this one has {len(wanted)} over "
            f"{unet.config.cross_attention_dim}.",
            "Choose an IP-Adapter of the checkpoint's family.",
            field=field,
        )


def cross_attention_layers(unet: Any) -> list[Any]:
    """In the order in which adapters number them: down, up, middle."""
    return [module for module in unet.modules() if getattr(module, "is_cross_attention", False)]


@contextmanager
def attached(layers: Sequence[Any], prompts: Sequence[ImageAttention]) -> Iterator[None]:
    """Until the block ends, each layer's processor attends to the prompts as well.

    Args:
        layers: of `cross_attention_layers`, each with a processor that has `additions`.
    """
    for number, layer in enumerate(layers):
        layer.processor.additions = tuple(_of_layer(prompt, number) for prompt in prompts)
    try:
        yield
    finally:
        for layer in layers:
            layer.processor.additions = ()


def _of_layer(prompt: ImageAttention, layer: int) -> Any:
    return lambda query: prompt.attend(layer, query)

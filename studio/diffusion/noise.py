"""The noise of every picture, drawn so that a seed means the same picture on every device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from studio.core.requests import MAX_SEED


def image_seeds(seed: int, first: int, count: int) -> tuple[int, ...]:
    """Seeds of the pictures `first ... first + count - 1` of a request; they wrap around at 2**32."""
    return tuple((seed + first + i) % (MAX_SEED + 1) for i in range(count))


class NoiseSource:
    """One CPU generator a picture, in the order in which diffusers' pipelines draw from theirs.

    Always float32 on the CPU, then moved: bf16 or CUDA draws would be other numbers.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds = tuple(seeds)
        self.device = device
        self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def draw(self, shape: Sequence[int]) -> torch.Tensor:
        """Standard normal noise (B, *shape), picture i from generator i."""
        draws = [torch.randn((1, *shape), generator=generator) for generator in self.generators]
        return torch.cat(draws).to(self.device)

    def mixed_with(self, other: NoiseSource, strength: float, shape: Sequence[int]) -> torch.Tensor:
        """Draws of both, interpolated on the sphere: 0 is this noise, 1 the other's."""
        return slerp(self.draw(shape), other.draw(shape), strength)


def slerp(low: torch.Tensor, high: torch.Tensor, fraction: float) -> torch.Tensor:
    """Spherical interpolation of each picture's noise (Shoemake 1985), which keeps unit variance.

    Args:
        low, high: (B, C, H, W).
        fraction: 0 gives `low`, 1 gives `high`.
    """
    flat_low, flat_high = low.flatten(1), high.flatten(1)
    cosine = torch.nn.functional.cosine_similarity(flat_low, flat_high).clamp(-0.9995, 0.9995)
    angle = torch.arccos(cosine)[:, None]
    mixed = torch.sin((1 - fraction) * angle) * flat_low + torch.sin(fraction * angle) * flat_high
    return (mixed / torch.sin(angle)).view_as(low)

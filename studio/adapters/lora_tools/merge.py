"""LoRAs made into one, of the rank that they have together or of a smaller one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from studio.adapters.lora.layers import Dora, Factors, LoraLayer
from studio.adapters.lora.read import LoraNetwork
from studio.adapters.lora_tools.bases import Base
from studio.adapters.lora_tools.factors import (
    NOISE,
    Cut,
    Factored,
    Truncation,
    cut_matrix,
    cut_product,
    energy,
    factored,
)
from studio.core.errors import InvalidRequest
from studio.models.safetensors_write import Each


@dataclass(frozen=True, eq=False)
class Weighted:
    """One LoRA of several, and how much it counts."""

    name: str
    network: LoraNetwork
    weight: float = 1.0


def merge(loras: Sequence[Weighted], base: Base, to: Truncation | None = None, each: Each = iter) -> Factored:
    """One LoRA whose difference is the weighted sum of theirs.

    Products of two matrices, side by side, add up exactly, and so do their ranks. What is none (LoHa, LoKr,
    cores, DoRA) is made one, and so is a layer whose ranks would exceed its size. A layer where they cancel
    each other is left out.

    Args:
        base: what all of them were read against; DoRAs need its weights.
        to: makes the sum smaller.

    Raises: InvalidRequest: a DoRA without the checkpoint's weights, or a sum of nothing.
    """
    loras = [lora for lora in loras if lora.weight]
    names = list(dict.fromkeys(name for lora in loras for name in lora.network.layers))
    cuts = ((name, _sum(_changes(loras, name), name, base, to)) for name in each(names))
    return factored(cuts, "With these weights the LoRAs change nothing.")


def resize(lora: Weighted, base: Base, to: Truncation, each: Each = iter) -> Factored:
    """The same LoRA with the best approximation of every layer's difference.

    Raises: InvalidRequest: as `merge`, and for a rank that is larger than the LoRA's own.
    """
    largest = max(_limit(layer, base.targets[name]) for name, layer in lora.network.layers.items())
    if to.rank is not None and to.rank > largest:
        raise InvalidRequest(
            f"{lora.name} has at most rank {largest}, so rank {to.rank} would add size and no detail.",
            "Choose a smaller rank.",
            field="rank",
        )
    return merge([lora], base, to, each)


def delta(layer: LoraLayer, weight: float, target: str, base: Base) -> Tensor:
    """The difference that a layer of any kind makes at `weight`: float32, of the target's shape.

    Raises: InvalidRequest: a DoRA without the checkpoint's weights.
    """
    pristine = base.weight(target) if isinstance(layer, Dora) else None
    if pristine is None and isinstance(layer, Dora):
        raise InvalidRequest(
            f"{target} is changed by a DoRA, whose difference depends on the weights that it changes.",
            "Name the checkpoint that it was trained on with --base.",
        )
    if pristine is None:
        pristine = torch.empty(base.targets[target], device="meta")  # all others look at its shape only
    return layer.delta(pristine, weight)


def _changes(loras: Iterable[Weighted], name: str) -> list[tuple[LoraLayer, float]]:
    return [(lora.network.layers[name], lora.weight) for lora in loras if name in lora.network.layers]


def _limit(layer: LoraLayer, shape: tuple[int, ...]) -> int:
    """The largest rank that the layer's difference may have."""
    return layer.rank if layer.factors else min(shape[0], prod(shape[1:]))


def _sum(changes: Sequence[tuple[LoraLayer, float]], name: str, base: Base, to: Truncation | None) -> Cut:
    factors = [_scaled(layer.factors, layer.scale * weight) for layer, weight in changes if layer.factors]
    if len(factors) < len(changes):
        deltas = [delta(layer, weight, name, base).flatten(1) for layer, weight in changes]
        total = torch.stack(deltas).sum(0) if len(deltas) > 1 else deltas[0]
        if total.norm() <= NOISE * sum(each.norm() for each in deltas):
            return _nothing(total)
        return cut_matrix(total, to or Truncation())
    up, down = torch.cat([up for up, _ in factors], 1), torch.cat([down for _, down in factors])
    if energy((up, down)) <= NOISE**2 * sum(map(energy, factors)):
        return _nothing(down)
    if to is None and down.shape[0] <= min(up.shape[0], down.shape[1]):
        return Cut((up, down), 1.0, 1.0)
    return cut_product((up, down), to or Truncation())


def _nothing(like: Tensor) -> Cut:
    """Changes that cancel each other, but for rounding."""
    return Cut((like.new_empty(0, 0), like.new_empty(0, 0)), 0.0, 0.0)


def _scaled(factors: Factors, scale: float) -> Factors:
    """`factors` with `scale` in them, as much in either, so that neither leaves the range of float16."""
    root = abs(scale) ** 0.5
    up, down = (factor.float() for factor in factors)
    return up * (root if scale >= 0 else -root), down * root

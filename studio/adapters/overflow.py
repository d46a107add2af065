"""Whether weights that LoRAs changed are still numbers, and which LoRA it is where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.adapters.lora.layers import LoraLayer
from studio.core.errors import NumericalError


@dataclass(frozen=True, eq=False)
class Change:
    """What one LoRA does to one weight."""

    layer: LoraLayer
    weight: float
    """Its strength there."""
    name: str
    """Of the LoRA with its weight, for sentences."""
    field: str
    """Of the request, where an error about it belongs."""


def check_finite(changed: Tensor, pristine: Tensor, stack: Sequence[Change], path: str) -> None:
    """Refuse a weight that `stack` has driven out of the range of its type.

    Looking at every weight would take a fifth of the time that changing it takes, so what the factors of a
    LoRA can make at most is looked at first, and nearly always enough.

    Args:
        path: of the layer, for sentences.

    Raises: NumericalError, naming the LoRAs at fault.
    """
    if _is_surely_finite(stack, changed.dtype) or _is_finite(changed) or not _is_finite(pristine):
        return
    alone = [change for change in stack if not _is_finite(_changed(pristine, change))]
    guilty = alone or list(stack)
    names = " and ".join(change.name for change in guilty)
    raise NumericalError(
        f"{names} {'makes' if len(guilty) == 1 else 'make'} the weights of {path} too large for "
        f"{str(changed.dtype)[6:]}: they are no numbers any more (NaN or infinite).",
        "Choose a smaller weight, or another version of the file.",
        field=guilty[0].field or None,
    )


def _is_surely_finite(stack: Sequence[Change], dtype: torch.dtype) -> bool:
    """Half of the range is left to the weight itself; those of real models are nowhere near it."""
    reached = sum(each.layer.bound * max(1.0, abs(each.layer.scale * each.weight)) for each in stack)
    return reached <= torch.finfo(dtype).max / 2


def _is_finite(weight: Tensor) -> bool:
    """A sum shows every NaN and infinity in a fraction of the time; it may be too large itself, though."""
    return bool(weight.sum().isfinite()) or bool(weight.isfinite().all())


def _changed(pristine: Tensor, change: Change) -> Tensor:
    layer = change.layer.to(pristine.device)
    return (pristine.float() + layer.delta(pristine, change.weight)).to(pristine.dtype)

"""Weights in the layout that oneDNN computes in, for models that run on the processor.

Torch hands oneDNN plain weights, which it reorders at every call, or leaves float32 matrices to a slower
library. Reordered once, a linear layer takes 0.4 to 0.9 and a convolution of few pixels 0.2 to 0.7 of the
time, with the same result up to the order of additions. Torch's own compiler does so when it freezes a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import Conv2d, Linear

_DTYPES = frozenset({torch.float32, torch.bfloat16})


class PackedWeight:
    """A layer's packed weight, and the plain one that it was made from."""

    def __init__(self, source: torch.Tensor, weight: torch.Tensor) -> None:
        self.source = source.data_ptr()
        self.weight = weight
        self.answers: dict[Any, tuple[Any, torch.Tensor]] = {}
        """What was computed with it, with that which it depends on beside the key."""

    def is_of(self, weight: torch.Tensor) -> bool:
        """False once a layer's weight was replaced by another tensor. Changes in place go unnoticed."""
        return self.source == weight.data_ptr()

    def remember(self, key: object, answer: tuple[Any, torch.Tensor], most: int) -> None:
        """Keep an answer; where there are `most` already, all others are forgotten."""
        if len(self.answers) >= most:
            self.answers.clear()
        self.answers[key] = answer


class PackedLinear(Linear):
    """A linear layer that packs its weight when it is first run for inference, and again when it changes."""

    _packed: PackedWeight | None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(input)
        if self._packed is None or not self._packed.is_of(self.weight):
            rows = input.numel() // self.in_features
            reordered = torch.ops.mkldnn._reorder_linear_weight(self.weight, rows)
            self._packed = PackedWeight(self.weight, reordered)
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            input, self._packed.weight, self.bias, "none", [], ""
        )
        return output


class PackedConv2d(Conv2d):
    """A convolution that packs its weight when it is first run for inference, and again when it changes.

    Its input is brought into channels-last order, which the layers behind it then keep.
    """

    _packed: PackedWeight | None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(input)
        input = input.contiguous(memory_format=torch.channels_last)
        shape: tuple[Any, ...] = (self.padding, self.stride, self.dilation, self.groups)
        if self._packed is None or not self._packed.is_of(self.weight):
            reordered = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *shape, list(input.shape))
            self._packed = PackedWeight(self.weight, reordered)
        output: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            input, self._packed.weight, self.bias, *shape, "none", [], ""
        )
        return output


@dataclass(frozen=True)
class PackedWeights:
    """What packing will take, beside the plain weights."""

    size_bytes: int


def pack_weights(module: torch.nn.Module) -> PackedWeights:
    """Let the layers of `module` run on packed weights; those that oneDNN cannot run stay as they are."""
    size = 0
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return PackedWeights(size)
    for layer in module.modules():
        if type(layer) is Linear and layer.weight.dtype in _DTYPES:
            layer.__class__ = PackedLinear
        elif type(layer) is Conv2d and layer.weight.dtype in _DTYPES and _is_plain(layer):
            layer.__class__ = PackedConv2d
        else:
            continue
        layer._packed = None  # type: ignore[assignment]
        size += layer.weight.nbytes
    return PackedWeights(size)


def packed_weight(layer: torch.nn.Module) -> PackedWeight | None:
    """What `layer` has packed of its weight; None while it has not run."""
    return layer._packed if isinstance(layer, (PackedLinear, PackedConv2d)) else None


def set_packed_weight(layer: torch.nn.Module, packed: PackedWeight | None) -> None:
    """For who changes the weight of `layer`, in place or for one that it had before.

    Args:
        packed: of the weight that it has now; None lets it be packed when it is next run.
    """
    if isinstance(layer, (PackedLinear, PackedConv2d)):
        layer._packed = packed


def _is_plain(layer: Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)

"""ControlNets (Zhang et al. 2023): networks that read a map and steer the UNet by what they add to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from studio.core.conditions import ControlInput, ControlMode
from studio.diffusion.conditions import UnetCall

SOFT_BASE = 0.825
"""AUTOMATIC1111's "my prompt is more important": each layer further from the middle gets so much less."""


class NetCondition(ABC):
    """What all nets have in common that steer the UNet by residuals: masks, modes, and when they run.

    Args:
        net: gives the net, on its device; called at each step at which it is run.
        mode: who wins where prompt and control disagree.
        mask: (1, 1, H, W), 0-1, 1 where the control holds; None: everywhere.
    """

    def __init__(self, net: Callable[[], Any], mode: ControlMode, mask: torch.Tensor | None) -> None:
        self._net = net
        self._mode = mode
        self._masks = MaskLevels(mask)
        self._conditional = Conditional()

    def contribute(self, call: UnetCall) -> None:
        weights = self._weights(call)
        if not any(weights):
            return
        net = self._net()
        guess = self._mode is ControlMode.CONTROL
        conditional_only = call.has_unconditional and (guess or net.config.global_pool_conditions)
        skipped = call.batch if conditional_only else 0
        arguments = {
            "encoder_hidden_states": self._conditional.of(call.prompt_embeds, skipped),
            "guess_mode": guess,
            "added_cond_kwargs": {name: tensor[skipped:] for name, tensor in (call.added or {}).items()},
            "return_dict": False,
        }
        sample = call.sample[skipped:, : net.config.in_channels]
        down, middle = self._run(net, weights, sample, call.timestep[skipped:], **arguments)
        add_residuals(call, [_padded(one, skipped) for one in self._scaled([*down, middle])])

    @abstractmethod
    def _weights(self, call: UnetCall) -> list[float]:
        """The weight of each map at a step, 0 where it is off; without any the net is not run."""

    @abstractmethod
    def _run(
        self, net: Any, weights: list[float], sample: torch.Tensor, timestep: torch.Tensor, **arguments: Any
    ) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        """The net's residuals, times `weights`: those of the way down, and the one in the middle."""

    def _scaled(self, residuals: list[torch.Tensor]) -> list[torch.Tensor]:
        if self._mode is ControlMode.PROMPT:
            last = len(residuals) - 1
            residuals = [residual * SOFT_BASE ** (last - i) for i, residual in enumerate(residuals)]
        return [self._masks.apply(residual) for residual in residuals]


class ControlNetCondition(NetCondition):
    """One ControlNet with its map, for one size of picture.

    Outside of its range the net is not run. The embedding of the map is computed once: it is the same at
    every step, for both halves of guidance and all pictures of a batch.

    Args:
        net: gives the `ControlNetModel`.
        entry: weight, range and mode.
        control_map: (1, 3, H, W), 0-1, as large as the picture.
        mask: (1, 1, H, W), 0-1, 1 where the control holds; None: everywhere.
    """

    def __init__(
        self,
        net: Callable[[], Any],
        entry: ControlInput,
        control_map: torch.Tensor,
        mask: torch.Tensor | None = None,
    ) -> None:
        super().__init__(net, entry.mode, mask)
        self._entry = entry
        self._map = control_map
        self._embedding: torch.Tensor | None = None

    def _weights(self, call: UnetCall) -> list[float]:
        return [weight_at(self._entry, call)]

    def _run(
        self, net: Any, weights: list[float], sample: torch.Tensor, timestep: torch.Tensor, **arguments: Any
    ) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        embedding = self._embed(net)
        with embedded_by(net, _Given(embedding)):
            residuals: tuple[Sequence[torch.Tensor], torch.Tensor] = net(
                sample,
                timestep,
                controlnet_cond=embedding,  # its place is taken; only its channels may be turned around
                conditioning_scale=torch.tensor(weights[0]),  # a number would be compiled into the code
                **arguments,
            )
        return residuals

    def _embed(self, net: Any) -> torch.Tensor:
        """(1, C, H/8, W/8): what the net makes of the map."""
        if self._embedding is None:
            control_map = self._map.to(net.device, net.dtype)
            if net.config.controlnet_conditioning_channel_order == "bgr":
                control_map = control_map.flip(1)
            self._embedding = net.controlnet_cond_embedding(control_map)
        return self._embedding


def weight_at(entry: ControlInput, call: UnetCall) -> float:
    """The weight of `entry` at the step of `call`: 0 outside of its range."""
    return entry.weight if entry.is_on(call.step, call.steps) else 0.0


@contextmanager
def embedded_by(net: Any, embedding: torch.nn.Module) -> Iterator[None]:
    """Until the block ends, `net` embeds its maps by `embedding`."""
    own = net.controlnet_cond_embedding
    net.controlnet_cond_embedding = embedding
    try:
        yield
    finally:
        net.controlnet_cond_embedding = own


class _Given(torch.nn.Module):
    """Knows the embedding already, whatever map it is given."""

    def __init__(self, embedding: torch.Tensor) -> None:
        super().__init__()
        self._embedding = embedding

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self._embedding


class Conditional:
    """The conditional rows of text embeddings: the same tensor again for the same embeddings.

    Attention layers tell embeddings apart by identity, and would compute their keys and values anew.
    """

    def __init__(self) -> None:
        self._source: torch.Tensor | None = None
        self._rows: torch.Tensor | None = None

    def of(self, embeds: torch.Tensor, skipped: int) -> torch.Tensor:
        """`embeds` without its first `skipped` rows."""
        if skipped == 0:
            return embeds
        if self._rows is None or self._source is not embeds:
            self._source, self._rows = embeds, embeds[skipped:]
        return self._rows


class MaskLevels:
    """A mask at the resolutions of a UNet's levels.

    Args:
        mask: (1, 1, H, W), 0-1; None leaves everything as it is.
    """

    def __init__(self, mask: torch.Tensor | None) -> None:
        self._mask = mask
        self._levels: dict[tuple[int, ...], torch.Tensor] = {}

    def apply(self, features: torch.Tensor) -> torch.Tensor:
        """`features` (B, C, h, w) times the mask. Pooled ones (1 x 1) are scaled by the mask's area."""
        if self._mask is None:
            return features
        size = tuple(features.shape[-2:])
        if size not in self._levels:
            level = torch.nn.functional.interpolate(self._mask, size, mode="area")
            self._levels[size] = level.to(features)
        return features * self._levels[size]


def _padded(residual: torch.Tensor, skipped: int) -> torch.Tensor:
    """`residual` behind `skipped` rows of zeros, which change nothing."""
    if skipped == 0:
        return residual
    return torch.cat([torch.zeros_like(residual[:1]).expand(skipped, -1, -1, -1), residual])


def add_residuals(call: UnetCall, residuals: Sequence[torch.Tensor]) -> None:
    """Add a net's residuals, the middle one last, to those that the call has already."""
    *down, middle = residuals
    earlier = call.arguments.get("down_block_additional_residuals")
    if earlier is not None:
        down = [a + b for a, b in zip(earlier, down, strict=True)]
        middle = call.arguments["mid_block_additional_residual"] + middle
    call.arguments["down_block_additional_residuals"] = down
    call.arguments["mid_block_additional_residual"] = middle

"""Union ControlNets (https://github.com/xinsir6/ControlNetPlus): one net that reads maps of many kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from studio.core.conditions import ControlInput
from studio.diffusion.conditions import UnetCall
from studio.diffusion.controls import NetCondition, embedded_by, weight_at


@dataclass(frozen=True)
class UnionMap:
    """One of the maps that a union ControlNet follows."""

    entry: ControlInput
    """Weight and range."""
    task: int
    """What the map shows, by the net's own number."""
    control_map: torch.Tensor
    """(1, 3, H, W), 0-1, as large as the picture."""


class UnionCondition(NetCondition):
    """One union ControlNet with all its maps, in one forward pass, for one size of picture.

    As in diffusers, the net is told of all its maps as long as one of them is in its range; those out of
    theirs count with weight 0. Each map is embedded once.

    Args:
        net: gives the `ControlNetUnionModel`, on its device; called at each step at which it is run.
        maps: at least one, all with the mode of the first.
        mask: (1, 1, H, W), 0-1, 1 where the controls hold; None: everywhere.
    """

    def __init__(
        self, net: Callable[[], Any], maps: Sequence[UnionMap], mask: torch.Tensor | None = None
    ) -> None:
        super().__init__(net, maps[0].entry.mode, mask)
        self._maps = maps
        self._embeddings: list[torch.Tensor] | None = None

    def _weights(self, call: UnetCall) -> list[float]:
        return [weight_at(one.entry, call) for one in self._maps]

    def _run(
        self, net: Any, weights: list[float], sample: torch.Tensor, timestep: torch.Tensor, **arguments: Any
    ) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        rows, tasks = len(sample), [one.task for one in self._maps]
        embeddings = [embedding.expand(rows, -1, -1, -1) for embedding in self._embed(net)]
        told = sample.new_zeros(rows, net.config.num_control_type)
        told[:, tasks] = 1
        with embedded_by(net, torch.nn.Identity()):
            residuals: tuple[Sequence[torch.Tensor], torch.Tensor] = net(
                sample,
                timestep,
                controlnet_cond=embeddings,
                control_type=told,
                control_type_idx=tasks,
                conditioning_scale=weights,
                **arguments,
            )
        return residuals

    def _embed(self, net: Any) -> list[torch.Tensor]:
        """(1, C, H/8, W/8) for each map: what the net makes of it."""
        if self._embeddings is None:
            maps = (one.control_map.to(net.device, net.dtype) for one in self._maps)
            self._embeddings = [net.controlnet_cond_embedding(control_map) for control_map in maps]
        return self._embeddings

"""T2I-Adapters (Mou et al. 2023): small networks that are run once a picture, not once a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from studio.core.conditions import ControlInput, ControlMode
from studio.diffusion.conditions import UnetCall
from studio.diffusion.controls import MaskLevels

SOFT_WEIGHTS = (0.25, 0.62, 0.825, 1.0)
"""AUTOMATIC1111's "my prompt is more important" for the features of an adapter, the finest first."""

_FEATURES = "down_intrablock_additional_residuals"


class T2IAdapterCondition:
    """One adapter with its map, for one size of picture; any number of them are summed.

    Args:
        adapter: gives the `T2IAdapter`, on its device; called once.
        entry: weight, range and mode.
        control_map: (1, 3 or 1, H, W), 0-1, as large as the picture.
        mask: (1, 1, H, W), 0-1, 1 where the control holds; None: everywhere.
    """

    def __init__(
        self,
        adapter: Callable[[], Any],
        entry: ControlInput,
        control_map: torch.Tensor,
        mask: torch.Tensor | None = None,
    ) -> None:
        self._adapter = adapter
        self._entry = entry
        self._map = control_map
        self._masks = MaskLevels(mask)
        self._features: list[torch.Tensor] | None = None
        self._rows: tuple[tuple[int, int], list[torch.Tensor]] | None = None

    def contribute(self, call: UnetCall) -> None:
        if self._entry.weight == 0 or not self._entry.is_on(call.step, call.steps):
            return
        skipped = call.batch if call.has_unconditional and self._entry.mode is ControlMode.CONTROL else 0
        mine = self._for_rows(len(call.sample), skipped)
        earlier = call.arguments.get(_FEATURES)
        # The UNet takes its features out of the list, so that every call needs a list of its own.
        call.arguments[_FEATURES] = (
            [a + b for a, b in zip(earlier, mine, strict=True)] if earlier else list(mine)
        )

    def _for_rows(self, rows: int, skipped: int) -> list[torch.Tensor]:
        """The features for each row of a call; the first `skipped` get none."""
        if self._rows is None or self._rows[0] != (rows, skipped):
            expanded = [feature.expand(rows, -1, -1, -1).clone() for feature in self._compute()]
            for feature in expanded:
                feature[:skipped] = 0
            self._rows = (rows, skipped), expanded
        return self._rows[1]

    def _compute(self) -> list[torch.Tensor]:
        """(1, C, h, w) for each level of the UNet, weighted and masked."""
        if self._features is None:
            adapter = self._adapter()
            control_map = _even(self._map, adapter.downscale_factor).to(adapter.device, adapter.dtype)
            features = adapter(_in_channels(control_map, adapter.config.in_channels))
            self._features = [
                self._masks.apply(feature * self._weight(i, len(features)))
                for i, feature in enumerate(features)
            ]
        return self._features

    def _weight(self, level: int, levels: int) -> float:
        soft = SOFT_WEIGHTS[max(-len(SOFT_WEIGHTS), level - levels)]
        return self._entry.weight * (soft if self._entry.mode is ControlMode.PROMPT else 1.0)


def _in_channels(control_map: torch.Tensor, channels: int) -> torch.Tensor:
    """Adapters for drawings and edges take one channel: the luminance (ITU-R 601), as Pillow's "L"."""
    if control_map.shape[1] == channels:
        return control_map
    luminance = torch.tensor([0.299, 0.587, 0.114]).to(control_map).view(1, 3, 1, 1)
    return (control_map * luminance).sum(dim=1, keepdim=True)


def _even(control_map: torch.Tensor, factor: int) -> torch.Tensor:
    """`control_map` with its last rows and columns repeated up to a multiple of `factor` px."""
    height, width = control_map.shape[-2:]
    missing = (0, -width % factor, 0, -height % factor)
    return torch.nn.functional.pad(control_map, missing, mode="replicate") if any(missing) else control_map

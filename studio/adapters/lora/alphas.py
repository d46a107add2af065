"""What PEFT's configuration says about alpha; diffusers keeps it in a file's metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from studio.core.texts import json_object

PEFT_METADATA = "lora_adapter_metadata"
"""Key of the metadata; its value is JSON: `{"unet.r": 8, "unet.lora_alpha": 4, ...}`."""


class PeftAlphas:
    """Alpha for every layer of a file whose layers do not say it themselves.

    Args:
        metadata: of the safetensors file.
    """

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._config = json_object(metadata.get(PEFT_METADATA, ""))

    def of(self, target: str, rank: int) -> float | None:
        """Alpha of the layer `target` (a full name); None where nothing is told: it equals the rank then.

        With rank-stabilised scaling (Kalajdzievski 2023) the scale is alpha / sqrt(rank).
        """
        role, name = target.split(".", 1)
        alpha = self._pattern(role, name) or self._config.get(f"{role}.lora_alpha")
        if not isinstance(alpha, (int, float)):
            return None
        return alpha * math.sqrt(rank) if self._config.get(f"{role}.use_rslora") else float(alpha)

    def _pattern(self, role: str, name: str) -> Any:
        """The exception made for a layer: keys are patterns for the end of a path."""
        patterns = self._config.get(f"{role}.alpha_pattern")
        if not isinstance(patterns, dict):
            return None
        return next((alpha for end, alpha in patterns.items() if _ends_in(name, str(end))), None)


def _ends_in(name: str, pattern: str) -> bool:
    """PEFT reads patterns as expressions; those that diffusers writes are paths."""
    return re.fullmatch(rf"(.*\.)?{re.escape(pattern.lstrip('^').rstrip('$'))}", name) is not None

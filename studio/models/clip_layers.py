"""How far clip skip can go: layers of a checkpoint's text encoders, from names or configurations alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from studio.core.models import Family
from studio.models.configs import Shapes, clip_layers, open_clip_layers
from studio.models.folders import COMPONENT_CONFIG, read_json
from studio.models.signatures import text_encoder_prefixes

_ROLES = ("text_encoder", "text_encoder_2")

_LAST_UNUSED = (Family.SD2, Family.SDXL)
"""Families trained on the last layer but one: SD 2.x's files hold one that is never run, and SDXL counts clip
skip from there."""


def layers_of_file(shapes: Shapes, family: Family) -> int | None:
    """The highest clip skip for a single-file checkpoint; None where it cannot be seen."""
    counts = []
    for prefix in text_encoder_prefixes(family):
        own = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        count = clip_layers if prefix.endswith("transformer.") else open_clip_layers
        counts.append(count(own))
    return _usable(counts, family in _LAST_UNUSED)


def layers_of_folder(folder: Path, components: Iterable[str], family: Family) -> int | None:
    """As for a file; in folders, SD 2.x encoders are stored as they are run."""
    roles = [role for role in _ROLES if role in components]
    counts = [read_json(folder / role / COMPONENT_CONFIG).get("num_hidden_layers") for role in roles]
    return _usable([count for count in counts if isinstance(count, int)], family is Family.SDXL)


def _usable(counts: Iterable[int], last_unused: bool) -> int | None:
    layers = min(counts, default=0) - last_unused
    return layers if layers > 0 else None

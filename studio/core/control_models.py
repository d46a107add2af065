"""What a model follows: told by a union ControlNet's own parts, else by what people call their nets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from studio.core.control_types import ControlType, union_controls
from studio.core.models import ModelInfo, ModelKind

_FOLLOWING = (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER)

_NAMED: Mapping[ControlType, str] = {
    ControlType.CANNY: "canny",
    ControlType.DEPTH: "depth",
    ControlType.INPAINT: "inpaint",
    ControlType.LINEART: "line ?art",
    ControlType.MLSD: "m ?lsd",
    ControlType.NORMAL: r"\bnormal",
    ControlType.OPENPOSE: r"open ?pose|dw ?pose|\bpose",
    ControlType.SCRIBBLE: "scribble|sketch",
    ControlType.SEGMENTATION: r"\bseg|ade ?20k",
    ControlType.SHUFFLE: "shuffle",
    ControlType.SOFT_EDGE: r"soft ?edge|\bhed\b|\bpidi|\bteed\b",
    ControlType.COLOUR: r"\bcolou?r",
    ControlType.TILE: r"\btile",
}
"""Words in a name, where no file says it otherwise. Short ones must begin a word: `hed` is in `watched`."""


def controls_of(model: ModelInfo) -> tuple[ControlType, ...]:
    """The controls that a ControlNet or T2I-Adapter was made for, told from its layout or its name.

    Empty for all other models, which follow no map, and where its name does not tell.
    """
    if model.kind not in _FOLLOWING:
        return ()
    if known := union_controls(model.layout):
        return known
    name = f"{_words(model.name)} {_words(model.id)}"
    return tuple(control for control, pattern in _NAMED.items() if re.search(pattern, name))


def _words(name: str) -> str:
    """`xinsirOpenPose_XL.v2` -> `xinsir open pose xl v2`."""
    return re.sub(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()

"""What controls follow, and what a union ControlNet is told of it.

A union ControlNet (https://github.com/xinsir6/ControlNetPlus) is one net for many kinds of maps. It is told
by a number what each of its maps shows; the order of the numbers is that of its authors.
"""

from __future__ import annotations

from collections.abc import Mapping

from studio.core.base import StrEnum


class ControlType(StrEnum):
    """What a control follows, and so which maps suit it."""

    CANNY = "Canny"
    DEPTH = "Depth"
    INPAINT = "Inpaint"
    LINEART = "Lineart"
    MLSD = "MLSD"
    NORMAL = "NormalMap"
    OPENPOSE = "OpenPose"
    SCRIBBLE = "Scribble"
    SEGMENTATION = "Segmentation"
    SHUFFLE = "Shuffle"
    SOFT_EDGE = "SoftEdge"
    COLOUR = "T2I-Adapter"
    TILE = "Tile"


_TASKS: tuple[tuple[ControlType, ...], ...] = (
    (ControlType.OPENPOSE,),
    (ControlType.DEPTH,),
    (ControlType.SOFT_EDGE, ControlType.SCRIBBLE),
    (ControlType.CANNY, ControlType.LINEART, ControlType.MLSD),
    (ControlType.NORMAL,),
    (ControlType.SEGMENTATION,),
    (ControlType.TILE,),
    (ControlType.INPAINT,),
)

UNION_TASKS: Mapping[ControlType, int] = {
    control: number for number, controls in enumerate(_TASKS) for control in controls
}
"""The number by which a union ControlNet knows a control. The first nets know 6, those called ProMax 8."""

_UNION = "union-"


def union_layout(tasks: int) -> str:
    """`ModelInfo.layout` of a union ControlNet that knows so many `tasks`."""
    return f"{_UNION}{tasks}"


def union_controls(layout: str) -> tuple[ControlType, ...]:
    """What a ControlNet of this `ModelInfo.layout` can be told that a map shows; empty: it is no union."""
    count = layout.removeprefix(_UNION)
    known = int(count) if layout.startswith(_UNION) and count.isdigit() else 0
    return tuple(control for control, number in UNION_TASKS.items() if number < known)

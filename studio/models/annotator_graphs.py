"""Nets of preprocessors in ONNX files: how each is told by what it reads and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studio.core.annotator_nets import Net

YOLOX_STRIDES = (8, 16, 32)
"""Pixels a cell, of the three grids in which YOLOX looks for things (Ge et al. 2021)."""

WHOLE_BODY = 133
"""Points of COCO-WholeBody (Jin et al. 2020)."""


@dataclass(frozen=True)
class Ports:
    """What goes into a net and what comes out."""

    size: tuple[int, int]
    """Height and width of the one picture that it reads, px."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of its answers, in the file's order."""


def net_of_ports(ports: Ports) -> Net | None:
    """None where Easel has no use for the net.

    The file does not name it: what its tensors are called is up to the program that wrote it.
    """
    height, width = ports.size
    match list(ports.shapes.values()):
        case [(1, cells, numbers)] if cells == _cells(height, width) and numbers > 5:
            return Net.YOLOX
        case [(1, points, columns), (1, others, rows)] if points == others == WHOLE_BODY:
            return Net.DWPOSE if columns * height == rows * width else None
    return None


def _cells(height: int, width: int) -> int:
    return sum((height // stride) * (width // stride) for stride in YOLOX_STRIDES)

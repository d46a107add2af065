"""Persons in a picture, found by YOLOX (Ge et al. 2021, "YOLOX: Exceeding YOLO Series in 2021")."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from studio.control.nets import BorrowedNet
from studio.control.picture import Rgb
from studio.models.annotator_graphs import YOLOX_STRIDES

Boxes = NDArray[np.float32]
"""(n, 4): left, top, width, height of each, px."""

_GROUND = 114
"""Grey beside a picture of other proportions than the net reads."""

_SURE = 0.3
"""Score from which DWPose takes a box for a person."""

_ALIKE = 0.45
"""Of two boxes that overlap by more (intersection over union), the surer one stays."""

_PERSON = 5
"""Where an answer has the first of COCO's classes, behind place, size and whether there is anything."""

_LARGEST = 10.0
"""Natural logarithm of a side in cells; what a damaged net answers beyond it would overflow."""


def find_by_yolox(net: BorrowedNet, picture: Rgb) -> Boxes:
    """The persons, the surest first."""
    import torch

    size: tuple[int, int] = net.module.ports.size
    seen, scale = letterboxed(picture, size)
    with torch.no_grad():
        (answer,) = net.module(torch.from_numpy(seen).to(net.device)).values()
    boxes = persons_of(answer[0].float().cpu().numpy(), size)
    return np.asarray(boxes / scale, np.float32)


def letterboxed(picture: Rgb, size: tuple[int, int]) -> tuple[NDArray[np.float32], float]:
    """The picture as the net was trained: in its upper left corner, blue first, 0-255, (1, 3, H, W).

    Args:
        size: height and width that the net reads, px.

    Returns: besides it the net's px a px of the picture.
    """
    height, width = picture.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = (max(1, int(width * scale)), max(1, int(height * scale)))
    seen = np.full((*size, 3), _GROUND, np.uint8)
    seen[: inner[1], : inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(seen[:, :, ::-1].transpose(2, 0, 1)[None], np.float32), scale


def persons_of(answer: NDArray[np.float32], size: tuple[int, int]) -> Boxes:
    """The boxes in what the net answers, (cells, 5 + classes), in its own px.

    A cell tells its box's centre in cells from its own corner, the logarithms of its sides, whether there is
    anything, and what.
    """
    scores = answer[:, _PERSON - 1] * answer[:, _PERSON]
    sure = scores >= _SURE
    corners, strides = (each[sure] for each in _cells(size))
    centres = (answer[sure, :2] + corners) * strides
    sides = np.exp(np.minimum(answer[sure, 2:4], _LARGEST)) * strides
    boxes = np.concatenate([centres - sides / 2, sides], axis=1)
    return boxes[_distinct(boxes, scores[sure])].astype(np.float32)


def _cells(size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each cell its corner, (cells, 2) as x and y in cells, and its stride, (cells, 1) px."""
    grids = [
        np.mgrid[: size[0] // stride, : size[1] // stride][::-1].reshape(2, -1).T for stride in YOLOX_STRIDES
    ]
    strides = [np.full((len(grid), 1), stride) for grid, stride in zip(grids, YOLOX_STRIDES, strict=True)]
    return np.concatenate(grids).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _distinct(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The indices of the boxes without those that show what a surer one shows, the surest first."""
    import torch
    from torchvision.ops import nms

    sane = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    corners = np.concatenate([boxes[sane, :2], boxes[sane, :2] + boxes[sane, 2:]], axis=1)
    kept = nms(torch.from_numpy(corners), torch.from_numpy(scores[sane]), _ALIKE)
    return np.asarray(sane[kept.numpy()], np.int64)

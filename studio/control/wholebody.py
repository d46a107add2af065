"""Persons in a photo -> OpenPose's points of body, hands and face, by one net that sees them all.

DWPose (Yang et al. 2023, "Effective Whole-body Pose Estimation with Two-stages Distillation") is a net of
RTMPose (Jiang et al. 2023), which answers with two lists of numbers for each point: how likely it lies in
which column, and in which row (SimCC, Li et al. 2022). The points are COCO-WholeBody's (Jin et al. 2020).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from studio.control.nets import BorrowedNet, Nets
from studio.control.picture import Rgb, for_net
from studio.control.pose import COCO_JOINTS, body_of, pose_of
from studio.control.segmentation import find_persons
from studio.core.annotator_nets import Net
from studio.core.geometry import Extent
from studio.core.openpose import MAX_PEOPLE, Person, Point, Pose
from studio.core.pose import HAND_POINTS, JOINTS
from studio.core.preprocess import PoseDw

_FACE = slice(23, 91)
_LEFT_HAND = slice(91, 91 + HAND_POINTS)
_RIGHT_HAND = slice(112, 112 + HAND_POINTS)
_PUPILS = (COCO_JOINTS.index("right eye"), COCO_JOINTS.index("left eye"))
"""The two points that OpenPose's faces have beside the 68; the person's right one comes first."""

_MARGIN = 1.25
"""Sides of what the net sees to those of the person's box."""

_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
"""Of ImageNet's red, green and blue, in which the net was trained."""


def dwpose(picture: Rgb, options: PoseDw, nets: Nets) -> Pose:
    """Raises: InvalidRequest: there is nobody in the picture."""
    seen = for_net(picture, options.resolution)
    boxes = find_persons(nets.get(Net.YOLOX, Net.DETECTOR), seen)[:MAX_PEOPLE]
    net = nets.get(Net.DWPOSE)
    canvas = Extent(width=seen.shape[1], height=seen.shape[0])
    people = []
    for number, box in enumerate(boxes, 1):
        nets.tell(f"Looking at person {number} of {len(boxes)}")
        people.append(person_of(*_points(net, seen, box), options, canvas))
    return pose_of(picture, tuple(person for person in people if _is_seen(person)))


def _is_seen(person: Person) -> bool:
    return any((*person.body, *person.left_hand, *person.right_hand, *person.face))


def _points(
    net: BorrowedNet, picture: Rgb, box: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All points of the person in a box, (133, 2) as x and y in px, and how sure each of them is, (133,)."""
    import torch

    height, width = net.module.ports.size
    corner, sides = region(box, width / height)
    cut = (cut_out(picture, corner, sides, (height, width)) - _MEAN) / _DEVIATION
    pixels = np.ascontiguousarray(cut.transpose(2, 0, 1)[None], np.float32)
    with torch.no_grad():
        answer = net.module(torch.from_numpy(pixels).to(net.device)).values()
    places, scores = read_simcc(*(each[0].float().cpu().numpy() for each in answer))
    return corner + places * sides, scores


def region(box: NDArray[np.float32], ratio: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the net sees of a picture: left and top, width and height, px, around a person's box.

    Args:
        box: left, top, width and height, px.
        ratio: width to height that the net reads; the smaller side grows to it.
    """
    left, top, width, height = map(float, box)
    wide = max(width, height * ratio, 1.0) * _MARGIN
    sides = np.array([wide, wide / ratio])
    return np.array([left + width / 2, top + height / 2]) - sides / 2, sides


def cut_out(
    picture: Rgb, corner: NDArray[np.float64], sides: NDArray[np.float64], size: tuple[int, int]
) -> Rgb:
    """A region of the picture at the net's size; black where it reaches beyond the picture."""
    scale = size[1] / sides[0]
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    return np.asarray(cv2.warpAffine(picture, matrix, size[::-1], flags=cv2.INTER_LINEAR), np.uint8)


def read_simcc(
    columns: NDArray[np.float32], rows: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each point most likely lies, (points, 2) as x and y in 0-1, and how sure that is, (points,).

    Args:
        columns, rows: (points, bins); the surer a net is, the higher.
    """
    places = [axis.argmax(axis=1) / axis.shape[1] for axis in (columns, rows)]
    scores = np.minimum(columns.max(axis=1), rows.max(axis=1)).astype(np.float64)
    return np.stack(places, axis=1), scores


def person_of(
    points: NDArray[np.float64], scores: NDArray[np.float64], options: PoseDw, canvas: Extent
) -> Person:
    """OpenPose's person from the points of COCO-WholeBody (px)."""
    sure = scores >= options.confidence
    joints = {name: points[at] for at, name in enumerate(COCO_JOINTS) if sure[at]}
    found = [_relative(point, canvas) if seen else None for point, seen in zip(points, sure, strict=True)]
    face = (*found[_FACE], *(found[at] for at in _PUPILS)) if any(found[_FACE]) else ()
    return Person(
        body=body_of(joints, canvas).body if options.body else (None,) * len(JOINTS),
        left_hand=_part(found[_LEFT_HAND], options.hands),
        right_hand=_part(found[_RIGHT_HAND], options.hands),
        face=_part(face, options.face),
    )


def _relative(point: NDArray[np.float64], canvas: Extent) -> tuple[float, float]:
    return float(point[0]) / canvas.width, float(point[1]) / canvas.height


def _part(points: list[Point] | tuple[Point, ...], wanted: bool) -> tuple[Point, ...]:
    """No points at all where none of them is seen."""
    return tuple(points) if wanted and any(points) else ()

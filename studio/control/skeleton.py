"""Drawing poses as the maps that pose ControlNets read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from studio.control.picture import Rgb
from studio.core.openpose import Person, Point, Pose
from studio.core.pose import (
    FACE_DOT,
    FACE_DOT_PX,
    FINGER_COLOURS,
    FINGER_PX,
    FINGERS,
    HAND_DOT,
    JOINT_COLOURS,
    LIMB_SHADE,
    LIMBS,
    STICK_PX,
)


def draw_pose(pose: Pose) -> Rgb:
    """The map of a pose on black, as large as its canvas; the same pixels as controlnet_aux draws."""
    canvas = np.zeros((pose.canvas.height, pose.canvas.width, 3), np.uint8)
    for person in pose.people:
        _draw_person(canvas, person)
    return canvas


def _draw_person(canvas: Rgb, person: Person) -> None:
    _draw_body(canvas, person.body)
    for hand in (person.left_hand, person.right_hand):
        _draw_hand(canvas, hand)
    _draw_dots(canvas, person.face, FACE_DOT_PX, [FACE_DOT] * len(person.face))


def _draw_body(canvas: Rgb, joints: Sequence[Point]) -> None:
    for limb, colour in zip(LIMBS, JOINT_COLOURS, strict=False):
        start, end = joints[limb.start], joints[limb.end]
        if start and end:
            _draw_limb(canvas, start, end, [int(value * LIMB_SHADE) for value in colour])
    _draw_dots(canvas, joints, STICK_PX, JOINT_COLOURS, with_edge=True)


def _draw_limb(canvas: Rgb, start: tuple[float, float], end: tuple[float, float], colour: list[int]) -> None:
    """A filled ellipse from joint to joint."""
    height, width = canvas.shape[:2]
    (x0, y0), (x1, y1) = ((x * width, y * height) for x, y in (start, end))
    middle = (int((x0 + x1) / 2), int((y0 + y1) / 2))
    length = math.hypot(x0 - x1, y0 - y1)
    angle = math.degrees(math.atan2(y0 - y1, x0 - x1))
    outline = cv2.ellipse2Poly(middle, (int(length / 2), STICK_PX), int(angle), 0, 360, 1)
    cv2.fillConvexPoly(canvas, np.asarray(outline), colour)


def _draw_hand(canvas: Rgb, points: Sequence[Point]) -> None:
    if not points:
        return
    for bone, colour in zip(FINGERS, FINGER_COLOURS, strict=True):
        start, end = (_pixel(canvas, points[at]) for at in bone)
        if start and end and min(*start, *end) > 0:
            cv2.line(canvas, start, end, colour, FINGER_PX)
    _draw_dots(canvas, points, STICK_PX, [HAND_DOT] * len(points))


def _draw_dots(
    canvas: Rgb,
    points: Sequence[Point],
    radius: int,
    colours: Sequence[tuple[int, int, int]],
    *,
    with_edge: bool = False,
) -> None:
    """`with_edge`: also those on the left and upper edge, which in hands and faces count as missing."""
    for point, colour in zip(points, colours, strict=True):
        pixel = _pixel(canvas, point)
        if pixel and (with_edge or min(pixel) > 0):
            cv2.circle(canvas, pixel, radius, colour, thickness=-1)


def _pixel(canvas: Rgb, point: Point) -> tuple[int, int] | None:
    return (int(point[0] * canvas.shape[1]), int(point[1] * canvas.shape[0])) if point else None

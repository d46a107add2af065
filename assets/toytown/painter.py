"""How Toytown's things are drawn: one function a kind, in a frame that runs from 0 to 1 across and down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray
from palette import GLASS, HAIR, INK, RGB, RIM, SKIN, TYRE, WOOD, Color, mix

Point = tuple[float, float]
PERSON_ASPECT = 0.86
SHIFT = 4  # OpenCV's fixed-point coordinates: sixteenths of a pixel.


@dataclass(frozen=True)
class Pose:
    """Angles of a person's limbs in radians from straight down; positive is away from the body."""

    arms: tuple[float, float] = (0.5, 0.5)
    elbows: tuple[float, float] = (0.0, 0.0)
    legs: float = 0.2

    @classmethod
    def random(cls, rng: np.random.Generator) -> Pose:
        arms, elbows = rng.uniform(0.3, 2.4, 2), rng.uniform(-0.2, 0.7, 2)
        return cls(
            (float(arms[0]), float(arms[1])),
            (float(elbows[0]), float(elbows[1])),
            float(rng.uniform(0.1, 0.3)),
        )


class Brush:
    """Draws outlined shapes into a frame of the canvas and remembers what they cover."""

    def __init__(
        self, canvas: NDArray[np.uint8], frame: tuple[float, float, float, float], color: Color
    ) -> None:
        size = canvas.shape[0]
        self.canvas = canvas
        self.coverage = np.zeros(canvas.shape[:2], np.uint8)
        self.color = color
        self.ink = RIM if color == RGB["black"] else mix(INK, color, 0.15)
        self._origin = np.asarray(frame[:2]) * size
        self._scale = np.asarray(frame[2:]) * size
        self._pen = max(2, round(size * 0.013))

    @property
    def dark(self) -> Color:
        return mix(self.color, INK, 0.28)

    @property
    def light(self) -> Color:
        return mix(self.color, (255, 255, 255), 0.42)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """A filled shape with an outline."""
        corners = self._pixels(points)
        for plane, fill, edge in ((self.canvas, color, self.ink), (self.coverage, (255,), (255,))):
            cv2.fillPoly(plane, [corners], fill, shift=SHIFT)
            cv2.polylines(plane, [corners], True, edge, self._pen, shift=SHIFT)

    def ellipse(self, center: Point, radii: Point, color: Color) -> None:
        self.polygon(_ellipse(center, radii), color)

    def spot(self, points: Sequence[Point], color: Color) -> None:
        """A detail inside a shape: no outline, no coverage of its own."""
        cv2.fillPoly(self.canvas, [self._pixels(points)], color, shift=SHIFT)

    def limb(self, points: Sequence[Point], width: float, color: Color) -> None:
        """A thick outlined line through the points; `width` in 0-1 of the frame's width."""
        joints, thick = self._pixels(points), max(1, round(width * self._scale[0]))
        cv2.polylines(self.canvas, [joints], False, self.ink, thick + self._pen, shift=SHIFT)
        cv2.polylines(self.canvas, [joints], False, color, max(1, thick - self._pen), shift=SHIFT)
        cv2.polylines(self.coverage, [joints], False, (255,), thick + self._pen, shift=SHIFT)

    def shadow(self, color: Color) -> None:
        """A soft patch on the ground below the frame; not part of the thing."""
        self.spot(_ellipse((0.5, 0.985), (0.54, 0.045)), color)

    def shade(self) -> None:
        """Light from the upper left: what is drawn so far gets softly darker towards the lower right."""
        x, y = (int(v) for v in np.maximum(self._origin, 0))
        right, low = (int(v) for v in np.minimum(self._origin + self._scale, self.canvas.shape[0]))
        across, down = (
            np.linspace(0, 1, right - x, dtype=np.float32),
            np.linspace(0, 1, low - y, dtype=np.float32),
        )
        shade = 1.06 - 0.08 * across[None, :, None] - 0.12 * down[:, None, None]
        patch, covered = self.canvas[y:low, x:right], self.coverage[y:low, x:right, None] > 0
        patch[:] = np.where(covered, np.clip(patch * shade, 0, 255), patch)

    def _pixels(self, points: Sequence[Point]) -> NDArray[np.int32]:
        pixels = np.asarray(points) * self._scale + self._origin
        return np.asarray(np.rint(pixels * (1 << SHIFT)), np.int32)


def _ellipse(center: Point, radii: Point, corners: int = 40) -> list[Point]:
    turns = [2 * pi * k / corners for k in range(corners)]
    return [(center[0] + radii[0] * cos(turn), center[1] + radii[1] * sin(turn)) for turn in turns]


def paint_ball(brush: Brush, pose: Pose) -> None:
    brush.ellipse((0.5, 0.5), (0.48, 0.48), brush.dark)
    brush.spot(_ellipse((0.46, 0.45), (0.4, 0.4)), brush.color)
    brush.spot(_ellipse((0.33, 0.3), (0.11, 0.09)), brush.light)


def paint_box(brush: Brush, pose: Pose) -> None:
    brush.polygon([(0.02, 0.24), (0.24, 0.02), (0.98, 0.02), (0.76, 0.24)], brush.light)
    brush.polygon([(0.76, 0.24), (0.98, 0.02), (0.98, 0.76), (0.76, 0.98)], brush.dark)
    brush.polygon([(0.02, 0.24), (0.76, 0.24), (0.76, 0.98), (0.02, 0.98)], brush.color)


def paint_star(brush: Brush, pose: Pose) -> None:
    radii = (0.51, 0.24)
    turns = [pi * k / 5 - pi / 2 for k in range(10)]
    outline = [(0.5 + radii[k % 2] * cos(t), 0.54 + radii[k % 2] * sin(t)) for k, t in enumerate(turns)]
    brush.polygon(outline, brush.color)
    brush.spot([(0.5 + (x - 0.5) * 0.5, 0.52 + (y - 0.54) * 0.5) for x, y in outline], brush.light)


def paint_tree(brush: Brush, pose: Pose) -> None:
    brush.polygon([(0.4, 0.7), (0.6, 0.7), (0.62, 0.98), (0.38, 0.98)], WOOD)
    brush.polygon([(0.5, 0.28), (0.98, 0.8), (0.02, 0.8)], brush.dark)
    brush.polygon([(0.5, 0.02), (0.88, 0.52), (0.12, 0.52)], brush.color)


def paint_house(brush: Brush, pose: Pose) -> None:
    brush.polygon([(0.1, 0.42), (0.9, 0.42), (0.9, 0.98), (0.1, 0.98)], brush.color)
    brush.polygon([(0.5, 0.02), (0.98, 0.45), (0.02, 0.45)], brush.dark)
    brush.polygon([(0.58, 0.64), (0.78, 0.64), (0.78, 0.98), (0.58, 0.98)], WOOD)
    brush.polygon([(0.2, 0.56), (0.44, 0.56), (0.44, 0.78), (0.2, 0.78)], GLASS)


def paint_car(brush: Brush, pose: Pose) -> None:
    brush.polygon([(0.22, 0.44), (0.34, 0.06), (0.68, 0.06), (0.82, 0.44)], brush.color)
    brush.spot([(0.3, 0.42), (0.38, 0.16), (0.49, 0.16), (0.49, 0.42)], GLASS)
    brush.spot([(0.54, 0.42), (0.54, 0.16), (0.65, 0.16), (0.73, 0.42)], GLASS)
    brush.polygon(
        [(0.02, 0.5), (0.08, 0.42), (0.92, 0.42), (0.98, 0.52), (0.98, 0.8), (0.02, 0.8)], brush.color
    )
    for x in (0.24, 0.76):
        brush.ellipse((x, 0.79), (0.11, 0.187), TYRE)
        brush.spot(_ellipse((x, 0.79), (0.045, 0.077)), (206, 210, 216))


def paint_cat(brush: Brush, pose: Pose) -> None:
    brush.limb([(0.74, 0.9), (0.93, 0.84), (0.95, 0.62), (0.88, 0.52)], 0.09, brush.color)
    brush.ellipse((0.48, 0.75), (0.34, 0.23), brush.color)
    for side in (-1, 1):
        brush.polygon(
            [(0.48 + side * 0.38, 0.02), (0.48 + side * 0.36, 0.34), (0.48 + side * 0.1, 0.16)], brush.color
        )
    brush.ellipse((0.48, 0.37), (0.4, 0.27), brush.color)
    brush.spot(_ellipse((0.48, 0.47), (0.16, 0.1)), brush.light)
    for side in (-1, 1):
        brush.spot(_ellipse((0.48 + side * 0.17, 0.34), (0.075, 0.075)), (255, 255, 255))
        brush.spot(_ellipse((0.48 + side * 0.16, 0.345), (0.042, 0.055)), INK)
    brush.spot([(0.43, 0.42), (0.53, 0.42), (0.48, 0.48)], INK)


def paint_person(brush: Brush, pose: Pose) -> None:
    joint = [(float(x), float(y)) for x, y in person_keypoints(pose)]
    for hip, knee, ankle in ((8, 9, 10), (11, 12, 13)):
        brush.limb([joint[hip], joint[knee], joint[ankle]], 0.13, brush.dark)
    for shoulder, elbow, wrist in ((2, 3, 4), (5, 6, 7)):
        brush.limb([joint[shoulder], joint[elbow], joint[wrist]], 0.11, brush.color)
        brush.ellipse(joint[wrist], (0.05, 0.043), SKIN)
    brush.polygon([(0.32, 0.33), (0.68, 0.33), (0.7, 0.68), (0.3, 0.68)], brush.color)
    brush.ellipse((0.5, 0.17), (0.18, 0.152), HAIR)
    brush.spot(_ellipse((0.5, 0.2), (0.14, 0.11)), SKIN)
    for eye in joint[14:16]:
        brush.spot(_ellipse(eye, (0.024, 0.024)), INK)


def person_keypoints(pose: Pose) -> NDArray[np.float32]:
    """The 18 OpenPose points, in the frame: nose, neck, right arm, left arm, right leg, left leg, eyes, ears.

    As in OpenPose, right is the person's own right: the viewer's left.
    """
    points: list[Point] = [(0.5, 0.22), (0.5, 0.35)]
    for side, arm, elbow in ((-1, pose.arms[0], pose.elbows[0]), (1, pose.arms[1], pose.elbows[1])):
        points += _chain((0.5 + side * 0.14, 0.38), side, (arm, arm + elbow), (0.13, 0.12))
    for side in (-1, 1):
        points += _chain((0.5 + side * 0.1, 0.66), side, (pose.legs, pose.legs * 0.6), (0.15, 0.14))
    points += [(0.44, 0.19), (0.56, 0.19), (0.36, 0.2), (0.64, 0.2)]
    return np.asarray(points, np.float32)


def _chain(start: Point, side: int, angles: tuple[float, float], lengths: tuple[float, float]) -> list[Point]:
    """Start, middle and end of a limb; lengths are in 0-1 of the frame's height."""
    points = [start]
    for angle, length in zip(angles, lengths, strict=True):
        x, y = points[-1]
        points.append((x + side * length * sin(angle) / PERSON_ASPECT, y + length * cos(angle)))
    return points


PAINTERS: dict[str, Callable[[Brush, Pose], None]] = {
    "ball": paint_ball, "box": paint_box, "star": paint_star, "tree": paint_tree,
    "house": paint_house, "car": paint_car, "person": paint_person, "cat": paint_cat,
}  # fmt: skip

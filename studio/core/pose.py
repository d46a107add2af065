"""OpenPose's people: joints, limbs, hands and faces, and the colours of the map that pose ControlNets read.

Facts of the format (Cao et al. 2019, "OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity
Fields", the COCO body; hands of Simon et al. 2017; faces with the 68 points of iBUG and two pupils), shared
by the renderer of the engine and the editor of the page, so that both draw the same map.
"""

from __future__ import annotations

import colorsys

from studio.core.base import Record

Rgb = tuple[int, int, int]

JOINTS = (
    "nose",
    "neck",
    "right shoulder",
    "right elbow",
    "right wrist",
    "left shoulder",
    "left elbow",
    "left wrist",
    "right hip",
    "right knee",
    "right ankle",
    "left hip",
    "left knee",
    "left ankle",
    "right eye",
    "left eye",
    "right ear",
    "left ear",
)
"""In the order of `pose_keypoints_2d`. Right and left are the person's own."""

JOINT_COLOURS: tuple[Rgb, ...] = (
    (255, 0, 0),
    (255, 85, 0),
    (255, 170, 0),
    (255, 255, 0),
    (170, 255, 0),
    (85, 255, 0),
    (0, 255, 0),
    (0, 255, 85),
    (0, 255, 170),
    (0, 255, 255),
    (0, 170, 255),
    (0, 85, 255),
    (0, 0, 255),
    (85, 0, 255),
    (170, 0, 255),
    (255, 0, 255),
    (255, 0, 170),
    (255, 0, 85),
)
"""One a joint; the first 17 are also those of the limbs, in the order of `LIMBS`."""

LIMB_SHADE = 0.6
"""A limb's colour is its joint colour times this."""

STICK_PX = 4
"""Radius of a joint, and half the width of a limb's ellipse, px; whatever the size of the map."""


class Limb(Record):
    """Two joints, by index, that the map connects."""

    start: int
    end: int


LIMBS = tuple(
    Limb(start=start, end=end)
    for start, end in (
        (1, 2),
        (1, 5),
        (2, 3),
        (3, 4),
        (5, 6),
        (6, 7),
        (1, 8),
        (8, 9),
        (9, 10),
        (1, 11),
        (11, 12),
        (12, 13),
        (1, 0),
        (0, 14),
        (14, 16),
        (0, 15),
        (15, 17),
    )
)
"""In the order in which they are drawn."""

MIRRORED = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
"""For each joint the index of the one on the other side: who is mirrored swaps right and left."""

HAND_POINTS = 21
"""The wrist, then each finger's four joints from the palm outward, the thumb first."""

FACE_POINTS = 70


class Part(Record):
    """Thin points that a person may have beside the 18 joints."""

    name: str
    key: str
    """In OpenPose's JSON."""
    points: int
    joint: int
    """Index of the joint that it goes along with."""


PARTS = (
    Part(name="left hand", key="hand_left_keypoints_2d", points=HAND_POINTS, joint=7),
    Part(name="right hand", key="hand_right_keypoints_2d", points=HAND_POINTS, joint=4),
    Part(name="face", key="face_keypoints_2d", points=FACE_POINTS, joint=0),
)

FINGERS = tuple((0 if i % 4 == 0 else i, i + 1) for i in range(HAND_POINTS - 1))
"""Each finger's four bones, by the points of the hand that they join."""

FINGER_COLOURS = tuple(
    (255 * red, 255 * green, 255 * blue)
    for red, green, blue in (colorsys.hsv_to_rgb(i / len(FINGERS), 1, 1) for i in range(len(FINGERS)))
)
"""Of the bones, around the circle of hues."""

FINGER_PX = 2
"""Width of a finger's bone."""

HAND_DOT: Rgb = (0, 0, 255)
FACE_DOT: Rgb = (255, 255, 255)
FACE_DOT_PX = 3
"""Radius of a point of the face; those of hands are as large as joints."""

FACE_MIRRORED = (
    *range(16, -1, -1),  # the jaw
    *range(26, 16, -1),  # brows
    *range(27, 31),  # down the nose
    *range(35, 30, -1),  # nostrils
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # lips, outside
    *(64, 63, 62, 61, 60, 67, 66, 65),  # lips, inside
    *(69, 68),  # pupils
)
"""As `MIRRORED`, for the points of a face."""

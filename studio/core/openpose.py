"""Persons as OpenPose's points, and OpenPose's JSON, the way poses travel between programs.

`{people: [{pose_keypoints_2d: [x, y, c] x 18, hand_left_keypoints_2d and hand_right_keypoints_2d x 21,
face_keypoints_2d x 70}], canvas_width, canvas_height}`. A missing point is 0, 0, 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import Field

from studio.core.base import Record
from studio.core.geometry import Extent
from studio.core.pose import FACE_POINTS, HAND_POINTS, JOINTS, PARTS

POSE_CHUNK = "openpose"
"""Text chunk of a PNG that holds the pose which the map shows, as JSON."""

MAX_PEOPLE = 100

Point = tuple[float, float] | None
"""x and y, relative to the canvas (0-1 within it); None where it is hidden."""


class Person(Record):
    body: tuple[Point, ...] = Field(min_length=len(JOINTS), max_length=len(JOINTS))
    left_hand: tuple[Point, ...] = Field((), max_length=HAND_POINTS)
    right_hand: tuple[Point, ...] = Field((), max_length=HAND_POINTS)
    face: tuple[Point, ...] = Field((), max_length=FACE_POINTS + 1)


class Pose(Record):
    """Everybody in a picture."""

    canvas: Extent
    people: tuple[Person, ...] = Field((), max_length=MAX_PEOPLE)


_PARTS = {"pose_keypoints_2d": "body", **{part.key: part.name.replace(" ", "_") for part in PARTS}}


def write_openpose(pose: Pose) -> str:
    """OpenPose's JSON, in px of the canvas."""
    people = [
        {key: _triples(getattr(person, part), pose.canvas) for key, part in _PARTS.items()}
        for person in pose.people
    ]
    return json.dumps(
        {"people": people, "canvas_width": pose.canvas.width, "canvas_height": pose.canvas.height}
    )


def _triples(points: Sequence[Point], canvas: Extent) -> list[float] | None:
    """x, y and confidence of each point: 1, readers drop what has less. None where there are no points."""
    if not points:
        return None
    flat: list[float] = []
    for point in points:
        flat += (
            [round(point[0] * canvas.width, 2), round(point[1] * canvas.height, 2), 1.0]
            if point
            else [0.0, 0.0, 0.0]
        )
    return flat

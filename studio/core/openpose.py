"""Persons as OpenPose's points, and OpenPose's JSON, the way poses travel between programs.

`{people: [{pose_keypoints_2d: [x, y, c] x 18, hand_left_keypoints_2d and hand_right_keypoints_2d x 21,
face_keypoints_2d x 70}], canvas_width, canvas_height}`. A missing point is 0, 0, 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from studio.core.base import Record
from studio.core.errors import InvalidRequest
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


def read_openpose(text: str) -> Pose:
    """A pose from OpenPose's JSON; coordinates that are all within 1 count as relative.

    Raises: InvalidRequest.
    """
    try:
        content = json.loads(text)
        content = content[0] if isinstance(content, list) else content
        canvas = Extent(width=content["canvas_width"], height=content["canvas_height"])
        people = [_person(person, canvas) for person in content["people"]]
        return Pose(canvas=canvas, people=tuple(people))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest(
            f"This is no pose in OpenPose's JSON: {type(error).__name__} at {str(error)[:120]}.",
            "It needs people with pose_keypoints_2d, canvas_width and canvas_height.",
        ) from error


def _person(content: dict[str, Any], canvas: Extent) -> Person:
    flat = {part: [float(value) for value in content.get(key) or ()] for key, part in _PARTS.items()}
    values = [value for numbers in flat.values() for i, value in enumerate(numbers) if i % 3 != 2]
    relative = max(map(abs, values), default=0) <= 1
    size = (1, 1) if relative else (canvas.width, canvas.height)
    return Person(**{part: tuple(_points(numbers, *size)) for part, numbers in flat.items()})


def _points(flat: Sequence[float], width: int, height: int) -> list[Point]:
    triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return [(x / width, y / height) if confidence > 0 else None for x, y, confidence in triples]

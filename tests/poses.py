"""OpenPose's JSON read back, as other programs read it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from studio.core.geometry import Extent
from studio.core.openpose import Person, Point, Pose

_PARTS = {
    "pose_keypoints_2d": "body",
    "hand_left_keypoints_2d": "left_hand",
    "hand_right_keypoints_2d": "right_hand",
    "face_keypoints_2d": "face",
}


def read_openpose(text: str) -> Pose:
    content = json.loads(text)
    canvas = Extent(width=content["canvas_width"], height=content["canvas_height"])
    people = [
        Person(**{part: _points(person.get(key) or (), canvas) for key, part in _PARTS.items()})
        for person in content["people"]
    ]
    return Pose(canvas=canvas, people=tuple(people))


def _points(flat: Sequence[float], canvas: Extent) -> tuple[Point, ...]:
    triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return tuple((x / canvas.width, y / canvas.height) if sure else None for x, y, sure in triples)

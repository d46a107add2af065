"""Persons in a photo -> OpenPose's points."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.control.nets import BorrowedNet, Nets
from studio.control.picture import Rgb, for_net, not_too_narrow
from studio.control.segmentation import find_persons
from studio.core.annotator_nets import Net
from studio.core.errors import InvalidRequest
from studio.core.geometry import Extent
from studio.core.openpose import MAX_PEOPLE, Person, Point, Pose
from studio.core.pose import JOINTS
from studio.core.preprocess import PoseOpenpose, PoseVit
from studio.models.annotator_files import controlnet_aux

COCO_JOINTS = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder"),
    *("left elbow", "right elbow", "left wrist", "right wrist", "left hip", "right hip"),
    *("left knee", "right knee", "left ankle", "right ankle"),
)
"""What a net of COCO's 17 joints tells, in its order; the neck is not among them."""


def openpose(picture: Rgb, options: PoseOpenpose, nets: Nets) -> Pose:
    """Body, hands and faces (Cao et al. 2019), by the nets as controlnet_aux runs them.

    Raises: InvalidRequest: there is nobody in the picture.
    """
    parts = {part: _estimator(nets, options, part) for part in ("Body", "Hand", "Face")}
    detector = controlnet_aux().OpenposeDetector(parts["Body"], parts["Hand"], parts["Face"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # divisions by the length of limbs that are points
        found = detector.detect_poses(for_net(picture, options.resolution), options.hands, options.face)
    people = tuple(_person_of(each, options) for each in found)
    return pose_of(picture, people)


def _estimator(nets: Nets, options: PoseOpenpose, part: str) -> Any:
    """controlnet_aux's wrapper of a net, without its constructor, which would unpickle a file."""
    wrappers = controlnet_aux("open_pose")
    wrapper, net, wanted = {
        "Body": (wrappers.Body, Net.OPENPOSE_BODY, True),
        "Hand": (wrappers.Hand, Net.OPENPOSE_HAND, options.hands),
        "Face": (wrappers.Face, Net.OPENPOSE_FACE, options.face),
    }[part]
    if not wanted:
        return None
    estimator = wrapper.__new__(wrapper)
    estimator.model = nets.get(net).module
    return estimator


def _person_of(found: Any, options: PoseOpenpose) -> Person:
    hidden: tuple[Point, ...] = (None,) * len(JOINTS)
    return Person(
        body=_relative(found.body.keypoints) if options.body else hidden,
        left_hand=_relative(found.left_hand),
        right_hand=_relative(found.right_hand),
        face=_relative(found.face),
    )


def _relative(points: Any) -> tuple[Point, ...]:
    """controlnet_aux's points; where it did not find one, it is None or lies left of the picture."""
    return tuple(
        (float(point.x), float(point.y)) if point and point.x >= 0 and point.y >= 0 else None
        for point in points or ()
    )


def vitpose(picture: Rgb, options: PoseVit, nets: Nets) -> Pose:
    """Bodies (Xu et al. 2022), one after another as the other net finds them.

    Raises: InvalidRequest: there is nobody in the picture.
    """
    import torch

    seen = not_too_narrow(picture)
    boxes = find_persons(nets.get(Net.DETECTOR, Net.SEGMENTATION), seen)[:MAX_PEOPLE]
    net = nets.get(Net.VITPOSE)
    if not len(boxes):
        return pose_of(picture, ())
    inputs = net.processor(images=Image.fromarray(seen), boxes=[boxes], return_tensors="pt")
    with torch.no_grad():
        answer = net.module(pixel_values=inputs["pixel_values"].to(net.device), **_experts(net, len(boxes)))
    (found,) = net.processor.post_process_pose_estimation(answer, boxes=[boxes])
    height, width = seen.shape[:2]
    people = tuple(
        body_of(_joints(net, each, options.confidence), Extent(width=width, height=height)) for each in found
    )
    return pose_of(picture, tuple(person for person in people if any(person.body)))


def _experts(net: BorrowedNet, count: int) -> dict[str, Any]:
    """ViTPose++ was trained on several data sets and must be told which to follow: the first is COCO."""
    import torch

    experts = getattr(net.module.config.backbone_config, "num_experts", 1)
    return {"dataset_index": torch.zeros(count, dtype=torch.int64, device=net.device)} if experts > 1 else {}


def _joints(net: BorrowedNet, found: Mapping[str, Any], confidence: float) -> dict[str, NDArray[np.float64]]:
    """X and y (px) of the joints that the net is sure of, by name."""
    names = _joint_names(net)
    points, scores = found["keypoints"].cpu().numpy(), found["scores"].cpu().numpy()
    return {
        name: point for name, point, score in zip(names, points, scores, strict=False) if score >= confidence
    }


def _joint_names(net: BorrowedNet) -> tuple[str, ...]:
    """`L_Eye`, `left_eye` -> left eye; nets without names follow COCO's order."""
    sides = {"l": "left ", "r": "right "}
    told = tuple(
        re.sub(r"^(l|r) ", lambda side: sides[side[1]], name.lower().replace("_", " "))
        for _, name in sorted(net.labels.items())
    )
    return told if set(COCO_JOINTS) <= set(told) else COCO_JOINTS


def body_of(joints: Mapping[str, NDArray[np.float64]], canvas: Extent) -> Person:
    """OpenPose's body from COCO's joints (px); the neck lies between the shoulders."""
    known = dict(joints)
    if "left shoulder" in known and "right shoulder" in known:
        known["neck"] = (known["left shoulder"] + known["right shoulder"]) / 2
    return Person(
        body=tuple(
            (float(known[name][0]) / canvas.width, float(known[name][1]) / canvas.height)
            if name in known
            else None
            for name in JOINTS
        )
    )


def pose_of(picture: Rgb, people: tuple[Person, ...]) -> Pose:
    """Raises: InvalidRequest: there is nobody."""
    if not people:
        raise InvalidRequest(
            "There is nobody in this picture whose pose can be seen.",
            "Choose another photo or a higher resolution, or draw the pose in the editor.",
            field="image",
        )
    return Pose(canvas=Extent(width=picture.shape[1], height=picture.shape[0]), people=people)

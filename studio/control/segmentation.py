"""What is where in a picture, and where its persons are."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.control.ade20k import colours_of
from studio.control.nets import BorrowedNet, Nets
from studio.control.picture import Rgb, not_too_narrow, reading_size
from studio.control.yolox import Boxes, find_by_yolox
from studio.core.annotator_nets import Net
from studio.core.preprocess import Segmentation

PERSON = "person"

_SMALLEST_PERSON = 0.001
"""Share of the picture below which a patch of the class person is noise."""

_MOST_SCORES = 2**28
"""1 GB of them. With ADE20K's 150 classes that is 1.8 megapixels."""

_SURE = 0.5
"""Score from which a detector's box counts."""


def segmentation(picture: Rgb, options: Segmentation, nets: Nets) -> Rgb:
    """Every pixel in the colour of its class, ADE20K's colours where the net knows its classes."""
    net = nets.get(Net.SEGMENTATION)
    classes = classes_of(net, not_too_narrow(picture), options.resolution)
    return colours_of(net.labels)[classes]


def classes_of(net: BorrowedNet, picture: Rgb, resolution: int = 0) -> NDArray[np.int64]:
    """(h, w): index of each pixel's class."""
    import torch

    size = {}
    if resolution:
        height, width = reading_size(picture.shape[:2], resolution, step=32)
        size = {"size": {"height": height, "width": width}}
    inputs = net.processor(images=Image.fromarray(picture), return_tensors="pt", **size)
    with torch.no_grad():
        answer = net.module(pixel_values=inputs["pixel_values"].to(net.device))
    size_of_scores = scores_size(picture.shape[:2], len(net.labels))
    (classes,) = net.processor.post_process_semantic_segmentation(answer, target_sizes=[size_of_scores])
    found = classes.cpu().numpy().astype(np.int32)
    if size_of_scores != picture.shape[:2]:
        found = cv2.resize(found, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(found, np.int64)


def scores_size(size: tuple[int, int], classes: int) -> tuple[int, int]:
    """Height and width, px, to which the scores of all classes are enlarged before the best one is taken.

    That of the picture while they fit in memory: 150 classes on 12 megapixels would take 7 GB.
    """
    height, width = size
    scale = min(1.0, math.sqrt(_MOST_SCORES / (height * width * max(1, classes))))
    return max(1, int(height * scale)), max(1, int(width * scale))


def find_persons(net: BorrowedNet, picture: Rgb) -> Boxes:
    """The persons in a picture, by a detector or by a net of segmentation that knows persons."""
    if net.net is Net.YOLOX:
        return find_by_yolox(net, picture)
    return _detected(net, picture) if net.net is Net.DETECTOR else _patches(net, picture)


def _detected(net: BorrowedNet, picture: Rgb) -> Boxes:
    import torch

    inputs = net.processor(images=Image.fromarray(picture), return_tensors="pt")
    with torch.no_grad():
        answer = net.module(pixel_values=inputs["pixel_values"].to(net.device))
    (found,) = net.processor.post_process_object_detection(
        answer, threshold=_SURE, target_sizes=[picture.shape[:2]]
    )
    persons = [index for index, label in net.labels.items() if label.lower() == PERSON]
    chosen = torch.isin(found["labels"].cpu(), torch.tensor(persons, dtype=torch.int64))
    corners = found["boxes"].cpu()[chosen].numpy()
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float32)


def _patches(net: BorrowedNet, picture: Rgb) -> Boxes:
    """A box around each connected patch of persons."""
    persons = [index for index, label in net.labels.items() if label.lower() == PERSON]
    mask = np.isin(classes_of(net, picture), persons).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    kept = [stat[:4] for stat in stats[1:count] if stat[cv2.CC_STAT_AREA] >= _SMALLEST_PERSON * mask.size]
    return np.asarray(kept, np.float32).reshape(-1, 4)

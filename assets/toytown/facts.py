"""What is known about every scene, as training data: labels, depth, boxes, names and poses."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from data import CAPTIONS, SIZE, tokenize
from numpy.typing import NDArray
from palette import COLORS
from world import KINDS, Render, Scene, describe, random_scene, render

# The classes of the segmentation net: the backdrop's two parts, then the kinds.
LABELS = ("sky", "ground", *KINDS)
MOST_THINGS = 3
NOTHING = -1


@dataclass(frozen=True)
class Facts:
    """Every fact of n scenes, in memory-mapped arrays; a scene with fewer than three things has empty rows.

    images: (n, 128, 128, 3) uint8. labels: (n, 128, 128) uint8, indices of LABELS. depth: (n, 128, 128)
    uint8, 0 far to 255 near. boxes: (n, 3, 4) float32, x0 y0 x1 y1 in 0-1. names: (n, 3) int16, kind x 9 +
    colour, or NOTHING. keypoints: (n, 3, 18, 2) float32, OpenPose's points in 0-1, NaN for whatever is not a
    person. captions: (n, 6, 77) int16 token ids.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    names: NDArray[np.int16]
    keypoints: NDArray[np.float32]
    captions: NDArray[np.int16]


def name_of(number: int) -> tuple[str, str]:
    """(color, kind) of an entry of `Facts.names`."""
    return COLORS[number % len(COLORS)], KINDS[number // len(COLORS)]


def label_map(scene: Scene, view: Render) -> NDArray[np.uint8]:
    """(size, size) indices of LABELS."""
    size = view.image.shape[0]
    rows = (np.arange(size) + 0.5) / size
    labels = np.repeat((rows >= scene.horizon).astype(np.uint8)[:, None], size, axis=1)
    for thing, mask in zip(scene.things, view.masks, strict=True):
        labels[mask] = LABELS.index(thing.kind)
    return labels


def edges_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w) 0 or 255: the edges that the studio's Canny preprocessor finds with its defaults."""
    return np.asarray(cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 100, 200), np.uint8)


def load_facts(
    work: Path, tokenizer: Any, count: int, scene_of: Callable[..., Scene] = random_scene
) -> Facts:
    """The facts of the first `count` scenes, rendered on first use; by default the scenes of `load_town`."""
    folder = work / f"facts-{scene_of.__name__}-{count}"
    if not folder.exists():
        _render_facts(folder, tokenizer, count, scene_of)
    names = Facts.__dataclass_fields__
    return Facts(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names})


def _render_facts(folder: Path, tokenizer: Any, count: int, scene_of: Callable[..., Scene]) -> None:
    part = folder.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "images": (np.uint8, (SIZE, SIZE, 3)),
        "labels": (np.uint8, (SIZE, SIZE)),
        "depth": (np.uint8, (SIZE, SIZE)),
        "boxes": (np.float32, (MOST_THINGS, 4)),
        "names": (np.int16, (MOST_THINGS,)),
        "keypoints": (np.float32, (MOST_THINGS, 18, 2)),
        "captions": (np.int16, (CAPTIONS, tokenizer.model_max_length)),
    }
    arrays = {
        name: np.lib.format.open_memmap(part / f"{name}.npy", "w+", kind, (count, *shape))
        for name, (kind, shape) in shapes.items()
    }
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for index, (row, captions) in enumerate(
            pool.map(partial(_row, scene_of), range(count), chunksize=64)
        ):
            for name, value in row.items():
                arrays[name][index] = value
            arrays["captions"][index] = tokenize(tokenizer, captions)
    for array in arrays.values():
        array.flush()
    part.rename(folder)


def _row(scene_of: Callable[..., Scene], seed: int) -> tuple[dict[str, NDArray[Any]], list[str]]:
    rng = np.random.default_rng(seed)
    scene = scene_of(rng)
    captions = [describe(scene, rng) for _ in range(CAPTIONS)]
    view = render(scene, SIZE)
    boxes = np.zeros((MOST_THINGS, 4), np.float32)
    names = np.full(MOST_THINGS, NOTHING, np.int16)
    keypoints = np.full((MOST_THINGS, 18, 2), np.nan, np.float32)
    for at, thing in enumerate(scene.things):
        boxes[at] = view.boxes[at]
        names[at] = KINDS.index(thing.kind) * len(COLORS) + COLORS.index(thing.color)
        if (points := view.keypoints[at]) is not None:
            keypoints[at] = points
    depth = np.rint(view.depth * 255).astype(np.uint8)
    row = {"images": view.image, "labels": label_map(scene, view), "depth": depth}
    return row | {"boxes": boxes, "names": names, "keypoints": keypoints}, captions

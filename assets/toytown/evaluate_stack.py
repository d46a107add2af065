"""Measure what stacks on Toytown's base: `python assets/toytown/evaluate_stack.py [--parts gligen] [--json]`.

Annotators read held-out renders. ControlNets, boxes and the inpainting UNet draw fresh scenes; the net of
segmentation, which was trained on renders only, and the palette say whether they obeyed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from base import Base
from data import SIZE
from diffusers import ControlNetModel, UNet2DConditionModel
from drawing import BOX_STEPS, SEED, Case, Painter, batches, cases, phrase_of
from evaluate import MODELS
from facts import LABELS, edges_of, label_map
from judge import NAMES
from numpy.typing import NDArray
from palette import COLORS, GLASS, HAIR, INK, PLACES, RGB, RIM, SKIN, TYRE, WOOD, mix
from safetensors.torch import load_file
from torch.nn import functional as F
from train_annotators import KEYPOINTS
from train_gligen import load_graft, new_gligen_unet
from transformers import (
    AutoImageProcessor,
    AutoModelForDepthEstimation,
    AutoModelForSemanticSegmentation,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
)
from world import KINDS, make_scene, render, scattered_scene

# Edges count as found within so many pixels.
EDGE_TOLERANCE = 1
# A keypoint is right within this share of its person's height.
KEYPOINT_TOLERANCE = 0.05
# A thing fills at least this share of its box.
LEAST_SHARE = 0.15


def edge_f1(found: NDArray[np.uint8], wanted: NDArray[np.uint8], tolerance: int = EDGE_TOLERANCE) -> float:
    """The harmonic mean of how many found edges are wanted and wanted ones found; both (h, w), 0 is none."""
    if not found.any() or not wanted.any():
        return 0.0
    kernel = np.ones((2 * tolerance + 1,) * 2, np.uint8)
    precision = float((cv2.dilate(wanted, kernel)[found > 0] > 0).mean())
    recall = float((cv2.dilate(found, kernel)[wanted > 0] > 0).mean())
    return 2 * precision * recall / max(precision + recall, 1e-9)


def box_iou(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Intersection over union of two boxes, x0 y0 x1 y1."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    common = float(np.prod(np.clip(high - low, 0, None)))
    return common / float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - common)


class Eyes:
    """What looks at pictures: the segmentation net of the pack for kinds, the palette for colours."""

    def __init__(self, models: Path) -> None:
        folder = models / "annotators" / "toytown-segmentation"
        self.segmenter = AutoModelForSemanticSegmentation.from_pretrained(folder).float().eval()
        self.segment_inputs = AutoImageProcessor.from_pretrained(folder)

    @torch.no_grad()
    def labels(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(n, 128, 128) indices of LABELS."""
        inputs = self.segment_inputs(list(images), return_tensors="pt")
        logits = self.segmenter(**inputs).logits
        full = F.interpolate(logits, size=images.shape[1:3], mode="bilinear", align_corners=False)
        return np.asarray(full.argmax(1).numpy(), np.uint8)

    def sees(self, images: NDArray[np.uint8], names: list[str], boxes: NDArray[np.float32]) -> list[bool]:
        """For each picture whether the named thing fills its box, of that kind and colour."""
        seen = []
        for image, labels, name, box in zip(images, self.labels(images), names, boxes, strict=True):
            x0, y0, x1, y1 = np.rint(box * SIZE).astype(int)
            color, kind = name.split()
            here, there = image[y0:y1, x0:x1], labels[y0:y1, x0:x1]
            things = there >= LABELS.index(KINDS[0])
            same = there == LABELS.index(kind)
            enough = same.mean() > LEAST_SHARE and same.sum() > things.sum() / 2
            seen.append(bool(enough and color == _color_of(here[same])))
        return seen


def _color_of(pixels: NDArray[np.uint8]) -> str:
    """The thing's colour: what most pixels are a shade of that are no detail like glass, skin or a tyre."""
    shades = [(at, mix(color, INK, dark)) for at, color in enumerate(RGB.values()) for dark in (0.0, 0.28)]
    shades += [(len(RGB), detail) for detail in (INK, SKIN, HAIR, WOOD, GLASS, TYRE, RIM)]
    off = np.linalg.norm(pixels[:, None] - np.asarray([shade for _, shade in shades], np.float32), axis=-1)
    nearest = np.asarray([at for at, _ in shades])[off.argmin(1)]
    return COLORS[int(np.bincount(nearest, minlength=len(RGB) + 1)[: len(RGB)].argmax())]


def kind_box(labels: NDArray[np.uint8], kind: str, wanted: NDArray[np.float32]) -> float:
    """The best IoU of the wanted box with the tight box of a connected region of that kind."""
    regions, _, stats, _ = cv2.connectedComponentsWithStats((labels == LABELS.index(kind)).astype(np.uint8))
    boxes = [np.asarray([x, y, x + w, y + h]) / SIZE for x, y, w, h, area in stats[1:regions] if area >= 20]
    return max((box_iou(box, wanted) for box in boxes), default=0.0)


def measure_segmentation(eyes: Eyes, items: list[Case]) -> dict[str, float]:
    """Mean IoU over the classes, on renders."""
    truth = np.stack([label_map(item.scene, item.view) for item in items])
    seen = np.concatenate([eyes.labels(np.stack([i.view.image for i in batch])) for batch in batches(items)])
    shares = [
        ((truth == at) & (seen == at)).sum() / ((truth == at) | (seen == at)).sum()
        for at in range(len(LABELS))
    ]
    return {"segmentation_miou": float(np.mean(shares))}


@torch.no_grad()
def measure_depth(folder: Path, items: list[Case]) -> dict[str, float]:
    """The mean over renders of the correlation of seen and true inverse depth."""
    net = AutoModelForDepthEstimation.from_pretrained(folder).float().eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    correlations = []
    for batch in batches(items):
        inputs = processor([item.view.image for item in batch], return_tensors="pt")
        for seen, item in zip(net(**inputs).predicted_depth.numpy(), batch, strict=True):
            resized = cv2.resize(seen, (SIZE, SIZE))
            correlations.append(np.corrcoef(resized.ravel(), item.view.depth.ravel())[0, 1])
    return {"depth_correlation": float(np.mean(correlations))}


@torch.no_grad()
def measure_pose(folder: Path, count: int) -> dict[str, float]:
    """The share of keypoints within 5% of their person's height, the persons' boxes given."""
    net = VitPoseForPoseEstimation.from_pretrained(folder).float().eval()
    processor = VitPoseImageProcessor.from_pretrained(folder)
    right = []
    for index in range(count):
        rng = np.random.default_rng(SEED + index)
        person = (str(rng.choice(COLORS)), "person")
        others = [(str(rng.choice(COLORS)), str(rng.choice(KINDS[:6]))) for _ in range(index % 3)]
        scene = make_scene(SEED + index, [person, *others], str(rng.choice(list(PLACES))))
        view = render(scene, SIZE)
        x0, y0, x1, y1 = view.boxes[0] * SIZE
        inputs = processor(view.image, boxes=[[[x0, y0, x1 - x0, y1 - y0]]], return_tensors="pt")
        found = processor.post_process_pose_estimation(
            net(**inputs), boxes=[[[x0, y0, x1 - x0, y1 - y0]]], threshold=None
        )[0][0]["keypoints"]
        points = view.keypoints[0]
        assert points is not None
        off = np.linalg.norm(found.numpy() - points[list(KEYPOINTS.values())] * SIZE, axis=1)
        right.append(off <= KEYPOINT_TOLERANCE * (y1 - y0))
    return {"pose_keypoints_right": float(np.mean(right))}


def measure_control(
    painter: Painter,
    eyes: Eyes,
    nets: dict[str, ControlNetModel],
    items: list[Case],
    name: str = "control",
) -> dict[str, float]:
    """Each net alone, all at once, and none: F1 of Canny edges, IoU of the things' masks.

    `free` is without captions, so that only the map can say what is where; of usual scenes a caption alone
    says a good deal, as the town puts things side by side in the order of their names.
    """
    uses: dict[str, list[str]] = {"none": [], **{net: [net] for net in nets}}
    if len(nets) > 1:
        uses["both"] = list(nets)
    figures = {}
    for free, label in ((True, "_free"), (False, "")):
        for use, names in uses.items():
            chosen = [(net, nets[net]) for net in names]
            scores = [_obeyed(painter, eyes, chosen, batch, free) for batch in batches(items)]
            edges, masks = (float(np.mean(np.concatenate(part))) for part in zip(*scores, strict=True))
            figures |= {f"{name}_{use}{label}_edge_f1": edges, f"{name}_{use}{label}_mask_iou": masks}
    return figures


def _obeyed(
    painter: Painter, eyes: Eyes, nets: list[tuple[str, ControlNetModel]], items: list[Case], free: bool
) -> tuple[list[float], list[float]]:
    maps = {
        "canny": np.stack([edges_of(item.view.image) for item in items]),
        "depth": np.stack([np.rint(item.view.depth * 255).astype(np.uint8) for item in items]),
    }
    denoise = painter.controlled([(net, maps[name]) for name, net in nets]) if nets else painter.plain
    captions = ["" if free else item.caption for item in items]
    images = painter.draw(captions, [item.seed for item in items], denoise)
    edges = [edge_f1(edges_of(image), wanted) for image, wanted in zip(images, maps["canny"], strict=True)]
    things = eyes.labels(images) >= LABELS.index(KINDS[0])
    masks = []
    for seen, item in zip(things, items, strict=True):
        wanted = item.view.masks.any(axis=0)
        masks.append(float((seen & wanted).sum() / (seen | wanted).sum()))
    return edges, masks


def measure_gligen(
    painter: Painter, eyes: Eyes, unet: UNet2DConditionModel, items: list[Case], name: str = "gligen"
) -> dict[str, float]:
    """Mean IoU of asked boxes with drawn things, and how often the right thing is seen in its box."""
    figures = {}
    for label, steps in ((name, BOX_STEPS), (f"{name}_off", 0.0)):
        overlaps, right = [], []
        for batch in batches(items):
            captions, seeds = [item.caption for item in batch], [item.seed for item in batch]
            images = painter.draw(captions, seeds, painter.boxed(unet, batch, steps))
            for image, labels, item in zip(images, eyes.labels(images), batch, strict=True):
                things, boxes = item.scene.things, item.view.boxes
                overlaps += [kind_box(labels, t.kind, box) for t, box in zip(things, boxes, strict=True)]
                copies = np.repeat(image[None], len(things), axis=0)
                right += eyes.sees(copies, [t.name for t in things], boxes)
        figures |= {f"{label}_box_iou": float(np.mean(overlaps)), f"{label}_right": float(np.mean(right))}
    return figures


def measure_inpaint(
    painter: Painter, eyes: Eyes, unet: UNet2DConditionModel, items: list[Case]
) -> dict[str, float]:
    """One thing of each scene is masked and another asked for: how often it is seen in its place."""
    seen: list[bool] = []
    for batch in batches(items):
        rng = np.random.default_rng(SEED + batch[0].seed)
        names = [str(rng.choice(NAMES)) for _ in batch]
        boxes = np.stack([item.view.boxes[rng.integers(len(item.view.boxes))] for item in batch])
        boxes = np.clip(boxes + np.asarray([-0.03, -0.03, 0.03, 0.03], np.float32), 0, 1)
        masks = np.zeros((len(batch), SIZE, SIZE), np.bool_)
        for mask, (x0, y0, x1, y1) in zip(masks, np.rint(boxes * SIZE).astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        images = np.stack([item.view.image for item in batch])
        painted = painter.draw(
            [phrase_of(*name.split()) for name in names],
            [item.seed for item in batch],
            painter.inpainting(unet, images, masks),
        )
        together = np.where(masks[..., None], painted, images)
        seen += eyes.sees(together, names, boxes)
    return {"inpaint_right": float(np.mean(seen))}


def _load(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder).float().eval().requires_grad_(False)


def measure(models: Path, parts: list[str], count: int) -> dict[str, float]:
    """The figures of these parts: segmentation, depth, pose, control, gligen, inpaint."""
    painter, eyes, items = Painter(Base.load(models / "toytown")), Eyes(models), cases(count)
    scattered = cases(count, scattered_scene)
    figures: dict[str, float] = {}
    if "segmentation" in parts:
        figures |= measure_segmentation(eyes, items)
    if "depth" in parts:
        figures |= measure_depth(models / "annotators" / "toytown-depth", items)
    if "pose" in parts:
        figures |= measure_pose(models / "annotators" / "toytown-pose", count)
    if "control" in parts:
        there = [name for name in ("canny", "depth") if (models / "controlnet" / f"toytown-{name}").exists()]
        nets = {name: _load(ControlNetModel, models / "controlnet" / f"toytown-{name}") for name in there}
        figures |= measure_control(painter, eyes, nets, items)
        figures |= measure_control(painter, eyes, nets, scattered, "control_scattered")
    if "gligen" in parts:
        unet = new_gligen_unet(painter.base)
        load_graft(unet, load_file(models / "gligen" / "toytown-boxes.safetensors"))
        figures |= measure_gligen(painter, eyes, unet.eval(), items)
        figures |= measure_gligen(painter, eyes, unet.eval(), scattered, "gligen_scattered")
    if "inpaint" in parts:
        unet = _load(UNet2DConditionModel, models / "toytown-inpaint" / "unet")
        figures |= measure_inpaint(painter, eyes, unet, items)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--parts", default="segmentation,depth,pose,control,inpaint,gligen")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    parts = args.parts.split(",")
    figures = measure(args.models, parts, args.scenes)
    lines = (f"{name:<32}{value:.3f}" for name, value in figures.items())
    print(json.dumps(figures, indent=2) if args.json else "\n".join(lines))


if __name__ == "__main__":
    main()

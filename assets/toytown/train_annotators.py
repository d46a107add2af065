"""Nets that read a picture: its depth, its parts, the poses of its persons. transformers' classes, tiny."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from course import Course, best_device, mixed_precision, team
from data import SIZE, to_pixels
from facts import LABELS, Facts
from judge import spoil
from numpy.typing import NDArray
from palette import COLORS
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)
from world import KINDS

BATCH = 16
RATE = 2e-3
# Things count for more than the backdrop around them.
THING_WEIGHT = 3.0

# COCO's keypoints, as every VitPose names them, and which of OpenPose's 18 each one is.
KEYPOINTS = {
    "Nose": 0, "L_Eye": 15, "R_Eye": 14, "L_Ear": 17, "R_Ear": 16, "L_Shoulder": 5, "R_Shoulder": 2,
    "L_Elbow": 6, "R_Elbow": 3, "L_Wrist": 7, "R_Wrist": 4, "L_Hip": 11, "R_Hip": 8,
    "L_Knee": 12, "R_Knee": 9, "L_Ankle": 13, "R_Ankle": 10,
}  # fmt: skip
FIGURE = 96  # px: the square a person is cut out to
HEATMAP = 64  # px
# VitPose's processor takes a box and this much around it.
FIGURE_PADDING = 1.25
SPREAD = 1.8  # px of the heatmap: the deviation of a keypoint's bump


def widen(net: Any) -> Any:
    """Use torch's initial weights: with transformers' deviation of 0.02, signals vanish in small nets."""
    for part in net.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            part.reset_parameters()
    return net


def new_depth_net() -> DepthAnythingForDepthEstimation:
    torch.manual_seed(0)
    backbone = Dinov2Config(
        image_size=SIZE,
        patch_size=16,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        mlp_ratio=3,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    net = DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            patch_size=16,
            reassemble_hidden_size=64,
            neck_hidden_sizes=[16, 32, 48, 64],
            fusion_hidden_size=32,
            head_hidden_size=16,
        )
    )
    widen(net)
    nn.init.constant_(net.head.conv3.bias, 0.5)  # the last ReLU starts alive
    return net


def new_segmentation_net() -> SegformerForSemanticSegmentation:
    torch.manual_seed(0)
    return widen(
        SegformerForSemanticSegmentation(
            SegformerConfig(
                depths=[1, 1, 1, 1],
                hidden_sizes=[24, 48, 64, 96],
                num_attention_heads=[1, 2, 4, 4],
                mlp_ratios=[3, 3, 3, 3],
                decoder_hidden_size=64,
                classifier_dropout_prob=0.0,
                drop_path_rate=0.0,
                id2label=dict(enumerate(LABELS)),
                label2id={label: at for at, label in enumerate(LABELS)},
            )
        )
    )


def new_pose_net() -> VitPoseForPoseEstimation:
    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        image_size=(FIGURE, FIGURE),
        patch_size=(6, 6),
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        mlp_ratio=3,
        out_indices=[4],
    )
    return widen(
        VitPoseForPoseEstimation(
            VitPoseConfig(
                backbone_config=backbone,
                id2label=dict(enumerate(KEYPOINTS)),
                label2id={name: at for at, name in enumerate(KEYPOINTS)},
            )
        )
    )


def train_depth_net(facts: Facts, file: Path, minutes: float) -> DepthAnythingForDepthEstimation:
    def losses(net: nn.Module, chosen: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        truth = torch.from_numpy(facts.depth[chosen]).to(best_device()).float() / 255
        with mixed_precision(best_device()):
            seen = net(pixel_values=_spoiled(facts, chosen, rng)).predicted_depth.float()
        error = seen - truth
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        return {"loss": error.abs().mean() + edges, "l1": error.abs().mean()}

    return _train(new_depth_net(), losses, len(facts.images), file, minutes)


def train_segmentation_net(facts: Facts, file: Path, minutes: float) -> SegformerForSemanticSegmentation:
    weights = torch.tensor([1.0] * 2 + [THING_WEIGHT] * len(KINDS), device=best_device())

    def losses(net: nn.Module, chosen: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        truth = torch.from_numpy(facts.labels[chosen]).to(best_device()).long()
        with mixed_precision(best_device()):
            logits = net(pixel_values=_spoiled(facts, chosen, rng)).logits.float()
        finer = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        wanted = truth[:, 1::2, 1::2]
        right = (finer.argmax(1) == wanted).float().mean()
        return {"loss": F.cross_entropy(finer, wanted, weight=weights), "right": right}

    return _train(new_segmentation_net(), losses, len(facts.images), file, minutes)


def train_pose_net(facts: Facts, file: Path, minutes: float) -> VitPoseForPoseEstimation:
    """Train on cut-outs of persons, some of them loose, and some of other things, where no point may show."""
    persons = _things(facts, persons=True)
    others = _things(facts, persons=False)

    def losses(net: nn.Module, chosen: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        picks = [
            others[at % len(others)] if rng.random() < 0.1 else persons[at % len(persons)] for at in chosen
        ]
        figures, targets = zip(*(_figure(facts, *pick, rng) for pick in picks), strict=True)
        truth = torch.from_numpy(np.stack(targets)).to(best_device())
        with mixed_precision(best_device()):
            seen = net(pixel_values=to_pixels(np.stack(figures)).to(best_device())).heatmaps.float()
        error = (seen - truth).square()
        return {"loss": (error * (1 + 30 * truth)).mean() * 10, "mse": error.mean()}

    return _train(new_pose_net(), losses, len(facts.images), file, minutes)


def _train(
    net: Any,
    losses: Callable[[nn.Module, NDArray[np.int64], np.random.Generator], dict[str, Tensor]],
    scenes: int,
    file: Path,
    minutes: float,
) -> Any:
    net = net.to(best_device()).train()
    course = Course(file, nn.ModuleDict({"net": net}), {"net": RATE}, minutes, ema=0.995)
    rng = np.random.default_rng((course.step, team()[0]))
    course.run(lambda step: losses(net, rng.choice(scenes, BATCH), rng))
    return course.finish()["net"]


def _spoiled(facts: Facts, chosen: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """The pictures, half of them as a generator might fail them, so that its pictures are read, too."""
    images = [facts.images[at] if rng.random() < 0.5 else spoil(facts.images[at], rng) for at in chosen]
    return to_pixels(np.stack(images)).to(best_device())


def _things(facts: Facts, persons: bool) -> list[tuple[int, int]]:
    """(scene, thing) of all persons, or of all others."""
    kinds = np.asarray(facts.names) // len(COLORS)
    there = np.asarray(facts.names) >= 0
    is_person = kinds == KINDS.index("person")
    return [(int(a), int(b)) for a, b in np.argwhere(there & (is_person == persons))]


def _figure(
    facts: Facts, scene: int, thing: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A cut-out around a thing, (96, 96, 3), and the heatmaps of its keypoints, (17, 64, 64)."""
    x0, y0, x1, y1 = facts.boxes[scene, thing] * SIZE
    loose = rng.uniform(0.9, 1.15) if rng.random() < 0.75 else rng.uniform(1.15, 1.7)
    side = max(x1 - x0, y1 - y0) * FIGURE_PADDING * loose
    corner = np.asarray([(x0 + x1) / 2, (y0 + y1) / 2]) + rng.uniform(-0.06, 0.06, 2) * side - side / 2
    # As VitPose's processor counts: the centers of the outermost pixels lie on the square's sides.
    scale = (FIGURE - 1) / side
    warp = np.asarray([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    image = spoil(facts.images[scene], rng) if rng.random() < 0.5 else facts.images[scene]
    figure = cv2.warpAffine(image, warp, (FIGURE, FIGURE), flags=cv2.INTER_LINEAR)
    points = facts.keypoints[scene, thing, list(KEYPOINTS.values())] * SIZE
    return np.asarray(figure, np.uint8), _bumps((points - corner) / side * (HEATMAP - 1))


def _bumps(points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(17, 64, 64): a Gaussian at each (x, y), given in px of the heatmap; nothing where it is NaN."""
    pixels = np.arange(HEATMAP)
    across = np.exp(-((pixels - points[:, :1]) ** 2) / (2 * SPREAD**2))
    down = np.exp(-((pixels - points[:, 1:]) ** 2) / (2 * SPREAD**2))
    return np.nan_to_num(down[:, :, None] * across[:, None, :]).astype(np.float32)

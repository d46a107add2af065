"""What is shipped to stack on Toytown, as diffusers and transformers read it, on scenes it has never seen."""

from __future__ import annotations

import numpy as np
import pytest
from base import Base
from diffusers import ControlNetModel, UNet2DConditionModel
from drawing import Painter, cases
from evaluate import MODELS
from evaluate_stack import (
    Eyes,
    edge_f1,
    measure_depth,
    measure_inpaint,
    measure_pose,
    measure_segmentation,
)
from facts import edges_of
from transformers import AutoConfig, AutoImageProcessor

ANNOTATORS = sorted(path for path in (MODELS / "annotators").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", ANNOTATORS, ids=lambda folder: folder.name)
def test_annotators_are_small_and_say_what_they_are(folder):
    assert (folder / "model.safetensors").stat().st_size < 1_100_000
    assert AutoConfig.from_pretrained(folder).architectures
    assert list(AutoImageProcessor.from_pretrained(folder).image_mean) == [0.5] * 3


def test_poses_are_found_in_fresh_scenes():
    folder = MODELS / "annotators" / "toytown-pose"
    assert AutoConfig.from_pretrained(folder).id2label[1] == "L_Eye"
    assert measure_pose(folder, 12)["pose_keypoints_right"] > 0.85


def test_depth_is_seen_in_fresh_scenes():
    folder = MODELS / "annotators" / "toytown-depth"
    assert measure_depth(folder, cases(12))["depth_correlation"] > 0.9


def test_parts_of_fresh_scenes_are_told_apart():
    assert measure_segmentation(Eyes(MODELS), cases(24))["segmentation_miou"] > 0.75


@pytest.mark.parametrize("part", ["canny", "depth"])
def test_maps_are_followed_without_a_caption(part):
    folder = MODELS / "controlnet" / f"toytown-{part}"
    net = ControlNetModel.from_pretrained(folder).float().eval().requires_grad_(False)
    painter, items = Painter(Base.load(MODELS / "toytown")), cases(6)
    edges = np.stack([edges_of(item.view.image) for item in items])
    depth = np.stack([np.rint(item.view.depth * 255).astype(np.uint8) for item in items])
    maps = {"canny": edges, "depth": depth}[part]
    scores = {}
    for use, denoise in (("without", painter.plain), ("with", painter.controlled([(net, maps)]))):
        images = painter.draw([""] * len(items), [item.seed for item in items], denoise)
        pairs = zip(images, edges, strict=True)
        scores[use] = np.mean([edge_f1(edges_of(image), wanted) for image, wanted in pairs])
    assert scores["with"] > 0.45
    assert scores["with"] > 1.4 * scores["without"]


def test_what_is_asked_for_is_painted_under_the_mask():
    unet = UNet2DConditionModel.from_pretrained(MODELS / "toytown-inpaint" / "unet").float().eval()
    assert unet.config.in_channels == 9
    painter = Painter(Base.load(MODELS / "toytown"))
    assert (
        measure_inpaint(painter, Eyes(MODELS), unet.requires_grad_(False), cases(12))["inpaint_right"] > 0.7
    )

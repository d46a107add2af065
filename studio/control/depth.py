"""Maps of depth (white is near), and the directions of surfaces that follow from them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.control.nets import BorrowedNet, Nets
from studio.control.picture import Grey, Rgb, for_net, not_too_narrow, reading_size
from studio.core.annotator_nets import Net
from studio.core.preprocess import (
    DepthAnything,
    DepthDpt,
    DepthLeres,
    DepthMidas,
    DepthZoe,
    NormalBae,
    NormalDepth,
)
from studio.models.annotator_files import CONTROLNET_AUX, controlnet_aux

Nearness = NDArray[np.float32]
"""(h, w) in 0-1: 0 is the farthest point of the picture, 1 the nearest."""

_METRIC_RANGE = (2, 85)
"""Percentiles of the distances that a map in metres shows; ZoeDepth's authors' choice for ControlNet."""

_MIDAS_SIDE = 384
"""Side of the pictures that MiDaS was trained on, px."""

_SLOPE = 64.0
"""Sobel's gradient of a nearness of 0-1, times this, is 6.28 at about 45 degrees in a usual picture."""


def depth(picture: Rgb, options: DepthAnything | DepthDpt | DepthMidas | DepthZoe, nets: Nets) -> Grey:
    """Near is white, by whichever net is borrowed."""
    net = nets.get(Net.DEPTH_ANYTHING, Net.DPT, Net.MIDAS, Net.ZOE)
    # MiDaS' hybrid has no choice of size.
    near = nearness(net, picture, getattr(options, "resolution", 0))
    return _shown(near, options.flatten_near, options.cut_far)


def leres(picture: Rgb, options: DepthLeres, nets: Nets) -> Grey:
    """Near is white (LeReS, Yin et al. 2021), the network's distances turned round."""
    work = for_net(picture, options.resolution)
    height, width = work.shape[:2]
    distances = controlnet_aux("leres.leres.depthmap").estimateleres(
        work, nets.get(Net.LERES).module, width, height
    )
    return _shown(1 - _normalised(distances), options.flatten_near, options.cut_far)


def normal_depth(picture: Rgb, options: NormalDepth, nets: Nets) -> Rgb:
    """Red is left, green is up, blue is towards the eye, as in ScanNet's maps."""
    near = nearness(nets.get(Net.MIDAS, Net.DEPTH_ANYTHING, Net.DPT), picture, options.resolution)
    across, down = (_SLOPE * cv2.Sobel(near, cv2.CV_32F, *axis, ksize=3) for axis in ((1, 0), (0, 1)))
    flat = near < options.background
    across[flat] = down[flat] = 0
    normals = np.stack([across, down, np.full_like(near, options.flatness)], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return np.asarray((normals * 127.5 + 127.5).clip(0, 255), np.uint8)


def normal_bae(picture: Rgb, options: NormalBae, nets: Nets) -> Rgb:
    """Red is left, green is up, blue is towards the eye (Bae et al. 2021)."""
    work = for_net(picture, options.resolution)
    side = min(work.shape[:2])
    detector = controlnet_aux().NormalBaeDetector(nets.get(Net.NORMAL_BAE).module)
    return np.asarray(
        detector(work, detect_resolution=side, image_resolution=side, output_type="np"), np.uint8
    )


def nearness(net: BorrowedNet, picture: Rgb, resolution: int) -> Nearness:
    """How near each point is, by any of the nets that tell depth."""
    if net.ref.class_name == CONTROLNET_AUX:
        return _midas_file(net, picture, resolution)
    values = _predicted(net, picture, resolution)
    if net.net is Net.ZOE or net.ref.config["model"].get("depth_estimation_type") == "metric":
        return 1 - _normalised(values, *np.percentile(values, _METRIC_RANGE))
    return _normalised(values)


def _predicted(net: BorrowedNet, picture: Rgb, resolution: int) -> NDArray[np.float32]:
    """What a net of transformers predicts, at the size of a picture that is not too narrow."""
    import torch

    picture = not_too_narrow(picture)
    asked: dict[str, Any] = {}
    if resolution and net.net is not Net.MIDAS:
        size = (resolution, resolution) if _wants_squares(net) else picture.shape[:2]
        height, width = reading_size(size, resolution, _patch(net))
        asked["size"] = {"height": height, "width": width}
    shapes: dict[str, Any] = {"target_sizes": [picture.shape[:2]]}
    if net.net is Net.ZOE:
        shapes["source_sizes"] = [picture.shape[:2]]
    inputs = net.processor(images=Image.fromarray(picture), return_tensors="pt", **asked)
    with torch.no_grad():
        answer = net.module(pixel_values=inputs["pixel_values"].to(net.device))
    (read,) = net.processor.post_process_depth_estimation(answer, **shapes)
    return np.asarray(read["predicted_depth"].float().cpu().numpy(), np.float32)


def _wants_squares(net: BorrowedNet) -> bool:
    """DPT reads stretched pictures, unless it stands on a backbone of another kind."""
    return net.net is Net.DPT and not net.ref.config["model"].get("backbone_config")


def _patch(net: BorrowedNet) -> int:
    """Side of the squares that the net sees a picture as, px; twice that where it halves them once more."""
    config = net.ref.config["model"]
    size = (config.get("backbone_config") or {}).get("patch_size") or config.get("patch_size") or 16
    return int(size) if net.net is Net.DEPTH_ANYTHING else 2 * int(size)


def _midas_file(net: BorrowedNet, picture: Rgb, resolution: int) -> Nearness:
    work = for_net(picture, resolution or _MIDAS_SIDE)
    side = min(work.shape[:2])
    detector = controlnet_aux().MidasDetector(net.module)
    shown = detector(work, detect_resolution=side, image_resolution=side, output_type="np")
    return np.asarray(shown[:, :, 0] / 255, np.float32)


def _normalised(values: NDArray[np.float32], low: float | None = None, high: float | None = None) -> Nearness:
    """`values` in 0-1 between `low` and `high`, or between their extremes; all 0 where they are alike."""
    low = float(values.min()) if low is None else float(low)
    high = float(values.max()) if high is None else float(high)
    return ((values - low) / (high - low or 1.0)).clip(0, 1).astype(np.float32)


def _shown(near: Nearness, flatten_near: float, cut_far: float) -> Grey:
    """0-255, the nearest `flatten_near` percent of the range white and the farthest `cut_far` black."""
    shown = near.copy()
    if flatten_near:
        shown[near >= 1 - flatten_near / 100] = 1
    if cut_far:
        shown[near <= cut_far / 100] = 0
    return np.asarray((shown * 255).clip(0, 255), np.uint8)

"""Soft edges, scribbles, line art and straight lines by the nets of controlnet_aux."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from studio.control.nets import Nets
from studio.control.picture import Grey, Rgb, for_net
from studio.core.annotator_nets import Net
from studio.core.preprocess import (
    LineArtAnime,
    LineArtRealistic,
    ScribbleHed,
    ScribblePidinet,
    SoftEdgeHed,
    SoftEdgePidinet,
    SoftEdgeTeed,
    StraightLines,
)
from studio.models.annotator_files import controlnet_aux


def softedge_hed(picture: Rgb, options: SoftEdgeHed, nets: Nets) -> Grey:
    """How sure a holistically nested net is of an edge (Xie and Tu 2015)."""
    return _detect(
        controlnet_aux().HEDdetector, picture, options.resolution, nets, Net.HED, safe=options.safe
    )


def softedge_pidinet(picture: Rgb, options: SoftEdgePidinet, nets: Nets) -> Grey:
    """The same by pixel differences (Su et al. 2021)."""
    return _detect(
        controlnet_aux().PidiNetDetector, picture, options.resolution, nets, Net.PIDINET, safe=options.safe
    )


def softedge_teed(picture: Rgb, options: SoftEdgeTeed, nets: Nets) -> Grey:
    """The same by a tiny net (Soria et al. 2023), in so many steps of grey as `safe_steps` says."""
    work = for_net(picture, options.resolution)
    detector = controlnet_aux().TEEDdetector(nets.get(Net.TEED).module)
    edges = detector(work, min(work.shape[:2]), safe_steps=options.safe_steps, output_type="np")
    return np.asarray(edges[:, :, 0], np.uint8)


def scribble_hed(picture: Rgb, options: ScribbleHed, nets: Nets) -> Grey:
    """Thick white strokes along the edges that HED finds."""
    return _detect(controlnet_aux().HEDdetector, picture, options.resolution, nets, Net.HED, scribble=True)


def scribble_pidinet(picture: Rgb, options: ScribblePidinet, nets: Nets) -> Grey:
    """Thick white strokes along the edges that PiDiNet finds."""
    return _detect(
        controlnet_aux().PidiNetDetector, picture, options.resolution, nets, Net.PIDINET, scribble=True
    )


def lineart_realistic(picture: Rgb, options: LineArtRealistic, nets: Nets) -> Grey:
    """White lines, as an artist draws them after a photo (Chan et al. 2022)."""
    net = Net.LINEART_COARSE if options.coarse else Net.LINEART
    return _detect(
        lambda module: controlnet_aux().LineartDetector(module, module),
        picture,
        options.resolution,
        nets,
        net,
    )


def lineart_anime(picture: Rgb, options: LineArtAnime, nets: Nets) -> Grey:
    """The clean lines of a drawing or an animated film, in white."""
    return _detect(
        controlnet_aux().LineartAnimeDetector, picture, options.resolution, nets, Net.LINEART_ANIME
    )


def _detect(detector: Any, picture: Rgb, resolution: int, nets: Nets, net: Net, **options: bool) -> Grey:
    """Run one of controlnet_aux's detectors on a picture that has the size it is about to scale it to."""
    work = for_net(picture, resolution)
    side = min(work.shape[:2])
    drawn = detector(nets.get(net).module)(
        work, detect_resolution=side, image_resolution=side, output_type="np", **options
    )
    return np.asarray(drawn if drawn.ndim == 2 else drawn[:, :, 0], np.uint8)


def straight_lines(picture: Rgb, options: StraightLines, nets: Nets) -> Grey:
    """White lines, one pixel wide (M-LSD, Gu et al. 2022)."""
    import torch

    work = for_net(picture, options.resolution)
    canvas = np.zeros(work.shape[:2], np.uint8)
    try:
        with torch.no_grad():
            lines = controlnet_aux("mlsd.utils").pred_lines(
                work, nets.get(Net.MLSD).module, work.shape[:2], options.score, options.distance
            )
    except IndexError:  # how it says that it has found none
        return canvas
    for x0, y0, x1, y1 in lines.astype(int).tolist():
        cv2.line(canvas, (x0, y0), (x1, y1), 255, 1)
    return canvas

"""Every preprocessor: the map's shape, range and orientation, through the real loading code."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.control.annotators import Annotators
from studio.control.preprocess import PREPROCESS, make_map
from studio.core.annotator_nets import WEIGHTS, Net
from studio.core.annotators import CONTROLS, FACTS
from studio.core.preprocess import (
    PREPROCESSORS,
    Canny,
    DepthLeres,
    LineArtAnime,
    LineArtRealistic,
    NormalBae,
    Options,
    PoseDw,
    PoseOpenpose,
    PoseVit,
    SoftEdgeHed,
    Tile,
    preprocessor,
)
from studio.models.annotators import CLASSES
from studio.models.catalogue import ModelCatalogue
from tests.control.maps import control_map

SMALL = {"resolution": 64}
"""Options that make big nets quick."""

CHOSEN: dict[str, dict[str, object]] = {
    "pose_dw": {"confidence": 0},
    "pose_vit": {"confidence": 0},
    "tile": {"factor": 3},
}

SILENT = {"pose_openpose", "inpaint"}
"""Tested on their own: random weights see nobody, and a photo has no transparent part."""


def options_of(kind: str, **more: object) -> Options:
    small = SMALL if "resolution" in PREPROCESSORS[kind].model_fields and FACTS[kind].needs else {}
    return preprocessor.validate_python({"kind": kind, **small, **CHOSEN.get(kind, {}), **more})


@pytest.mark.parametrize("kind", sorted(PREPROCESSORS.keys() - SILENT))
def test_the_map_is_rgb_of_the_pictures_size(kind: str, photo: Image.Image, annotators: Annotators):
    for picture in (photo, photo.transpose(Image.Transpose.ROTATE_90)):
        made = control_map(picture, options_of(kind), annotators)
        assert made.mode == "RGB"
        assert made.size == picture.size


@pytest.mark.parametrize("kind", sorted(PREPROCESSORS.keys() - SILENT))
def test_inverted_is_the_negative(kind: str, photo: Image.Image, annotators: Annotators):
    made, inverted = (
        np.asarray(control_map(photo, options_of(kind, invert=invert), annotators))
        for invert in (False, True)
    )
    assert np.array_equal(made, 255 - inverted)


def bright_left(size: tuple[int, int] = (160, 96)) -> Image.Image:
    """A white disc on black at the upper left, and nothing elsewhere."""
    image = Image.new("RGB", size)
    ImageDraw.Draw(image).ellipse((16, 8, 48, 40), fill="white")
    return image


@pytest.mark.parametrize("kind", ["canny", "scribble_xdog", "lineart_standard", "threshold", "tile", "map"])
def test_what_is_at_the_upper_left_stays_there(kind: str, annotators: Annotators):
    made = np.asarray(control_map(bright_left(), options_of(kind), annotators)).astype(float)
    there = made[:72, :80].sum()
    assert there > 0
    assert made.sum() - there < 0.02 * there


@pytest.mark.parametrize("kind", ["lineart_realistic", "depth_anything"])
def test_nets_see_what_is_where(kind: str, annotators: Annotators):
    """Even random weights answer differently only around the disc, wherever it is."""
    marked, blank = bright_left(), Image.new("RGB", (160, 96))
    blank.putpixel((159, 95), (1, 1, 1))  # an empty canvas would be refused
    change = difference(marked, blank, kind, annotators)
    flipped = difference(
        *(image.transpose(Image.Transpose.ROTATE_180) for image in (marked, blank)), kind, annotators
    )
    assert weight_left(change) > 0.52
    assert weight_left(flipped) < 0.48


def difference(one: Image.Image, other: Image.Image, kind: str, annotators: Annotators) -> np.ndarray:
    maps = [np.asarray(control_map(each, options_of(kind), annotators), float) for each in (one, other)]
    return np.abs(maps[0] - maps[1])


def weight_left(change: np.ndarray) -> float:
    return float(change[:, : change.shape[1] // 2].sum() / change.sum())


@pytest.mark.parametrize("kind", ["canny", "segmentation", "depth_dpt", "pose_dw", "pose_vit", "map"])
def test_mirrored_is_the_map_of_the_mirrored_picture(kind: str, photo: Image.Image, annotators: Annotators):
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    made = control_map(photo, options_of(kind, mirror=True), annotators)
    assert np.array_equal(np.asarray(made), np.asarray(control_map(mirrored, options_of(kind), annotators)))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (LineArtRealistic(coarse=True, **SMALL), (Net.LINEART_COARSE,)),
        (LineArtRealistic(**SMALL), (Net.LINEART,)),
        (LineArtAnime(), (Net.LINEART_ANIME,)),
        (NormalBae(), (Net.NORMAL_BAE,)),
        (DepthLeres(), (Net.LERES,)),
        (SoftEdgeHed(), (Net.HED,)),
        (PoseOpenpose(hands=True), (Net.OPENPOSE_BODY, Net.OPENPOSE_HAND)),
        (PoseOpenpose(body=False, face=True), (Net.OPENPOSE_BODY, Net.OPENPOSE_FACE)),
        (PoseDw(), (Net.DWPOSE, Net.YOLOX)),
        (PoseVit(), (Net.VITPOSE, Net.SEGMENTATION)),
        (Canny(), ()),
    ],
)
def test_each_runs_the_nets_that_it_needs_and_no_others(
    options: Options, parts: tuple[Net, ...], annotators: Annotators
):
    assert tuple(Net(ref.layout) for ref in annotators.choose(options)) == parts


def test_the_tables_agree_with_each_other():
    assert {*PREPROCESSORS} == {*FACTS} == {*PREPROCESS} | {"inpaint"}
    assert {*WEIGHTS} == {*Net}
    needed = {net for facts in FACTS.values() for need in facts.needs for net in need.nets}
    assert needed == {*Net}
    assert {*CLASSES.values()} <= {*Net}
    assert all(CONTROLS.values())
    for facts in FACTS.values():
        fields = PREPROCESSORS[facts.kind].model_fields
        sliders = [s for m in facts.modules for s in (m.threshold_a, m.threshold_b) if s]
        assert {slider.field for slider in sliders} <= {*fields}
        assert {name for module in facts.modules for name in module.options} <= {*fields}
        assert {need.field for need in facts.needs} - {""} <= {*fields}


def test_every_net_can_be_installed_from_the_models_tab(catalogue: ModelCatalogue):
    offered = {(row.install.repo, row.install.file) for row in catalogue.installable()}
    assert {(weights.repo, weights.file) for weights in WEIGHTS.values()} <= offered


def test_a_pose_comes_with_its_points_and_other_maps_do_not(photo: Image.Image, annotators: Annotators):
    assert make_map(photo, options_of("pose_vit"), annotators).openpose
    assert make_map(photo, options_of("pose_dw"), annotators).openpose
    assert not make_map(photo, Tile(), annotators).openpose

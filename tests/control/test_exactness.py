"""Our maps beside those of the libraries that others use, and properties that a reader can check by eye."""

from __future__ import annotations

import colorsys
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DepthAnythingForDepthEstimation, DPTImageProcessor

from studio.control.ade20k import NAMES, colours_of
from studio.control.annotators import Annotators
from studio.control.picture import reading_size
from studio.control.segmentation import scores_size
from studio.control.skeleton import draw_pose
from studio.core.annotator_nets import Net
from studio.core.geometry import Extent
from studio.core.openpose import Person, Pose, write_openpose
from studio.core.pose import FACE_POINTS, HAND_POINTS
from studio.core.preprocess import (
    Canny,
    Colour,
    DepthAnything,
    Inpaint,
    LineArtStandard,
    NormalDepth,
    ScribbleDrawing,
    ScribblePidinet,
    Segmentation,
    Shuffle,
    SoftEdgeHed,
    Threshold,
    Tile,
)
from studio.models.annotator_files import controlnet_aux
from studio.models.annotators import annotator_of, load_annotator
from studio.models.catalogue import ModelCatalogue
from tests.control.maps import control_map
from tests.poses import read_openpose

aux = controlnet_aux()
openpose = controlnet_aux("open_pose")


@pytest.fixture
def square() -> Image.Image:
    """192 x 128 px, both multiples of 64, so that controlnet_aux keeps the size."""
    noise = np.random.default_rng(1).integers(0, 255, (16, 24, 3), np.uint8)
    return Image.fromarray(noise).resize((192, 128), Image.Resampling.BICUBIC)


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@pytest.mark.parametrize("resolution", [0, 128])
def test_canny_is_bit_equal_to_opencv_and_controlnet_aux(
    resolution: int, square: Image.Image, annotators: Annotators
):
    ours = array(control_map(square, Canny(low=60, high=130, resolution=resolution), annotators))
    assert np.array_equal(ours[:, :, 0], cv2.Canny(array(square), 60, 130))
    theirs = aux.CannyDetector()(square, 60, 130, detect_resolution=128, image_resolution=128)
    assert np.array_equal(ours, array(theirs))


def test_canny_at_another_resolution_is_that_of_the_resized_picture(
    square: Image.Image, annotators: Annotators
):
    work = cv2.resize(array(square), (384, 256), interpolation=cv2.INTER_LANCZOS4)
    expected = cv2.resize(cv2.Canny(work, 100, 200), (192, 128), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(array(control_map(square, Canny(resolution=256), annotators))[:, :, 0], expected)


def test_shuffle_is_controlnet_auxs_with_a_seed(square: Image.Image, annotators: Annotators):
    np.random.seed(7)
    theirs = aux.ContentShuffleDetector()(square, f=64, detect_resolution=128, image_resolution=128)
    ours = control_map(square, Shuffle(seed=7, scale=64), annotators)
    assert np.array_equal(array(ours), array(theirs))
    assert not np.array_equal(array(ours), array(control_map(square, Shuffle(seed=8, scale=64), annotators)))


def test_standard_line_art_is_controlnet_auxs(square: Image.Image, annotators: Annotators):
    theirs = aux.LineartStandardDetector()(square, detect_resolution=128)
    assert np.array_equal(array(control_map(square, LineArtStandard(), annotators)), array(theirs))


def module(catalogue: ModelCatalogue, net: Net) -> torch.nn.Module:
    info = next(each for each in catalogue.models() if each.layout == net)
    return load_annotator(annotator_of(catalogue, info))


def test_nets_of_controlnet_aux_give_its_maps(
    square: Image.Image, annotators: Annotators, catalogue: ModelCatalogue
):
    """But for the last bit: the manager packs the weights of convolutions, which reorders sums."""
    hed = aux.HEDdetector(module(catalogue, Net.HED))(square, detect_resolution=128, image_resolution=128)
    ours = control_map(square, SoftEdgeHed(resolution=128), annotators)
    assert np.abs(array(ours).astype(int) - array(hed)).max() <= 1
    pidinet = aux.PidiNetDetector(module(catalogue, Net.PIDINET))
    scribble = pidinet(square, detect_resolution=128, image_resolution=128, scribble=True)
    ours = control_map(square, ScribblePidinet(resolution=128), annotators)
    assert (array(ours)[:, :, 0] != array(scribble)[:, :, 0]).mean() < 0.01


def test_depth_is_what_transformers_predicts(photo: Image.Image, annotators: Annotators, annotator_models):
    folder = annotator_models / "depth-anything"
    net = DepthAnythingForDepthEstimation.from_pretrained(folder).eval()
    processor = DPTImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        answer = net(**processor(photo, return_tensors="pt"))
    (read,) = processor.post_process_depth_estimation(answer, target_sizes=[(photo.height, photo.width)])
    depth = read["predicted_depth"].numpy()
    expected = (depth - depth.min()) / (depth.max() - depth.min()) * 255
    ours = array(control_map(photo, DepthAnything(), annotators))[:, :, 0]
    assert np.abs(ours - expected).max() <= 1
    assert ours.std() > 5, "a flat map would equal any other"


def test_near_is_flattened_and_far_is_cut(photo: Image.Image, annotators: Annotators):
    plain, cut = (
        array(control_map(photo, DepthAnything(flatten_near=near, cut_far=far), annotators))[:, :, 0]
        for near, far in ((0, 0), (20, 30))
    )
    middle = (plain > 0.3 * 255 + 1) & (plain < 0.8 * 255 - 1)
    assert np.array_equal(cut[middle], plain[middle])
    assert (cut[plain > 0.8 * 255 + 1] == 255).all()
    assert (cut[plain < 0.3 * 255 - 1] == 0).all()


def test_normals_have_the_length_of_one(photo: Image.Image, annotators: Annotators):
    normals = array(control_map(photo, NormalDepth(background=0), annotators)) / 127.5 - 1
    assert np.abs(np.linalg.norm(normals, axis=2) - 1).max() < 0.15  # resizing shortens a few
    assert (normals[:, :, 2] > 0).all(), "surfaces that are seen face the eye"


def test_segmentation_has_the_colours_of_its_classes_only(photo: Image.Image, annotators: Annotators):
    shown = {
        *map(tuple, array(control_map(photo, Segmentation(model="segformer"), annotators)).reshape(-1, 3))
    }
    labels = dict(enumerate(("sky", "earth", "person", "cat")))
    assert shown <= {*map(tuple, colours_of(labels))}
    assert {*map(tuple, colours_of(labels))} >= {(6, 230, 230), (120, 120, 70), (150, 5, 61)}


def test_a_large_photo_is_segmented_without_a_score_for_each_pixel_and_class(
    photo: Image.Image, annotators: Annotators, monkeypatch: pytest.MonkeyPatch
):
    assert scores_size((3000, 4000), 150) == (1158, 1544)
    assert scores_size((1000, 1500), 150) == (1000, 1500)
    whole = array(control_map(photo, Segmentation(model="segformer"), annotators))
    monkeypatch.setattr("studio.control.segmentation._MOST_SCORES", photo.width * photo.height)
    coarse = array(control_map(photo, Segmentation(model="segformer"), annotators))
    assert coarse.shape == whole.shape
    assert {*map(tuple, coarse.reshape(-1, 3))} <= {*map(tuple, whole.reshape(-1, 3))}
    assert (coarse == whole).all(axis=2).mean() > 0.9


def test_a_net_of_ade20k_gets_its_colours_in_order():
    assert len(NAMES) == len({*NAMES}) == 150
    colours = colours_of(dict(enumerate(NAMES)))
    assert colours.tolist() == controlnet_aux("util").ade_palette()
    assert tuple(colours[0]) == (120, 120, 120)
    assert tuple(colours[149]) == (92, 0, 255)


def test_a_colour_grid_has_one_colour_a_cell(square: Image.Image, annotators: Annotators):
    grid = array(control_map(square, Colour(cell=64), annotators))
    cells = grid.reshape(2, 64, 3, 64, 3)
    assert (cells == cells[:, :1, :, :1]).all()


def test_tile_of_one_changes_nothing_and_more_takes_detail_away(square: Image.Image, annotators: Annotators):
    assert np.array_equal(array(control_map(square, Tile(), annotators)), array(square))
    coarse = array(control_map(square, Tile(factor=8), annotators)).astype(float)
    assert (
        np.abs(np.diff(coarse, axis=1)).mean()
        < 0.8 * np.abs(np.diff(array(square).astype(float), axis=1)).mean()
    )


def test_threshold_and_drawing_split_black_from_white(annotators: Annotators):
    ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None], 4, axis=0))
    light = array(control_map(ramp, Threshold(level=99), annotators))[0, :, 0]
    assert np.array_equal(light, np.where(np.arange(256) > 99, 255, 0))
    strokes = array(control_map(ramp, ScribbleDrawing(threshold=80), annotators))[0, :, 0]
    assert np.array_equal(strokes, np.where(np.arange(256) < 80, 255, 0))


def test_inpaint_marks_what_is_transparent(square: Image.Image, annotators: Annotators):
    picture = square.convert("RGBA")
    picture.paste((0, 0, 0, 0), (10, 20, 60, 70))
    marked = control_map(picture, Inpaint(), annotators)
    assert marked.mode == "RGBA"
    alpha = array(marked)[:, :, 3]
    assert not alpha[20:70, 10:60].any()
    assert (alpha == 0).sum() == 50 * 50
    assert np.array_equal(array(marked)[:20, :, :3], array(square)[:20])


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((512, 768), 512, (512, 768)),
        ((500, 750), 512, (512, 768)),
        ((100, 100), 0, (128, 128)),
        ((5000, 7000), 0, (2048, 2880)),
        ((1, 1), 512, (512, 512)),
        ((16, 40_000), 512, (64, 4096)),
    ],
)
def test_nets_read_at_multiples_of_64_and_strips_at_what_is_bearable(
    size: tuple[int, int], resolution: int, expected: tuple[int, int]
):
    assert reading_size(size, resolution) == expected


def a_pose() -> Pose:
    rng = np.random.default_rng(3)

    def points(count: int) -> tuple[tuple[float, float], ...]:
        return tuple((float(x), float(y)) for x, y in rng.uniform(0.05, 0.95, (count, 2)))

    body = (*points(9), None, *points(8))
    hands = {"left_hand": points(HAND_POINTS), "right_hand": (None, *points(HAND_POINTS - 1))}
    full = Person(body=body, face=points(FACE_POINTS), **hands)
    return Pose(canvas=Extent(width=200, height=120), people=(full, Person(body=points(18))))


def test_skeletons_are_drawn_as_controlnet_aux_draws_them(monkeypatch: pytest.MonkeyPatch):
    colours = SimpleNamespace(hsv_to_rgb=lambda hsv: np.asarray(colorsys.hsv_to_rgb(*hsv)))
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(colors=colours))
    pose = a_pose()
    people = [
        openpose.PoseResult(
            openpose.BodyResult(keypoints(person.body), 1, 18),
            keypoints(person.left_hand, hidden=(-1, -1)),
            keypoints(person.right_hand, hidden=(-1, -1)),
            keypoints(person.face),
        )
        for person in pose.people
    ]
    assert np.array_equal(draw_pose(pose), openpose.draw_poses(people, 120, 200))


def keypoints(points, hidden=None):
    """controlnet_aux's; it has those of a hand that it did not find left of the picture."""
    chosen = [hidden if point is None else point for point in points]
    return [None if point is None else openpose.Keypoint(*point) for point in chosen]


def test_a_pose_survives_its_json():
    pose = a_pose()
    again = read_openpose(write_openpose(pose))
    assert again.canvas == pose.canvas
    for person, copy in zip(pose.people, again.people, strict=True):
        for part in ("body", "left_hand", "right_hand", "face"):
            points, copies = getattr(person, part), getattr(copy, part)
            assert [point is None for point in points] == [point is None for point in copies]
            assert np.allclose([p for p in points if p], [p for p in copies if p], atol=1e-3)

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from palette import COLORS, PLACES, RGB
from world import KINDS, Render, Scene, describe, make_scene, random_scene, render

SEEDS = range(40)


@pytest.fixture(scope="module")
def town() -> list[tuple[Scene, Render]]:
    scenes = [random_scene(np.random.default_rng(seed)) for seed in SEEDS]
    return [(scene, render(scene)) for scene in scenes]


def test_there_are_eight_kinds_nine_colours_and_five_places():
    assert (len(KINDS), len(COLORS), len(PLACES)) == (8, 9, 5)


def test_the_same_seed_gives_the_same_scene_and_picture():
    first, second = (random_scene(np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert np.array_equal(render(first).image, render(second).image)


def test_different_seeds_give_different_pictures(town):
    assert len({view.image.tobytes() for _, view in town}) == len(town)


def test_boxes_fit_their_masks_exactly(town):
    for _, view in town:
        for box, mask in zip(view.boxes, view.masks, strict=True):
            x0, y0, x1, y1 = np.rint(box * mask.shape[0]).astype(int)
            assert mask[y0:y1, x0:x1].sum() == mask.sum()
            assert all(edge.any() for edge in (mask[y0], mask[y1 - 1], mask[:, x0], mask[:, x1 - 1]))


def test_masks_never_overlap_and_fill_a_visible_part(town):
    for scene, view in town:
        assert view.masks.sum(axis=0).max() == 1
        assert view.masks.mean(axis=(1, 2)).min() > 0.012, [thing.name for thing in scene.things]


def test_the_mask_is_where_the_thing_changes_the_picture(town):
    for scene, view in town:
        empty = render(Scene(scene.place, scene.horizon, ()))
        changed = np.abs(view.image.astype(int) - empty.image).max(axis=-1) > 4
        covered = view.masks.any(axis=0)
        assert (covered & changed).sum() > 0.85 * covered.sum()


def test_things_stand_in_reading_order(town):
    for _, view in town:
        centers = view.boxes[:, 0] + view.boxes[:, 2]
        assert np.all(np.diff(centers) > 0)


def test_captions_name_every_thing_and_nothing_else(town):
    for seed, (scene, _) in enumerate(town):
        caption = describe(scene, np.random.default_rng(seed))
        words = caption.replace(",", "").split()
        assert sorted(word for word in words if word in KINDS) == sorted(thing.kind for thing in scene.things)
        assert all(thing.name in caption for thing in scene.things)


def test_left_and_right_in_captions_are_true():
    scene = make_scene(0, [("red", "ball"), ("blue", "house")], "grass")
    captions = {describe(scene, np.random.default_rng(seed)) for seed in range(60)}
    assert any(caption.startswith("a red ball left of a blue house") for caption in captions)
    assert any(caption.startswith("a blue house right of a red ball") for caption in captions)
    assert not any(
        "a blue house left of" in caption or "a red ball right of" in caption for caption in captions
    )


def test_nearer_things_are_nearer_in_the_depth_map(town):
    for scene, view in town:
        depths = [float(np.median(view.depth[mask])) for mask in view.masks]
        assert np.array_equal(np.argsort(depths), np.argsort([thing.foot for thing in scene.things]))
        assert (view.depth.min(), view.depth.max()) == (0, pytest.approx(1, abs=0.02))


def test_only_persons_have_a_pose_and_it_lies_on_them():
    scene = make_scene(3, [("blue", "person"), ("red", "cat")], "snow")
    view = render(scene)
    assert view.keypoints[1] is None
    points = view.keypoints[0]
    assert points is not None
    assert points.shape == (18, 2)
    columns, rows = np.rint(points * 127).astype(int).T
    assert view.masks[0][rows, columns].mean() > 0.85


def test_a_scene_renders_at_any_size_with_the_same_facts():
    scene = make_scene(1, [("green", "tree"), ("pink", "star")], "sand")
    small, large = render(scene, 128), render(scene, 256)
    assert large.image.shape == (256, 256, 3)
    assert np.abs(small.boxes - large.boxes).max() < 0.02


@pytest.mark.parametrize("place", PLACES)
def test_every_colour_can_be_told_from_the_others_in_every_place(place):
    means = {}
    for color in COLORS:
        view = render(make_scene(0, [(color, "ball")], place))
        means[color] = np.median(view.image[view.masks[0]], axis=0)
    closest = min(combinations(COLORS, 2), key=lambda pair: np.linalg.norm(means[pair[0]] - means[pair[1]]))
    assert np.linalg.norm(means[closest[0]] - means[closest[1]]) > 60, closest


def test_colours_are_plain_rgb():
    assert all(0 <= channel <= 255 for color in RGB.values() for channel in color)

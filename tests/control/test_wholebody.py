"""DWPose: persons are found, cut out, read and brought back to where they are in the photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from studio.control.annotators import Annotators
from studio.control.preprocess import make_map
from studio.control.wholebody import cut_out, person_of, read_simcc, region
from studio.control.yolox import letterboxed, persons_of
from studio.core.errors import InvalidRequest, JobCancelled
from studio.core.geometry import Extent
from studio.core.openpose import Person
from studio.core.pose import FACE_POINTS, HAND_POINTS, JOINTS
from studio.core.preprocess import PoseDw
from studio.core.settings import Settings
from studio.models.catalogue import ModelCatalogue
from studio.models.device import choose_device
from studio.models.manager import ModelManager
from tests.control import nets
from tests.poses import read_openpose

CANVAS = Extent(width=200, height=100)

DOTS = {"red": (40, 60), "lime": (70, 30), "blue": (20, 100)}
"""Where the nets of these tests see the body, the left hand, and the right hand and the face, px."""


def dotted(size: tuple[int, int] = (120, 200)) -> Image.Image:
    photo = Image.new("RGB", size)
    for colour, (x, y) in DOTS.items():
        ImageDraw.Draw(photo).rectangle((x - 4, y - 4, x + 4, y + 4), fill=colour)
    return photo


@pytest.mark.parametrize("turned", [False, True])
def test_each_part_is_found_where_it_is_in_the_photo(turned: bool, annotators: Annotators):
    photo = dotted().transpose(Image.Transpose.TRANSPOSE) if turned else dotted()
    made = make_map(photo, PoseDw(resolution=0), annotators)
    person = read_openpose(made.openpose).people[0]
    body, left, right = ((x, y) if not turned else (y, x) for x, y in DOTS.values())
    for points, count, place in (
        (person.body, len(JOINTS), body),
        (person.left_hand, HAND_POINTS, left),
        (person.right_hand, HAND_POINTS, right),
        (person.face[:68], 68, right),
        (person.face[68:], FACE_POINTS - 68, body),  # pupils are the body's eyes
    ):
        pixels = np.array([point for point in points if point]) * photo.size
        assert len(pixels) == count
        assert np.abs(pixels - place).max() <= 8
    around = np.asarray(made.image)[body[1] - 8 : body[1] + 8, body[0] - 8 : body[0] + 8]
    assert around.any()


def test_only_what_is_asked_for_is_shown(annotators: Annotators):
    def shown(**parts: bool) -> Person:
        return read_openpose(make_map(dotted(), PoseDw(**parts), annotators).openpose).people[0]

    assert not shown(hands=False).left_hand
    assert shown(hands=False).face
    assert not shown(face=False).face
    hands_only = shown(body=False, face=False)
    assert not any(hands_only.body)
    assert hands_only.left_hand
    assert hands_only.right_hand


@pytest.mark.parametrize(
    "photo",
    [
        Image.linear_gradient("L").convert("RGB"),  # the net that finds persons sees some, the other nothing
        Image.linear_gradient("L").resize((700, 20)).convert("RGB"),
    ],
)
def test_nobody_in_the_picture_is_told_of(photo: Image.Image, annotators: Annotators):
    with pytest.raises(InvalidRequest, match="nobody") as caught:
        make_map(photo, PoseDw(), annotators)
    assert caught.value.field == "image"


def test_persons_are_found_in_the_colours_and_at_the_place_of_the_photo(tmp_path: Path):
    """Blue comes first where YOLOX reads; the second person is red, and not seen."""
    nets.make_yolox(tmp_path / "annotators", blue=0.2, sure=-20.0, sides=1.0)
    nets.make_dwpose(tmp_path / "annotators")
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path, models_dirs=(tmp_path / "annotators",)))
    manager = ModelManager(choose_device(Settings(device="cpu")), ram_budget=2**30, device_budget=0)
    photo = Image.new("RGB", (256, 128), "grey")
    ImageDraw.Draw(photo).rectangle((0, 0, 127, 127), fill="blue")
    ImageDraw.Draw(photo).rectangle((128, 0, 255, 127), fill=(255, 0, 0))
    made = make_map(photo, PoseDw(confidence=0, resolution=0), Annotators(catalogue, manager))
    (person,) = read_openpose(made.openpose).people
    assert person.face[0] is not None
    assert person.face[0][0] < 0.5


def test_a_crowd_is_read_person_by_person_and_can_be_stopped_in_between(annotators: Annotators):
    told: list[str] = []

    def stop_at_the_second(sentence: str) -> None:
        told.append(sentence)
        if "person 2" in sentence:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        make_map(dotted(), PoseDw(confidence=0), annotators, told=stop_at_the_second)
    assert told[-2].startswith("Looking at person 1 of ")


def test_a_cell_of_yolox_tells_its_box():
    answer = np.zeros((84, 7), np.float32)  # 64x64 px: 8x8, 4x4 and 2x2 cells
    cell = 64 + 2 * 4 + 1  # of the second grid, third row, second column
    answer[cell] = [0.5, 0.25, np.log(2), np.log(1.5), 0.9, 0.8, 0.1]
    answer[cell + 1] = [-0.25, 0.25, np.log(2), np.log(1.5), 0.8, 0.8, 0.1]  # 4 px beside it, less sure
    answer[0] = [0.5, 0.5, 0, 0, 0.9, 0.2, 0.9]  # of another class
    answer[1] = [0.5, 0.5, np.nan, 0, 0.9, 0.9, 0]
    answer[2] = [3.5, 0.5, 0, 0, 0.9, 0.6, 0]
    found = persons_of(answer, (64, 64))
    assert found.tolist() == pytest.approx(
        np.array([[24 - 16, 36 - 12, 32, 24], [44 - 4, 4 - 4, 8, 8]]), abs=1e-4
    ), "the surest first: left, top, width, height"


@pytest.mark.parametrize(("width", "height", "scale"), [(128, 32, 0.5), (32, 128, 0.5), (16, 8, 4.0)])
def test_yolox_sees_the_whole_photo_in_its_upper_left_corner(width: int, height: int, scale: float):
    photo = np.full((height, width, 3), (200, 100, 50), np.uint8)
    seen, told = letterboxed(photo, (64, 64))
    assert told == scale
    assert seen.shape == (1, 3, 64, 64)
    inner = seen[0, :, : int(height * scale), : int(width * scale)]
    assert np.array_equal(inner, np.broadcast_to(np.float32([50, 100, 200])[:, None, None], inner.shape))
    assert (seen == 114).sum() == 3 * (64 * 64 - inner[0].size)


@pytest.mark.parametrize("box", [(20, 10, 30, 80), (100, 40, 90, 20), (-10, -5, 40, 40)])
def test_a_person_is_cut_out_whole_with_a_margin_and_found_again(box: tuple[int, int, int, int]):
    corner, sides = region(np.float32(box), 48 / 64)
    assert sides[0] / sides[1] == pytest.approx(48 / 64)
    assert (sides >= 1.25 * np.array(box[2:]) - 1e-6).all()
    assert (corner + sides / 2).tolist() == [box[0] + box[2] / 2, box[1] + box[3] / 2]
    photo = np.zeros((100, 200, 3), np.uint8)
    mark = np.clip([box[0] + box[2] // 2, box[1] + box[3] // 4], 3, None)
    photo[mark[1] - 2 : mark[1] + 3, mark[0] - 2 : mark[0] + 3] = 255
    cut = cut_out(photo, corner, sides, (64, 48))
    rows, columns = np.nonzero(cut[:, :, 0] == cut[:, :, 0].max())
    back = corner + np.array([columns.mean() / 48, rows.mean() / 64]) * sides
    assert np.abs(back - mark).max() <= 2.5


def test_the_likeliest_column_and_row_are_where_a_point_is():
    columns, rows = np.full((2, 96), -1, np.float32), np.full((2, 128), -1, np.float32)
    columns[0, 48], rows[0, 32] = 0.9, 0.7
    columns[1, 95], rows[1, 0] = 0.2, 0.8
    places, scores = read_simcc(columns, rows)
    assert places.tolist() == [[0.5, 0.25], [95 / 96, 0.0]]
    assert scores.tolist() == pytest.approx([0.7, 0.2]), "as sure as the less sure of the two"


def person(hidden: tuple[int, ...] = (), **options: object) -> Person:
    """Point i of 133 lies at (i, 1) px."""
    points = np.stack([np.arange(133.0), np.ones(133)], axis=1)
    scores = np.where(np.isin(np.arange(133), hidden), 0.1, 0.9)
    return person_of(points, scores, PoseDw(**options), CANVAS)


def index_of(points: tuple, at: int) -> float | None:
    return None if points[at] is None else round(points[at][0] * CANVAS.width, 3)


def test_the_points_of_coco_wholebody_become_openposes():
    found = person()
    joints = {name: index_of(found.body, at) for at, name in enumerate(JOINTS)}
    assert joints["nose"] == 0
    assert (joints["left shoulder"], joints["right shoulder"], joints["neck"]) == (5, 6, 5.5)
    assert (joints["right wrist"], joints["left ankle"], joints["right ear"]) == (10, 15, 4)
    assert [index_of(found.left_hand, at) for at in (0, 20)] == [91, 111]
    assert [index_of(found.right_hand, at) for at in (0, 20)] == [112, 132]
    assert [index_of(found.face, at) for at in (0, 67, 68, 69)] == [23, 90, 2, 1]
    assert found.body[0] == (0.0, 1 / CANVAS.height)


def test_what_the_net_is_not_sure_of_is_hidden():
    found = person(hidden=(5, 30, *range(91, 112)))
    assert found.body[JOINTS.index("left shoulder")] is None
    assert found.body[JOINTS.index("neck")] is None
    assert found.body[JOINTS.index("right shoulder")] is not None
    assert found.face[7] is None
    assert found.left_hand == ()
    assert len(found.right_hand) == HAND_POINTS
    assert not any(person(confidence=0.95).body)

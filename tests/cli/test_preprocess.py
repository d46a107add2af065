"""`easel preprocess`: a map of a file, from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from studio.cli import app
from studio.core.errors import EaselError
from studio.core.preprocess import PREPROCESSORS
from tests.control import nets


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 15, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).resize((150, 90), Image.Resampling.BICUBIC).save(path)
    return path


def run(*words: object) -> str:
    answer = CliRunner().invoke(app, ["preprocess", *map(str, words)], prog_name="easel")
    if isinstance(answer.exception, EaselError):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.stdout.strip()


def test_canny_writes_the_map_that_opencv_makes(tmp_path: Path, photo: Path):
    out = tmp_path / "edges.png"
    assert run("canny", photo, "--low", 40, "--high", 90, "--out", out, "--data-dir", tmp_path / "d") == str(
        out
    )
    expected = cv2.Canny(np.asarray(Image.open(photo)), 40, 90)
    assert np.array_equal(np.asarray(Image.open(out))[:, :, 0], expected)


def test_without_out_the_map_lies_beside_the_picture(tmp_path: Path, photo: Path):
    assert run("lineart_standard", photo, "--data-dir", tmp_path / "d") == str(
        tmp_path / "photo-lineart_standard.png"
    )


def test_a_pose_is_written_as_json(tmp_path: Path, photo: Path):
    nets.make_vitpose(tmp_path / "models" / "pose")
    nets.make_segmentation(tmp_path / "models" / "parts", labels=("person",) * 3)
    out = tmp_path / "pose.json"
    run(
        *("pose-vit", photo, "--model", "pose", "--detector", "parts", "--confidence", 0, "--json", out),
        *("--models-dir", tmp_path / "models", "--data-dir", tmp_path / "d", "--device", "cpu"),
    )
    content = json.loads(out.read_text())
    assert (content["canvas_width"], content["canvas_height"]) == (150, 90)
    assert len(content["people"][0]["pose_keypoints_2d"]) == 18 * 3


def test_nothing_that_is_there_is_written_over(tmp_path: Path, photo: Path):
    before, options = photo.read_bytes(), ("--data-dir", tmp_path / "d")
    assert run("canny", photo, "--out", photo, *options) == str(tmp_path / "photo-2.png")
    assert run("canny", photo, *options) == str(tmp_path / "photo-canny.png")
    assert run("canny", photo, *options) == str(tmp_path / "photo-canny-2.png")
    edges = tmp_path / "photo-canny.png"
    edges.write_bytes(b"mine")
    assert run("canny", photo, "--force", *options) == str(edges)
    assert edges.read_bytes() != b"mine"
    with pytest.raises(EaselError, match=r"does not replace photo\.png: it is a source"):
        run("canny", photo, "--out", photo, "--force", *options)
    assert photo.read_bytes() == before


def test_force_spares_the_mask_too(tmp_path: Path, photo: Path):
    mask = tmp_path / "mask.png"
    Image.new("L", (150, 90), 255).save(mask)
    with pytest.raises(EaselError, match=r"does not replace mask\.png: it is a source"):
        run(
            *("inpaint", photo, "--mask", mask, "--out", mask, "--force"),
            *("--data-dir", tmp_path / "d"),
        )


def test_a_pose_goes_beside_one_that_is_there(tmp_path: Path, photo: Path):
    nets.make_vitpose(tmp_path / "models" / "pose")
    nets.make_segmentation(tmp_path / "models" / "parts", labels=("person",) * 3)
    pose = tmp_path / "pose.json"
    pose.write_text("mine")
    written = run(
        *("pose-vit", photo, "--model", "pose", "--detector", "parts", "--json", pose),
        *("--models-dir", tmp_path / "models", "--data-dir", tmp_path / "d", "--device", "cpu"),
    )
    assert written.split() == [str(tmp_path / "photo-pose_vit.png"), str(tmp_path / "pose-2.json")]
    assert pose.read_text() == "mine"


def test_a_folder_that_is_not_there_is_refused_before_any_work(tmp_path: Path, photo: Path):
    options = ("--data-dir", tmp_path / "d")
    with pytest.raises(EaselError, match="nowhere for the result is not there"):
        run("canny", photo, "--out", tmp_path / "nowhere" / "map.png", *options)
    with pytest.raises(EaselError, match=r"not there.*another --json"):
        run("pose-vit", photo, "--json", tmp_path / "nowhere" / "pose.json", *options)
    assert not (tmp_path / "nowhere").exists()


def test_every_preprocessor_explains_itself():
    listed = run("--help")
    for kind, options in PREPROCESSORS.items():
        assert kind.replace("_", "-") in listed
        answer = run(kind.replace("_", "-"), "--help")
        named = {f"--{name.replace('_', '-')}" for name in options.model_fields if name != "kind"}
        assert all(name in answer for name in named), named


def test_what_cannot_be_done_is_a_sentence(tmp_path: Path, photo: Path):
    with pytest.raises(EaselError, match=r"^A pose needs at least one of body, hands and face\."):
        run("pose-openpose", photo, "--no-body", "--data-dir", tmp_path / "d")
    with pytest.raises(EaselError, match=r"ends in \.png"):
        run("canny", photo, "--out", "map.gif", "--data-dir", tmp_path / "d")

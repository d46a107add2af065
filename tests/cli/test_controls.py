"""`--control` and `--image-prompt` of `easel generate`: models by name, maps of photos, weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from studio.cli.controls import control_entries, image_prompt_entries
from studio.core.conditions import ControlInput, ImagePrompt
from studio.core.errors import EaselError
from studio.core.preprocess import Canny
from tests.fakes import FakeStudio


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), "blue").save(file)
    return file


def test_a_finished_map_a_photo_and_a_weight(studio: FakeStudio, photo: Path):
    values = [f"Town Canny={photo}", f"Town Sketch=canny:{photo}@0.75"]
    plain, drawn = (ControlInput.model_validate(each) for each in control_entries(studio, values))
    assert (plain.preprocessor, plain.weight) == (None, 1.0)
    assert (drawn.preprocessor, drawn.weight) == (Canny(), 0.75)
    assert studio.blob(plain.image) == photo.read_bytes()


def test_a_picture_to_look_like(studio: FakeStudio, photo: Path):
    (entry,) = image_prompt_entries(studio, [f"Town Look={photo}@0.4"])
    prompt = ImagePrompt.model_validate(entry)
    assert (len(prompt.images), prompt.weight) == (1, 0.4)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("Town Canny", "needs MODEL=FILE"),
        ("Town Canny=", "needs MODEL=FILE"),
        ("Town Canny=nowhere.png", "there is no file nowhere.png"),
        ("Town Look={photo}", "no ControlNet or T2I-Adapter 'Town Look' here, but Town Canny"),
        ("nobody={photo}", "no ControlNet or T2I-Adapter 'nobody' here"),
    ],
)
def test_what_cannot_be_read_is_told(studio: FakeStudio, photo: Path, value: str, sentence: str):
    with pytest.raises(EaselError, match=sentence):
        control_entries(studio, [value.format(photo=photo)])

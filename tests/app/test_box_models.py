"""What boxes need of models: which of them will do, what reads pictures, and that all is given back."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from studio.app.studio import LocalStudio, build_studio
from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import ImagePrompt
from studio.core.geometry import Box
from studio.core.requests import GenerateRequest
from studio.core.settings import Precision, Settings
from tests import tiny
from tests.app.test_studio import pictures
from tests.tiny_gligen import make_text_image


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GLIGEN model without an image encoder of its own: it shares the one of an IP-Adapter."""
    models = tmp_path_factory.mktemp("box-models")
    base = tiny.make_sd1(models / "tiny", seed=1)
    make_text_image(models / "gligen" / "pictures", base)
    shutil.move(models / "gligen" / "pictures" / "image_encoder", models / "clip_vision" / "shared")
    tiny.make_ip_adapter(models / "ipadapter" / "look.safetensors", base, projection="plus")
    return models


@pytest.fixture(scope="module")
def studio(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStudio]:
    data = tmp_path_factory.mktemp("data")
    studio = build_studio(
        Settings(data_dir=data, models_dirs=(models,), device="cpu", precision=Precision.FP32)
    )
    studio.start()
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def photo(studio: LocalStudio) -> str:
    file = io.BytesIO()
    Image.effect_noise((40, 32), 90).convert("RGB").save(file, "PNG")
    return studio.put_blob(file.getvalue())


def request_of(image: str | None = None, model: str = "", **fields: Any) -> GenerateRequest:
    box = BoxInput(box=Box(x0=0.1, y0=0.2, x1=0.6, y1=0.9), phrase="a red ball", image=image)
    boxes = Boxes(boxes=(box,), share=1.0, model=model)
    common = {"model": "tiny", "prompt": "a house", "width": 64, "height": 64, "steps": 2, "seed": 5}
    return GenerateRequest(**{**common, "boxes": boxes, **fields})


def test_an_encoder_that_two_of_them_read_pictures_with_is_given_back(
    studio: LocalStudio, photo: str
) -> None:
    look = ImagePrompt(model="look", images=(photo,))
    pictures(studio, request_of(photo, image_prompts=(look,)))
    roles = [part.role for part in studio.status().components]
    assert roles.count("image_encoder:shared") == 1
    assert not [part.role for part in studio.status().components if part.in_use]
    studio.unload_models()
    assert studio.status().components == ()

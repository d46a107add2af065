"""What boxes need of models: which of them will do, what reads pictures, and that all is given back."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from studio.app.studio import LocalStudio, build_studio
from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import ImagePrompt
from studio.core.errors import EaselError
from studio.core.events import Failed
from studio.core.geometry import Box
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest
from studio.core.settings import Precision, Settings
from tests import tiny
from tests.app.test_studio import pictures
from tests.tiny_gligen import gated_unet, graft_tensors, make_gligen, make_text_image


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GLIGEN model without an image encoder of its own: it shares the one of an IP-Adapter."""
    models = tmp_path_factory.mktemp("box-models")
    base = tiny.make_sd1(models / "tiny", seed=1)
    make_text_image(models / "gligen" / "pictures", base)
    shutil.move(models / "gligen" / "pictures" / "image_encoder", models / "clip_vision" / "shared")
    tensors = graft_tensors(gated_unet(base, reads_pictures=True), ldm=True)
    save_file(tensors, models / "gligen" / "alone.safetensors")  # before the whole one in every list
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


def refused(studio: LocalStudio, request: GenerateRequest) -> tuple[str, str | None]:
    """The sentence and the field with which a request is turned away before it waits."""
    with pytest.raises(EaselError) as told:
        studio.submit(request)
    return str(told.value), told.value.field


def test_a_model_without_its_projection_takes_phrases_and_refuses_pictures(
    studio: LocalStudio, photo: str
) -> None:
    pictures(studio, request_of(model="alone"))
    sentence, field = refused(studio, request_of(photo, model="alone"))
    assert "alone lacks the projection by which boxes take one. Install the whole folder" in sentence
    assert field == "boxes.boxes.0.image"


def test_the_model_chosen_for_pictures_is_one_that_reads_them(studio: LocalStudio, photo: str) -> None:
    assert [info.id for info in studio.models(ModelKind.GLIGEN)][:2] == ["alone", "pictures"]
    studio.unload_models()  # their layers are equal, and held once
    pictures(studio, request_of(photo))
    assert "gligen:pictures" in [part.role for part in studio.status().components]


def test_an_encoder_that_is_not_there_is_told_before_the_queue(models: Path, tmp_path: Path) -> None:
    less = tmp_path / "models"
    shutil.copytree(models, less, ignore=shutil.ignore_patterns("clip_vision", "ipadapter"))
    studio = build_studio(Settings(data_dir=tmp_path / "data", models_dirs=(less,), device="cpu"))
    try:
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "PNG")
        sentence, field = refused(studio, request_of(studio.put_blob(file.getvalue())))
        assert "an image encoder that gives 32 channels, and none is here" in sentence
        assert field == "boxes.boxes.0.image"
        shutil.rmtree(less / "gligen" / "pictures")
        sentence, field = refused(studio, request_of(model="pictures"))
        assert "not there" in sentence
        assert field == "boxes.model"
    finally:
        studio.close()


@pytest.mark.parametrize("part", ["position_net.linears.0.weight", "fuser.attn.to_q.weight"])
def test_a_model_of_no_numbers_is_named(studio: LocalStudio, models: Path, part: str) -> None:
    file = make_gligen(models / "gligen" / "nan.safetensors", models / "tiny")
    spoilt = {k: v * torch.nan if k.endswith(part) else v for k, v in load_file(file).items()}
    file.unlink()
    save_file(spoilt, file)
    studio.refresh_models()
    *_, last = studio.events(studio.submit(request_of(model="nan")).id, timeout=60)
    assert isinstance(last, Failed)
    assert last.message.startswith("nan holds values that are not numbers (NaN). Download it again")
    assert last.field == "boxes.model"

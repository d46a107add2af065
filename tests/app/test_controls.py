"""Controls and image prompts through the whole studio: models found, pictures read, faults at their field."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from studio.app.studio import LocalStudio, build_studio
from studio.core.errors import InvalidRequest
from studio.core.events import Failed, Finished
from studio.core.requests import GenerateRequest
from studio.core.settings import Precision, Settings
from tests import tiny

SMALL = GenerateRequest(model="tiny", prompt="a red ball", width=64, height=64, steps=2, seed=3)


@pytest.fixture(scope="session")
def stack_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack-models")
    base = tiny.make_sd1(folder / "tiny", seed=1)
    tiny.make_controlnet(folder / "net", base)
    tiny.make_controlnet(folder / "net-xl", tiny.make_sdxl(folder / "xl", seed=3))
    tiny.make_t2i_adapter(folder / "t2i")
    tiny.make_ip_adapter(folder / "ip.safetensors", base)
    return folder


@pytest.fixture
def studio(tmp_path: Path, stack_models: Path) -> Iterator[LocalStudio]:
    tiny.make_image_encoder(tmp_path / "clip_vision" / "vision")
    studio = build_studio(
        Settings(
            data_dir=tmp_path / "data",
            models_dirs=(stack_models, tmp_path / "clip_vision"),
            device="cpu",
            precision=Precision.FP32,
            preview_seconds=0,
        )
    )
    studio.start()
    yield studio
    studio.close()


def picture(size: tuple[int, int] = (96, 48), mode: str = "RGB") -> bytes:
    image = Image.new(mode, size)
    ImageDraw.Draw(image).ellipse(
        (10, 5, 60, 40), outline=255 if mode == "L" else (255,) * len(mode), width=2
    )
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def run(studio: LocalStudio, **fields: Any) -> str:
    """The id of the picture that the request makes. Raises InvalidRequest where its job fails."""
    job = studio.submit(GenerateRequest.model_validate(SMALL.model_dump() | fields))
    for event in studio.events(job.id):
        if isinstance(event, Failed):
            raise InvalidRequest(event.message, field=event.field)
        if isinstance(event, Finished):
            return event.images[0]
    raise AssertionError("the job ended without a word")


def pixels(studio: LocalStudio, image: str) -> bytes:
    return Image.open(studio.image_path(image)).tobytes()


def test_one_of_each_kind_and_their_pictures_are_kept_with_the_result(studio: LocalStudio):
    blob, mask = studio.put_blob(picture(mode="RGBA")), studio.put_blob(picture((30, 30), "L"))
    before = run(studio)
    controls = [
        {"model": "net", "image": blob, "mask": mask},
        {"model": "t2i", "image": blob},
        {"model": "net", "image": blob, "enabled": False},
    ]
    prompts = [{"model": "ip", "images": [blob, mask], "weight": 0.5}]
    steered = run(studio, controls=controls, image_prompts=prompts)
    assert pixels(studio, steered) != pixels(studio, before)
    request = studio.image(steered).request
    assert isinstance(request, GenerateRequest)
    assert [control.model for control in request.controls] == ["net", "t2i", "net"]
    assert pixels(studio, run(studio)) == pixels(studio, before)
    roles = {component.role.split(":")[0] for component in studio.status().components}
    assert {"unet", "controlnet", "t2i", "ip_adapter", "image_encoder"} <= roles


def test_used_controls_are_named_with_their_hash_and_come_back_by_it(studio: LocalStudio):
    blob = studio.put_blob(picture())
    controls = [{"model": "net", "image": blob}, {"model": "net-xl", "image": blob, "enabled": False}]
    prompts = [{"model": "ip", "images": [blob]}]
    image = studio.image(run(studio, controls=controls, image_prompts=prompts))
    digits = {info.name: info.sha256[:8] for info in studio.models()}
    assert re.findall(r"Model: ([\w-]+) \[([0-9a-f]{8})\]", image.infotext) == [
        ("net", digits["net"]),
        ("ip", digits["ip"]),
    ]
    assert digits["net-xl"] == "", "what is switched off is not read for its hash"
    assert studio.read_settings(studio.image_path(image.id).read_bytes()).request == image.request
    assert studio.read_infotext(image.infotext).request == image.request


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"controls": [{"model": "net-xl"}]}, "controls.0.model", "is made for SDXL, but tiny is SD 1.x"),
        ({"controls": [{"model": "net"}, {"model": "nowhere"}]}, "controls.1.model", "no model named"),
        ({"controls": [{"model": "ip"}]}, "controls.0.model", "needed here is a ControlNet or a T2I-Adapter"),
        (
            {"image_prompts": [{"model": "net"}]},
            "image_prompts.0.model",
            "an IP-Adapter, but net is a ControlNet",
        ),
        (
            {"controls": [{"model": "net", "image": "f" * 64}]},
            "controls.0.image",
            "There is no picture .* in the store",
        ),
        (
            {"controls": [{"model": "net", "mask": "f" * 64}]},
            "controls.0.mask",
            "There is no picture .* in the store",
        ),
        (
            {"image_prompts": [{"model": "ip", "images": ["f" * 64]}]},
            "image_prompts.0.images.0",
            "There is no picture .* in the store",
        ),
    ],
)
def test_faults_are_told_at_their_field_before_anything_runs(
    studio: LocalStudio, fields: dict[str, Any], field: str, message: str
):
    blob = studio.put_blob(picture())
    for entry in fields.get("controls", []):
        entry.setdefault("image", blob)
    for entry in fields.get("image_prompts", []):
        entry.setdefault("images", [blob])
    request = GenerateRequest.model_validate(SMALL.model_dump() | fields)
    with pytest.raises(InvalidRequest, match=message) as fault:
        studio.submit(request)
    assert fault.value.field == field


def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match=r"the start \(0.8\) must lie before the end \(0.2\)"):
        GenerateRequest(controls=[{"model": "net", "image": "0" * 64, "start": 0.8, "end": 0.2}])


def test_an_image_prompt_without_its_encoder_says_what_is_missing(studio: LocalStudio, tmp_path: Path):
    shutil.rmtree(tmp_path / "clip_vision" / "vision")
    studio.refresh_models()
    blob = studio.put_blob(picture())
    with pytest.raises(InvalidRequest, match="image encoder that gives 24 channels") as fault:
        run(studio, image_prompts=[{"model": "ip", "images": [blob]}])
    assert fault.value.field == "image_prompts.0.model"

"""Faults are told under the client's own names, at the very unit, box or picture that is wrong."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from studio.core.errors import InvalidRequest
from tests.api.samples import SMALL, png_base64
from tests.fakes import FakeStudio

GARBAGE = base64.b64encode(b"hello").decode()
UNITS = "alwayson_scripts.controlnet.args"
BOXES = "alwayson_scripts.gligen.args"
NO_AREA = "a box needs a width and a height above zero, and this one goes"
BOX = {"phrase": "a red ball", "box": [0.1, 0.4, 0.5, 0.9]}


def drawn() -> str:
    picture = Image.linear_gradient("L")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def unit(**fields: Any) -> dict[str, Any]:
    return {"model": "Town Canny", "module": "canny", "image": drawn()} | fields


def refused(client: TestClient, path: str = "txt2img", **fields: Any) -> dict[str, Any]:
    reply = client.post(f"/sdapi/v1/{path}", json=SMALL | fields)
    assert reply.status_code in (404, 422), reply.text
    return reply.json()


def refused_script(client: TestClient, script: str, args: Any) -> dict[str, Any]:
    return refused(client, alwayson_scripts={script: {"args": args}})


OFF = {"enabled": False, "model": "nowhere"}
LOOK = unit(model="Town Look", module="ip-adapter-auto")


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ([unit(), unit(guidance_start=0.8, guidance_end=0.2)], "1"),
        ([OFF, unit(weight=3)], "1.weight"),
        ([True, False, unit(weight=3)], "2.weight"),
        ([OFF, unit(guidance_end=2)], "1.guidance_end"),
        ([OFF, unit(guidance_start=-1)], "1.guidance_start"),
        ([unit(), LOOK | {"weight": 3}], "1.weight"),
        ([OFF, unit(model="Canny XL")], "1.model"),
        ([OFF, unit(image=png_base64())], "1.image"),
        ([unit(), unit(image=GARBAGE)], "1.image"),
        ([unit(), unit(mask=GARBAGE)], "1.mask"),
        ([unit(), unit(effective_region_mask=GARBAGE)], "1.effective_region_mask"),
        ([OFF, unit(image=[drawn(), drawn()])], "1.image"),
        ([OFF, LOOK | {"image": [drawn(), GARBAGE]}], "1.image.1"),
        ([OFF, LOOK | {"image": [drawn()] * 17}], "1.image"),
    ],
)
def test_a_unit_at_fault_is_named_by_its_number_and_in_the_extensions_words(
    client: TestClient, studio: FakeStudio, args: list[Any], field: str
):
    reply = refused_script(client, "ControlNet", args)
    assert reply["field"] == f"{UNITS}.{field}"
    assert "controls" not in reply["message"]
    assert "image_prompts" not in reply["message"]
    assert not studio.jobs()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([unit(), unit(weight=3)], f"The field {UNITS}.1.weight must be at most 2"),
        (
            [unit(), unit(guidance_start=0.8, guidance_end=0.2)],
            f"In {UNITS}.1, the start (0.8) must lie before the end (0.2).",
        ),
        ([unit(image=[drawn(), drawn()])], "Town Canny follows one picture, and this unit has 2."),
        ([LOOK | {"image": [drawn()] * 17}], "At most 16 images; there are 17."),
        ([unit()] * 33, "At most 32 controls; there are 33."),
    ],
)
def test_a_unit_at_fault_is_told_in_a_sentence(client: TestClient, args: list[Any], message: str):
    assert refused_script(client, "controlnet", args)["message"].startswith(message)


@pytest.mark.parametrize(
    ("args", "field", "message"),
    [
        ({"boxes": [BOX] * 31}, "boxes", "At most 30 boxes; there are 31."),
        (
            {"boxes": [BOX, BOX | {"box": [0.5, 0.5, 0.1, 0.2]}]},
            "boxes.1.box",
            f"In {BOXES}.0.boxes.1.box, {NO_AREA} from (0.5, 0.5) to (0.1, 0.2).",
        ),
        (
            {"boxes": [BOX, BOX | {"box": [0.5, 0, 0.5, 0.2]}]},
            "boxes.1.box",
            f"In {BOXES}.0.boxes.1.box, {NO_AREA} from (0.5, 0) to (0.5, 0.2).",
        ),
        (
            {"boxes": [BOX, BOX | {"box": [0, 0, 1.2, 1]}]},
            "boxes.1.box.2",
            f"The field {BOXES}.0.boxes.1.box.2 must be at most 1",
        ),
        ({"boxes": [BOX], "beta": 2}, "beta", f"The field {BOXES}.0.beta must be at most 1"),
        ({"boxes": [BOX], "strength": 3}, "strength", f"The field {BOXES}.0.strength must be at most 2"),
        ({"boxes": [BOX], "model": "Boxes 2"}, "model", "Boxes 2 is made for another model"),
        ({"boxes": [BOX, {"box": BOX["box"]}]}, "boxes.1.phrase", "Box 2 does not say"),
        ({"boxes": [BOX, BOX | {"image": GARBAGE}]}, "boxes.1.image", "The file is no picture."),
        ({"boxes": "a"}, "boxes", f"The field {BOXES}.0.boxes "),
    ],
)
def test_a_box_at_fault_is_named(client: TestClient, args: dict[str, Any], field: str, message: str):
    reply = refused_script(client, "gligen", [args])
    assert reply["field"] == f"{BOXES}.0.{field}"
    assert reply["message"].startswith(message)


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("img2img", {"init_images": [GARBAGE]}, "init_images"),
        ("img2img", {"init_images": [png_base64()], "mask": GARBAGE}, "mask"),
        ("png-info", {"image": GARBAGE}, "image"),
    ],
)
def test_a_file_that_is_no_picture_is_told_at_its_field(
    client: TestClient, path: str, fields: dict[str, Any], field: str
):
    assert refused(client, path, **fields)["field"] == field


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("controls.0.preprocessor.model", f"{UNITS}.1.module"),
        ("controls.0.preprocessor.high", f"{UNITS}.1.threshold_b"),
        ("controls.0.preprocessor.resolution", f"{UNITS}.1.processor_res"),
        ("controls.0.mask", f"{UNITS}.1.mask"),
        ("controls.0.mode", f"{UNITS}.1.control_mode"),
        ("controls.0.control_type", f"{UNITS}.1.union_control_type"),
        ("image_prompts.0.images.0", f"{UNITS}.2.image"),
        ("image_prompts.0.model", f"{UNITS}.2.model"),
        ("boxes.share", f"{BOXES}.0.beta"),
        ("boxes", BOXES),
        ("source.image", "init_images"),
        ("width", "width"),
    ],
)
def test_a_job_that_fails_names_the_clients_field_and_keeps_problem_and_remedy_apart(
    client: TestClient, studio: FakeStudio, ours: str, theirs: str
):
    studio.fail_next = InvalidRequest("It went wrong.", "Do it differently.", field=ours)
    reply = refused_script(client, "controlnet", [OFF, unit(), LOOK])
    assert reply == {
        "error": "InvalidRequest",
        "message": "It went wrong. Do it differently.",
        "problem": "It went wrong.",
        "remedy": "Do it differently.",
        "field": theirs,
    }

"""The maps of ControlNet units at the end of a reply's pictures, as the extension gives them."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
import webuiapi
from fastapi.testclient import TestClient
from PIL import Image, ImageChops

from tests.api.samples import SMALL, open_base64

HALVES = Image.new("RGB", (96, 48), "red")
HALVES.paste("blue", (48, 0, 96, 48))
"""Left red, right blue, twice as wide as the pictures."""


def sent(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def unit(**fields: Any) -> dict[str, Any]:
    return {"model": "Town Canny", "image": sent(HALVES)} | fields


def txt2img(client: TestClient, *units: dict[str, Any], **fields: Any) -> dict[str, Any]:
    scripts = {"alwayson_scripts": {"controlnet": {"args": list(units)}}}
    reply = client.post("/sdapi/v1/txt2img", json=SMALL | scripts | fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_each_units_map_follows_the_pictures_in_the_order_of_the_units(client: TestClient):
    look = unit(model="Town Look", module="ip-adapter-auto", image=sent(Image.new("RGB", (30, 20), "teal")))
    units = unit(enabled=False), unit(module="canny"), look, unit(resize_mode=0)
    reply = txt2img(client, *units, batch_size=2)
    images = [open_base64(each) for each in reply["images"]]
    assert [image.size for image in images] == [(64, 64)] * 3 + [(30, 20), (64, 64)]
    edges, picture, halves = (image.convert("RGB") for image in images[2:])
    assert {colour for _, colour in edges.getcolors()} > {(0, 0, 0)}
    assert picture.getpixel((3, 3)) == (0, 128, 128)
    assert halves.getpixel((2, 2)) == (255, 0, 0)
    info = json.loads(reply["info"])
    assert info["index_of_first_image"] == 0
    assert len(info["all_seeds"]) == len(info["infotexts"]) == len(info["image_ids"]) == 2


def test_a_unit_may_keep_its_map_to_itself_and_a_call_all_pictures(client: TestClient):
    units = unit(save_detected_map=False), unit(module="canny")
    assert len(txt2img(client, *units)["images"]) == 2
    assert len(txt2img(client, units[0])["images"]) == 1
    assert txt2img(client, *units, send_images=False)["images"] == []


def test_image_to_image_gives_the_map_of_the_source(client: TestClient):
    scripts = {"controlnet": {"args": [{"model": "Town Canny"}]}}
    payload = SMALL | {"init_images": [sent(HALVES)], "alwayson_scripts": scripts}
    reply = client.post("/sdapi/v1/img2img", json=payload).json()
    _, halves = (open_base64(each).convert("RGB") for each in reply["images"])
    assert halves.getpixel((2, 2)) == (255, 0, 0), "stretched, as the source is"
    assert halves.getpixel((61, 2)) == (0, 0, 255)


@pytest.mark.parametrize(("mode", "where"), [(0, (0, 0, 8, 64)), (1, None), (2, (0, 0, 8, 64))])
def test_a_map_lies_as_the_net_reads_it(
    client: TestClient, mode: int, where: tuple[int, int, int, int] | None
):
    striped = HALVES.copy()
    striped.paste("white", (0, 0, 12, 48))  # at the side, which is cut off where the picture is cropped
    (_, found) = txt2img(client, unit(image=sent(striped), resize_mode=mode))["images"]
    image = open_base64(found).convert("RGB")
    assert image.size == (64, 64)
    white = ImageChops.multiply(*image.split()[1:]).point(lambda value: 255 if value > 128 else 0).getbbox()
    assert white == where


def test_webuiapi_reads_a_reply_with_maps(port: int):
    api = webuiapi.WebUIApi(port=port)
    units = [webuiapi.ControlNetUnit(image=HALVES, module="canny", model="Town Canny")]
    result = api.txt2img(
        prompt="x", width=64, height=64, steps=2, controlnet_units=units, alwayson_scripts={}
    )
    assert [image.size for image in result.images] == [(64, 64)] * 2
    assert result.image.info["parameters"].startswith("x")
    assert "parameters" not in result.images[1].info
    assert len(result.info["all_seeds"]) == 1

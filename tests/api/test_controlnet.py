"""`/controlnet`, as the ControlNet extension's clients use it; through `webuiapi` where that has a call."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from webuiapi import ControlNetInterface, WebUIApi

from studio.core.annotators import FACTS, MODULES
from studio.core.conditions import ImagePrompt
from studio.core.errors import InvalidRequest
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import Canny
from studio.core.requests import GenerateRequest, PreprocessRequest
from studio.storage.infotext_control import control_fields
from tests.api.samples import SMALL
from tests.fakes import FakeStudio


@pytest.fixture
def api(port: int) -> WebUIApi:
    return WebUIApi(host="127.0.0.1", port=port)


def photo(size: tuple[int, int] = (96, 64)) -> Image.Image:
    image = Image.linear_gradient("L").resize(size)
    return Image.merge("RGB", (image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image))


def base64_of(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


PHOTO, EMPTY = base64_of(photo()), base64_of(Image.new("RGB", (32, 32)))
GARBAGE = base64.b64encode(b"hello").decode()


def test_webuiapi_reads_version_models_and_modules(api: WebUIApi, studio: FakeStudio):
    assert api.controlnet_version() >= 2
    models = ControlNetInterface(api).model_list()
    assert models == api.controlnet_model_list()
    assert models
    known = {
        "none",
        "ip-adapter-auto",
        "canny",
        "depth_midas",
        "openpose_full",
        "lineart_anime",
        "softedge_pidinet",
    }
    assert known <= {*api.controlnet_module_list()}


def test_a_model_is_listed_with_its_hash_once_that_is_known_and_goes_by_both_names(
    client: TestClient, studio: FakeStudio
):
    def listed() -> list[str]:
        names = client.get("/controlnet/model_list").json()["model_list"]
        return [name for name in names if name.startswith("Town Canny")]

    assert listed() == ["Town Canny"]
    number = [model.name for model in studio.model_list].index("Town Canny")
    studio.model_list[number] = studio.model_list[number].model_copy(update={"sha256": "0a1b2c3d" * 8})
    assert listed() == ["Town Canny [0a1b2c3d]"]
    for name in ("Town Canny", *listed()):
        unit = {"model": name, "image": base64_of(photo())}
        payload = SMALL | {"alwayson_scripts": {"controlnet": {"args": [unit]}}}
        assert client.post("/sdapi/v1/txt2img", json=payload).status_code == 200
    assert [each.request.controls[0].model for each in studio.images().images] == ["fake/town-canny"] * 2


def test_every_preprocessor_can_be_named(client: TestClient):
    listed = client.get("/controlnet/module_list", params={"alias_names": True}).json()
    assert {*MODULES} <= {*listed["module_list"]}
    assert all(facts.modules for facts in FACTS.values())
    canny = listed["module_detail"]["canny"]
    assert [slider["name"] for slider in canny["sliders"]] == [
        "Resolution",
        "Low threshold",
        "High threshold",
    ]


def test_every_control_type_has_a_module(client: TestClient):
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert {"All", "Canny", "Depth", "OpenPose", "Segmentation", "NormalMap"} <= {*types}
    for row in types.values():
        assert row["default_option"] in row["module_list"]
        assert row["default_model"] in row["model_list"]
    assert types["Canny"]["default_option"] == "canny"


def types_with(client: TestClient, studio: FakeStudio, *models: ModelInfo) -> dict[str, Any]:
    studio.model_list = list(models)
    return client.get("/controlnet/control_types").json()["control_types"]


def model(name: str, kind: ModelKind, layout: str = "") -> ModelInfo:
    return ModelInfo(id=name, name=name, kind=kind, layout=layout)


def test_a_union_controlnet_is_listed_under_all_that_it_knows_behind_what_knows_only_that(
    client: TestClient, studio: FakeStudio
):
    union = model("any-1.0", ModelKind.CONTROLNET, "union-6")
    types = types_with(client, studio, union, model("my-pose", ModelKind.CONTROLNET))
    assert types["OpenPose"]["model_list"] == ["None", "my-pose", "any-1.0"]
    assert types["OpenPose"]["default_model"] == "my-pose"
    assert types["Depth"]["default_model"] == "any-1.0"
    assert types["Tile"]["model_list"] == ["None"]


def test_image_prompts_have_a_control_type_and_a_module_of_their_own(client: TestClient, studio: FakeStudio):
    types = types_with(
        client, studio, model("look", ModelKind.IP_ADAPTER), model("edges-canny", ModelKind.CONTROLNET)
    )
    assert types["IP-Adapter"] == {
        "module_list": ["none", "ip-adapter-auto"],
        "model_list": ["None", "look"],
        "default_option": "ip-adapter-auto",
        "default_model": "look",
    }
    assert "ip-adapter-auto" in types["All"]["module_list"]


def test_the_type_of_t2i_adapters_lists_them_all_and_offers_the_one_of_its_map(
    client: TestClient, studio: FakeStudio
):
    canny = model("t2i-canny", ModelKind.T2I_ADAPTER)
    adapters = canny, model("colours", ModelKind.T2I_ADAPTER), model("net-canny", ModelKind.CONTROLNET)
    row = types_with(client, studio, *adapters)["T2I-Adapter"]
    assert row["model_list"] == ["None", "colours", "t2i-canny"]
    assert row["default_model"] == "colours"
    assert types_with(client, studio, canny)["T2I-Adapter"]["default_model"] == "None"


def test_every_module_that_our_infotexts_write_is_listed(client: TestClient):
    prompt = ImagePrompt(model="m", images=("0" * 64,))
    ((_, unit),) = control_fields(GenerateRequest(image_prompts=(prompt,)), {})
    written = unit.removeprefix("Module: ").partition(",")[0]
    assert written in client.get("/controlnet/module_list").json()["module_list"]


def test_settings_tell_the_number_of_units_under_both_names(client: TestClient):
    reply = client.get("/controlnet/settings").json()
    assert reply["control_net_unit_count"] == reply["control_net_max_models_num"] >= 3


def test_webuiapi_gets_maps_of_its_pictures(api: WebUIApi, studio: FakeStudio):
    reply = api.controlnet_detect([photo(), photo((48, 80))], module="canny", threshold_a=30, threshold_b=90)
    assert [image.size for image in reply.images] == [(96, 64), (48, 80)]
    requests = [job.request for job in studio.jobs()]
    assert all(isinstance(request, PreprocessRequest) for request in requests)
    assert requests[0].preprocessor == Canny(low=30, high=90, resolution=512)


def test_no_module_gives_the_picture_back(client: TestClient):
    sent = base64_of(photo())
    reply = client.post("/controlnet/detect", json={"controlnet_images": [sent]}).json()
    (image,) = reply["images"]
    assert Image.open(io.BytesIO(base64.b64decode(image))).tobytes() == photo().tobytes()
    assert reply["info"] == "Success"


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"controlnet_module": "telepathy", "controlnet_images": ["x"]}, "controlnet_module"),
        ({"controlnet_module": "ip-adapter-auto", "controlnet_images": ["x"]}, "controlnet_module"),
        ({"controlnet_module": "canny", "controlnet_images": []}, "controlnet_images"),
        ({"controlnet_module": "canny", "controlnet_images": ["***"]}, "controlnet_images.0"),
        ({"controlnet_module": "canny"}, "controlnet_images"),
        ({"controlnet_images": ["x"], "controlnet_processor_res": 99999}, "controlnet_processor_res"),
        ({"controlnet_images": [PHOTO], "controlnet_masks": [PHOTO] * 2}, "controlnet_masks"),
        ({"controlnet_images": [PHOTO, GARBAGE]}, "controlnet_images.1"),
        ({"controlnet_module": "canny", "controlnet_images": [PHOTO, EMPTY]}, "controlnet_images.1"),
        (
            {
                "controlnet_module": "inpaint_only",
                "controlnet_images": [PHOTO] * 2,
                "controlnet_masks": [PHOTO, GARBAGE],
            },
            "controlnet_masks.1",
        ),
        ({"controlnet_images": [PHOTO] * 17}, "controlnet_images"),
    ],
)
def test_faults_are_told_at_their_field(client: TestClient, payload: dict, field: str):
    reply = client.post("/controlnet/detect", json=payload)
    assert reply.status_code == 422
    assert reply.json()["field"] == field


def test_masks_say_what_an_inpaint_module_marks(client: TestClient, studio: FakeStudio):
    masks = [base64_of(Image.new("L", (96, 64), light)) for light in (255, 200)]
    payload = {
        "controlnet_module": "inpaint_only",
        "controlnet_images": [base64_of(photo())] * 2,
        "controlnet_masks": masks,
    }
    assert client.post("/controlnet/detect", json=payload).status_code == 200
    stored = [studio.blob(job.request.preprocessor.mask) for job in reversed(studio.jobs())]
    assert stored == [base64.b64decode(mask) for mask in masks]
    client.post("/controlnet/detect", json=payload | {"controlnet_module": "canny"})
    assert studio.jobs()[0].request.preprocessor == Canny(resolution=512)


def test_a_map_that_cannot_be_made_is_told_at_the_clients_field(client: TestClient, studio: FakeStudio):
    payload = {"controlnet_module": "canny", "controlnet_images": [base64_of(photo())]}
    for ours, theirs in (
        ("image", "controlnet_images.0"),
        ("preprocessor.low", "controlnet_threshold_a"),
        ("preprocessor.resolution", "controlnet_processor_res"),
        ("preprocessor.model", "controlnet_module"),
    ):
        studio.fail_map = InvalidRequest("It went wrong.", "Do it differently.", field=ours)
        reply = client.post("/controlnet/detect", json=payload).json()
        assert (reply["problem"], reply["remedy"]) == ("It went wrong.", "Do it differently.")
        assert reply["field"] == theirs


def test_unknown_paths_are_answered_in_the_same_shape(client: TestClient):
    assert client.get("/controlnet/nothing").json()["error"] == "NotFound"


@pytest.mark.parametrize(
    ("preprocessor", "field"),
    [
        ({"kind": "canny", "low": 0}, "preprocessor.low"),
        ({"kind": "canny", "lows": 1}, "preprocessor.lows"),
        ({"kind": "telepathy"}, "preprocessor.kind"),
        ({}, "preprocessor.kind"),
    ],
)
def test_a_request_names_the_option_at_fault(client: TestClient, preprocessor: dict, field: str):
    request = {"kind": "preprocess", "image": "0" * 64, "preprocessor": preprocessor}
    assert client.post("/studio/v1/jobs", json=request).json()["field"] == field

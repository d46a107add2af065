"""/studio/v1: uploads, the library, models and status."""

from __future__ import annotations

import io
import zipfile

import pytest
from PIL import Image

from studio.core.requests import GenerateRequest
from tests.api.samples import png, run_job
from tests.fakes import MODELS

REQUEST = GenerateRequest(prompt="a red ball", width=64, height=64, seed=7)


@pytest.fixture
def image(studio):
    return studio.add_image(REQUEST)


def test_an_upload_as_raw_body_comes_back_byte_for_byte(client):
    stored = client.post("/studio/v1/blobs", content=png()).json()
    reply = client.get(f"/studio/v1/blobs/{stored['id']}")
    assert reply.content == png()
    assert reply.headers["content-type"] == "image/png"


def test_an_upload_as_form_is_the_same_blob(client):
    raw = client.post("/studio/v1/blobs", content=png()).json()
    form = client.post("/studio/v1/blobs", files={"file": ("x.png", png(), "image/png")}).json()
    assert form == raw


def test_a_blob_is_the_source_of_a_request(client):
    blob = client.post("/studio/v1/blobs", content=png()).json()["id"]
    job = run_job(client, {**REQUEST.model_dump(mode="json"), "source": {"image": blob}})
    assert job["state"] == "finished"


@pytest.mark.parametrize("data", [b"", b"not a picture", png()[:50]])
def test_what_is_no_picture_is_refused(client, data):
    reply = client.post("/studio/v1/blobs", content=data)
    assert reply.status_code == 422
    assert reply.json()["problem"]


def test_a_form_without_a_file_is_refused(client):
    assert client.post("/studio/v1/blobs", files={}, data={"a": "b"}).status_code == 422


def test_a_page_beyond_all_numbers_is_refused_at_its_field(client):
    for offset, status in ((2**63 - 1, 200), (2**63, 422), (10**30, 422)):
        reply = client.get("/studio/v1/images", params={"offset": offset})
        assert reply.status_code == status
    assert reply.json()["field"] == "offset"


def test_search_finds_by_words(client, studio):
    studio.add_image(REQUEST)
    wanted = studio.add_image(REQUEST.model_copy(update={"prompt": "a blue house"}))
    page = client.get("/studio/v1/images", params={"text": "house"}).json()
    assert [each["id"] for each in page["images"]] == [wanted.id]
    assert page["total"] == 1


def test_search_refuses_conditions_that_it_does_not_know(client):
    reply = client.get("/studio/v1/images", params={"colour": "red"})
    assert (reply.status_code, reply.json()["field"]) == (422, "colour")


def test_a_record_restores_its_request(client, image):
    record = client.get(f"/studio/v1/images/{image.id}").json()
    assert GenerateRequest.model_validate(record["request"]) == REQUEST


def test_the_file_is_served_as_what_it_is(client, studio, image):
    reply = client.get(f"/studio/v1/images/{image.id}/file")
    assert reply.content == studio.image_path(image.id).read_bytes()
    assert reply.headers["content-type"] == "image/png"


def test_the_thumbnail_is_a_small_webp(client, image):
    reply = client.get(f"/studio/v1/images/{image.id}/thumbnail")
    assert Image.open(io.BytesIO(reply.content)).format == "WEBP"


def test_a_favourite_is_marked_and_unmarked(client, image):
    url = f"/studio/v1/images/{image.id}"
    assert client.patch(url, json={"favourite": True}).json()["favourite"] is True
    assert client.patch(url, json={"favourite": False}).json()["favourite"] is False


def test_a_deleted_image_is_gone_until_it_is_brought_back(client, image):
    undo = client.delete(f"/studio/v1/images/{image.id}").json()
    assert client.get(f"/studio/v1/images/{image.id}").status_code == 404
    assert client.post("/studio/v1/images/undo", json=undo).json()["images"] == [image.id]
    assert client.get(f"/studio/v1/images/{image.id}").status_code == 200


def test_several_images_are_deleted_at_once(client, studio):
    ids = [studio.add_image(REQUEST).id for _ in range(3)]
    client.post("/studio/v1/images/delete", json={"images": ids[:2]})
    assert [each.id for each in studio.images().images] == [ids[2]]


def test_an_export_is_a_zip_of_the_files(client, studio, image):
    reply = client.post("/studio/v1/images/export", json={"images": [image.id]})
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        (name,) = archive.namelist()
        assert archive.read(name) == studio.image_path(image.id).read_bytes()


def test_settings_are_read_from_a_file_of_ours(client, studio, image):
    data = studio.image_path(image.id).read_bytes()
    settings = client.post("/studio/v1/settings/from-image", content=data).json()
    assert GenerateRequest.model_validate(settings["request"]) == REQUEST


def test_settings_are_read_from_generation_parameters(client, image):
    settings = client.post("/studio/v1/settings/from-text", json={"text": image.infotext}).json()
    assert settings["request"]["seed"] == 7


def test_a_file_without_settings_is_refused(client):
    reply = client.post("/studio/v1/settings/from-image", content=png())
    assert (reply.status_code, reply.json()["error"]) == (422, "InvalidRequest")


def test_models_are_listed_by_kind(client):
    names = [model["name"] for model in client.get("/studio/v1/models", params={"kind": "vae"}).json()]
    assert names == ["Soft VAE", "XL VAE"]


def test_a_row_of_the_catalogue_can_be_installed_as_it_is(client):
    row = client.get("/studio/v1/models/catalogue").json()[1]
    assert client.post("/studio/v1/jobs", json=row["install"]).status_code == 201


def test_activating_a_checkpoint_shows_in_the_status(client):
    client.post("/studio/v1/models/activate", json={"model": "fake/large"})
    assert client.get("/studio/v1/status").json()["active_model"] == "fake/large"


def test_a_broken_checkpoint_is_not_activated(client):
    reply = client.post("/studio/v1/models/activate", json={"model": "fake/broken"})
    assert reply.status_code == 422
    assert "cut off" in reply.json()["problem"]


def test_unloading_frees_the_memory(client):
    run_job(client)
    assert client.get("/studio/v1/status").json()["components"]
    assert client.post("/studio/v1/models/unload").json()["components"] == []


def test_refreshing_answers_with_what_is_there(client):
    assert len(client.post("/studio/v1/models/refresh").json()) == len(MODELS)

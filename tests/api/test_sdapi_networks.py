"""The lists of LoRAs, embeddings and hypernetworks, as AUTOMATIC1111's clients read them."""

from __future__ import annotations

from studio.core.models import ModelInfo, ModelKind


def get(client, path):
    reply = client.get(f"/sdapi/v1/{path}")
    assert reply.status_code == 200
    return reply.json()


def test_loras_are_listed_with_what_their_cards_tell(client):
    rows = {row["name"]: row for row in get(client, "loras")}
    assert "Torn" not in rows  # it cannot be used
    assert rows["Watercolour"] == {
        "name": "Watercolour",
        "alias": "Watercolour",
        "path": "watercolour.safetensors",
        "metadata": {
            "ss_network_dim": "16",
            "ss_network_alpha": "8",
            "sshs_model_hash": "aa" * 32,
            "modelspec.trigger_phrase": "watercolour style, wet paper",
            "modelspec.description": "Soft edges and paper that shines through.",
            "modelspec.author": "Ada",
            "modelspec.license": "CC-BY-4.0",
        },
    }


def test_an_alias_is_the_name_that_it_was_trained_under(client, studio):
    studio.model_list.append(ModelInfo(id="b", name="b", kind=ModelKind.LORA, alias="anna_v2"))
    assert get(client, "loras")[-1]["alias"] == "anna_v2"


def test_embeddings_are_loaded_or_skipped_as_they_fit_the_active_checkpoint(client, studio):
    reply = get(client, "embeddings")
    assert set(reply["loaded"]) == {"old-photo", "bad-hands"}
    assert set(reply["skipped"]) == {"gloss-xl"}
    assert reply["loaded"]["old-photo"] == {
        "step": 500,
        "sd_checkpoint": "0123abcd",
        "sd_checkpoint_name": "toytown",
        "shape": 128,
        "vectors": 4,
    }
    assert reply["loaded"]["bad-hands"]["shape"] == 768  # its family's, where the file tells nothing
    assert reply["loaded"]["bad-hands"]["step"] is None
    studio.activate("fake/large")
    assert set(get(client, "embeddings")["loaded"]) == {"gloss-xl"}


def test_hypernetworks_are_listed(client):
    assert {"name": "woodcut", "path": "woodcut.pt"} in get(client, "hypernetworks")


def test_no_list_tells_where_files_lie(client, studio):
    secret = "/srv/ada/private"
    studio.model_list = [
        model.model_copy(update={"location": f"{secret}/{model.name}.pt"}) for model in studio.model_list
    ]
    for path in ("loras", "embeddings", "hypernetworks"):
        reply = client.get(f"/sdapi/v1/{path}")
        assert reply.status_code == 200
        assert "private" not in reply.text


def test_our_own_list_carries_the_cards(client):
    rows = {row["id"]: row for row in client.get("/studio/v1/models", params={"kind": "lora"}).json()}
    assert rows["fake/night-city"]["negative_text"] == "daylight"
    assert rows["fake/lcm-lora"]["suggests"] == {
        "technique": "LCM",
        "sampler": "LCM",
        "schedule": None,
        "steps": 6,
        "guidance_scale": 1.5,
    }
    preview = rows["fake/watercolour"]["preview"]
    assert client.get(f"/studio/v1/blobs/{preview}").headers["content-type"] == "image/png"

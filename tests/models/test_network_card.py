"""What cards tell of LoRAs, embeddings and hypernetworks, and that hostile metadata is only text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from studio.core.errors import NotFound
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.samplers import Sampler, Schedule, schedules_for
from studio.core.settings import Settings
from studio.models.cache import sha256_of
from studio.models.catalogue import ModelCatalogue
from studio.models.distilled import hint_for
from tests.models.sparse import write_sparse

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
LORA = {f"{LAYER}.lora_down.weight": (8, 768), f"{LAYER}.lora_up.weight": (320, 8), f"{LAYER}.alpha": ()}


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def catalogue(tmp_path, models):
    """Made anew for every look: `catalogue()`."""

    def make() -> ModelCatalogue:
        put = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731
        settings = Settings(data_dir=tmp_path / "data", models_dirs=(models,))
        return ModelCatalogue(settings, put_preview=put)

    return make


def lora(models: Path, name: str = "anna", **metadata: str) -> Path:
    told = {key.replace("__", "."): text for key, text in metadata.items()}
    return write_sparse(models / "Lora" / f"{name}.safetensors", LORA, told)


def beside(model: Path, suffix: str, content: object) -> None:
    model.with_suffix(suffix).write_text(json.dumps(content), "utf-8")


def test_what_a_training_program_wrote_is_on_the_card(models, catalogue):
    tags = {"10_anna": {"red hair": 40, "smile": 12, "anna": 60}, "5_more": {"smile": 40}}
    lora(
        models,
        ss_output_name="anna_v2",
        ss_base_model_version="sd_v1",
        ss_network_alpha="4.0",
        ss_tag_frequency=json.dumps(tags),
        modelspec__author="Ada",
        modelspec__license="CC0-1.0",
        modelspec__description="A friend.",
    )
    card = catalogue().find("anna")
    assert card.trigger_words == ("anna", "smile", "red hair")
    assert (card.alias, card.base, card.family) == ("anna_v2", "sd_v1", Family.SD1)
    assert (card.rank, card.alpha) == (8, 4.0)
    assert (card.author, card.licence, card.description) == ("Ada", "CC0-1.0", "A friend.")


def test_words_in_a_loras_file_go_before_its_trigger_words(models, catalogue):
    words = {f"bundle_emb.{word}.string_to_param.*": (2, 768) for word in ("zork", "zork neg", "od\x07d")}
    told = {"modelspec.trigger_phrase": "anna, zork"}
    write_sparse(models / "Lora" / "anna.safetensors", LORA | words | {"bundle_emb.empty": (1,)}, told)
    card = catalogue().find("anna")
    assert card.usable
    assert card.bundled_words == ("zork", "zork neg")
    assert card.trigger_words == ("zork", "zork neg", "anna")


def test_what_a_person_wrote_goes_first(models, catalogue):
    file = lora(models, modelspec__trigger_phrase="from the file", ss_base_model_version="sd_v1")
    beside(file, ".civitai.info", {"trainedWords": ["from, the site"], "description": "<p>a &amp; b</p>"})
    assert catalogue().find("anna").trigger_words == ("from", "the site")
    assert catalogue().find("anna").description == "a & b"
    written = {
        "activation text": "anna, (red hair, loose:1.2),  anna ",
        "preferred weight": 0.7,
        "negative text": "hat",
        "sd version": "SD1",
        "notes": "Best at 20 steps.",
        "description": "Mine.",
    }
    beside(file, ".json", written)
    card = catalogue().find("anna")
    assert card.trigger_words == ("anna", "(red hair, loose:1.2)")
    assert (card.preferred_weight, card.negative_text) == (0.7, "hat")
    assert (card.base, card.notes, card.description) == ("SD1", "Best at 20 steps.", "Mine.")


def test_a_preferred_weight_of_zero_means_that_none_was_set(models, catalogue):
    beside(lora(models), ".json", {"preferred weight": 0})
    assert catalogue().find("anna").preferred_weight is None


def test_the_family_is_taken_from_a_sites_word_where_the_file_does_not_tell(models, catalogue):
    shapes = {"lora_unet_mid_block_resnets_0_conv1.lora_down.weight": (4, 1280, 3, 3)}
    file = write_sparse(models / "Lora" / "conv.safetensors", shapes)
    assert catalogue().find("conv").family is Family.UNKNOWN
    beside(file, ".civitai.info", {"baseModel": "Pony"})
    assert catalogue().find("conv").family is Family.SDXL


def test_the_picture_inside_a_file_is_the_preview_unless_one_lies_beside_it(models, catalogue):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    url = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    file = lora(models, modelspec__thumbnail=url)
    assert catalogue().find("anna").preview == hashlib.sha256(buffer.getvalue()).hexdigest()
    file.with_suffix(".png").write_bytes(b"another")
    assert catalogue().find("anna").preview == hashlib.sha256(b"another").hexdigest()


@pytest.mark.parametrize(
    "thumbnail",
    ["data:image/png;base64,!", "data:text/html;base64,aGk=", "https://example.org/a.png", "x" * 99],
)
def test_what_is_no_picture_is_no_preview(models, catalogue, thumbnail):
    lora(models, modelspec__thumbnail=thumbnail)
    assert catalogue().find("anna").preview is None


HOSTILE = (
    "\ud800 lone", "\x00\x1b[31m", "\u202eevil", "a" * 2**20, "[" * 10_000, '{"a": {"b": 1e400}}',
    '{"a": {"b": "c"}}', '{"a": [1]}', "[]", "null", '{"a": {"' + "x" * 5000 + '": 3}}', "\n", "nan", "inf",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_metadata_says_a_card_stays_short_text(models, catalogue, text):
    keys = ("ss_tag_frequency", "ss_output_name", "ss_base_model_version", "ss_network_alpha")
    specs = ("trigger_phrase", "description", "author", "license", "thumbnail", "title", "architecture")
    told = {**dict.fromkeys(keys, text), **{f"modelspec__{key}": text for key in specs}}
    file = lora(models, sshs_model_hash=text, **told)
    site = {"trainedWords": [text] * 99, "description": text, "baseModel": text}
    beside(file, ".civitai.info", site)
    beside(file, ".json", {"notes": text, "negative text": text, "preferred weight": text})
    card = catalogue().find("anna")
    assert ModelInfo.model_validate_json(card.model_dump_json()) == card
    assert len(card.model_dump_json()) < 16_000
    assert all(sign not in card.model_dump_json() for sign in ("\\u0000", "\\u001b", "\u202e"))
    assert card.usable


@pytest.mark.parametrize(
    "content", [3, [], {"trainedWords": 3}, {"trainedWords": [None, 3, {}]}, {"notes": []}]
)
def test_sidecars_of_any_shape_are_survived(models, catalogue, content):
    file = lora(models)
    beside(file, ".civitai.info", content)
    beside(file, ".json", content)
    assert catalogue().find("anna").trigger_words == ()


def test_ranks_that_differ_are_not_told(models, catalogue):
    write_sparse(
        models / "Lora" / "mixed.safetensors",
        {**LORA, "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (4, 1280)},
    )
    assert catalogue().find("mixed").rank is None


@pytest.mark.parametrize(
    ("content", "vectors", "family"),
    [
        ({"string_to_param": {"*": torch.ones(3, 768)}, "sd_checkpoint_name": "dream"}, 3, Family.SD1),
        (
            {"string_to_param": {"*": torch.ones(3, 1024)}, "string_to_token": {"*": torch.tensor(265)}},
            3,
            Family.SD2,
        ),
        ({"<cat>": torch.ones(768)}, 1, Family.SD1),
        ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, 2, Family.SDXL),
    ],
)  # fmt: skip
def test_an_embedding_is_called_by_its_file_and_tells_its_vectors(
    models, catalogue, content, vectors, family
):
    (models / "embeddings").mkdir(parents=True)
    torch.save(content, models / "embeddings" / "my-cat.pt")
    card = catalogue().find("my-cat")
    assert (card.kind, card.vectors, card.family) == (ModelKind.EMBEDDING, vectors, family)
    assert card.trigger_words == ("my-cat",)
    assert card.base == content.get("sd_checkpoint_name", "")


def test_what_the_training_of_an_embedding_wrote_is_on_its_card(models, catalogue):
    (models / "embeddings").mkdir(parents=True)
    told = {"step": 1, "sd_checkpoint": "0123abcd", "sd_checkpoint_name": "dream"}
    torch.save({"string_to_param": {"*": torch.ones(2, 128)}} | told, models / "embeddings" / "small.pt")
    pair = {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}
    torch.save(pair | {"step": "many"}, models / "embeddings" / "pair.pt")
    small, pair_card = (catalogue().find(name) for name in ("small", "pair"))
    assert (small.vector_width, small.trained_steps, small.base, small.base_hash) == (
        128,
        1,
        "dream",
        "0123abcd",
    )
    assert (pair_card.vector_width, pair_card.trained_steps, pair_card.base_hash) == (2048, None, "")


HINTS = {
    "lcm-lora-sdv1-5": (Sampler.LCM, 6, 1.5),
    "LCM_LoRA_SDXL": (Sampler.LCM, 6, 1.5),
    "Hyper-SD15-8steps-lora": (Sampler.DDIM, 8, 1),
    "Hyper-SDXL-1step-lora": (Sampler.TCD, 1, 1),
    "Hyper-SDXL-12steps-CFG-lora": (Sampler.DDIM, 12, 5),
    "sdxl_lightning_4step_lora": (Sampler.EULER, 4, 1),
    "TCD-SD15-LoRA": (Sampler.TCD, 4, 1),
    "dmd2_sdxl_4step_lora_fp16": (Sampler.LCM, 4, 1),
    "sd_xl_turbo_lora_v1": (Sampler.EULER_A, 4, 1),
}


@pytest.mark.parametrize("name", HINTS)
def test_loras_for_few_steps_suggest_their_settings(name):
    hint = hint_for(name)
    assert hint is not None
    assert (hint.sampler, hint.steps, hint.guidance_scale) == HINTS[name]
    assert (hint.schedule or Schedule.AUTOMATIC) in schedules_for(hint.sampler)


@pytest.mark.parametrize(
    "name", ["anna", "hyperreal detail", "lightnings", "turbocharged car", "falcm", "99steps"]
)
def test_other_loras_suggest_nothing(name):
    assert hint_for(name) is None


def test_the_suggestion_is_found_by_the_name_inside_the_file_too(models, catalogue):
    lora(models, modelspec__title="LCM-LoRA for SD 1.5")
    assert catalogue().find("anna").suggests.technique == "LCM"


def test_a_lora_is_named_by_the_hash_of_what_follows_its_header(models, catalogue):
    file = lora(models)
    content = file.read_bytes()
    body = hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
    known = catalogue()
    assert known.find("anna").network_hash == ""
    assert known.network_hash("anna") == body
    assert catalogue().find("anna").network_hash == body  # kept over a restart
    lora(models, "renamed", ss_output_name="with other metadata")
    known.refresh()
    assert known.network_hash("renamed") == body


def test_the_hash_in_the_header_is_believed(models, catalogue):
    lora(models, sshs_model_hash="AB" * 32)
    assert catalogue().find("anna").network_hash == "ab" * 32


def test_an_embedding_is_named_by_the_hash_of_its_file(models, catalogue):
    (models / "embeddings").mkdir(parents=True)
    file = models / "embeddings" / "cat.pt"
    torch.save({"*": torch.ones(1, 768)}, file)
    assert catalogue().network_hash("cat") == sha256_of(file)
    assert catalogue().find("cat").network_hash == sha256_of(file)


def test_a_name_with_its_hash_finds_that_file_among_others(models, catalogue):
    lora(models, "a", sshs_model_hash="aa" * 32)
    lora(models, "b", sshs_model_hash="bb" * 32, ss_output_name="trained name")
    lora(models, "twin", sshs_model_hash="aa" * 32)
    known = catalogue()
    for name, digits, found in (
        ("twin", "aa" * 6, "twin"), ("gone", "bb" * 6, "b"), ("a", "bb" * 6, "b"), ("a", "cc" * 6, "a"),
        ("a", "", "a"), ("trained name", "", "b"), ("", "bb" * 6, "b"),
    ):  # fmt: skip
        assert known.resolve(name, digits, ModelKind.LORA).id == found
    assert known.resolve("gone", "cc" * 6, ModelKind.LORA) is None
    assert known.resolve("a", "", ModelKind.EMBEDDING) is None
    with pytest.raises(NotFound):
        known.find("")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems only have names that are text")
def test_a_file_whose_name_is_no_text_hides_no_other(models, catalogue):
    file = lora(models)
    os.link(file, os.fsencode(file.parent) + b"/\xff\xfe.safetensors")
    assert catalogue().find("anna").usable


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        (LORA | {f"{LAYER}.lora_up.weight": (320, 4)}, "must have one rank, but have 4 and 8"),
        ({f"{LAYER}.lora_down.weight": (8, 768)}, "lacks up"),
        (LORA | {f"{LAYER}.dora_wd": (320,)}, "no kind of LoRA"),
    ],
)
def test_a_lora_whose_header_contradicts_itself_says_so_on_its_card(
    models: Path, catalogue, shapes: dict[str, tuple[int, ...]], says: str
):
    write_sparse(models / "Lora" / "anna.safetensors", shapes)
    lora(models, "whole")
    bad, good = (catalogue().find(name) for name in ("anna", "whole"))
    assert not bad.usable
    assert says in bad.problem
    assert "anna" in bad.problem
    assert good.usable

"""Textual inversions and hypernetworks in a whole studio: what they change, and what a bad one gets told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops

from studio.app.studio import LocalStudio, build_studio
from studio.core.conditions import HypernetworkInput, LoraInput
from studio.core.errors import InvalidRequest
from studio.core.events import Event, Failed, Finished, Log
from studio.core.requests import GenerateRequest
from studio.core.samplers import Sampler
from studio.core.settings import Precision, Settings
from tests import tiny
from tests.adapters import loras
from tests.adapters.networks import make_nets, write_embedding, write_hypernetwork

REQUEST = GenerateRequest(
    model="tiny", prompt="a red ball", width=64, height=64, steps=3, seed=5, sampler=Sampler.EULER
)


class Hostile:
    """Would make a folder if it were unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.make_sd1(folder / "tiny", seed=1)
    words, nets = folder / "embeddings", folder / "hypernetworks"
    write_embedding(words / "style.pt", torch.randn(4, 32))
    write_embedding(words / "narrow.pt", torch.randn(2, 24))
    write_embedding(words / "pair.safetensors", torch.randn(2, 32), torch.randn(2, 64), form="sdxl")
    write_embedding(words / "broken.pt", torch.full((2, 32), torch.nan))
    write_embedding(words / "endless.pt", torch.randn(80, 32))
    torch.save({"emb_params": torch.ones(1, 32), "more": Hostile(folder / "executed")}, words / "hostile.pt")
    write_hypernetwork(nets / "ink.pt", make_nets((32, 64), activation=None, seed=2))
    write_hypernetwork(nets / "narrow-ink.pt", make_nets((24, 48)))
    write_hypernetwork(nets / "odd.pt", make_nets((32,)), activation_func="glu")
    write_bundle(folder / "bundle.safetensors", zork=torch.load(words / "style.pt")["string_to_param"]["*"])
    write_bundle(folder / "other.safetensors", zork=torch.randn(4, 32), style=torch.randn(4, 32))
    write_bundle(
        folder / "bad-bundle.safetensors", zork=torch.full((2, 32), torch.nan), wide=torch.randn(1, 768)
    )
    nan = {"linear.0.weight": torch.full((32, 32), torch.nan), "linear.0.bias": torch.ones(32)}
    torch.save({32: (nan, nan), "layer_structure": [1, 1]}, nets / "nan.pt")
    return folder


def write_bundle(file: Path, **words: torch.Tensor) -> None:
    """A LoRA, and textual inversions in the same file."""
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    pair = {f"{layer}.lora_up.weight": torch.ones(64, 4), f"{layer}.lora_down.weight": torch.ones(4, 64)}
    loras.write(file, pair | {f"bundle_emb.{word}.string_to_param.*": each for word, each in words.items()})


@pytest.fixture
def studio(folder: Path, tmp_path: Path) -> Iterator[LocalStudio]:
    studio = build_studio(
        Settings(data_dir=tmp_path / "data", models_dirs=(folder,), device="cpu", precision=Precision.FP32)
    )
    studio.start()
    yield studio
    studio.close()


def run(studio: LocalStudio, **changes: Any) -> list[Event]:
    return list(studio.events(studio.submit(REQUEST.model_copy(update=changes)).id, timeout=60))


def picture(studio: LocalStudio, **changes: Any) -> Image.Image:
    last = run(studio, **changes)[-1]
    assert isinstance(last, Finished), last
    return Image.open(studio.image_path(last.images[0])).convert("RGB")


def differ(a: Image.Image, b: Image.Image) -> bool:
    return max(high for _, high in ImageChops.difference(a, b).getextrema()) > 1


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "a red ball, style"},
        {"negative_prompt": "STYLE"},
        {"prompt": "a red ball, [(style:0.5)|a]"},
        {"prompt": "a red ball <hypernet:ink:1>"},
        {"hypernetworks": (HypernetworkInput(model="ink", weight=-1),)},
    ],
    ids=["prompt", "negative prompt", "switching", "tag", "entry"],
)
def test_each_changes_the_picture_and_leaves_nothing_behind(studio: LocalStudio, changes: dict[str, Any]):
    before = picture(studio)
    assert differ(picture(studio, **changes), before)
    assert not ImageChops.difference(picture(studio), before).getbbox()


def test_the_manager_holds_their_files(studio: LocalStudio):
    picture(studio, prompt="style <hypernet:ink:1>")
    roles = {component.role for component in studio.status().components}
    assert {"embedding:style", "hypernetwork:ink"} < roles


def test_weight_zero_and_switched_off_change_nothing(studio: LocalStudio):
    off = (HypernetworkInput(model="ink", weight=0), HypernetworkInput(model="ink", enabled=False))
    assert not ImageChops.difference(picture(studio, hypernetworks=off), picture(studio)).getbbox()


def test_tokens_are_counted_with_their_vectors(studio: LocalStudio):
    picture(studio)
    counts = {
        text: studio.count_tokens(text, "tiny").tokens for text in ("a Style ball", "pair", "a broken ball")
    }
    assert counts == {"a Style ball": 6, "pair": len("pair"), "a broken ball": 4}


def bundle(name: str, **changes: Any) -> dict[str, Any]:
    """The words in a LoRA's file, without what it does to the model."""
    return {"loras": (LoraInput(model=name, weight=0, **changes),)}


def test_a_word_in_a_loras_file_is_one_of_the_embeddings_folder_while_the_lora_is_on(studio: LocalStudio):
    plain = picture(studio, prompt="a red ball, zork")
    installed = picture(studio, prompt="a red ball, style")
    for on in (
        {"prompt": "a red ball, ZORK<lora:bundle:0>"},
        {"prompt": "a red ball, zork"} | bundle("bundle"),
    ):
        assert not ImageChops.difference(picture(studio, **on), installed).getbbox()
    assert differ(picture(studio, prompt="a red ball, zork", **bundle("other")), installed)
    assert differ(
        picture(studio, prompt="a red ball", negative_prompt="zork", **bundle("other")), picture(studio)
    )
    for off in ({}, bundle("bundle", enabled=False)):
        assert not ImageChops.difference(picture(studio, prompt="a red ball, zork", **off), plain).getbbox()


def test_the_file_of_a_lora_that_defines_a_word_is_given_back(studio: LocalStudio):
    picture(studio, prompt="zork", **bundle("bundle"))
    assert "lora:bundle" in {part.role for part in studio.status().components}
    studio.unload_models()
    assert studio.status().components == ()


def test_of_words_of_one_name_the_embeddings_folder_goes_first_and_then_the_first_lora(studio: LocalStudio):
    both = {"loras": (*bundle("bundle")["loras"], *bundle("other")["loras"])}
    events = run(studio, prompt="style, zork", **both)
    assert isinstance(events[-1], Finished)
    assert {event.message for event in events if isinstance(event, Log)} == {
        "The word 'zork' means the textual inversion zork (in bundle), not that in other.",
        "The word 'style' means the textual inversion style, not that in other.",
    }


@pytest.mark.parametrize(("prompt", "field"), [("a zork", "prompt"), ("", "negative_prompt")])
def test_a_broken_word_in_a_loras_file_is_told_where_it_is_said(studio: LocalStudio, prompt: str, field: str):
    changes = {"prompt": prompt, "negative_prompt": "" if prompt else "zork"}
    failed = run(studio, **changes, **bundle("bad-bundle"))[-1]
    assert isinstance(failed, Failed)
    assert failed.field == field
    assert "zork (in bad-bundle) is broken" in failed.message
    assert isinstance(run(studio, **bundle("bad-bundle"))[-1], Finished)


def test_a_word_in_a_loras_file_for_another_model_is_plain_text(studio: LocalStudio):
    notes = [
        event.message
        for event in run(studio, prompt="wide", **bundle("bad-bundle"))
        if isinstance(event, Log)
    ]
    (note,) = notes
    assert note.startswith("The vectors of the textual inversion wide (in bad-bundle) are 768 wide")
    assert "needs 32" in note


def test_tokens_are_counted_with_the_words_in_loras_files(studio: LocalStudio):
    picture(studio)
    assert studio.count_tokens("a zork", "tiny").tokens == 1 + len("zork")
    assert studio.count_tokens("a zork", "tiny", ["bundle"]).tokens == 1 + 4
    assert studio.count_tokens("a zork<lora:bundle:1>", "tiny").tokens == 1 + 4


@pytest.mark.parametrize(("name", "says"), [("pair", "SDXL"), ("narrow", "24.*needs 32")])
def test_one_for_another_model_is_plain_text_and_the_log_says_so(studio: LocalStudio, name: str, says: str):
    events = run(studio, prompt=f"a red ball {name}")
    assert isinstance(events[-1], Finished)
    (note,) = [event.message for event in events if isinstance(event, Log)]
    assert name in note
    assert "plain text" in note
    assert all(word in note for word in says.split(".*"))


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"prompt": "a broken ball"}, "prompt", "string_to_param.* is not a number"),
        ({"negative_prompt": "broken"}, "negative_prompt", "NaN"),
        ({"prompt": "a <hypernet:narrow-ink:1>"}, "prompt", "24, 48 wide"),
        (
            {"hypernetworks": (HypernetworkInput(model="nan"),)},
            "hypernetworks.0.model",
            "linear.0.weight are no",
        ),
    ],
)
def test_a_bad_file_fails_the_job_with_a_sentence_and_the_next_job_works(
    studio: LocalStudio, changes: dict[str, Any], field: str, says: str
):
    failed = run(studio, **changes)[-1]
    assert isinstance(failed, Failed)
    assert says in failed.message
    assert failed.field == field
    picture(studio)


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"prompt": "an endless ball"}, "prompt", "endless has 80 vectors"),
        (
            {"hypernetworks": (HypernetworkInput(model="odd"),)},
            "hypernetworks.0.model",
            "odd cannot be used: its activation 'glu'",
        ),
        ({"prompt": "a ball <hypernet:odd:1>"}, "prompt", "odd cannot be used: its activation 'glu'"),
    ],
)
def test_what_a_header_tells_is_refused_when_it_is_submitted(
    studio: LocalStudio, changes: dict[str, Any], field: str, says: str
):
    with pytest.raises(InvalidRequest, match=says) as refused:
        studio.submit(REQUEST.model_copy(update=changes))
    assert refused.value.field == field


def test_a_hostile_pickle_is_refused_and_never_run(studio: LocalStudio, folder: Path):
    with pytest.raises(InvalidRequest, match="execute code") as refused:
        studio.submit(REQUEST.model_copy(update={"prompt": "a hostile ball"}))
    assert refused.value.field == "prompt"
    assert not (folder / "executed").exists()


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("word.pt", {"prompt": "word"}, "prompt"),
        ("net.pt", {"hypernetworks": (HypernetworkInput(model="net"),)}, "hypernetworks.0.model"),
    ],
)
def test_a_file_deleted_while_queued_is_told(
    folder: Path, tmp_path: Path, name: str, changes: dict[str, Any], field: str
):
    (tmp_path / "own").mkdir()
    file = tmp_path / "own" / name
    write_embedding(file, torch.randn(1, 32)) if "prompt" in changes else write_hypernetwork(
        file, make_nets((32,))
    )
    studio = build_studio(
        Settings(data_dir=tmp_path / "data", models_dirs=(folder, tmp_path / "own"), device="cpu")
    )
    try:
        job = studio.submit(REQUEST.model_copy(update=changes))
        file.unlink()
        studio.start()
        failed = list(studio.events(job.id, timeout=60))[-1]
    finally:
        studio.close()
    assert isinstance(failed, Failed)
    assert "not there" in failed.message
    assert failed.field == field

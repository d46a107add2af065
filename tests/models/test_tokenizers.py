"""Single files carry no tokenizer: one is found beside, in the Hub's cache, or missed with a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from studio.core.errors import CorruptFile, NotFound, Offline
from studio.core.settings import Settings
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef, components_of
from studio.models.load import load_component
from studio.models.tokenizers import CLIP_REPO, CLIP_VOCABULARY, NOWHERE, load_tokenizer, tokenizer_folder
from tests import tiny


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without network, whose Hub cache is empty. Returns that cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tokenizer_ref(folder: Path, data: Path, name: str, role: str = "tokenizer") -> ComponentRef:
    catalogue = ModelCatalogue(Settings(data_dir=data, models_dirs=(folder,)))
    return components_of(catalogue, catalogue.find(name)).components[role]


def full_size(folder: Path) -> Path:
    """A tokenizer folder with as many entries as CLIP's."""
    tiny.make_tokenizer(folder)
    words = json.loads((folder / "vocab.json").read_text())
    special = [words.pop("<|startoftext|>"), words.pop("<|endoftext|>")]
    words |= {f"filler{i}</w>": i for i in range(special[0], CLIP_VOCABULARY - 2)}
    words |= {"<|startoftext|>": CLIP_VOCABULARY - 2, "<|endoftext|>": CLIP_VOCABULARY - 1}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("name", "role"), [("sd1", "tokenizer"), ("sd2", "tokenizer"), ("sdxl", "tokenizer_2")]
)
def test_a_single_file_borrows_the_tokenizer_of_a_folder_and_pads_as_its_family_does(
    catalogue, models_dir, name, role
):
    own = load_component(components_of(catalogue, catalogue.find(name)).components[role], torch.float32)
    ref = components_of(catalogue, catalogue.find(f"{name}-file")).components[role]
    borrowed = load_component(ref, torch.float32)
    text = "a red ball on the Müller's grass! 猫"
    options = {"padding": "max_length", "max_length": 77}
    assert borrowed(text, **options).input_ids == own(text, **options).input_ids
    assert borrowed.pad_token_id == own.pad_token_id


def test_without_a_fitting_tokenizer_the_need_is_named(tmp_path, models_dir):
    tiny.to_single_file(models_dir / "sd1", tmp_path / "models" / "alone.safetensors")
    ref = tokenizer_ref(tmp_path / "models", tmp_path, "alone")
    assert not ref.is_at_hand
    with pytest.raises(NotFound, match="tokenizer of 533 entries"):
        load_component(ref, torch.float32)


def test_without_a_network_clips_tokenizer_is_offline_with_a_remedy():
    with pytest.raises(Offline, match="CLIP's tokenizer") as failure:
        load_tokenizer(NOWHERE)
    assert "diffusers folder" in failure.value.remedy


def test_the_hubs_cache_is_looked_into(offline):
    repository = offline / f"models--{CLIP_REPO.replace('/', '--')}"
    snapshot = full_size(repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert tokenizer_folder([], CLIP_VOCABULARY) == snapshot
    assert len(load_tokenizer(NOWHERE)) == CLIP_VOCABULARY
    assert len(load_tokenizer(snapshot)) == CLIP_VOCABULARY


def test_a_folder_on_this_machine_goes_before_the_cache(tmp_path):
    folder = full_size(tmp_path / "model" / "tokenizer")
    assert tokenizer_folder([tmp_path, folder], CLIP_VOCABULARY) == folder


def test_a_broken_vocabulary_is_corrupt(tmp_path):
    tiny.make_tokenizer(tmp_path / "tokenizer")
    for file in ("tokenizer.json", "vocab.json"):
        (tmp_path / "tokenizer" / file).write_text("{")
    assert tokenizer_folder([tmp_path / "tokenizer"], 533) == NOWHERE
    with pytest.raises(CorruptFile, match="cannot be read"):
        load_tokenizer(tmp_path / "tokenizer")

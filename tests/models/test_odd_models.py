"""One odd file takes nothing else down: senseless headers, configurations, sidecars, beside a fine model."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.errors import EaselError
from studio.core.models import ModelInfo, ModelKind
from studio.core.settings import PACK, Settings
from studio.models import describe
from studio.models.cache import FileCache
from studio.models.catalogue import ModelCatalogue
from studio.models.components import components_of
from studio.models.load import load_component
from studio.models.probe import probe
from tests import tiny
from tests.models.sparse import write_raw, write_sparse

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
LORA = {f"{LAYER}.lora_down.weight": (8, 768), f"{LAYER}.lora_up.weight": (320, 8)}

TEXTS = (
    "",
    "abc",
    "\ud800x",
    "x\udfff",
    "\x00",
    "\x1b[2J",
    "é" * 5000,
    "<b>",
    "../../x",
    "nan",
    "-1",
    "1e999",
)
NUMBERS = (-1, 0, 1, 2**31, 2**63, 2**64, 10**30, 10**400, 0.5, -0.0, float("inf"), float("nan"))
THINGS = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    ["\ud800"],
    {"\ud800": "\ud800"},
    [128, 128],
    [1, "x"],
    [1e999],
)
ODD = (*TEXTS, *NUMBERS, *THINGS)
NAMES = (
    *TEXTS,
    "emb_params",
    "clip_l",
    "v_pred",
    "768.0.linear.0.weight",
    f"{'9' * 5000}.0.linear.0.weight",
    "lora_unet_x.lora_down.weight",
    "ip_adapter.1.to_k_ip.weight",
    "position_net.null_positive_feature",
    "down_blocks.0.fuser.linear.weight",
    "model.diffusion_model.input_blocks.0.0.weight",
    "label_emb.0.0.weight",
    "decoder.conv_in.weight",
    "encoder.conv_in.weight",
    "controlnet_cond_embedding.conv_in.weight",
    "input_hint_block.0.weight",
    "task_embedding",
    "vision_model.embeddings.patch_embedding.weight",
    "string_to_param.*",
    "body.0.in_conv.weight",
)


def odd(value: Any, dice: random.Random) -> Any:
    """`value` or a part of it, changed to something that does not belong there."""
    if isinstance(value, dict) and value and dice.random() < 0.8:
        key = dice.choice(sorted(value))
        return {**value, key: odd(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.6:
        place = dice.randrange(len(value))
        changed = [*value[:place], odd(value[place], dice), *value[place + 1 :]]
        return changed * dice.choice((1, 1, 1, 40))
    return dice.choice(ODD)


def catalogue_over(data: Path, folder: Path) -> ModelCatalogue:
    return ModelCatalogue(Settings(data_dir=data, models_dirs=(folder,)))


def listed(data: Path, folder: Path) -> list[ModelInfo]:
    """The models in `folder`, looked at for the first time and once more from what was stored."""
    write_sparse(folder / "anna.safetensors", LORA)
    catalogue = catalogue_over(data, folder)
    infos, previews = catalogue.models(), catalogue.previews
    again = catalogue_over(data, folder)
    assert again.models() == infos
    assert again.previews == previews
    assert again.find("anna").usable
    for info in infos:
        assert len(info.model_dump_json().encode()) < 50_000
    return [info for info in infos if info.id != "anna" and not Path(info.location).is_relative_to(PACK)]


@pytest.fixture
def stumbles(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What was only caught by the net under everything; nothing that we know of should be."""
    caplog.set_level(logging.ERROR, logger=describe.__name__)
    yield (found := [])
    found += [record.getMessage() for record in caplog.records]
    assert found == []


HEADERS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "embedding": {"emb_params": (3, 768)},
    "pair": {"clip_l": (2, 768), "clip_g": (2, 1280)},
    "hypernetwork": {f"768.{side}.linear.0.{part}": (768,) for side in (0, 1) for part in ("weight", "bias")},
    "controlnet": {
        "control_model.input_hint_block.0.weight": (16, 3, 3, 3),
        "control_model.x.proj_in.weight": (2, 2),
    },
    "ip": {"ip_adapter.1.to_k_ip.weight": (320, 768), "image_proj.norm.weight": (768,)},
    "t2i": {"adapter.body.0.in_conv.weight": (4, 4), "adapter.conv_in.weight": (4, 768, 3, 3)},
    "vae": {"decoder.conv_in.weight": (4, 4, 3, 3), "encoder.conv_in.weight": (4, 3, 3, 3)},
    "unet": {"conv_in.weight": (8, 4, 3, 3), "up_blocks.0.resnets.0.x": (1,)},
}
METADATA = {
    "modelspec.title": "a",
    "modelspec.license": "b",
    "modelspec.description": "c",
    "modelspec.architecture": "stable-diffusion-v1/lora",
    "modelspec.thumbnail": "data:image/png;base64,AAAA",
    "modelspec.prediction_type": "v",
    "ss_tag_frequency": '{"a": {"cat": 2}}',
    "ss_network_alpha": "8",
    "ss_output_name": "anna",
    "sshs_model_hash": "0" * 64,
    "layer_structure": "[1, 2, 1]",
    "activation_func": "relu",
}


def odd_header(dice: random.Random) -> tuple[object, int]:
    """Names, shapes and metadata of one kind of file, some of them wrong; mostly of the size they promise."""
    shapes = {name: list(shape) for name, shape in dice.choice(list(HEADERS.values())).items()}
    for _ in range(dice.randrange(3)):
        shapes[dice.choice(NAMES)] = shapes.pop(dice.choice(list(shapes)), [4, 4])
    for name in shapes:
        if dice.random() < 0.3:
            shapes[name] = dice.choice(
                ([], [0], [1], [4, 4, 3, 3], [2] * 40, [2**62] * 400, shapes[name][::-1])
            )
    entries: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2 * min(torch.Size(shape).numel() if len(shape) < 9 else 0, 2**31)
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    metadata: dict[str, Any] = {**METADATA, dice.choice(list(METADATA)): dice.choice(TEXTS)}
    entries["__metadata__"] = metadata
    return (odd(entries, dice) if dice.random() < 0.5 else entries), end


@pytest.mark.usefixtures("stumbles")
def test_three_hundred_odd_headers_hide_no_other_model(tmp_path):
    dice, folder = random.Random(11), tmp_path / "models"
    for number in range(300):
        header, size = odd_header(dice)
        write_raw(folder / f"odd-{number}.safetensors", header, size)
    infos = listed(tmp_path / "data", folder)
    assert len(infos) == 300
    assert 100 < sum(not info.usable for info in infos) < 300
    assert len({info.kind for info in infos if info.usable}) >= 6


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Model folders of every kind."""
    root = tmp_path_factory.mktemp("folders")
    base, xl = tiny.make_sd1(root / "sd1"), tiny.make_sdxl(root / "sdxl")
    return [
        base,
        xl,
        tiny.make_sd2(root / "sd2"),
        tiny.make_vae(root / "vae"),
        tiny.make_taesd(root / "taesd"),
        tiny.make_controlnet(root / "controlnet", base),
        tiny.make_union(root / "union", xl),
        tiny.make_t2i_adapter(root / "t2i"),
        tiny.make_image_encoder(root / "encoder"),
    ]


def odd_twin(folder: Path, twin: Path, dice: random.Random) -> None:
    """The folder once more, with one value of one of its configurations changed."""
    configs = sorted(path for path in folder.rglob("*.json") if "config" in path.name or "index" in path.name)
    configs = [path for path in configs if "tokenizer" not in path.parent.name]
    changed = dice.choice(configs)
    for file in folder.rglob("*"):
        place = twin / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if file == changed:
            place.write_text(json.dumps(odd(json.loads(file.read_text()), dice)))
        elif file.is_file():
            place.symlink_to(file)


@pytest.mark.usefixtures("stumbles")
def test_three_hundred_odd_configurations_hide_no_other_model(tmp_path, folders):
    dice, root = random.Random(5), tmp_path / "models"
    for number in range(300):
        odd_twin(dice.choice(folders), root / f"odd-{number}", dice)
    infos = listed(tmp_path / "data", root)
    assert len(infos) == 300
    assert 40 < sum(not info.usable for info in infos) < 250


@pytest.mark.usefixtures("stumbles")
def test_sixty_odd_checkpoints_load_or_say_why_not(tmp_path, folders):
    dice, root, refused = random.Random(6), tmp_path / "models", 0
    for number in range(60):
        odd_twin(folders[number % 3], root / f"odd-{number}", dice)
    catalogue = catalogue_over(tmp_path / "data", root)
    for info in catalogue.models(ModelKind.CHECKPOINT):
        try:
            for ref in components_of(catalogue, info).modules:
                load_component(ref, torch.float32)
        except EaselError:
            refused += 1
    assert 12 < refused < 54


SIDECARS = {
    ".json": {
        "description": "a",
        "notes": "b",
        "license": "c",
        "sd version": "SD1",
        "activation text": "cat, dog",
        "preferred weight": 0.8,
        "negative text": "d",
        "prediction_type": "v",
    },
    ".civitai.info": {"description": "<p>a</p>", "baseModel": "SD 1.5", "trainedWords": ["cat"]},
}


@pytest.mark.usefixtures("stumbles")
def test_two_hundred_odd_sidecars_make_no_model_useless(tmp_path):
    dice, folder = random.Random(7), tmp_path / "models"
    for number in range(200):
        file = write_sparse(folder / f"odd-{number}.safetensors", LORA)
        suffix = dice.choice(list(SIDECARS))
        file.with_suffix(suffix).write_text(json.dumps(odd(SIDECARS[suffix], dice)))
    infos = listed(tmp_path / "data", folder)
    assert len(infos) == 200
    assert all(info.usable for info in infos)


def loop() -> dict[str, Any]:
    endless: dict[str, Any] = {}
    endless["state_dict"] = endless
    return endless


def multiplied(leaf: object, wrap: Callable[[object], object]) -> object:
    """Containers that hold one another twice: a few bytes in a file, more than any memory once unfolded."""
    for _ in range(60):
        leaf = wrap(leaf)
    return {"w": torch.ones(1), "x": leaf}


PICKLES: dict[str, object] = {
    "loop": loop(),
    "dicts": multiplied({}, lambda leaf: {"a": leaf, "b": leaf}),
    "lists": multiplied(1, lambda leaf: [leaf, leaf]),
    "surrogate": {"\ud800": torch.ones(3, 768), "name": "\ud800"},
    "number": {"w": torch.ones(3, 768), "step": 10**5000, 10**5000: torch.ones(1)},
    "long": {"n" * 10**6: torch.ones(3, 768)},
}


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("stumbles")
def test_odd_pickles_hide_no_other_model_and_cost_no_time(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for name, content in PICKLES.items():
        torch.save(content, folder / f"{name}.pt")
    problems = {info.name: info.problem for info in listed(tmp_path / "data", folder)}
    assert set(problems) == set(PICKLES)
    assert {name for name, problem in problems.items() if not problem} <= {"surrogate", "lists"}


@pytest.mark.usefixtures("stumbles")
def test_files_and_links_that_cannot_be_followed_hide_no_other_model(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "itself.safetensors").symlink_to("itself.safetensors")
    (folder / "itself").symlink_to("itself")
    late = write_sparse(folder / "late.safetensors", LORA)
    os.utime(late, ns=(0, 10**19))  # in the year 2286, beyond the numbers of SQLite
    assert {info.id for info in listed(tmp_path / "data", folder)} == {"itself", "late"}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000,
        "a: {loras: '~nobody-of-that-name/x'}",
        "a: {base_path: '~nobody-of-that-name', loras: x}",
        'a: {loras: "x\\0y"}',
        'a: {loras: "\\ud800"}',
        f"a: {'1' * 5000}",
        "a: !!timestamp x",
        "? [a]\n: b",
    ],
)
def test_a_list_of_extra_paths_that_makes_no_sense_hides_no_model(tmp_path, text):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "extra_model_paths.yaml").write_text(text)
    assert listed(tmp_path / "data", folder) == []


def checkpoint_with(folder: Path, **changes: Any) -> Path:
    """A tiny checkpoint whose UNet's configuration is changed."""
    file = tiny.make_sd1(folder) / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def test_widths_told_for_each_block_are_the_width_they_agree_on(tmp_path):
    checkpoint_with(tmp_path / "models" / "list", cross_attention_dim=[32, 32], sample_size=[8, 12])
    (info,) = listed(tmp_path / "data", tmp_path / "models")
    assert (info.usable, info.context_width, info.native_size) == (True, 32, 96)
    catalogue = catalogue_over(tmp_path / "data", tmp_path / "models")
    unet = components_of(catalogue, info).components["unet"]
    assert load_component(unet, torch.float32).config.cross_attention_dim == 32


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("sample_size", "abc", "has 'abc'"),
        ("sample_size", [8, -8], "has -8"),
        ("sample_size", 10**30, "has 1000"),
        ("cross_attention_dim", [32, 64], r"has \[32, 64\]"),
        ("cross_attention_dim", True, "has True"),
        ("cross_attention_dim", "\ud800", "has"),
    ],
)
def test_a_number_that_a_configuration_lacks_is_told_with_its_place(tmp_path, key, value, told):
    checkpoint_with(tmp_path / "models" / "odd", **{key: value})
    (info,) = listed(tmp_path / "data", tmp_path / "models")
    needed = rf"The configuration of odd needs a whole number from 1 to \d+ as its {key}, but "
    assert re.search(needed + told, info.problem)


def test_whatever_else_a_model_sets_off_is_its_problem_and_is_logged(tmp_path, monkeypatch, caplog):
    def stumble(path: Path, *_: object) -> dict[str, object]:
        if path.stem == "odd":
            raise ZeroDivisionError("\ud800 by zero")
        return {}

    monkeypatch.setattr(describe, "network_card", stumble)
    write_sparse(tmp_path / "models" / "odd.safetensors", LORA)
    (info,) = listed(tmp_path / "data", tmp_path / "models")
    assert "odd.safetensors contradicts itself: ZeroDivisionError" in info.problem
    assert "odd.safetensors cannot be described" in caplog.text
    monkeypatch.undo()
    (info,) = listed(tmp_path / "data", tmp_path / "models")
    assert info.usable


def test_a_disk_that_cannot_be_read_for_a_while_is_not_remembered(tmp_path, monkeypatch):
    def unplugged(path: Path) -> None:
        raise OSError(5, "Input/output error")

    file = write_sparse(tmp_path / "models" / "anna.safetensors", LORA)
    monkeypatch.setattr(describe, "probe", unplugged)
    assert "Input/output error" in catalogue_over(tmp_path / "data", file.parent).find("anna").problem
    monkeypatch.undo()
    assert catalogue_over(tmp_path / "data", file.parent).find("anna").usable


@pytest.mark.parametrize(
    "text", ['{"id": ""}', "{", "null", '{"id":"","name":"x","kind":"lora","context_width":[1]}']
)
def test_a_stored_description_that_cannot_be_read_is_made_anew(tmp_path, text):
    file = write_sparse(tmp_path / "models" / "anna.safetensors", LORA)
    assert catalogue_over(tmp_path / "data", file.parent).find("anna").usable
    cache = FileCache(tmp_path / "data" / "models.sqlite")
    cache.put(file, f"{describe.FACT} None anna [] False", text)
    catalogue = catalogue_over(tmp_path / "data", file.parent)
    assert catalogue.previews == frozenset()
    assert catalogue.find("anna").usable
    assert ModelInfo.model_validate_json(cache.get(file, f"{describe.FACT} None anna [] False") or "").usable


def test_texts_in_a_header_can_be_printed(tmp_path):
    metadata = {"modelspec.description": "hi \ud800\x1b[2J", "modelspec.license": "mit\ud800"}
    told = probe(write_sparse(tmp_path / "x.safetensors", LORA | {"a\ud800": (1,)}, metadata))
    assert (told.description.encode(), told.licence) == (b"hi  [2J", "mit")


def test_a_tensor_of_a_million_dimensions_is_refused_at_once(tmp_path):
    entry = b'{"w":{"dtype":"F16","shape":[' + b"4611686018427387904," * 10**6 + b'1],"data_offsets":[0,0]}}'
    file = tmp_path / "odd.safetensors"
    file.write_bytes(struct.pack("<Q", len(entry)) + entry)
    with pytest.raises(EaselError, match="entry of the tensor w is malformed"):
        probe(file)

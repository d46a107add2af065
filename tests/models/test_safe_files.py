"""Weight files are read without executing anything, and broken ones are refused with a sentence."""

from __future__ import annotations

import builtins
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from studio.core.errors import CorruptFile, EaselError, NotFound, UnknownFile, UnsafeFile
from studio.models.safe import open_weights, read_header
from tests.models.sparse import write_raw, write_sparse

TENSORS = {
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "brain": torch.arange(4, dtype=torch.bfloat16),
    "whole": torch.arange(5),
    "scalar": torch.tensor(1.5),
    "nothing": torch.empty(0, 3),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "model.safetensors", {"format": "pt"})
    return tmp_path / "model.safetensors"


def test_tensors_are_those_that_were_saved(file):
    weights = open_weights([file])
    assert set(weights) == set(TENSORS)
    assert weights.header.metadata == {"format": "pt"}
    for name, tensor in TENSORS.items():
        assert torch.equal(weights[name], tensor)
        assert weights[name].dtype == tensor.dtype


def test_the_header_of_a_huge_file_is_read_without_its_data(tmp_path):
    huge = write_sparse(tmp_path / "huge.safetensors", {"weight": (2**20, 2**14)})
    assert read_header(huge).tensors["weight"].size_bytes == 2**35


def test_a_change_to_a_tensor_never_reaches_the_file(file):
    before = file.read_bytes()
    open_weights([file])["half"].fill_(9)
    assert file.read_bytes() == before


def test_tensors_at_odd_offsets_are_read(tmp_path):
    entry = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    header = json.dumps(entry).encode()
    header += b" " * (1 - len(header) % 2)
    file = tmp_path / "odd.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.0, 2.0))
    assert open_weights([file])["w"].tolist() == [1.0, 2.0]


def test_shards_are_one_mapping(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "1.safetensors")
    save_file({"b": torch.zeros(1)}, tmp_path / "2.safetensors")
    weights = open_weights([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])
    assert {name: tensor.item() for name, tensor in weights.items()} == {"a": 1, "b": 0}


def test_shards_that_repeat_a_tensor_are_corrupt(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "1.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "2.safetensors")
    with pytest.raises(CorruptFile, match="repeats the tensor a"):
        open_weights([tmp_path / "1.safetensors", tmp_path / "2.safetensors"])


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"w": entry(offsets=(0, 4))}, "needs 8 bytes"),
        ({"w": entry(shape=(2**62, 2**62))}, "needs"),
        ({"w": entry(shape=(-2,))}, "malformed"),
        ({"w": entry(shape=(True, 2))}, "malformed"),
        ({"w": entry(offsets=(8, 0))}, "has -8"),
        ({"w": entry(offsets=(0,))}, "malformed"),
        ({"w": entry(dtype="F7")}, "type F7"),
        ({"w": entry(dtype=["F32"])}, "malformed"),
        ({"w": 3}, "malformed"),
        ({"a": entry(), "b": entry(offsets=(4, 12))}, "inside another"),
        ({"w": entry(offsets=(8, 16))}, "cut off"),
        ({}, "belong to no tensor"),
        ({"__metadata__": {"a": 1}, "w": entry()}, "metadata"),
        ([1, 2], "no JSON object"),
    ],
)
def test_a_header_that_lies_is_corrupt_and_the_message_says_how(tmp_path, entries, message):
    file = write_raw(tmp_path / "liar.safetensors", entries, 8)
    with pytest.raises(CorruptFile, match=message) as failure:
        read_header(file)
    assert "liar.safetensors" in str(failure.value)
    assert failure.value.remedy


def test_a_name_that_occurs_twice_is_corrupt(tmp_path):
    tensor = b'"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    text = b"{" + tensor + b"," + tensor + b"}"
    file = tmp_path / "twice.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(CorruptFile, match="occurs twice"):
        read_header(file)


def test_an_absurd_header_length_is_corrupt(tmp_path):
    file = tmp_path / "absurd.safetensors"
    file.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(CorruptFile, match="promises a header"):
        read_header(file)


def test_deeply_nested_json_is_corrupt(tmp_path):
    text = b"[" * 200_000
    file = tmp_path / "deep.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(CorruptFile):
        read_header(file)


@pytest.mark.parametrize("size", [0, 3, 8, 20, -1])
def test_a_truncated_file_is_corrupt(file, size):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CorruptFile):
        read_header(file)


def test_two_hundred_random_corruptions_of_the_header_crash_nothing(file):
    intact, dice, messages = file.read_bytes(), random.Random(7), []
    header_end = 8 + struct.unpack("<Q", intact[:8])[0]
    for _ in range(200):
        broken = bytearray(intact)
        for _ in range(dice.randint(1, 6)):
            broken[dice.randrange(header_end)] = dice.randrange(256)
        file.write_bytes(broken[: dice.choice([len(broken), dice.randrange(len(broken))])])
        try:
            for tensor in open_weights([file]).values():
                tensor.sum()
        except EaselError as error:
            messages.append(str(error))
    assert len(messages) > 150
    assert all(file.name in message for message in messages)


@pytest.mark.parametrize("name", ["__class__", "a.__init__.b"])
def test_a_tensor_named_like_a_python_attribute_is_unsafe(tmp_path, name):
    with pytest.raises(UnsafeFile):
        read_header(write_sparse(tmp_path / "x.safetensors", {name: (1,)}))


class Call:
    """A pickle of it calls `function(*arguments)` when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def attacks(marker: Path) -> list[Any]:
    touch = f"open({str(marker)!r}, 'w').close()"
    return [
        Call(os.system, f"touch {marker}"),
        Call(builtins.exec, touch),
        Call(builtins.eval, touch),
        Call(os.mkdir, str(marker)),
        {"state_dict": {"w": torch.ones(1), "x": Call(builtins.exec, touch)}},
    ]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin", ".pth"])
@pytest.mark.parametrize("attack", range(5))
@pytest.mark.parametrize("save", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj))])
def test_code_in_a_pickle_is_refused_and_not_executed(tmp_path, suffix, attack, save):
    marker, file = tmp_path / "executed", tmp_path / f"evil{suffix}"
    save(attacks(marker)[attack], file)
    with pytest.raises((UnsafeFile, CorruptFile)) as failure:
        read_header(file)
    assert not marker.exists()
    assert "evil" in str(failure.value)


def test_code_in_a_pickle_is_named_as_such(tmp_path):
    torch.save({"w": Call(os.system, "true")}, tmp_path / "evil.ckpt")
    with pytest.raises(UnsafeFile, match="nothing of it was executed"):
        read_header(tmp_path / "evil.ckpt")


def test_a_compressed_archive_is_unsafe(tmp_path):
    file = tmp_path / "bomb.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10_000_000)
    with pytest.raises(UnsafeFile, match="compressed"):
        read_header(file)


def test_sixty_garbled_pickles_crash_nothing(tmp_path):
    dice, file, refused = random.Random(3), tmp_path / "garbage.pt", 0
    torch.save({"w": torch.ones(4)}, file)
    intact = file.read_bytes()
    for _ in range(60):
        broken = bytearray(intact)
        for _ in range(8):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        file.write_bytes(broken)
        try:
            read_header(file)
        except EaselError:
            refused += 1
    assert refused > 10


def test_torchs_advice_to_read_garbage_unsafely_is_not_passed_on(tmp_path):
    file = tmp_path / "garbage.bin"
    file.write_bytes(b"\xff" * 500)
    with pytest.raises(CorruptFile, match="no model file, or it is damaged") as refused:
        read_header(file)
    assert "weights_only" not in str(refused.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_nested_state_dicts_are_unwrapped_and_the_rest_is_metadata(tmp_path, legacy):
    file = tmp_path / "trained.ckpt"
    content = {"state_dict": {"w": torch.ones(2, 3)}, "global_step": 7}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    assert read_header(file).tensors["w"].shape == (2, 3)


def test_containers_become_dotted_names(tmp_path):
    torch.save({"ip_adapter": {"1.to_k_ip.weight": torch.ones(1)}, "name": "cat"}, tmp_path / "a.bin")
    header = read_header(tmp_path / "a.bin")
    assert set(header.tensors) == {"ip_adapter.1.to_k_ip.weight"}
    assert header.metadata == {"name": "cat"}


def test_a_container_that_contains_itself_is_corrupt(tmp_path):
    loop: dict[str, Any] = {}
    loop["again"] = loop
    torch.save(loop, tmp_path / "loop.pt")
    with pytest.raises(CorruptFile, match="contain themselves"):
        read_header(tmp_path / "loop.pt")


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        read_header(tmp_path / "gone.safetensors")


def test_another_kind_of_file_is_unknown(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UnknownFile, match=r"\.txt"):
        read_header(tmp_path / "notes.txt")

"""Components are told apart by their content: every row counts, and nothing else does."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.errors import CorruptFile
from studio.core.settings import Settings
from studio.models import components as components_module
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef, components_of
from studio.models.convert import Source
from studio.models.fingerprint import weights_digest
from studio.models.safe import open_weights
from studio.models.weights import Weights
from tests import tiny

Tensors = dict[str, torch.Tensor]


def digest_of(file: Path, tensors: Tensors, *, whole: bool = False) -> str:
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    pieces = {name: (Source(name), tuple(tensor.shape)) for name, tensor in tensors.items()}
    return weights_digest(open_weights([file]), pieces, whole=whole)


def numbers(*shape: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


LARGE = {
    "rows of 640 bytes": numbers(4096, 320),
    "rows of 2560 bytes": numbers(1024, 1280),
    "rows of 576 bytes": numbers(4096, 288),
    "rows of 130 bytes": numbers(20_000, 65),
    "rows of 40 bytes": numbers(60_000, 20),
    "rows of 2 bytes": numbers(1_200_000, 1),
    "kernels": numbers(256, 512, 3, 3),
    "one number a row": numbers(1_200_000),
    "other type": numbers(1024, 640, dtype=torch.float32),
}


@pytest.mark.parametrize("tensor", LARGE.values(), ids=LARGE)
def test_any_row_of_a_large_matrix_that_changes_is_noticed(tmp_path, tensor):
    file, dice = tmp_path / "x.safetensors", random.Random(1)
    assert tensor.nbytes > 2 * 2**20
    before = digest_of(file, {"w": tensor})
    assert digest_of(file, {"w": tensor.clone()}) == before
    for row in (0, len(tensor) - 1, *(dice.randrange(len(tensor)) for _ in range(30))):
        changed = tensor.clone()
        changed[row] += 1
        assert digest_of(file, {"w": changed}) != before, row


@pytest.mark.parametrize("column", [0, 1, 100, 639, 1279])
def test_a_column_of_a_large_matrix_that_changes_is_noticed(tmp_path, column):
    tensor = numbers(1024, 1280)
    changed = tensor.clone()
    changed[:, column] += 1
    file = tmp_path / "x.safetensors"
    assert digest_of(file, {"w": tensor}) != digest_of(file, {"w": changed})


@pytest.mark.parametrize("tensor", [numbers(1024, 1000), numbers(2**20 + 300)], ids=["small", "whole"])
def test_any_number_of_a_small_tensor_that_changes_is_noticed(tmp_path, tensor):
    file, dice = tmp_path / "x.safetensors", random.Random(2)
    whole = tensor.nbytes > 2 * 2**20
    before = digest_of(file, {"w": tensor}, whole=whole)
    for _ in range(20):
        changed = tensor.clone()
        changed.view(-1)[dice.randrange(tensor.numel())] += 1
        assert digest_of(file, {"w": changed}, whole=whole) != before


@pytest.mark.parametrize("tensor", LARGE.values(), ids=LARGE)
def test_it_makes_no_difference_in_what_portions_a_file_is_read(tmp_path, tensor):
    pickled, mapped = tmp_path / "x.pt", tmp_path / "x.safetensors"
    assert digest_of(pickled, {"w": tensor}) == digest_of(mapped, {"w": tensor})


@pytest.mark.parametrize("tensor", [LARGE["rows of 2560 bytes"], LARGE["rows of 130 bytes"]])
def test_a_disk_that_gives_less_than_it_was_asked_for_makes_no_difference(tmp_path, tensor):
    file, dice = tmp_path / "x.safetensors", random.Random(3)
    before = digest_of(file, {"w": tensor})
    whole = open_weights([file])

    def portions(name: str, start: int, length: int) -> Iterator[memoryview]:
        content = memoryview(b"".join(bytes(block) for block in whole.blocks(name, start, length)))
        while content:
            size = dice.choice((1, 7, 63, 64, 65, 500, 5000))
            yield content[:size]
            content = content[size:]

    weights = Weights(whole.header, whole.__getitem__, portions)
    assert weights_digest(weights, {"w": (Source("w"), tuple(tensor.shape))}, whole=False) == before


def test_tensors_that_change_places_are_noticed(tmp_path):
    one, two = numbers(8, 8), numbers(8, 8) + 1
    file = tmp_path / "x.safetensors"
    assert digest_of(file, {"a": one, "b": two}) != digest_of(file, {"a": two, "b": one})


def test_the_same_bytes_in_another_shape_are_something_else(tmp_path):
    file = tmp_path / "x.safetensors"
    assert digest_of(file, {"a": numbers(4, 16)}) != digest_of(file, {"a": numbers(4, 16).reshape(16, 4)})


def test_a_file_that_is_cut_off_while_it_is_read_says_so(tmp_path):
    file = tmp_path / "x.safetensors"
    save_file({"w": numbers(64, 64)}, file)
    weights = open_weights([file])
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match=r"x\.safetensors was cut off while it was read"):
        weights_digest(weights, {"w": (Source("w"), (64, 64))}, whole=True)


def catalogue_over(data: Path, folder: Path) -> ModelCatalogue:
    return ModelCatalogue(Settings(data_dir=data, models_dirs=(folder,)))


def parts(data: Path, folder: Path, name: str) -> dict[str, ComponentRef]:
    catalogue = catalogue_over(data, folder)
    return dict(components_of(catalogue, catalogue.find(name)).components)


def words_exchanged(tensors: Tensors) -> None:
    """Two tokens mean each other: a few kilobytes, somewhere in the middle."""
    (name,) = (name for name in tensors if name.endswith("token_embedding.weight"))
    rows = len(tensors[name])
    picked, other = rows * 2 // 7, rows * 3 // 4
    tensors[name][[picked, other]] = tensors[name][[other, picked]]


def layers_exchanged(tensors: Tensors) -> None:
    """All bytes are the same, in another order."""
    for name in [name for name in tensors if ".layers.0." in name]:
        other = name.replace(".layers.0.", ".layers.1.")
        tensors[name], tensors[other] = tensors[other], tensors[name]


@pytest.mark.parametrize("change", [words_exchanged, layers_exchanged])
@pytest.mark.parametrize("form", ["folder", "file"])
def test_another_text_encoder_is_another_component(tmp_path, change: Callable[[Tensors], None], form):
    models = tmp_path / "models"
    tiny.make_sd1(models / "one")
    shutil.copytree(models / "one", models / "two")
    weights = models / "two" / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights)
    if form == "file":
        for name in ("one", "two"):
            tiny.to_single_file(models / name, models / f"{name}-file.safetensors")
    names = [f"{name}-file" if form == "file" else name for name in ("one", "two")]
    one, two = (parts(tmp_path, models, name) for name in names)
    assert {role for role in one if one[role].digest != two[role].digest} == {"text_encoder"}


def test_a_file_is_read_once_and_then_known(tmp_path, models_dir, monkeypatch):
    first = parts(tmp_path, models_dir, "sd1-file")

    def read_again(*_: object, **__: object) -> str:
        raise AssertionError("the weights were read again")

    monkeypatch.setattr(components_module, "weights_digest", read_again)
    assert parts(tmp_path, models_dir, "sd1-file") == first


def test_who_borrows_nothing_reads_no_weights(tmp_path, models_dir, monkeypatch):
    monkeypatch.delattr(components_module, "weights_digest")
    catalogue = catalogue_over(tmp_path, models_dir)
    info = catalogue.find("sd1-file")
    components = components_of(catalogue, info, fingerprints=False).components
    assert {role for role, ref in components.items() if ref.digest} == {"tokenizer"}

"""Components are told apart by their content: every byte counts, and nothing else does."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.errors import CorruptFile
from studio.core.settings import Settings
from studio.models import fingerprint
from studio.models.cache import FileCache
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef, components_of
from studio.models.convert import Source
from studio.models.fingerprint import weights_digest
from studio.models.safe import open_weights
from studio.models.weights import Weights
from tests import tiny

Tensors = dict[str, torch.Tensor]


def digest_of(file: Path, tensors: Tensors) -> str:
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    pieces = {name: (Source(name), tuple(tensor.shape)) for name, tensor in tensors.items()}
    return weights_digest(open_weights([file]), pieces)


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


@pytest.mark.parametrize("tensor", [numbers(1024, 1000), numbers(2**20 + 300)], ids=["small", "large"])
def test_any_number_that_changes_is_noticed(tmp_path, tensor):
    file, dice = tmp_path / "x.safetensors", random.Random(2)
    before = digest_of(file, {"w": tensor})
    for _ in range(20):
        changed = tensor.clone()
        changed.view(-1)[dice.randrange(tensor.numel())] += 1
        assert digest_of(file, {"w": changed}) != before


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
    assert weights_digest(weights, {"w": (Source("w"), tuple(tensor.shape))}) == before


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
        weights_digest(weights, {"w": (Source("w"), (64, 64))})


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


def only_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_as_a_whole(*_: object) -> str:
        raise AssertionError("the weights were read as a whole")

    monkeypatch.setattr(fingerprint, "weights_digest", read_as_a_whole)


@pytest.mark.parametrize("name", ["sd1", "sd1-file"])
def test_what_is_like_nothing_else_is_not_read_as_a_whole(tmp_path, models_dir, monkeypatch, name):
    only_opened(monkeypatch)
    first = parts(tmp_path, models_dir, name)
    monkeypatch.delattr(fingerprint, "outline_digest")
    assert parts(tmp_path, models_dir, name) == first, "and is known from then on"


def test_a_copy_is_the_same_component_in_any_form(tmp_path):
    models = tmp_path / "models"
    tiny.make_sd1(models / "one")
    shutil.copytree(models / "one", models / "two")
    tiny.to_single_file(models / "one", models / "file.safetensors")
    one, two, file = (
        {role: ref.digest for role, ref in parts(tmp_path, models, name).items() if not ref.is_tokenizer}
        for name in ("one", "two", "file")
    )
    assert one == two == file


def changed_inside(weights: Path) -> Tensors:
    """The weights with one number changed that no outline sees."""
    tensors = load_file(weights)
    large = max(tensors, key=lambda name: tensors[name].numel())
    tensors[large].view(-1)[tensors[large].numel() // 2] += 1
    return tensors


def two_alike(models: Path) -> tuple[Path, Path]:
    """Two models whose UNets differ in a number inside; where those lie."""
    tiny.make_sd1(models / "one")
    shutil.copytree(models / "one", models / "two")
    one, two = (models / name / "unet" / "diffusion_pytorch_model.safetensors" for name in ("one", "two"))
    save_file(changed_inside(two), two)
    return one, two


def unet_of(data: Path, models: Path, name: str) -> str:
    return parts(data, models, name)["unet"].digest


def test_two_that_look_alike_are_compared_byte_by_byte(tmp_path):
    models = tmp_path / "models"
    two_alike(models)
    shutil.copytree(models / "two", models / "three")
    one, two, three = (unet_of(tmp_path, models, name) for name in ("one", "two", "three"))
    assert one != two == three


def test_a_file_that_is_replaced_is_not_taken_for_what_it_was(tmp_path):
    models = tmp_path / "models"
    one, two = two_alike(models)
    before = unet_of(tmp_path, models, "one")
    one.write_bytes(two.read_bytes())
    os.utime(one, (1, 1))
    after = unet_of(tmp_path, models, "one")
    assert after != before
    assert unet_of(tmp_path, models, "two") == after


@pytest.mark.parametrize("fate", [Path.unlink, lambda file: file.write_bytes(b"nothing")])
def test_what_the_first_became_does_not_hinder_the_next(tmp_path, fate: Callable[[Path], object]):
    models = tmp_path / "models"
    one, _ = two_alike(models)
    before = unet_of(tmp_path, models, "one")
    fate(one)
    assert unet_of(tmp_path, models, "two") != before


def test_on_a_full_disk_every_byte_is_read_instead(tmp_path, monkeypatch):
    models = tmp_path / "models"
    two_alike(models)
    monkeypatch.setattr(FileCache, "claim", lambda *_: None)
    monkeypatch.setattr(FileCache, "put", lambda *_: None)
    shutil.copytree(models / "two", models / "three")
    one, two, three = (unet_of(tmp_path, models, name) for name in ("one", "two", "three"))
    assert one != two == three


def test_who_borrows_nothing_opens_no_weights(tmp_path, models_dir, monkeypatch):
    monkeypatch.delattr(fingerprint, "outline_digest")
    catalogue = catalogue_over(tmp_path, models_dir)
    info = catalogue.find("sd1-file")
    components = components_of(catalogue, info, fingerprints=False).components
    assert {role for role, ref in components.items() if ref.digest} == {"tokenizer"}

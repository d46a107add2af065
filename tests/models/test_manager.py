"""The manager lends modules, shares equal content, and frees what was unused for longest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from studio.core.errors import NotFound
from studio.core.settings import Precision, Settings
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef, components_of
from studio.models.device import Device, choose_device
from studio.models.manager import ModelManager
from tests import tiny

PLENTY = 2**32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.make_sd1(folder / "one", seed=1)
    tiny.make_sd1(folder / "two", seed=2)
    tiny.to_single_file(folder / "one", folder / "same.safetensors")
    return folder


@pytest.fixture(scope="module")
def device() -> Device:
    return choose_device(Settings(device="cpu", precision=Precision.FP32))


@pytest.fixture(scope="module")
def refs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[ComponentRef]]:
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path_factory.mktemp("data"), models_dirs=(folder,)))

    def refs(name: str, *roles: str) -> list[ComponentRef]:
        checkpoint = components_of(catalogue, catalogue.find(name))
        return [checkpoint.components[role] for role in roles or ("unet", "vae", "text_encoder")]

    return refs


def manager_with(device: Device, ram_budget: int = PLENTY) -> ModelManager:
    return ModelManager(device, ram_budget=ram_budget, device_budget=PLENTY)


def test_a_second_lease_gets_the_same_module_again(device, refs):
    manager = manager_with(device)
    with manager.lease(refs("one")) as lease:
        first = lease.get("unet")
    with manager.lease(refs("one")) as lease:
        assert lease.get("unet") is first
    assert len(manager.components()) == 3


def test_equal_weights_in_a_folder_and_a_single_file_are_held_once(device, refs):
    manager = manager_with(device)
    with manager.lease(refs("one", "vae", "text_encoder")) as lease:
        vae = lease.get("vae")
    with manager.lease(refs("same", "vae", "text_encoder")) as lease:
        assert lease.get("vae") is vae
    assert len(manager.components()) == 2


def test_what_was_unused_for_longest_is_freed_first_and_the_note_says_why(device, refs):
    manager = manager_with(device)
    with manager.lease(refs("one")):
        pass
    size = manager.device_bytes
    small = manager_with(device, ram_budget=int(size * 1.2))
    with small.lease(refs("one")):
        pass
    with small.lease(refs("two")):
        assert small.device_bytes <= size * 1.2
    assert any("to make room for" in note for note in small.notes)


def test_nothing_in_use_is_ever_freed(device, refs):
    manager = manager_with(device, ram_budget=1)
    with manager.lease(refs("one")) as lease:
        unet = lease.get("unet")
        manager.unload()
        assert lease.get("unet") is unet
        assert len(manager.components()) == 3
    assert manager.components() == ()


def test_a_role_that_was_not_borrowed_is_not_found(device, refs):
    with manager_with(device).lease(refs("one", "vae")) as lease, pytest.raises(NotFound):
        lease.get("unet")


def test_what_is_derived_from_a_module_lives_as_long_as_the_module(device, refs):
    manager, made = manager_with(device), []

    def make(vae: torch.nn.Module) -> int:
        made.append(vae)
        return 7

    for _ in range(2):
        with manager.lease(refs("one", "vae")) as lease:
            assert lease.derived("vae", "seven", make) == 7
    assert len(made) == 1


def test_memory_stays_flat_over_fifty_switches(device, refs):
    manager = manager_with(device)
    sizes = set()
    for i in range(50):
        with manager.lease(refs(("one", "two")[i % 2])):
            pass
        if i > 1:
            sizes.add(manager.device_bytes)
    assert len(sizes) == 1


def test_a_role_named_twice_is_borrowed_and_given_back_once(device, refs):
    manager = manager_with(device)
    with manager.lease([*refs("one", "unet"), *refs("one", "unet")]) as lease:
        assert lease.roles == {"unet"}
    assert [component.in_use for component in manager.components()] == [False]
    manager.unload()
    assert manager.components() == ()


class AlwaysInterrupted:
    """A lock of one thread, which another one uses to `interrupt` whenever it is free."""

    def __init__(self, lock, interrupt: Callable[[], None]) -> None:
        self._lock, self._interrupt, self._depth = lock, interrupt, 0
        self._thread = threading.current_thread()

    def __enter__(self) -> None:
        if threading.current_thread() is self._thread and not self._depth:
            self._let_the_other_in()
        self._lock.acquire()
        self._depth += threading.current_thread() is self._thread

    def __exit__(self, *_) -> None:
        self._depth -= threading.current_thread() is self._thread
        self._lock.release()
        if threading.current_thread() is self._thread and not self._depth:
            self._let_the_other_in()

    def _let_the_other_in(self) -> None:
        other = threading.Thread(target=self._interrupt)
        other.start()
        other.join()


def test_what_is_being_borrowed_is_not_dropped_whenever_unload_is_called(device, refs):
    manager = manager_with(device)
    with manager.lease(refs("one", "vae")):
        pass
    manager._lock = AlwaysInterrupted(manager._lock, manager.unload)
    with manager.lease(refs("one", "vae", "unet")) as lease:
        assert {component.role for component in manager.components() if component.in_use} == {"vae", "unet"}
        assert lease.get("unet") is lease.peek("unet")
    assert manager.components() == ()

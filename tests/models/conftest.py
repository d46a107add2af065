"""Tiny models of every family, written once: as folders, and as single files beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.settings import Settings
from studio.models.catalogue import ModelCatalogue
from tests import tiny


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "models"
    for name, make in {"sd1": tiny.make_sd1, "sd2": tiny.make_sd2, "sdxl": tiny.make_sdxl}.items():
        make(folder / name)
        tiny.to_single_file(folder / name, folder / f"{name}-file.safetensors")
        tiny.to_single_file(folder / name, folder / f"{name}-pickle.ckpt")
    return folder


@pytest.fixture(scope="session")
def catalogue(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelCatalogue:
    return ModelCatalogue(Settings(data_dir=tmp_path_factory.mktemp("data"), models_dirs=(models_dir,)))

"""A real studio over tiny random models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.app.studio import LocalStudio, build_studio
from studio.core.settings import Precision, Settings
from tests import tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `tiny`, `other`, `xl`, `xl-text` (no zeros), and `broken`, whose UNet makes NaN."""
    folder = tmp_path_factory.mktemp("models")
    tiny.make_sd1(folder / "tiny", seed=1)
    tiny.make_sd1(folder / "other", seed=2)
    tiny.make_sdxl(folder / "xl", seed=3)
    tiny.make_sdxl(folder / "xl-text", seed=3, force_zeros=False)
    tiny.make_sd1(folder / "broken", seed=4)
    (weights,) = (folder / "broken" / "unet").glob("*.safetensors")
    save_file({name: torch.full_like(w, torch.nan) for name, w in load_file(weights).items()}, weights)
    return folder


@pytest.fixture
def settings(tmp_path: Path, models: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        models_dirs=(models,),
        device="cpu",
        precision=Precision.FP32,
        preview_seconds=0,
    )


@pytest.fixture
def studio(settings: Settings) -> Iterator[LocalStudio]:
    studio = build_studio(settings)
    studio.start()
    yield studio
    studio.close()

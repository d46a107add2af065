"""All annotators with random weights in one models folder, written once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.control.annotators import Annotators
from studio.core.settings import Precision, Settings
from studio.models.catalogue import ModelCatalogue
from studio.models.device import choose_device
from studio.models.manager import ModelManager
from tests.control import nets


@pytest.fixture(scope="session")
def annotator_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotators") / "models"
    for net in nets.AUX_NETS:
        nets.make_file(net, folder / "annotators")
    nets.make_yolox(folder / "annotators")
    nets.make_dwpose(folder / "annotators")
    nets.make_depth_anything(folder / "depth-anything")
    nets.make_dpt(folder / "dpt")
    nets.make_dpt(folder / "midas", hybrid=True)
    nets.make_zoe(folder / "zoe")
    nets.make_segmentation(folder / "segformer")
    nets.make_upernet(folder / "upernet")
    nets.make_vitpose(folder / "vitpose")
    nets.make_segmentation(folder / "persons", labels=("person",) * 3)
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is there but what a test puts there: no shipped nets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studio.models.catalogue.PACK", tmp_path_factory.mktemp("no-pack"))
        yield


@pytest.fixture(scope="module")
def catalogue(
    annotator_models: Path, no_pack: None, tmp_path_factory: pytest.TempPathFactory
) -> ModelCatalogue:
    data_dir = tmp_path_factory.mktemp("data")
    return ModelCatalogue(Settings(data_dir=data_dir, models_dirs=(annotator_models,)))


@pytest.fixture(scope="module")
def annotators(catalogue: ModelCatalogue) -> Annotators:
    device = choose_device(Settings(device="cpu", precision=Precision.BF16))
    return Annotators(catalogue, ModelManager(device, ram_budget=2**30, device_budget=0))


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """150 x 90 px of soft patches, dark at the left and light at the right."""
    patches = np.random.default_rng(0).integers(0, 128, (9, 15, 3))
    patches += np.linspace(0, 127, 15).astype(int)[None, :, None]
    return Image.fromarray(patches.astype(np.uint8)).resize((150, 90), Image.Resampling.BICUBIC)

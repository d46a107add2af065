"""Pictures of every mode and size, empty ones, and nets that are missing, broken or of another kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studio.control.annotators import Annotators, best
from studio.control.picture import MAX_LONGER_SIDE, MAX_RATIO, not_too_narrow, read_rgb
from studio.core.annotator_nets import Net
from studio.core.errors import CorruptFile, EaselError, InvalidRequest
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import (
    Canny,
    DepthAnything,
    Inpaint,
    Map,
    Options,
    PoseOpenpose,
    PoseVit,
    ScribbleDrawing,
    Segmentation,
    Shuffle,
    SoftEdgeHed,
    SoftEdgeTeed,
    preprocessor,
)
from studio.core.settings import Settings
from studio.models.annotators import annotator_of, load_annotator
from studio.models.catalogue import ModelCatalogue
from studio.models.device import choose_device
from studio.models.manager import ModelManager
from tests.control import nets
from tests.control.maps import control_map

LEFT_DARK = np.repeat(np.linspace(0, 255, 30, dtype=np.uint8)[None], 20, axis=0)


def of_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(LEFT_DARK.astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(LEFT_DARK.astype(np.float32))
    return Image.fromarray(LEFT_DARK).convert("RGB").convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "I", "I;16", "F", "YCbCr", "HSV"])
def test_every_mode_is_read_as_the_same_picture(mode: str):
    rgb = read_rgb(of_mode(mode))
    assert rgb.shape == (20, 30, 3)
    assert rgb.dtype == np.uint8
    tolerance = 60 if mode == "P" else 3  # a palette has few greys
    assert np.abs(rgb.astype(int) - LEFT_DARK[:, :, None]).max() <= tolerance


def test_transparent_parts_are_white():
    image = Image.new("RGBA", (8, 6), (255, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 255, 255))
    rgb = read_rgb(image)
    assert (rgb[1:] == 255).all()
    assert tuple(rgb[0, 0]) == (0, 0, 255)


def test_the_map_is_upright_where_exif_turns_the_picture(annotators: Annotators, photo: Image.Image):
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    made = control_map(turned, Canny(), annotators)
    assert made.size == photo.size
    assert np.array_equal(np.asarray(made), np.asarray(control_map(photo, Canny(), annotators)))


@pytest.mark.parametrize("size", [(2, 1), (3, 200), (2000, 8)])
@pytest.mark.parametrize(
    "options", [Canny(), Canny(resolution=256), SoftEdgeTeed(resolution=64), DepthAnything(), Segmentation()]
)
def test_tiny_and_narrow_pictures_get_maps(options: Options, size: tuple[int, int], annotators: Annotators):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    assert control_map(Image.fromarray(pixels), options, annotators).size == size


STRIPS = [(60_000, 1), (1, 60_000)]


@pytest.mark.parametrize("size", STRIPS)
def test_a_strip_is_made_wider_without_becoming_a_wall(size: tuple[int, int]):
    seen = not_too_narrow(np.zeros((size[1], size[0], 3), np.uint8))
    assert max(seen.shape) <= MAX_LONGER_SIDE
    assert max(seen.shape[:2]) <= MAX_RATIO * min(seen.shape[:2])


@pytest.mark.parametrize("size", STRIPS)
def test_a_strip_is_shuffled(size: tuple[int, int], annotators: Annotators):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    assert control_map(Image.fromarray(pixels), Shuffle(), annotators).size == size


@pytest.mark.parametrize("options", [Canny(), ScribbleDrawing(), Map(), DepthAnything(), PoseOpenpose()])
@pytest.mark.parametrize("canvas", [Image.new("RGB", (64, 48), "white"), Image.new("RGBA", (64, 48))])
def test_an_empty_canvas_is_told_of(options: Options, canvas: Image.Image, annotators: Annotators):
    with pytest.raises(InvalidRequest, match="empty") as caught:
        control_map(canvas, options, annotators)
    assert caught.value.field == "image"
    assert caught.value.remedy


def test_nothing_to_paint_anew_is_told_of(photo: Image.Image, annotators: Annotators):
    with pytest.raises(InvalidRequest, match="Nothing is marked"):
        control_map(photo, Inpaint(), annotators)


def test_nobody_in_the_picture_is_told_of(photo: Image.Image, annotators: Annotators):
    with pytest.raises(InvalidRequest, match="nobody") as caught:
        control_map(photo, PoseVit(confidence=1), annotators)
    assert caught.value.field == "image"


@pytest.fixture
def empty_house(tmp_path: Path) -> Annotators:
    (tmp_path / "models").mkdir()
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path / "models",)))
    return Annotators(
        catalogue, ModelManager(choose_device(Settings(device="cpu")), ram_budget=0, device_budget=0)
    )


def test_a_missing_net_is_named_with_its_source(empty_house: Annotators):
    with pytest.raises(InvalidRequest, match=r"HED.*lllyasviel/Annotators.*ControlNetHED\.pth") as caught:
        empty_house.choose(SoftEdgeHed())
    assert caught.value.field == "model"


@pytest.mark.parametrize(("name", "problem"), [("nowhere", "no net of"), ("dpt", "no such net")])
def test_a_net_that_does_not_fit_is_told_at_the_option(name: str, problem: str, annotators: Annotators):
    with pytest.raises(InvalidRequest, match=problem) as caught:
        annotators.choose(DepthAnything(model=name))
    assert caught.value.field == "model"


def test_the_usual_weights_go_before_larger_ones_and_those_before_small_ones():
    def info(name: str, size: int) -> ModelInfo:
        return ModelInfo(
            id=name, name=name, kind=ModelKind.ANNOTATOR, layout=Net.DEPTH_ANYTHING, size_bytes=size
        )

    small, large = info("toy", 1), info("large", 9)
    usual = info("Depth-Anything-V2-Small-hf", 5)
    assert best([small, usual, large]) == usual
    assert best([small, large]) == large
    assert best([]) is None


def test_a_damaged_file_is_no_annotator(tmp_path: Path):
    whole = nets.make_file(Net.TEED, tmp_path / "whole")
    broken = tmp_path / "annotators" / "broken.pth"
    broken.parent.mkdir()
    broken.write_bytes(whole.read_bytes()[:-2000])
    (info,) = (m for m in _catalogue(tmp_path / "annotators", tmp_path).models() if m.name == "broken")
    assert info.problem


def test_a_file_that_lacks_a_tensor_is_corrupt(tmp_path: Path):
    path = nets.make_file(Net.TEED, tmp_path / "annotators")
    tensors = torch.load(path, weights_only=True)
    del tensors["block_2.conv1.weight"]
    torch.save(tensors, path)
    with pytest.raises(CorruptFile, match=r"lacks 1 of .* block_2\.conv1\.weight"):
        _load(path.parent, tmp_path)


@pytest.mark.parametrize(
    "change", [{"fusion_hidden_size": 48}, {"neck_hidden_sizes": [1]}, {"patch_size": "eight"}]
)
def test_a_configuration_of_another_net_is_corrupt(tmp_path: Path, change: dict):
    folder = nets.make_depth_anything(tmp_path / "models" / "depth")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CorruptFile):
        _load(folder.parent, tmp_path)


def test_a_folder_of_another_class_is_told_apart(tmp_path: Path):
    folder = nets.make_depth_anything(tmp_path / "models" / "depth")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    (info,) = _models(folder.parent, tmp_path)
    assert "BertModel" in info.problem


def test_the_digest_tells_nets_and_their_settings_apart(tmp_path: Path):
    first = nets.make_depth_anything(tmp_path / "models" / "first")
    shutil.copytree(first, tmp_path / "models" / "copy")
    other = tmp_path / "models" / "other"
    shutil.copytree(first, other)
    settings = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.4, 0.4, 0.4]}))
    catalogue = _catalogue(tmp_path / "models", tmp_path)
    digests = {
        name: annotator_of(catalogue, catalogue.find(name)).digest for name in ("first", "copy", "other")
    }
    assert digests["first"] == digests["copy"] != digests["other"]


@pytest.mark.parametrize(
    "fields",
    [{"kind": "canny", "low": 0}, {"kind": "pose_openpose", "body": False}, {"kind": "tile", "factor": 99}],
)
def test_options_have_bounds(fields: dict):
    with pytest.raises(ValueError, match=r"greater|less|at least one"):
        preprocessor.validate_python(fields)


def _catalogue(folder: Path, tmp_path: Path) -> ModelCatalogue:
    return ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(folder,)))


def _models(folder: Path, tmp_path: Path) -> list[ModelInfo]:
    found = _catalogue(folder, tmp_path).models()
    return [info for info in found if Path(info.location).is_relative_to(folder)]


def _load(folder: Path, tmp_path: Path) -> torch.nn.Module:
    catalogue = _catalogue(folder, tmp_path)
    (info,) = (each for each in catalogue.models() if Path(each.location).is_relative_to(folder))
    if info.problem:
        raise EaselError(info.problem)
    return load_annotator(annotator_of(catalogue, info))

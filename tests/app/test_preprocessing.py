"""Preprocessors as jobs of the whole studio: queue, nets, kept maps, faults at their field."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from studio.app.studio import LocalStudio, build_studio
from studio.core.conditions import ControlInput
from studio.core.errors import EaselError
from studio.core.events import Failed, Finished
from studio.core.jobs import JobView
from studio.core.openpose import POSE_CHUNK
from studio.core.preprocess import (
    Canny,
    DepthAnything,
    Inpaint,
    Map,
    PoseDw,
    PoseVit,
    Preprocessor,
    ScribbleDrawing,
    SoftEdgeHed,
    SoftEdgeTeed,
)
from studio.core.requests import GenerateRequest, PreprocessRequest
from studio.core.settings import Precision, Settings
from tests import tiny
from tests.control import nets
from tests.poses import read_openpose


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotator-models")
    nets.make_file(nets.Net.TEED, folder / "annotators")
    shutil.copytree(nets.make_depth_anything(folder / "depth"), folder / "copy")
    nets.make_vitpose(folder / "pose")
    nets.make_segmentation(folder / "parts", labels=("person",) * 3)
    base = tiny.make_sd1(folder / "tiny", seed=1)
    tiny.make_controlnet(folder / "net", base)
    return folder


@pytest.fixture
def studio(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStudio]:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    monkeypatch.setattr("studio.models.hub.PAUSE", 0)
    studio = build_studio(
        Settings(data_dir=tmp_path, models_dirs=(models,), device="cpu", precision=Precision.FP32)
    )
    studio.start()
    yield studio
    studio.close()


def photo(width: int = 150, height: int = 90) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height // 10, width // 10, 3), np.uint8)
    return png(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def ended(studio: LocalStudio, preprocessor: Preprocessor, data: bytes) -> JobView:
    job = studio.submit(PreprocessRequest(image=studio.put_blob(data), preprocessor=preprocessor))
    *_, last = studio.events(job.id, timeout=60)
    view = studio.job(job.id)
    assert isinstance(last, Failed) or (isinstance(last, Finished) and last.blobs == view.blobs)
    return view


def made(studio: LocalStudio, preprocessor: Preprocessor, data: bytes) -> Image.Image:
    job = ended(studio, preprocessor, data)
    assert job.failure is None, job.failure
    return Image.open(io.BytesIO(studio.blob(job.blobs[0])))


def test_a_job_makes_the_map_that_opencv_makes(studio: LocalStudio):
    data = photo()
    edges = made(studio, Canny(low=80, high=160), data)
    picture = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(np.asarray(edges)[:, :, 0], cv2.Canny(picture, 80, 160))


def test_a_net_is_found_borrowed_and_counted(studio: LocalStudio):
    made(studio, SoftEdgeTeed(resolution=64), photo())
    (loaded,) = (each for each in studio.status().components if each.role.startswith("annotator:"))
    assert loaded.size_bytes > 100_000
    studio.unload_models()
    assert not studio.status().components


def test_nets_of_onnx_files_are_borrowed_and_counted_too(studio: LocalStudio, models: Path, tmp_path: Path):
    nets.make_yolox(tmp_path / "models" / "annotators")
    nets.make_dwpose(tmp_path / "models" / "annotators")
    studio.refresh_models()
    drawn = made(studio, PoseDw(confidence=0), photo())
    assert len(read_openpose(drawn.text[POSE_CHUNK]).people[0].face) == 70
    sizes = {each.model: each.size_bytes for each in studio.status().components}
    assert sizes.keys() == {"dw-ll_ucoco_384", "yolox_l"}
    assert sizes["dw-ll_ucoco_384"] >= 4 * (48 * 96 + 64 * 128), "its two largest matrices"
    studio.unload_models()
    assert not studio.status().components


def test_the_same_map_is_made_once(studio: LocalStudio):
    first = ended(studio, DepthAnything(model="depth"), photo()).blobs
    studio.unload_models()
    assert ended(studio, DepthAnything(model="copy"), photo()).blobs == first
    assert not studio.status().components, "the second map came from the store"
    assert ended(studio, DepthAnything(model="depth", cut_far=40), photo()).blobs != first


def test_a_finished_job_still_names_its_map_after_a_restart(studio: LocalStudio, tmp_path: Path):
    job = ended(studio, Canny(), photo())
    again = build_studio(Settings(data_dir=tmp_path))
    assert again.job(job.id).blobs == job.blobs
    again.close()


def test_a_pose_goes_along_with_its_map(studio: LocalStudio):
    drawn = made(studio, PoseVit(model="pose", detector="parts", confidence=0), photo())
    pose = read_openpose(drawn.text[POSE_CHUNK])
    assert (pose.canvas.width, pose.canvas.height) == drawn.size == (150, 90)
    assert len(pose.people) == 1


@pytest.mark.parametrize("colour", ["white", "black"])
def test_a_mask_may_be_a_stroke_on_a_layer(studio: LocalStudio, colour: str):
    layer = Image.new("RGBA", (150, 90), (0, 0, 0, 0))
    layer.paste(colour, (20, 30, 60, 70))
    marked = made(studio, Inpaint(mask=studio.put_blob(png(layer))), photo())
    assert np.array_equal(np.asarray(marked)[:, :, 3], 255 - np.asarray(layer)[:, :, 3])


@pytest.mark.parametrize(
    ("preprocessor", "file"),
    [(SoftEdgeHed(), "ControlNetHED.pth"), (PoseDw(), "yzd-v/DWPose, dw-ll_ucoco_384.onnx")],
)
def test_a_missing_net_says_where_to_get_it(studio: LocalStudio, preprocessor: Preprocessor, file: str):
    failure = ended(studio, preprocessor, photo()).failure
    assert failure
    assert failure.error == "Offline"
    assert failure.field == "preprocessor.model"
    assert "Models tab" in failure.message
    assert file in failure.message


@pytest.mark.parametrize(
    ("preprocessor", "data", "field"),
    [
        (ScribbleDrawing(), png(Image.new("RGB", (64, 48), "white")), "image"),
        (Canny(), png(Image.new("RGBA", (64, 48))), "image"),
        (DepthAnything(model="parts"), photo(), "preprocessor.model"),
        (DepthAnything(model="nowhere"), photo(), "preprocessor.model"),
        (PoseVit(detector="depth"), photo(), "preprocessor.detector"),
        (Inpaint(mask="0" * 64), photo(), "preprocessor.mask"),
    ],
)
def test_faults_are_told_at_their_field_before_the_job_waits(
    studio: LocalStudio, preprocessor: Preprocessor, data: bytes, field: str
):
    with pytest.raises(EaselError) as caught:
        studio.submit(PreprocessRequest(image=studio.put_blob(data), preprocessor=preprocessor))
    assert caught.value.field == field
    assert not studio.jobs()


def test_a_control_is_preprocessed_inside_of_its_job(studio: LocalStudio):
    """A photo with a preprocessor controls as the finished map does."""
    data = photo(64, 64)
    edges = ended(studio, Canny(), data).blobs[0]
    own = ControlInput(model="net", image=studio.put_blob(data), preprocessor=Canny())
    finished = ControlInput(model="net", image=edges)
    inverted = ControlInput(model="net", image=edges, preprocessor=Map(invert=True))
    pictures = [generated(studio, control)[0] for control in (own, finished, inverted)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def generated(studio: LocalStudio, *controls: ControlInput) -> tuple[np.ndarray, JobView]:
    request = GenerateRequest(model="tiny", width=64, height=64, steps=2, seed=3, controls=controls)
    job = studio.submit(request)
    *_, last = studio.events(job.id, timeout=60)
    assert isinstance(last, Finished), last
    return np.asarray(Image.open(studio.image_path(last.images[0]))), studio.job(job.id)


def test_a_picture_job_names_the_map_of_each_control_that_is_on(studio: LocalStudio):
    data = photo(64, 64)
    image = studio.put_blob(data)
    edges = ended(studio, Canny(), data).blobs[0]
    off = ControlInput(model="net", image=image, enabled=False)
    own = ControlInput(model="net", image=image, preprocessor=Canny())
    finished = ControlInput(model="net", image=image, weight=0.5)
    _, job = generated(studio, off, own, finished)
    assert job.blobs == (edges, image)


@pytest.mark.parametrize(
    ("preprocessor", "data", "field"),
    [
        (ScribbleDrawing(), png(Image.new("RGB", (64, 48), "white")), "image"),
        (DepthAnything(model="parts"), photo(), "preprocessor.model"),
        (Inpaint(mask="0" * 64), photo(), "preprocessor.mask"),
    ],
)
def test_faults_of_a_control_are_told_at_their_field_before_the_job_waits(
    studio: LocalStudio, preprocessor: Preprocessor, data: bytes, field: str
):
    image = studio.put_blob(data)
    off = ControlInput(model="net", image=image, preprocessor=preprocessor, enabled=False)
    on = off.model_copy(update={"enabled": True})
    with pytest.raises(EaselError) as caught:
        studio.submit(GenerateRequest(model="tiny", width=64, height=64, controls=(off, on)))
    assert caught.value.field == f"controls.1.{field}"
    assert not studio.jobs()
    studio.submit(GenerateRequest(model="tiny", width=64, height=64, steps=1, controls=(off,)))


@pytest.mark.parametrize(
    ("preprocessor", "data", "field"),
    [
        (SoftEdgeHed(), photo(), "preprocessor.model"),
        (Inpaint(), photo(), "image"),
    ],
)
def test_what_only_the_job_finds_out_is_told_at_the_same_fields(
    studio: LocalStudio, preprocessor: Preprocessor, data: bytes, field: str
):
    assert ended(studio, preprocessor, data).failure.field == field
    control = ControlInput(model="net", image=studio.put_blob(data), preprocessor=preprocessor)
    job = studio.submit(GenerateRequest(model="tiny", width=64, height=64, controls=(control,)))
    *_, last = studio.events(job.id, timeout=60)
    assert isinstance(last, Failed)
    assert last.field == f"controls.0.{field}"


def test_a_failed_job_keeps_problem_and_remedy_apart(studio: LocalStudio):
    failure = ended(studio, SoftEdgeHed(), photo()).failure
    assert failure.problem.endswith("does not answer.")
    assert failure.remedy.startswith("Install it in the Models tab")
    assert failure.message == f"{failure.problem} {failure.remedy}"

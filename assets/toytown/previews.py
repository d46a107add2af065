"""Pictures of what each model does, for the Models tab: `python assets/toytown/previews.py`.

Three columns; above what a model is given, below what it makes of it. They are made with Easel itself and lie
beside the models.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from data import SIZE
from drawing import phrase_of
from evaluate import MODELS
from numpy.typing import NDArray
from palette import RGB
from PIL import Image
from world import Render, Scene, make_scene, render

from studio.app.studio import LocalStudio, build_studio
from studio.core.base import BlobId
from studio.core.jobs import JobView
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest, PreprocessRequest
from studio.core.settings import Settings

SEED = 11
SCENES = (
    ("grass", (("red", "ball"), ("blue", "person"))),
    ("night", (("yellow", "person"), ("green", "tree"))),
    ("sand", (("pink", "person"), ("orange", "car"))),
)
# What is painted in the place of each scene's first thing.
PAINTED = "cat"
_MARGIN = np.asarray([-0.03, -0.03, 0.03, 0.03])
_MASKED = np.asarray((200, 60, 45))

CORNERS = ("x0", "y0", "x1", "y1")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Sight:
    """A scene with its render and what one says to get it."""

    scene: Scene
    view: Render
    where: str

    @property
    def caption(self) -> str:
        words = " and ".join(phrase_of(thing.color, thing.kind) for thing in self.scene.things)
        return f"{words} {self.where}"


def sights() -> list[Sight]:
    scenes = [(place, make_scene(SEED + at, list(names), place)) for at, (place, names) in enumerate(SCENES)]
    return [
        Sight(scene, render(scene, SIZE), "at night" if place == "night" else f"on {place}")
        for place, scene in scenes
    ]


class Columns:
    """What a model is given, and what it makes of it: two pictures of a sight for every kind of model."""

    def __init__(self, studio: LocalStudio) -> None:
        self._studio = studio
        self._nets = {info.name: info.id for info in studio.models(ModelKind.CONTROLNET)}

    def controlled(self, sight: Sight, net: str, kind: str) -> tuple[Pixels, Pixels]:
        followed = self._map(sight, kind)
        control = {"model": self._nets[net], "image": followed}
        return self._blob(followed), self._generated(prompt=sight.caption, controls=[control])

    def read(self, sight: Sight, kind: str) -> tuple[Pixels, Pixels]:
        return sight.view.image, self._blob(self._map(sight, kind))

    def boxed(self, sight: Sight) -> tuple[Pixels, Pixels]:
        boxes = [
            {"phrase": phrase_of(thing.color, thing.kind), "box": dict(zip(CORNERS, corners, strict=True))}
            for thing, corners in zip(sight.scene.things, sight.view.boxes.tolist(), strict=True)
        ]
        return layout_of(sight), self._generated(prompt=sight.caption, boxes={"boxes": boxes})

    def painted(self, sight: Sight) -> tuple[Pixels, Pixels]:
        photo, mask = sight.view.image, np.zeros((SIZE, SIZE), np.uint8)
        x0, y0, x1, y1 = np.rint(np.clip(sight.view.boxes[0] + _MARGIN, 0, 1) * SIZE).astype(int)
        mask[y0:y1, x0:x1] = 255
        result = self._generated(
            model="toytown-inpaint",
            prompt=f"{phrase_of(sight.scene.things[0].color, PAINTED)} {sight.where}",
            source={"image": self._stored(photo), "strength": 1.0},
            inpaint={"mask": self._stored(mask)},
        )
        tinted = np.rint(photo * 0.35 + _MASKED * 0.65).astype(np.uint8)
        return np.where(mask[..., None] > 0, tinted, photo), result

    def _generated(self, **given: Any) -> Pixels:
        usual = {"model": "toytown", "seed": SEED, "width": SIZE, "height": SIZE}
        (image,) = self._done(GenerateRequest.model_validate({**usual, **given})).images
        return pixels(self._studio.image_path(image).read_bytes())

    def _map(self, sight: Sight, kind: str) -> BlobId:
        given = {"image": self._stored(sight.view.image), "preprocessor": {"kind": kind}}
        (blob,) = self._done(PreprocessRequest.model_validate(given)).blobs
        return blob

    def _done(self, request: GenerateRequest | PreprocessRequest) -> JobView:
        job = self._studio.submit(request)
        for _ in self._studio.events(job.id):
            pass
        return self._studio.job(job.id)

    def _stored(self, picture: Pixels) -> BlobId:
        return self._studio.put_blob(png(Image.fromarray(picture)))

    def _blob(self, blob: BlobId) -> Pixels:
        return pixels(self._studio.blob(blob))


def layout_of(sight: Sight) -> Pixels:
    """The boxes of a sight, each in its thing's colour."""
    canvas = np.full((SIZE, SIZE, 3), 236, np.uint8)
    for thing, box in zip(sight.scene.things, np.rint(sight.view.boxes * SIZE).astype(int), strict=True):
        x0, y0, x1, y1 = box.tolist()
        tint = canvas[y0:y1, x0:x1] * 0.7 + np.asarray(RGB[thing.color]) * 0.3
        canvas[y0:y1, x0:x1] = np.rint(tint).astype(np.uint8)
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), RGB[thing.color], 2)
    return canvas


def pixels(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((SIZE, SIZE)))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def previews(columns: Columns) -> dict[str, Callable[[Sight], tuple[Pixels, Pixels]]]:
    """How a column is made, by the model's path."""
    depth = "depth_anything"
    return {
        "toytown-inpaint": columns.painted,
        "gligen/toytown-boxes": columns.boxed,
        "controlnet/toytown-canny": lambda sight: columns.controlled(sight, "toytown-canny", "canny"),
        "controlnet/toytown-depth": lambda sight: columns.controlled(
            sight, "toytown-depth", "depth_anything"
        ),
        "annotators/toytown-depth": lambda sight: columns.read(sight, depth),
        "annotators/toytown-segmentation": lambda sight: columns.read(sight, "segmentation"),
        "annotators/toytown-pose": lambda sight: columns.read(sight, "pose_vit"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="where the pictures go")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        studio = build_studio(Settings(data_dir=Path(folder), device="cpu", precision="fp32"))
        studio.start()
        try:
            for path, column in previews(Columns(studio)).items():
                made = [np.concatenate(column(sight)) for sight in sights()]
                file = args.models / f"{path}.preview.png"
                file.write_bytes(png(Image.fromarray(np.concatenate(made, axis=1))))
                print(file)
        finally:
            studio.close()


if __name__ == "__main__":
    main()

"""ControlNets, adapters and annotators that a `FakeStudio` has, and maps drawn by PIL."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

from studio.core.geometry import Extent
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.openpose import POSE_CHUNK, Person, Pose, write_openpose
from studio.core.pose import JOINTS
from studio.core.preprocess import Canny, Map, PoseVit, Preprocessor

MB = 2**20


def _model(name: str, kind: ModelKind, **facts: Any) -> ModelInfo:
    slug = name.lower().replace(" ", "-")
    defaults: dict[str, Any] = {
        "id": f"fake/{slug}",
        "name": name,
        "kind": kind,
        "family": Family.SD1,
        "layout": "diffusers",
        "location": f"models/{slug}",
        "size_bytes": 700 * MB,
    }
    return ModelInfo(**(defaults | facts))


CONTROLS = (
    _model("Town Canny", ModelKind.CONTROLNET),
    _model("Town Depth", ModelKind.CONTROLNET),
    _model("Town OpenPose", ModelKind.CONTROLNET),
    _model("Town Sketch", ModelKind.T2I_ADAPTER, size_bytes=150 * MB),
    _model("Canny XL", ModelKind.CONTROLNET, family=Family.SDXL, size_bytes=2500 * MB),
    _model("Town Look", ModelKind.IP_ADAPTER, size_bytes=45 * MB),
    _model("Town Boxes", ModelKind.GLIGEN, size_bytes=10 * MB),
    _model("Town Things", ModelKind.GLIGEN, layout="gligen-text-image", size_bytes=12 * MB),
    _model("Boxes 2", ModelKind.GLIGEN, family=Family.SD2, size_bytes=800 * MB),
    _model("Town Depth Anything", ModelKind.ANNOTATOR, layout="depth_anything", size_bytes=MB),
    _model("Town Poses", ModelKind.ANNOTATOR, layout="vitpose", size_bytes=MB),
    _model("Town People", ModelKind.ANNOTATOR, layout="detector", size_bytes=MB),
)

KINDS = {
    "controls": (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER),
    "image_prompts": (ModelKind.IP_ADAPTER,),
}


def draw_map(data: bytes, preprocessor: Preprocessor) -> bytes:
    """A PNG of the picture's size; every option of `Canny` changes it."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    if preprocessor.mirror:
        picture = ImageOps.mirror(picture)
    made = picture if isinstance(preprocessor, Map) else _edges(picture, preprocessor)
    buffer, notes = io.BytesIO(), PngInfo()
    if isinstance(preprocessor, PoseVit):
        notes.add_text(POSE_CHUNK, write_openpose(_somebody(Extent(width=made.width, height=made.height))))
    (ImageOps.invert(made) if preprocessor.invert else made).save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


def _somebody(canvas: Extent) -> Pose:
    """A person whose joints lie on a slant; the ears are hidden."""
    points = tuple((0.1 + i / 25, 0.2 + i / 30) for i in range(len(JOINTS) - 2))
    return Pose(canvas=canvas, people=(Person(body=(*points, None, None)),))


def _edges(picture: Image.Image, preprocessor: Preprocessor) -> Image.Image:
    low, high = (preprocessor.low, preprocessor.high) if isinstance(preprocessor, Canny) else (40, 80)
    edges = picture.convert("L").filter(ImageFilter.FIND_EDGES)
    lines = edges.point(lambda value: 255 if value >= high / 3 else 128 if value >= low / 3 else 0)
    return lines.convert("RGB")

"""A studio over tiny models of everything that stacks on SD 1.x."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from studio.app.studio import LocalStudio, build_studio
from studio.core.settings import Precision, Settings
from tests import tiny
from tests.adapters import loras
from tests.app.test_loras import targets_of
from tests.tiny_gligen import make_gated_folder, make_gligen, make_text_image


@contextmanager
def stack_studio(folder: Path, **settings: Any) -> Iterator[LocalStudio]:
    """Models `tiny`, `nine` (for inpainting), `two` (SD 2.x), and what stacks on the first two.

    Args:
        settings: others than the usual ones.
    """
    models = folder / "models"
    base = tiny.make_sd1(models / "tiny", seed=1)
    tiny.make_sd1(models / "nine", seed=2, inpaint=True)
    tiny.make_sd2(models / "two", seed=3)
    make_gligen(models / "gligen" / "text.safetensors", base, ldm=True)
    make_gated_folder(models / "gligen" / "whole", base)
    make_text_image(models / "gligen" / "pictures", base)
    for number, name in enumerate(("net", "other-net")):
        tiny.make_controlnet(models / "controlnet" / name, base, seed=3 + number)
    tiny.make_t2i_adapter(models / "t2i_adapter" / "features")
    tiny.make_image_encoder(models / "clip_vision" / "vision")
    tiny.make_ip_adapter(models / "ipadapter" / "look.safetensors", base)
    targets = targets_of(models, "tiny")
    for number, name in enumerate(("lora", "other-lora")):
        loras.write(models / f"{name}.safetensors", loras.kohya(loras.random_pairs(targets, seed=1 + number)))
    usual = {"device": "cpu", "precision": Precision.FP32, "preview_seconds": 0}
    studio = build_studio(Settings(data_dir=folder / "data", models_dirs=(models,), **usual | settings))
    studio.start()
    try:
        yield studio
    finally:
        studio.close()


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()

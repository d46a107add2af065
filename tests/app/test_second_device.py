"""The whole studio on a device that is not the processor: nothing is left on the wrong side, nothing differs.

No GPU is needed for it (see `tests/second_device.py`). It is registered in a process of its own, for good.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import ControlInput, HypernetworkInput, ImagePrompt, LoraInput
from studio.core.geometry import Box
from studio.core.inpaint import Inpaint
from studio.core.requests import GenerateRequest, HiresPass, SourceImage
from studio.core.samplers import Sampler

Pictures = Mapping[str, np.ndarray]


def requests(photo: str, mask: str, samplers: Sequence[Sampler]) -> dict[str, GenerateRequest]:
    """By what each is about.

    Args:
        photo, mask: ids of stored blobs.
        samplers: for one request each, beside the others.
    """
    source = {"source": SourceImage(image=photo, strength=0.8)}
    net = ControlInput(model="net", image=photo, mask=mask)
    look = ImagePrompt(model="look", images=(photo,), mask=mask)
    boxes = (
        BoxInput(box=Box(x0=0.1, y0=0.2, x1=0.6, y1=0.9), phrase="a red ball"),
        BoxInput(box=Box(x0=0.5, y0=0.2, x1=0.9, y1=0.6), phrase="a cat", image=photo),
    )
    fields: dict[str, dict[str, Any]] = {
        "text": {"prompt": "a red ball AND a [cat:dog:0.5]", "batch_size": 2},
        "SD 2": {"model": "two"},
        "SD XL": {"model": "xl"},
        "second pass": {"hires": HiresPass(scale=2, steps=1)},
        "image to image": source,
        "mask": source | {"inpaint": Inpaint(mask=mask)},
        "mask, model made for it": source | {"inpaint": Inpaint(mask=mask), "model": "nine"},
        "control": {"controls": (net, ControlInput(model="features", image=photo))},
        "image prompt": {"image_prompts": (look,)},
        "boxes": {"boxes": Boxes(boxes=boxes, model="pictures", share=0.5)},
        "boxes and control": {
            "boxes": Boxes(boxes=boxes, model="pictures", share=0.5),
            "controls": (net,),
            "image_prompts": (look,),
        },
        "loras": {"loras": (LoraInput(model="lora", weight=0.7), LoraInput(model="other-lora"))},
        "learned": {"prompt": "a zork ball", "hypernetworks": (HypernetworkInput(model="ink"),)},
        "nothing on any more": {},
    }
    fields |= {f"sampler {sampler}": {"sampler": sampler, "steps": 3} for sampler in samplers}
    usual = {"model": "tiny", "prompt": "a house", "width": 64, "height": 64, "steps": 2, "seed": 5}
    return {name: GenerateRequest(**usual | {"sampler": Sampler.EULER} | own) for name, own in fields.items()}


def pictures_on(
    device: str, folder: Path, vram_fraction: float = 0.9, samplers: Sequence[Sampler] = tuple(Sampler)
) -> Pictures:
    """What a studio makes of all requests on `device`; to be run in a process of its own."""
    if device != "cpu":
        from tests.second_device import register

        register()
    import torch

    from tests import tiny
    from tests.adapters.networks import make_nets, write_embedding, write_hypernetwork
    from tests.app.stack_studio import png, stack_studio
    from tests.app.test_studio import pictures

    tiny.make_sdxl(folder / "models" / "xl", seed=4)
    write_embedding(folder / "models" / "embeddings" / "zork.pt", torch.linspace(-1, 1, 64).view(2, 32))
    write_hypernetwork(folder / "models" / "hypernetworks" / "ink.pt", make_nets((32, 64), seed=2))
    with stack_studio(folder, device=device, vram_fraction=vram_fraction) as studio:
        noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        mask = Image.new("L", (64, 64), 0)
        mask.paste(255, (8, 8, 56, 56))
        blobs = studio.put_blob(png(Image.fromarray(noise))), studio.put_blob(png(mask))
        return {
            name: np.stack([np.asarray(picture, int) for picture in pictures(studio, request)])
            for name, request in requests(*blobs, samplers).items()
        }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return pictures_on("cpu", tmp_path_factory.mktemp("first"))


@pytest.mark.parametrize(
    ("vram_fraction", "samplers"),
    [(0.9, tuple(Sampler)), (1e-9, ())],
    ids=["room for all", "room for one at a time"],
)
def test_pictures_are_those_of_the_processor(
    expected: Pictures, tmp_path: Path, vram_fraction: float, samplers: Sequence[Sampler]
) -> None:
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as process:
        found = process.submit(pictures_on, "far", tmp_path, vram_fraction, samplers).result(timeout=240)
    differences = {name: int(np.abs(found[name] - expected[name]).max()) for name in found}
    assert {name: one for name, one in differences.items() if one > 1} == {}

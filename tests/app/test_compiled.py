"""Easel with `--compile`: what is compiled, how often, and that the pictures stay the same.

Torch's tracing is real; only the code that it would write for a device is left out, which takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from studio.app.studio import LocalStudio
from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import ControlInput, ImagePrompt, LoraInput
from studio.core.events import Progress
from studio.core.geometry import Box
from studio.core.requests import GenerateRequest, SourceImage
from studio.core.samplers import Sampler
from tests.app.stack_studio import png, stack_studio
from tests.app.test_studio import pictures, run

Fields = dict[str, Any]


class Compiler:
    """Stands for torch's code generator: runs what was traced as it is."""

    graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    compiler, compile = Compiler(), torch.nn.Module.compile
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.nn.Module, "compile", lambda self: compile(self, backend=compiler))
        yield compiler
    torch.compiler.reset()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, compiler: Compiler) -> Iterator[LocalStudio]:
    with stack_studio(tmp_path_factory.mktemp("compiled"), compile=True) as studio:
        yield studio


@pytest.fixture(scope="module")
def plain_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStudio]:
    with stack_studio(tmp_path_factory.mktemp("plain")) as studio:
        yield studio


@pytest.fixture(scope="module")
def photo(studio: LocalStudio, plain_studio: LocalStudio) -> str:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = png(Image.fromarray(noise))
    plain_studio.put_blob(content)
    return studio.put_blob(content)


def request_of(fields: Fields) -> GenerateRequest:
    usual = {"model": "tiny", "prompt": "a house", "width": 64, "height": 64, "steps": 2, "seed": 5}
    return GenerateRequest(**usual | {"sampler": Sampler.EULER} | fields)


def boxes(strength: float) -> Fields:
    box = BoxInput(box=Box(x0=0.1, y0=0.2, x1=0.6, y1=0.9), phrase="a red ball")
    return {"boxes": Boxes(boxes=(box,), model="text", share=1.0, strength=strength)}


def look(photo: str, weight: float) -> Fields:
    return {"image_prompts": (ImagePrompt(model="look", images=(photo,), weight=weight),)}


def net(photo: str, weight: float, name: str = "net") -> Fields:
    return {"controls": (ControlInput(model=name, image=photo, weight=weight),)}


LORAS: Fields = {"loras": (LoraInput(model="lora", weight=0.7), LoraInput(model="other-lora", weight=0.2))}


def test_compiled_models_make_the_same_pictures(
    studio: LocalStudio, plain_studio: LocalStudio, photo: str
) -> None:
    stack = net(photo, 0.8) | look(photo, 0.6) | boxes(0.9) | LORAS
    (ours,), (expected,) = (pictures(one, request_of(stack)) for one in (studio, plain_studio))
    difference = np.asarray(ours, int) - np.asarray(expected, int)
    assert np.abs(difference).max() <= 1


@pytest.fixture
def graphs_of(studio: LocalStudio, compiler: Compiler) -> Callable[[Fields], int]:
    """How many graphs a picture needs that are not there yet."""
    torch.compiler.reset()

    def graphs_of(fields: Fields) -> int:
        before = compiler.graphs
        pictures(studio, request_of(fields))
        return compiler.graphs - before

    return graphs_of


def test_only_another_kind_of_call_is_compiled(graphs_of: Callable[[Fields], int], photo: str) -> None:
    assert graphs_of({}) > 0
    source = {"source": SourceImage(image=photo, strength=0.9), "prompt": "a cat"}
    for another in (LORAS, {"sampler": Sampler.DPMPP_2M, "steps": 3, "seed": 9}, source):
        assert graphs_of(another) == 0, another

    assert graphs_of(net(photo, 0.8)) == 2, "the ControlNet, and the UNet that takes what it adds"
    assert graphs_of(net(photo, 0.3)) == graphs_of(net(photo, 0.5, "other-net")) == 0
    assert graphs_of(look(photo, 0.8)) == 1
    assert graphs_of(look(photo, 0.3)) == 0
    assert graphs_of(boxes(0.9)) == graphs_of(boxes(0.5)) == 1
    assert graphs_of(boxes(0.7)) == 0

    one_picture, both = {"guidance_scale": 1.0}, look(photo, 0.8) | net(photo, 0.8)
    for kind in (
        one_picture,
        both,
        one_picture | net(photo, 0.8),
        {"batch_size": 2},
    ):  # nine: one over torch's limit
        assert graphs_of(kind) > 0, kind


def test_the_person_is_told_that_it_compiles(studio: LocalStudio) -> None:
    torch.compiler.reset()
    first, second = (
        [event.phase for event in run(studio, request_of({})) if isinstance(event, Progress)] for _ in "12"
    )
    assert any("Compiling" in phase for phase in first)
    assert not any("Compiling" in phase for phase in second)

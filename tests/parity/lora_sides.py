"""LoRA files on both sides: a job through a whole studio, and diffusers' own loader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.app import generation
from studio.app.studio import build_studio
from studio.core.events import Event, Failed
from studio.core.requests import GenerateRequest
from studio.core.settings import Precision, Settings
from studio.diffusion.generate import sample_latents
from tests.parity.sides import Sides

Weight = float | Mapping[str, Any]
"""Of a LoRA, or of its parts, as `set_adapters` takes them."""


class WholeStudio:
    """A studio over a folder of models that stops at the latents: no decoder, no library.

    Args:
        folder: holds checkpoints and LoRA files.
        data: the studio's own folder.
    """

    def __init__(self, folder: Path, data: Path, patch: pytest.MonkeyPatch) -> None:
        settings = Settings(data_dir=data, models_dirs=(folder,), device="cpu", precision=Precision.FP32)
        self.studio = build_studio(settings)
        self._latents: list[torch.Tensor] = []
        patch.setattr(generation, "generate", self._sample)
        self.studio.start()

    def latents(self, request: GenerateRequest) -> torch.Tensor:
        """Final latents of a job."""
        failures = [event.message for event in self.events(request) if isinstance(event, Failed)]
        assert not failures
        return self._latents.pop()

    def events(self, request: GenerateRequest) -> list[Event]:
        return list(self.studio.events(self.studio.submit(request).id))

    def _sample(self, *arguments: Any) -> Iterable[Any]:
        plan, modules, conditioning, source, observer, _first_batch, *rest = arguments
        self._latents.append(sample_latents(plan, modules, conditioning, source, observer, *rest))
        return ()


def theirs(sides: Sides, request: GenerateRequest, files: Mapping[Path, Weight]) -> torch.Tensor:
    """diffusers' latents with `files` loaded, each with its weight."""
    pipeline = sides.text_to_image
    names = [f"lora{i}" for i in range(len(files))]
    try:
        for name, file in zip(names, files, strict=True):
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name)
        pipeline.set_adapters(names, list(files.values()))
        return sides.theirs(request)
    finally:
        pipeline.unload_lora_weights()

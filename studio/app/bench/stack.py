"""`easel bench stack`: how fast LoRAs are switched, and what pictures cost with them on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from studio.app.bench.generate import Row
from studio.core.conditions import LoraInput
from studio.core.settings import Precision, Settings


@dataclass(frozen=True)
class StackCase:
    """What both sides do."""

    folder: Path
    """Holds the checkpoint, as a diffusers folder, and the LoRA files."""
    model: str
    loras: tuple[str, ...]
    """Names of three files."""
    size: int
    """Side of the picture, px."""
    device: str = "cpu"
    precision: Precision = Precision.BF16
    switches: int = 4
    steps: int = 6
    """Timed with LoRAs on and off, in each round."""
    cpu_seconds: bool = False
    """Count seconds of computing instead, which other programs on the machine change less."""

    @property
    def dtype(self) -> torch.dtype:
        return {Precision.FP32: torch.float32, Precision.FP16: torch.float16}.get(
            self.precision, torch.bfloat16
        )


class StackSide(Protocol):
    unet: Any

    def put_on(self, loras: Sequence[str]) -> None:
        """Make these the only LoRAs on UNet and text encoder."""


class OurStack:
    """Easel's own way: files and modules borrowed from the manager, weights patched."""

    def __init__(self, case: StackCase, leases: ExitStack) -> None:
        from studio.models.catalogue import ModelCatalogue
        from studio.models.components import components_of
        from studio.models.device import choose_device
        from studio.models.manager import ModelManager
        from studio.models.tensor_file import tensor_file_of

        settings = Settings(
            data_dir=case.folder / "data",
            models_dirs=(case.folder,),
            device=case.device,
            precision=case.precision,
        )
        self._catalogue = ModelCatalogue(settings)
        device = choose_device(settings)
        manager = ModelManager(device, ram_budget=2**40, device_budget=2**40)
        parts = components_of(self._catalogue, self._catalogue.find(case.model)).modules
        files = [tensor_file_of(self._catalogue, self._catalogue.find(name)) for name in case.loras]
        self._lease = leases.enter_context(manager.lease([*parts, *files]))
        self.unet = self._lease.get("unet")

    def put_on(self, loras: Sequence[str]) -> None:
        from studio.diffusion.lora_stack import LoraStack
        from studio.diffusion.plan_stack import PlannedLora

        planned = [PlannedLora(self._catalogue.find(name), name, LoraInput(model=name)) for name in loras]
        stack = LoraStack(self._lease, planned)
        for role in ("unet", "text_encoder"):
            stack.put_on(role, stack.active(0, 1))


class DiffusersStack:
    """diffusers' way, as its documentation shows: unload, then load."""

    def __init__(self, case: StackCase) -> None:
        from diffusers import StableDiffusionPipeline

        self._case = case
        self._pipeline: Any = StableDiffusionPipeline.from_pretrained(
            case.folder / case.model, dtype=case.dtype, safety_checker=None
        ).to(case.device)
        self.unet = self._pipeline.unet

    def put_on(self, loras: Sequence[str]) -> None:
        self._pipeline.unload_lora_weights()
        for name in loras:
            self._pipeline.load_lora_weights(
                str(self._case.folder), weight_name=f"{name}.safetensors", adapter_name=name
            )
        if len(loras) > 1:
            self._pipeline.set_adapters(list(loras))


def bench_stack(case: StackCase, progress: Callable[[str], None] = lambda _: None) -> Iterator[Row]:
    """The rows of the table, as they are measured; both sides by turns."""
    with ExitStack() as leases:
        progress("loading the checkpoint on both sides")
        sides = OurStack(case, leases), DiffusersStack(case)
        for side in sides:
            for name in reversed(case.loras):
                side.put_on([name])
                _step(side, case)
        progress("switching between two LoRAs")
        yield from _switches(sides, case)
        progress("steps with three LoRAs and with none")
        yield from _steps(sides, case)


_PARTS = ("", ", and one step", ", less a later step")


def _switches(sides: tuple[StackSide, StackSide], case: StackCase) -> Iterator[Row]:
    """From the first LoRA to one of the others, which was not on just before, and back to the first."""
    first, *others = case.loras
    timings: list[dict[str, list[list[float]]]] = [{"to another LoRA": [], "back": []} for _ in sides]
    for i in range(case.switches):
        for side, timed in zip(sides, timings, strict=True):
            for (_, seconds), lora in zip(timed.items(), (others[i % 2], first), strict=True):
                seconds.append(_switch(side, lora, case))
    for name in timings[0]:
        ours, theirs = (
            [statistics.median(part) for part in zip(*timed[name], strict=True)] for timed in timings
        )
        for part, our_seconds, their_seconds in zip(_PARTS, ours, theirs, strict=True):
            yield Row(f"switch {name}{part}", our_seconds, their_seconds, "s")


def _switch(side: StackSide, lora: str, case: StackCase) -> list[float]:
    """Seconds by itself, with the first step, and with what the first step takes longer than the next."""
    switch = _seconds(partial(side.put_on, [lora]), case)
    step, later = _step(side, case), _step(side, case)
    return [switch, switch + step, switch + step - later]


def _steps(sides: tuple[StackSide, StackSide], case: StackCase) -> Iterator[Row]:
    """Steps with and without LoRAs in turns, so that whatever else the machine does hits both alike."""
    timings: list[dict[int, list[float]]] = [{0: [], 3: []}, {0: [], 3: []}]
    for _ in range(2):
        for side, timed in zip(sides, timings, strict=True):
            for count, seconds in timed.items():
                side.put_on(case.loras[:count])
                _step(side, case)
                seconds += [_step(side, case) for _ in range(case.steps)]
    ours, theirs = ({count: statistics.median(timed[count]) for count in timed} for timed in timings)
    yield Row("a step without LoRAs", ours[0], theirs[0], "s")
    yield Row("a step with 3 LoRAs", ours[3], theirs[3], "s")
    yield Row("3 LoRAs over none", ours[3] / ours[0], theirs[3] / theirs[0], "x")


@torch.inference_mode()
def _step(side: StackSide, case: StackCase) -> float:
    """Seconds of one guided step of the UNet, that is two pictures."""
    side_px = case.size // 8
    sample = torch.zeros(2, 4, side_px, side_px, device=case.device, dtype=case.dtype)
    embeds = torch.zeros(2, 77, side.unet.config.cross_attention_dim, device=case.device, dtype=case.dtype)
    return _seconds(lambda: side.unet(sample, 500, encoder_hidden_states=embeds, return_dict=False), case)


def _seconds(work: Callable[[], object], case: StackCase) -> float:
    clock = time.process_time if case.cpu_seconds else time.perf_counter
    _synchronise(case.device)
    began = clock()
    work()
    _synchronise(case.device)
    return clock() - began


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()

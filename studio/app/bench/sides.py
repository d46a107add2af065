"""The two sides of a comparison, each in a process of its own, so that memory and caches are its own too."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from typing_extensions import Self

from studio.core.events import Failed, Preview
from studio.core.requests import GenerateRequest
from studio.core.samplers import Sampler, Schedule
from studio.core.settings import Precision, Settings


@dataclass(frozen=True)
class Case:
    """What both sides do."""

    name: str
    folder: Path
    """Holds the checkpoints, as diffusers folders."""
    models: tuple[str, ...]
    """Their names; the first is measured, the second switched to."""
    size: int
    """Side of the picture, px."""
    steps: int
    device: str = "cpu"
    precision: Precision = Precision.BF16
    compile: bool = False
    """Ours only: diffusers is measured as its documentation shows it first."""
    prompt: str = "a red ball and a blue house on grass"


@dataclass(frozen=True)
class Timing:
    seconds: float
    """From asking to having the picture."""
    first_preview: float
    """From asking to the first preview."""


class Side(Protocol):
    def __init__(self, case: Case) -> None: ...

    def generate(self, model: str, seed: int) -> Timing: ...

    def peak_device_bytes(self) -> int: ...


class Ours:
    """Easel as a user has it: queue, events, previews, library and all."""

    def __init__(self, case: Case) -> None:
        from studio.app.studio import build_studio

        self._case = case
        self._data = tempfile.TemporaryDirectory()
        self._studio = build_studio(
            Settings(
                data_dir=Path(self._data.name),
                models_dirs=(case.folder,),
                device=case.device,
                precision=case.precision,
                compile=case.compile,
            )
        )
        self._studio.start()

    def generate(self, model: str, seed: int) -> Timing:
        request = GenerateRequest(
            model=model,
            prompt=self._case.prompt,
            width=self._case.size,
            height=self._case.size,
            steps=self._case.steps,
            sampler=Sampler.EULER,
            schedule=Schedule.AUTOMATIC,
            seed=seed,
        )
        began, first_preview = time.perf_counter(), 0.0
        for event in self._studio.events(self._studio.submit(request).id):
            if isinstance(event, Failed):
                raise RuntimeError(event.message)
            if isinstance(event, Preview) and not first_preview:
                first_preview = time.perf_counter() - began
        return Timing(time.perf_counter() - began, first_preview)

    def peak_device_bytes(self) -> int:
        return _peak_device_bytes(self._case.device)


class Diffusers:
    """diffusers' own pipeline, used as its documentation shows."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._model = ""
        self._pipeline: Any = None

    def generate(self, model: str, seed: int) -> Timing:
        import torch

        began = time.perf_counter()
        self._switch(model)
        first: list[float] = []

        def note(_pipeline: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            first.append(time.perf_counter() - began)
            return tensors

        self._pipeline(
            self._case.prompt,
            negative_prompt="",
            width=self._case.size,
            height=self._case.size,
            num_inference_steps=self._case.steps,
            guidance_scale=7.0,
            generator=torch.Generator("cpu").manual_seed(seed),
            callback_on_step_end=note,
        )
        return Timing(time.perf_counter() - began, first[0])

    def peak_device_bytes(self) -> int:
        return _peak_device_bytes(self._case.device)

    def _switch(self, model: str) -> None:
        if model == self._model:
            return
        import torch
        from diffusers import DiffusionPipeline, EulerDiscreteScheduler

        dtypes = {
            Precision.FP32: torch.float32,
            Precision.BF16: torch.bfloat16,
            Precision.FP16: torch.float16,
        }
        self._pipeline = None
        pipeline = DiffusionPipeline.from_pretrained(
            self._case.folder / model, dtype=dtypes[self._case.precision], safety_checker=None
        ).to(self._case.device)
        pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline, self._model = pipeline, model


class SideProcess:
    """A side in its own process: `ask("generate", ...)` runs there and answers here."""

    def __init__(self, side: Callable[[Case], Side], case: Case) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(side, case, there), daemon=True)
        self._process.start()

    def generate(self, model: str, seed: int) -> Timing:
        timing: Timing = self._ask("generate", model, seed)
        return timing

    def peak_bytes(self) -> tuple[int, int]:
        """Most main memory and most device memory that the process ever had."""
        peak: tuple[int, int] = self._ask("peak")
        return peak

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def _ask(self, *message: object) -> Any:
        self._connection.send(message)
        answer = self._connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(side_class: Callable[[Case], Side], case: Case, connection: Connection) -> None:
    side = side_class(case)
    while True:
        verb, *arguments = connection.recv()
        try:
            if verb == "generate":
                connection.send(side.generate(*arguments))
            else:
                connection.send((peak_host_bytes(), side.peak_device_bytes()))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told in the other process
            connection.send(RuntimeError(f"{side_class}: {error}"))


def peak_host_bytes() -> int:
    """Most main memory that this process ever had, mapped files included as far as they were read.

    Linux hands `ru_maxrss` on from the process that started this one, which wrote the weights.
    """
    with suppress(OSError, ValueError):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _peak_device_bytes(device: str) -> int:
    import torch

    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0

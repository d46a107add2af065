"""`easel bench load`: from a single-file checkpoint on disk to modules, and the memory that takes."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from studio.app.bench.generate import Row
from studio.app.bench.sides import peak_host_bytes
from studio.app.bench.weights import torch_dtype
from studio.core.settings import Precision, Settings


@dataclass(frozen=True)
class LoadCase:
    """What both sides load."""

    file: Path
    """A single-file checkpoint, alone in its folder."""
    config: Path
    """The same as a diffusers folder: its tokenizer serves both; diffusers needs the rest without the Hub."""
    precision: Precision = Precision.FP16
    rounds: int = 3


def bench_load(case: LoadCase, progress: Callable[[str], None] = lambda _: None) -> Iterator[Row]:
    """The rows of the table, medians over the rounds; both sides by turns, each round in new processes.

    A first look at a file finds out what it is, once for all time; diffusers has no such thing, so both looks
    are set beside the same figure: its first load in a process, with all imports done before.
    """
    seconds: list[tuple[float, float, float]] = []
    for i in range(case.rounds):
        progress(f"loading by turns, round {i + 1} of {case.rounds}")
        with ExitStack() as stack:
            ours, theirs = (stack.enter_context(_new_process()) for _ in range(2))
            first, again = ours.submit(_ours, case).result()
            seconds.append((first, again, theirs.submit(_theirs, case).result()))
            our_peak, their_peak = (side.submit(peak_host_bytes).result() / 2**20 for side in (ours, theirs))
    first, again, their_seconds = (statistics.median(each) for each in zip(*seconds, strict=True))
    file_size = case.file.stat().st_size / 2**20
    yield Row("load, first look at a file", first, their_seconds, "s")
    yield Row("load, a file seen before", again, their_seconds, "s")
    yield Row("peak main memory", our_peak, their_peak, "MB")
    yield Row("peak main memory, of the file's size", our_peak / file_size, their_peak / file_size, "x")


def _new_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _ours(case: LoadCase) -> tuple[float, float]:
    """Seconds of the first look, and of loading once more in a program that has seen the file before."""
    from studio.models.modules import import_classes

    import_classes()
    with tempfile.TemporaryDirectory() as data:
        settings = Settings(data_dir=Path(data), models_dirs=(case.file.parent,))
        return _load(settings, case), _load(settings, case)


def _load(settings: Settings, case: LoadCase) -> float:
    from studio.models.catalogue import ModelCatalogue
    from studio.models.components import components_of
    from studio.models.load import load_component
    from studio.models.tokenizers import load_tokenizer

    catalogue = ModelCatalogue(settings)
    info = catalogue.find(case.file.stem)
    began = time.perf_counter()
    checkpoint = components_of(catalogue, info)
    modules = [load_component(ref, torch_dtype(case.precision)) for ref in checkpoint.modules]
    tokenizer = load_tokenizer(case.config / "tokenizer")
    seconds = time.perf_counter() - began
    del modules, tokenizer
    return seconds


def _theirs(case: LoadCase) -> float:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel  # noqa: F401
    from diffusers.utils import logging
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

    logging.set_verbosity_error()
    began = time.perf_counter()
    StableDiffusionPipeline.from_single_file(
        str(case.file),
        config=str(case.config),
        local_files_only=True,
        torch_dtype=torch_dtype(case.precision),
        safety_checker=None,
    )
    return time.perf_counter() - began

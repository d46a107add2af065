"""`easel bench`: how fast this machine is, and how fast Easel is on it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from studio.cli.options import CompileOption, Device, PrecisionOption
from studio.core.models import Family
from studio.core.settings import PACK, Precision

if TYPE_CHECKING:
    from studio.app.bench.generate import Row
    from studio.app.bench.sides import Case

EPILOG = (
    "Examples:\n\neasel bench generate\n\neasel bench generate --scale sd1 --size 256 --steps 4\n\n"
    "easel bench generate --scale sdxl --device cuda --precision bf16 --size 1024 --steps 20"
)
app = typer.Typer(
    help="Figures of speed and memory, ours beside diffusers', measured in one run.", no_args_is_help=True
)


def _whole_latents(size: int | None) -> int | None:
    if size and size % 8:
        raise typer.BadParameter(f"needs a multiple of 8 px, not {size}")
    return size


Size = Annotated[int, typer.Option(min=64, callback=_whole_latents, help="Side of the picture, px.")]
CpuSeconds = Annotated[
    bool,
    typer.Option("--cpu-seconds", help="Of the processor, not the clock: for a busy machine, one thread."),
]


class Scale(str, Enum):
    TOYTOWN = "toytown"
    SD1 = "sd1"
    SDXL = "sdxl"


DEFAULTS = {Scale.TOYTOWN: (128, 20), Scale.SD1: (256, 4), Scale.SDXL: (256, 2)}
"""Size (px) and steps that a laptop can take."""

CHECKPOINTS = {Scale.SD1: 2, Scale.SDXL: 1}
"""Random ones to write; switching between two of SDXL takes more memory than a laptop has."""


@app.command("generate", epilog=EPILOG)
def generate(
    scale: Annotated[
        Scale, typer.Option(help="Toytown as it is, or the real shapes with random weights.")
    ] = Scale.TOYTOWN,
    size: Annotated[
        int | None,
        typer.Option(
            min=64, callback=_whole_latents, help="Side of the picture, px; without it, fit for a laptop."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of each picture; without it, few enough for a laptop.")
    ] = None,
    repeats: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Pictures in a row; may be given several times. 1, 4 and 20 unless told."),
    ] = None,
    device: Device = "cpu",
    precision: PrecisionOption = Precision.BF16,
    compile: CompileOption = False,
) -> None:
    """Seconds a picture, time to the first preview, peak memory and model switches, ours against diffusers.

    Both sides run the same weights, seeds and sampler (Euler), by turns, each in a process of its own. Ours
    is the whole studio: queue, events, previews, the picture stored with its settings.
    """
    from studio.app.bench.generate import REPEATS, bench_generate

    console = Console(stderr=True)
    default_size, default_steps = DEFAULTS[scale]
    with _case(scale, size or default_size, steps or default_steps, device, precision, compile) as case:
        rows = bench_generate(case, tuple(repeats or REPEATS), lambda text: console.log(text))
        Console().print(_table(case, rows))


@app.command("control", epilog="Example: easel bench control --size 128 --steps 4 --repeats 3")
def control(
    size: Size = 128,
    steps: Annotated[int, typer.Option(min=2, help="Of each loop.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; medians are compared.")] = 3,
    cpu_seconds: CpuSeconds = False,
    device: Device = "cpu",
    precision: PrecisionOption = Precision.BF16,
) -> None:
    """The denoising loop with 0 to 3 ControlNets of SD 1.5's shapes, ours against diffusers' MultiControlNet.

    Both sides take turns in one process, on the same random weights. The last row is what the nets cost when
    they are limited to the first half of the steps, as a share of their cost over all of them.
    """
    from studio.app.bench.control import MOST_NETS, bench_control
    from studio.app.bench.weights import write_controlnets

    console = Console(stderr=True)
    with _case(Scale.SD1, size, steps, device, precision, compile=False, checkpoints=1) as case:
        nets = write_controlnets(Family.SD1, case.folder, precision, MOST_NETS)
        clock = time.process_time if cpu_seconds else time.perf_counter
        rows = bench_control(case, nets, repeats, lambda text: console.log(text), clock)
        Console().print(_table(case, rows))


STACK_EPILOG = "Examples:\n\neasel bench stack\n\neasel bench stack --device cuda --size 512"


@app.command("stack", epilog=STACK_EPILOG)
def stack(
    size: Size = 128,
    switches: Annotated[int, typer.Option(min=1, help="Switches between two LoRAs on either side.")] = 4,
    cpu_seconds: CpuSeconds = False,
    device: Device = "cpu",
    precision: PrecisionOption = Precision.BF16,
) -> None:
    """Switching between LoRAs, and steps with three of them, ours against diffusers, on SD 1.5's shapes.

    Both sides hold the same random checkpoint and LoRA files (rank 16, UNet and text encoder) and work by
    turns. Switching is diffusers' unload and load, ours a change of weights. What that makes the first step
    longer is shown too: ours packs changed weights when they are first used.
    """
    from studio.app.bench.stack import StackCase, bench_stack
    from studio.app.bench.weights import write_checkpoints, write_random_lora

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        console.log("writing a random checkpoint and LoRAs")
        (model,) = write_checkpoints(Family.SD1, folder, PACK / "toytown" / "tokenizer", precision, 1)
        loras = ("lora-a", "lora-b", "lora-c")
        case = StackCase(folder, model, loras, size, device, precision, switches, cpu_seconds=cpu_seconds)
        for seed, lora in enumerate(loras):
            write_random_lora(Family.SD1, folder / f"{lora}.safetensors", case.dtype, seed)
        title = f"SD 1.5 shapes, {size} px, {device}, {precision}"
        Console().print(_drawn(title, bench_stack(case, lambda text: console.log(text))))


@app.command("load", epilog="Example: easel bench load --rounds 3")
def load(
    rounds: Annotated[int, typer.Option(min=1, help="Each in new processes; medians are compared.")] = 3,
    precision: PrecisionOption = Precision.FP16,
) -> None:
    """Loading a single-file checkpoint of SD 1.5's shapes, ours against diffusers' from_single_file.

    Ours twice: the first look at a new file, which finds out what it is, and every load after that.
    """
    from studio.app.bench.load import LoadCase, bench_load
    from studio.app.bench.weights import write_checkpoints, write_single_file

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        console.log("writing a random checkpoint as one file")
        config = Path(name) / "config"
        (model,) = write_checkpoints(Family.SD1, config, PACK / "toytown" / "tokenizer", precision, 1)
        file = write_single_file(config / model, Path(name) / "file" / "single.safetensors")
        case = LoadCase(file, config / model, precision, rounds)
        title = f"SD 1.5 shapes, {file.stat().st_size / 1e9:.2f} GB, {precision}"
        Console().print(_drawn(title, bench_load(case, lambda text: console.log(text))))


@contextmanager
def _case(
    scale: Scale,
    size: int,
    steps: int,
    device: str,
    precision: Precision,
    compile: bool,
    checkpoints: int | None = None,
) -> Iterator[Case]:
    from studio.app.bench.sides import Case

    if scale is Scale.TOYTOWN:
        yield Case("toytown", PACK, ("toytown",), size, steps, device, precision, compile)
        return
    from studio.app.bench.weights import write_checkpoints

    family = {Scale.SD1: Family.SD1, Scale.SDXL: Family.SDXL}[scale]
    with tempfile.TemporaryDirectory() as folder:
        models = write_checkpoints(
            family, Path(folder), PACK / "toytown" / "tokenizer", precision, checkpoints or CHECKPOINTS[scale]
        )
        yield Case(scale.value, Path(folder), models, size, steps, device, precision, compile)


def _table(case: Case, rows: Iterator[Row]) -> Table:
    return _drawn(f"{case.name}, {case.size} px, {case.steps} steps, {case.device}, {case.precision}", rows)


def _drawn(title: str, rows: Iterator[Row]) -> Table:
    table = Table("figure", "ours", "diffusers", "ratio", title=title)
    for row in rows:
        table.add_row(
            row.figure, f"{row.ours:.2f} {row.unit}", f"{row.diffusers:.2f} {row.unit}", f"{row.ratio:.2f}"
        )
    return table

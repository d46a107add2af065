"""What the net of an ONNX file reads and answers: found by running it once, in a process that may die of it.

A damaged file is an exception of onnxruntime's. One that was made to do harm can still ask for all memory or
never end, and the version for Python 3.10 divides by a stride of nothing: that must not happen to the studio.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil

from studio.core import errors
from studio.core.errors import CorruptFile, EaselError
from studio.models.annotator_graphs import Ports
from studio.models.weights import GET_IT_AGAIN

_ROOT = Path(__file__).parents[2]
"""The folder in which the package `studio` lies."""

_PROGRAM = ("-m", "studio.models.onnx_session")

_MOST_SECONDS = 120.0
"""Until a net has answered once; the largest of DWPose's takes two on one core."""

_MOST_BYTES = 3 * 2**30
"""Of main memory beside twice the file's size; the largest of DWPose's needs a tenth."""

_SECONDS_BETWEEN_LOOKS = 0.02


def ports_of(path: Path) -> Ports:
    """What a net reads and answers, and the proof that it runs.

    Raises:
        CorruptFile: damaged, contradicts itself, or takes more time or memory than any net needs.
        UnknownFile: it reads something else than one picture, or is no single file.
        NotFound: no such file.
    """
    command = [sys.executable, *_PROGRAM, str(path.absolute())]
    quiet = subprocess.DEVNULL
    with TemporaryFile("w+") as told:
        with subprocess.Popen(command, cwd=_ROOT, stdin=quiet, stdout=told, stderr=quiet) as process:
            try:
                excess = _watched(process, path)
            finally:
                process.kill()
        if excess or process.returncode:
            problem = f"The net of {path.name} {excess or 'ends the process that runs it'}."
            raise CorruptFile(problem, GET_IT_AGAIN)
        told.seek(0)
        return _ports(json.load(told))


def _watched(process: subprocess.Popen[bytes], path: Path) -> str:
    """Waits until the process ends; otherwise, how it takes more than a net may."""
    most = _MOST_BYTES + 2 * path.stat().st_size if path.is_file() else _MOST_BYTES
    end = time.monotonic() + _MOST_SECONDS
    while process.poll() is None:
        if _memory_of(process) > most:
            return f"takes more than {most / 2**30:.0f} GB of memory, as no net does that Easel runs"
        if time.monotonic() > end:
            return f"has not answered after {_MOST_SECONDS:.0f} s"
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return ""


def _memory_of(process: subprocess.Popen[bytes]) -> int:
    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error:
        return 0


def _ports(told: dict[str, Any]) -> Ports:
    if "error" in told:
        error: type[EaselError] = getattr(errors, told["error"])
        raise error(told["problem"], told["remedy"])
    height, width = told["size"]
    return Ports((height, width), {name: tuple(shape) for name, shape in told["shapes"].items()})

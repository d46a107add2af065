"""Is this machine fit for Easel? Each check compares a need with what is there, and names a remedy.

Checks reach the machine only through `Probes`, so each can be shown a machine on which it must fail.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import Field

from studio.core.base import Record, StrEnum
from studio.core.settings import PACK, Settings

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
LEAST_DISK, GOOD_DISK = 1 * 2**30, 10 * 2**30
"""Bytes: pictures and a small model; a few checkpoints of the large families."""
LEAST_RAM, GOOD_RAM = 3 * 2**30, 12 * 2**30
"""Bytes: torch and Toytown; SDXL in half precision."""

PACKAGES = (
    "accelerate",
    "controlnet-aux",
    "diffusers",
    "fastapi",
    "gradio",
    "gradio_image_annotation",
    "lark",
    "onnxruntime",
    "opencv-python-headless",
    "peft",
    "pillow",
    "safetensors",
    "sd-parsers",
    "torchsde",
    "transformers",
)
REINSTALL = "Run: python launch.py setup (or delete .venv and run it, to begin afresh)."


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(Record):
    """What one check found."""

    check: str
    level: Level
    need: str = Field(description="what Easel needs")
    have: str = Field(description="what is there")
    remedy: str = Field("", description="what to do; empty where all is well")


class TorchReport(Record):
    """What torch says about itself once it is imported."""

    version: str
    cuda_build: str = Field("", description="CUDA version that torch was built for; empty for a CPU build")
    device_name: str = Field("", description="the accelerator that torch can use; empty where there is none")


def _package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_error(module: str) -> str:
    """What goes wrong when `module` is imported; empty when nothing does."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - broken binaries raise anything, and that is the finding
        return f"{type(error).__name__}: {error}"
    return ""


def _torch_report() -> TorchReport:
    import torch

    name = ""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    elif torch.backends.mps.is_available():
        name = "Apple GPU"
    return TorchReport(version=torch.__version__, cuda_build=torch.version.cuda or "", device_name=name)


def _has_nvidia_card() -> bool:
    """Whether the bus shows a display controller by NVIDIA, driver or not (on Linux; elsewhere False)."""
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    cards = (path.parent for path in vendors if path.read_text().strip() == "0x10de")
    return any((card / "class").read_text().startswith("0x03") for card in cards)


def _has_nvidia_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def _nearest_folder(path: Path) -> Path:
    """`path`, or the parent that it would be made in."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _write_error(folder: Path) -> str:
    """What goes wrong when a file is written into `folder`; empty when nothing does."""
    try:
        with tempfile.TemporaryFile(dir=_nearest_folder(folder)) as file:
            file.write(b"easel")
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return ""


@dataclass(frozen=True)
class Probes:
    """The questions that checks ask of the machine. Tests pass other answers."""

    python_version: Callable[[], tuple[int, int]] = lambda: sys.version_info[:2]
    package_version: Callable[[str], str | None] = _package_version
    import_error: Callable[[str], str] = _import_error
    torch_report: Callable[[], TorchReport] = _torch_report
    has_nvidia_card: Callable[[], bool] = _has_nvidia_card
    has_nvidia_driver: Callable[[], bool] = _has_nvidia_driver
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(_nearest_folder(folder)).free
    write_error: Callable[[Path], str] = _write_error
    total_ram: Callable[[], int] = lambda: psutil.virtual_memory().total
    exists: Callable[[Path], bool] = Path.exists


def diagnose(settings: Settings, probes: Probes | None = None) -> Iterator[Finding]:
    """Run every check, in the order in which one depends on another."""
    probes = probes or Probes()
    yield check_python(probes)
    yield check_packages(probes)
    torch = check_torch(probes)
    yield torch
    if torch.level is not Level.PROBLEM:
        yield check_accelerator(probes)
    yield check_ram(probes)
    yield check_disk(settings, probes)
    for folder in (settings.data_dir, settings.outputs, settings.own_models):
        yield check_writable(folder, probes)
    for folder in (*settings.models_dirs, PACK):
        yield check_models_dir(folder, probes)


def check_python(probes: Probes) -> Finding:
    version = probes.python_version()
    fits = OLDEST_PYTHON <= version <= NEWEST_PYTHON
    return Finding(
        check="Python",
        level=Level.OK if fits else Level.PROBLEM,
        need="Python 3.10-3.13",
        have=f"Python {version[0]}.{version[1]}",
        remedy="" if fits else "Install Python 3.12, delete .venv, and run launch.py with it.",
    )


def check_packages(probes: Probes) -> Finding:
    missing = [name for name in PACKAGES if probes.package_version(name) is None]
    return Finding(
        check="Packages",
        level=Level.PROBLEM if missing else Level.OK,
        need=f"the {len(PACKAGES)} libraries that Easel is built on",
        have=f"no {', '.join(missing)}" if missing else "all of them",
        remedy=REINSTALL if missing else "",
    )


def check_torch(probes: Probes) -> Finding:
    """The two are compiled against each other: of different builds, they do not even import together."""
    versions = {name: probes.package_version(name) for name in ("torch", "torchvision")}
    have = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    error = probes.import_error("torch") or probes.import_error("torchvision")
    broken = bool(error) or None in versions.values()
    return Finding(
        check="torch",
        level=Level.PROBLEM if broken else Level.OK,
        need="torch and torchvision of one build",
        have=f"{have} ({error})" if error else have,
        remedy="Reinstall both, from one source: pip install --force-reinstall torch torchvision."
        if broken
        else "",
    )


def check_accelerator(probes: Probes) -> Finding:
    report = probes.torch_report()
    if report.device_name:
        return Finding(
            check="GPU", level=Level.OK, need="a GPU that torch can use", have=f"{report.device_name}"
        )
    have, remedy = _why_no_gpu(report, probes)
    return Finding(
        check="GPU", level=Level.WARNING, need="a GPU that torch can use", have=have, remedy=remedy
    )


def _why_no_gpu(report: TorchReport, probes: Probes) -> tuple[str, str]:
    """What stands between torch and a GPU, and what to do about it."""
    card, driver = probes.has_nvidia_card(), probes.has_nvidia_driver()
    if card and not driver:
        return "an NVIDIA card without a driver", "Install NVIDIA's driver, restart, and try again."
    if (card or driver) and not report.cuda_build:
        return (
            f"an NVIDIA card, but torch {report.version} is a build for the CPU",
            "Reinstall torch and torchvision together, from a source of CUDA builds.",
        )
    if card or driver:
        return (
            f"an NVIDIA card, but its driver does not work with CUDA {report.cuda_build}",
            "Update NVIDIA's driver; in a container, give it the GPU (docker run --gpus all).",
        )
    return (
        "none: the CPU does the work",
        "Toytown is fast on it; SD 1.5 takes minutes a picture, SDXL longer.",
    )


def check_ram(probes: Probes) -> Finding:
    total = probes.total_ram()
    return Finding(
        check="Memory",
        level=_level(total, LEAST_RAM, GOOD_RAM),
        need=f"{_size(GOOD_RAM)} for the large families, {_size(LEAST_RAM)} at least",
        have=_size(total),
        remedy="" if total >= GOOD_RAM else "Stay with Toytown and SD 1.x, and close other programs.",
    )


def check_disk(settings: Settings, probes: Probes) -> Finding:
    free = probes.free_bytes(settings.data_dir)
    return Finding(
        check="Disk",
        level=_level(free, LEAST_DISK, GOOD_DISK),
        need=f"{_size(GOOD_DISK)} for models and pictures, {_size(LEAST_DISK)} at least",
        have=f"{_size(free)} free at {settings.data_dir}",
        remedy="" if free >= GOOD_DISK else "Free some space, or keep the data elsewhere with --data-dir.",
    )


def check_writable(folder: Path, probes: Probes) -> Finding:
    error = probes.write_error(folder)
    return Finding(
        check="Folder",
        level=Level.PROBLEM if error else Level.OK,
        need=f"to write into {folder}",
        have=error or "allowed",
        remedy="Give yourself the right to, or choose another folder with --data-dir." if error else "",
    )


def check_models_dir(folder: Path, probes: Probes) -> Finding:
    there = probes.exists(folder)
    return Finding(
        check="Models",
        level=Level.OK if there else Level.WARNING,
        need=f"models in {folder}",
        have="there" if there else "no such folder",
        remedy="" if there else "Fetch Easel afresh." if folder == PACK else "Correct or drop --models-dir.",
    )


def _level(have: int, least: int, good: int) -> Level:
    if have < least:
        return Level.PROBLEM
    return Level.OK if have >= good else Level.WARNING


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB"

"""The one device that Easel computes on, chosen once."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from studio.core.errors import InvalidRequest
from studio.core.settings import Precision, Settings

_DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


@dataclass(frozen=True)
class Device:
    torch_device: torch.device
    name: str
    """For a person: 'NVIDIA H200', 'AMD EPYC 9354'."""
    dtype: torch.dtype
    """Working precision of UNet and text encoders."""

    @property
    def is_host(self) -> bool:
        """True where weights on the device take main memory."""
        return self.torch_device.type == "cpu"

    @property
    def precision(self) -> str:
        return next(str(p) for p, dtype in _DTYPES.items() if dtype is self.dtype)

    @property
    def total_memory(self) -> int:
        """Bytes."""
        if self.torch_device.type == "cuda":
            return int(torch.cuda.get_device_properties(self.torch_device).total_memory)
        return int(psutil.virtual_memory().total)

    @property
    def free_memory(self) -> int:
        """Bytes that nobody uses, what torch's allocator merely holds included."""
        if self.torch_device.type == "cuda":
            held = torch.cuda.memory_reserved(self.torch_device) - torch.cuda.memory_allocated(
                self.torch_device
            )
            return int(torch.cuda.mem_get_info(self.torch_device)[0]) + held
        return int(psutil.virtual_memory().available)

    def release_cached(self) -> None:
        """Give memory that torch's allocator holds in reserve back to the driver."""
        if self.torch_device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.torch_device.type == "mps":
            torch.mps.empty_cache()

    def dtype_for(self, *, overflows_in_fp16: bool) -> torch.dtype:
        """The working precision, or float32 for a module that half precision breaks (SDXL's VAE)."""
        breaks = overflows_in_fp16 and self.dtype is torch.float16
        return torch.float32 if breaks else self.dtype


def choose_device(settings: Settings) -> Device:
    """The device that the settings ask for, or the best there is.

    Raises:
        InvalidRequest: the device asked for is not there.
    """
    torch_device = _torch_device(settings.device)
    return Device(torch_device, _name(torch_device), _dtype(torch_device, settings.precision))


def _torch_device(wanted: str) -> torch.device:
    if wanted != "auto":
        return _checked(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _checked(wanted: str) -> torch.device:
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidRequest(
            f"The device {wanted} was asked for, but it is not usable here: {str(error).splitlines()[0]}.",
            "Start with --device auto, or run easel doctor.",
            field="device",
        ) from error
    return device


def _dtype(device: torch.device, precision: Precision) -> torch.dtype:
    if precision is not Precision.AUTO:
        return _DTYPES[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor_name()


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

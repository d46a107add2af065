"""How many threads torch may use right now: one for each processor core that others leave idle.

OpenMP's threads meet at a barrier after every operation, hundreds of times a step. With more busy threads
than cores, each meeting waits for the operating system to schedule the one that is missing: on two cores
beside two busy programs, a UNet forward of 17 ms was seen to take 135 ms to 5 s. Fewer threads are faster.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class CpuUse:
    """Seconds of computing since the start of the machine, on all cores together."""

    at: float
    """When this was read, in seconds of a steady clock."""
    everybody: float
    ours: float


def read_cpu_use() -> CpuUse:
    """Seconds that the processor has worked so far, for everybody and for this process."""
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0)
    own = psutil.Process().cpu_times()
    return CpuUse(time.monotonic(), sum(times) - waiting - _counted_twice(times), own.user + own.system)


def _counted_twice(times: psutil._common.scputimes) -> float:
    """Linux counts the time of virtual guests as user time once more."""
    return float(getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0))


class IdleCores:
    """Sets torch's number of threads to the number of cores that other programs leave idle.

    OpenMP keeps that number per thread: call `adapt` on the thread that computes.

    Args:
        cores: at most so many threads.
    """

    def __init__(self, cores: int | None = None, read: Callable[[], CpuUse] = read_cpu_use) -> None:
        self._cores = cores or torch.get_num_threads()
        self._read = read
        self._last = read()
        self._is_fixed = "OMP_NUM_THREADS" in os.environ

    def begin(self) -> None:
        """A piece of work begins: what others did before it says nothing. The number of threads stays."""
        self._last = self._read()

    def adapt(self) -> None:
        """Look at most twice a second. A number of threads that the user has fixed stays."""
        if self._is_fixed or time.monotonic() - self._last.at < _SECONDS_BETWEEN_LOOKS:
            return
        earlier, self._last = self._last, self._read()
        threads = self._threads(earlier, self._last)
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)

    def _threads(self, earlier: CpuUse, now: CpuUse) -> int:
        others = (now.everybody - earlier.everybody) - (now.ours - earlier.ours)
        return min(self._cores, max(1, self._cores - round(others / (now.at - earlier.at))))

"""From steps of the loop to events of the job: progress with the time left, and previews now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from studio.app.active import JobContext
from studio.core.events import DENOISING, Log, Preview, Progress


class JobObserver:
    """Watches one generate job; implements `studio.diffusion.generate.Observer`.

    Args:
        context: where events go and cancellation comes from.
        preview_seconds: shortest time between two previews.
        between_steps: called after each step, on the thread that computes.
    """

    def __init__(
        self,
        context: JobContext,
        preview_seconds: float,
        between_steps: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._between_steps = between_steps
        self._preview_seconds = preview_seconds
        self._clock = clock
        self._began: tuple[float, int] | None = None
        self._last_preview = clock() - preview_seconds

    def check(self) -> None:
        self._context.check()

    def phase(self, phase: str) -> None:
        """A part of the work that has no steps to count."""
        self._context.check()
        self._context.emit(Progress(phase=phase, done=0, total=0))

    def log(self, message: str) -> None:
        self._context.emit(Log(message=message))

    def step(self, phase: str, done: int, total: int, image: int) -> None:
        self._between_steps()
        if phase == DENOISING:
            self._context.under_way()
        left = self._seconds_left(done, total)
        self._context.emit(Progress(phase=phase, done=done, total=total, seconds_left=left, image=image))

    def wants_preview(self) -> bool:
        return self._clock() - self._last_preview >= self._preview_seconds

    def preview(self, jpeg: str, step: int) -> None:
        self._last_preview = self._clock()
        self._context.emit(Preview(jpeg=jpeg, step=step))

    def _seconds_left(self, done: int, total: int) -> float | None:
        """From the pace since the first step, which itself pays for warming up and does not count."""
        now = self._clock()
        if self._began is None or done <= self._began[1]:
            self._began = self._began or (now, done)
            return None
        began, first = self._began
        return (now - began) / (done - first) * (total - done)

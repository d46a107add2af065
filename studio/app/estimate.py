"""How long a job will take, from how long others took."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from functools import partial
from statistics import median_low

from studio.core.requests import GenerateRequest, JobRequest
from studio.storage.jobs import Pace

_REMEMBERED = 5
"""Jobs of a model that count; their median does not mind one that had to wait for something."""


class Estimate:
    """Seconds per unit of work (a step of a pixel), for each model on its own.

    Args:
        paces: of earlier jobs, newest first.
    """

    def __init__(self, paces: Iterable[Pace]) -> None:
        self._paces: defaultdict[str, deque[float]] = defaultdict(partial(deque[float], maxlen=_REMEMBERED))
        for pace in reversed(list(paces)):
            self.learn(pace.request, pace.seconds)

    def learn(self, request: JobRequest, seconds: float) -> None:
        """Remember how long a job took.

        Args:
            seconds: from the end of the first step to the end of the job.
        """
        if isinstance(request, GenerateRequest):
            first_step = request.extent.pixels * request.batch_size
            self._paces[request.model].append(seconds / (work(request) - first_step))

    def seconds(self, request: JobRequest) -> float | None:
        """None where nothing like it was done yet."""
        if not isinstance(request, GenerateRequest) or not self._paces.get(request.model):
            return None
        return median_low(self._paces[request.model]) * work(request)


def work(request: GenerateRequest) -> float:
    """Units of work: steps times pixels times pictures, the hires pass and decoding included."""
    strength = request.source.strength if request.source else 1.0
    steps = request.steps * strength + 1
    if hires := request.hires:
        steps += ((hires.steps or request.steps) * hires.strength + 1) * hires.scale**2
    return steps * request.extent.pixels * request.image_count

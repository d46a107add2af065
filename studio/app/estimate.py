"""How long a job will take, from how long others took."""

from __future__ import annotations

from collections.abc import Iterable

from studio.core.requests import GenerateRequest, JobRequest
from studio.storage.jobs import Pace

_MEMORY = 0.3
"""Weight of the newest job in the running mean."""


class Estimate:
    """Seconds per unit of work (a step of a pixel), averaged for each model on its own."""

    def __init__(self, paces: Iterable[Pace]) -> None:
        self._pace: dict[str, float] = {}
        for pace in reversed(list(paces)):
            self.learn(pace.request, pace.seconds)

    def learn(self, request: JobRequest, seconds: float) -> None:
        if isinstance(request, GenerateRequest):
            pace = seconds / work(request)
            known = self._pace.get(request.model, pace)
            self._pace[request.model] = (1 - _MEMORY) * known + _MEMORY * pace

    def seconds(self, request: JobRequest) -> float | None:
        """None where nothing like it was done yet."""
        if not isinstance(request, GenerateRequest) or request.model not in self._pace:
            return None
        return self._pace[request.model] * work(request)


def work(request: GenerateRequest) -> float:
    """Units of work: steps times pixels times pictures, the hires pass and decoding included."""
    strength = request.source.strength if request.source else 1.0
    steps = request.steps * strength + 1
    if hires := request.hires:
        steps += ((hires.steps or request.steps) * hires.strength + 1) * hires.scale**2
    return steps * request.extent.pixels * request.image_count

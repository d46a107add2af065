"""Runs the jobs that download models. They pause by cancel and go on by retry."""

from __future__ import annotations

import time

from studio.app.active import JobContext, Made
from studio.core.errors import InvalidRequest
from studio.core.events import Progress
from studio.core.jobs import JobView
from studio.core.requests import InstallRequest
from studio.core.settings import Settings
from studio.models.catalogue import ModelCatalogue
from studio.models.install import install

_SECONDS_BETWEEN_REPORTS = 0.25


class Installer:
    """Downloads into the own models folder, then lets the catalogue look at it."""

    def __init__(self, settings: Settings, catalogue: ModelCatalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue

    def run(self, job: JobView, context: JobContext) -> Made:
        """Makes no pictures."""
        if not isinstance(job.request, InstallRequest):
            raise InvalidRequest(f"This lane installs models, it runs no {job.request.kind}.", field="kind")
        install(job.request, self._settings, progress=_Reporter(context), check=context.check)
        self._catalogue.refresh()
        return Made()


class _Reporter:
    """Bytes of a download -> progress events, a few a second, with the time left."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._began: tuple[float, int] | None = None
        self._reported = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        began, first = self._began = self._began or (now, done)
        if now - self._reported < _SECONDS_BETWEEN_REPORTS and done < total:
            return
        self._reported = now
        left = (now - began) / (done - first) * (total - done) if done > first else None
        self._context.emit(Progress(phase="Downloading", done=done, total=total, seconds_left=left))

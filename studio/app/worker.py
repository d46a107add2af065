"""One thread per lane: takes a job, runs it, says how it ended, takes the next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from studio.app.active import JobContext, Made
from studio.app.lanes import Lane
from studio.app.queue import JobQueue
from studio.core.errors import EaselError, JobCancelled
from studio.core.events import Failed
from studio.core.jobs import JobView

Runner = Callable[[JobView, JobContext], Made]
"""Does the work of a job and says what it made. Raises JobCancelled, or anything else to fail."""

_log = logging.getLogger(__name__)


class Worker:
    """Whatever a job does, the next one is run."""

    def __init__(self, queue: JobQueue, lane: Lane, runner: Runner) -> None:
        self._queue = queue
        self._runner = runner
        self._lane = lane
        self._thread = threading.Thread(target=self._work, name=f"easel-{lane}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 10) -> None:
        """Close the queue and wait for the running job to notice. It can be retried after the next start."""
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _work(self) -> None:
        while taken := self._queue.take(self._lane):
            self._run(*taken)

    def _run(self, job: JobView, context: JobContext) -> None:
        try:
            made = self._runner(job, context)
        except JobCancelled:
            self._queue.stopped(job.id)
        except EaselError as error:
            self._queue.fail(job.id, Failed.by(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours in one job must not end the studio
            _log.exception("Job %s failed", job.id)
            self._queue.fail(job.id, _internal(error))
        else:
            self._queue.finish(job.id, made)


def _internal(error: Exception) -> Failed:
    detail = f"{type(error).__name__}: {error}".rstrip(": ")
    remedy = "The log has more; the next job goes on."
    return Failed(
        error="InternalError",
        message=f"Something went wrong inside Easel ({detail}). {remedy}",
        remedy=remedy,
    )

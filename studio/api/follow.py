"""A job's events for an event loop: the Studio's iterators block, so each runs in a thread of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool

from studio.core.events import TERMINAL, Event
from studio.core.jobs import JobView
from studio.core.protocol import Studio


class Followers:
    """Those who wait for events, kept apart from the threads that answer ordinary calls.

    Args:
        limit: how many may wait at the same time; more of them wait for their turn.
        patience: seconds without an event until `follow` yields None, a sign of life.
    """

    def __init__(self, studio: Studio, limit: int = 250, patience: float = 10.0) -> None:
        self._studio = studio
        self._threads = CapacityLimiter(limit)
        self._patience = patience

    async def follow(self, job_id: str, after: int = 0) -> AsyncIterator[Event | None]:
        """The job's events numbered above `after`, up to the terminal one; None where nothing happens.

        Ends as well when the job has ended without telling (the program was killed in the middle of it).

        Raises: NotFound.
        """
        while True:
            is_over = (await run_in_threadpool(self._studio.job, job_id)).is_over
            events = self._studio.events(job_id, after, 0 if is_over else self._patience)
            while (event := await self._next(events)) is not None:
                yield event
                after = event.number
                if isinstance(event, TERMINAL):
                    return
            if is_over:
                return
            yield None

    async def finished(self, job_id: str) -> JobView:
        """The job once it is over. Raises: NotFound."""
        async for _ in self.follow(job_id):
            pass
        return await run_in_threadpool(self._studio.job, job_id)

    async def _next(self, events: Iterator[Event]) -> Event | None:
        return await to_thread.run_sync(next, events, None, abandon_on_cancel=True, limiter=self._threads)

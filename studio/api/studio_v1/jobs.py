"""Jobs: submit any request of the vocabulary, watch it, cancel it, run it again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from studio.api.dependencies import FollowersDep, PathId, StudioDep
from studio.api.errors import ERROR_SCHEMA
from studio.core.base import Record
from studio.core.events import Event
from studio.core.jobs import JobView
from studio.core.requests import JobRequest

router = APIRouter(prefix="/jobs", tags=["jobs"])

EXAMPLE_REQUEST = {
    "kind": "generate",
    "prompt": "a red ball and a blue house on grass",
    "width": 128,
    "height": 128,
    "seed": 7,
}


class Dismissal(Record):
    dismissed: bool


_STREAM_SCHEMA: dict[str, Any] = {
    "responses": {
        "200": {"content": {"text/event-stream": {"schema": {"type": "object"}}}},
        "4XX": {"content": {"application/json": {"schema": ERROR_SCHEMA}}},
        "5XX": {"content": {"application/json": {"schema": ERROR_SCHEMA}}},
    }
}
"""FastAPI takes a stream for text, and describes its errors as part of it."""


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


@router.post("", status_code=201, summary="Submit a request")
def submit(
    request: Annotated[JobRequest, Body(examples=[EXAMPLE_REQUEST])], studio: StudioDep, response: Response
) -> JobView:
    """Checks the request, plan included, and queues it. The reply has its model and seed filled in."""
    return _created(studio.submit(request), response)


@router.get("", summary="List jobs")
def list_jobs(studio: StudioDep, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> tuple[JobView, ...]:
    """Running first, then waiting in order, then ended, newest first."""
    return studio.jobs(limit)


@router.get("/{job_id}", summary="Look at a job")
def get_job(job_id: PathId, studio: StudioDep) -> JobView:
    return studio.job(job_id)


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=EventStream,
    responses={
        200: {
            "description": "Server-sent events: `id` is its number, `event` its type, `data` its JSON.",
            "model": Event,
        }
    },
    openapi_extra=_STREAM_SCHEMA,
)
async def follow_job(
    job_id: PathId,
    studio: StudioDep,
    followers: FollowersDep,
    after: Annotated[int, Query(ge=0, description="number of the last event already seen")] = 0,
    last_event_id: Annotated[int, Header(ge=0, description="the same, as browsers send it")] = 0,
) -> EventStream:
    """Events as they come, with a comment as a sign of life in between; ends after the job's last event."""
    await run_in_threadpool(studio.job, job_id)
    events = followers.follow(job_id, max(after, last_event_id))
    return EventStream(_encoded(events), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})


@router.delete("/{job_id}", summary="Cancel a job")
def cancel(job_id: PathId, studio: StudioDep) -> JobView:
    """Stops a running job within one step, or takes a waiting one out. An ended job stays as it is."""
    return studio.cancel(job_id)


@router.post("/{job_id}/retry", status_code=201, summary="Run a job's request again")
def retry(job_id: PathId, studio: StudioDep, response: Response) -> JobView:
    """Appends the request as a new job. An install goes on where it stopped."""
    return _created(studio.retry(job_id), response)


@router.patch("/{job_id}", summary="Take an ended job out of sight, or bring it back")
def set_dismissed(job_id: PathId, change: Dismissal, studio: StudioDep) -> JobView:
    """What the job made stays where it is."""
    return studio.set_dismissed(job_id, change.dismissed)


def _created(job: JobView, response: Response) -> JobView:
    response.headers["Location"] = f"/studio/v1/jobs/{job.id}"
    return job


async def _encoded(events: AsyncIterator[Event | None]) -> AsyncIterator[str]:
    async for event in events:
        yield _server_sent(event) if event else ": still there\n\n"


def _server_sent(event: Event) -> str:
    return f"id: {event.number}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"

"""A job's events as a progress bar on stderr."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from studio.core.errors import EaselError, JobCancelled
from studio.core.events import Cancelled, Event, Failed, Finished, Log, Queued
from studio.core.events import Progress as ProgressEvent
from studio.core.protocol import Jobs


def follow(jobs: Jobs, job_id: str) -> Finished:
    """Show the job's progress until it ends. Ctrl+C cancels it.

    Raises: JobCancelled, or EaselError with the job's own message when it failed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("Starting", total=None)
        try:
            return _show(jobs.events(job_id), display, task)
        except KeyboardInterrupt:
            jobs.cancel(job_id)
            raise JobCancelled from None


def _show(events: Iterable[Event], display: Progress, task: TaskID) -> Finished:
    for event in events:
        match event:
            case Queued(position=ahead) if ahead:
                display.update(task, description=f"Waiting for {ahead} other jobs")
            case ProgressEvent():
                display.update(task, description=event.phase, completed=event.done, total=event.total or None)
            case Log():
                display.console.print(event.message, markup=False)
            case Failed():
                raise EaselError(event.problem, event.remedy)
            case Cancelled():
                raise JobCancelled
            case Finished():
                return event
    raise EaselError("The job ended without a result.", "Run the command again.")

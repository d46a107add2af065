"""The queue at the foot of the stack: what runs, what waits, what failed or was interrupted."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.jobs import JobView
from studio.core.requests import GenerateRequest, InstallRequest, JobRequest
from ui.components.buttons import action_button
from ui.components.stage import activity, dismiss_button, ending
from ui.words import esc

ACTIONS = ("cancel", "retry", "dismiss", "clear")

_SHOWN = 6


def queue_html(jobs: Sequence[JobView], ready: bool) -> str:
    """Empty when there is nothing to say."""
    if not jobs:
        return ""
    rows = "".join(_row(job, ready) for job in jobs[:_SHOWN])
    more = f'<li class="more">and {len(jobs) - _SHOWN} more</li>' if len(jobs) > _SHOWN else ""
    return (
        f'<section class="queue" aria-label="Queue"><h4>Queue{_clear(jobs)}</h4>'
        f"<ol>{rows}{more}</ol></section>"
    )


def _clear(jobs: Sequence[JobView]) -> str:
    """One button for all that ended, where there is more than one."""
    ended = [job.id for job in jobs if job.is_over]
    words = "Take all jobs that failed or were interrupted off the list"
    return action_button("clear", "Clear", words, css="small", jobs=" ".join(ended)) if ended[1:] else ""


def _row(job: JobView, ready: bool) -> str:
    name = _name(job.request) or "no prompt"
    words = ending(job) if job.is_over else activity(job, ready)
    return (
        f'<li class="{job.state}"><span class="name" title="{esc(name)}">{esc(name)}</span>'
        f'<span class="words" title="{esc(words)}">{esc(words)}</span>'
        f'<span class="buttons">{_buttons(job)}</span></li>'
    )


def _buttons(job: JobView) -> str:
    if not job.is_over:
        return action_button("cancel", "×", "Cancel this job", css="icon", id=job.id)
    again = action_button("retry", "Again", "Put this job into the queue again", css="small", id=job.id)
    return again + dismiss_button(job)


def _name(request: JobRequest) -> str:
    if isinstance(request, GenerateRequest):
        return request.prompt
    return request.repo if isinstance(request, InstallRequest) else "Control map"

"""The stage: the large picture, what the running job is doing, and the results of this sitting."""

from __future__ import annotations

from studio.core.events import Progress
from studio.core.jobs import JobState, JobView
from studio.core.library import ImageRecord
from studio.core.requests import GenerateRequest
from ui.components.buttons import action_button, action_link
from ui.links import image_url, thumbnail_url
from ui.stream import JobSight
from ui.words import counted, esc, time_words

ACTIONS = ("cancel", "dismiss", "example", "source", "inpaint", "reuse", "seed", "favourite", "delete")

_STAR = (
    '<svg viewBox="0 0 24 24" aria-hidden="true">'
    '<path d="m12 3 2.7 5.8 6.3.8-4.6 4.4 1.2 6.2L12 17.1 6.4 20.2l1.2-6.2L3 9.6l6.3-.8z"/></svg>'
)

_EMPTY = f"""
<div class="empty">
  <svg viewBox="0 0 96 96" aria-hidden="true">
  <path d="M48 8v10M30 18h36v40H30zM22 64h52M38 64 24 92M58 64l14 28M48 64v22"/>
  <circle cx="43" cy="34" r="6"/><path d="m32 54 12-10 8 6 12-13"/></svg>
  <h3>An empty canvas</h3>
  <p>Say what you would like to see. The picture appears here while it is being made.
  <span class="for-keys"><kbd>Ctrl</kbd> <kbd>Enter</kbd> starts, <kbd>Esc</kbd> stops.</span></p>
  {action_button("example", "Try the example", "Put a prompt into the form")}
</div>
"""


def stage_html(sight: JobSight, ready: bool = True) -> str:
    """The whole stage. `stage.js` shows the result that a person chose in place of the newest."""
    job = sight.job
    return (
        f'<section class="stage" data-job="{esc(job.id if job else "")}" aria-label="Picture">'
        f'<div class="canvas-frame"><figure class="canvas">{canvas_html(sight)}</figure>'
        f'<div class="doing">{doing_html(sight, ready)}</div></div>'
        f"{job_notes_html(job)}{_results(sight.images)}</section>"
    )


def canvas_html(sight: JobSight) -> str:
    """The preview while there is one, else the newest result."""
    if sight.preview:
        return (
            f'<img class="picture live" alt="Preview of the picture being made" '
            f'src="data:image/jpeg;base64,{esc(sight.preview)}">'
        )
    if sight.images:
        image = sight.images[0]
        return f'<img class="picture" alt="{esc(image.prompt or "Result")}" src="{image_url(image.id)}">'
    return '<div class="empty waiting"></div>' if sight.active else _EMPTY


def doing_html(sight: JobSight, ready: bool) -> str:
    """Progress, and the way to stop it; how it ended where not all of its pictures were made."""
    job = sight.job
    if job is None or job.state is JobState.FINISHED:
        return ""
    if job.is_over:
        return _ending(job)
    more = (
        f" · {counted(sight.waiting, 'job')} waiting"
        if job.state is JobState.RUNNING and sight.waiting
        else ""
    )
    return (
        f'{_bar(job.progress)}<p class="line"><span>{esc(activity(job, ready))}{more}</span>'
        f"{action_button('cancel', 'Cancel', 'Stop this job (Esc)', id=job.id)}</p>"
    )


def job_notes_html(job: JobView | None) -> str:
    """What a person should know of how the job went, beside its pictures; empty where there is nothing."""
    if job is None or not job.notes:
        return ""
    role = "status" if job.is_over else "note"  # said aloud once, not at each look at a running job
    points = "".join(f"<li>{esc(note)}</li>" for note in job.notes)
    return f'<div class="notice" role="{role}"><ul>{points}</ul></div>'


def _ending(job: JobView) -> str:
    failed = job.state is JobState.FAILED
    role = 'class="line failed" role="alert"' if failed else 'class="line" role="status"'
    return f"<p {role}><span>{esc(ending(job))}</span>{dismiss_button(job)}</p>"


def ending(job: JobView) -> str:
    """How a job ended that did not make all of its pictures, and how many it made."""
    words, request = _ending_words(job), job.request
    if not job.images or not isinstance(request, GenerateRequest):
        return words
    return f"{words} Finished: {len(job.images)} of {counted(request.image_count, 'picture')}."


def _ending_words(job: JobView) -> str:
    if job.state is JobState.CANCELLED:
        return "Cancelled."
    if job.state is JobState.FAILED and job.failure:
        return job.failure.message
    return "Interrupted: Easel ended while this job ran."


def dismiss_button(job: JobView) -> str:
    return action_button("dismiss", "×", "Take this off the list", css="icon bare", id=job.id)


def _bar(progress: Progress | None) -> str:
    if progress is None or not progress.total:
        return '<progress aria-label="Progress"></progress>'
    return f'<progress aria-label="Progress" max="{progress.total}" value="{progress.done}"></progress>'


def activity(job: JobView, ready: bool = True) -> str:
    """What a job is doing, in one line: `Denoising 7 of 20 · 3 s left`."""
    if job.state is JobState.QUEUED:
        if not ready:
            return "Waiting for the engine to load"
        return f"Waiting: {counted(job.position, 'job')} ahead" if job.position else "Next in the queue"
    progress = job.progress
    if progress is None:
        return "Starting"
    parts = [f"{progress.phase} {progress.done} of {progress.total}" if progress.total else progress.phase]
    request = job.request
    if isinstance(request, GenerateRequest) and request.batches > 1:
        parts.append(f"batch {progress.image + 1} of {request.batches}")
    left = progress.seconds_left if job.seconds_left is None else job.seconds_left
    if left is not None:
        parts.append(f"{time_words(left)} left")
    return " · ".join(parts)


def _results(images: tuple[ImageRecord, ...]) -> str:
    if not images:
        return ""
    tiles = "".join(_tile(image) for image in images)
    return (
        f'{_toolbar(images[0])}<div class="strip" role="group" aria-label="Results">'
        f"{_all_button(images)}{tiles}</div>"
    )


def _all_button(images: tuple[ImageRecord, ...]) -> str:
    """Shows what the newest job made side by side, where that is more than one picture."""
    count = sum(image.job == images[0].job for image in images)
    words = f"All {count} of the newest job, side by side"
    return (
        f'<button type="button" class="act all" data-show="all" aria-label="{words}" title="{words}">'
        f"All {count}</button>"
        if count > 1
        else ""
    )


def _tile(image: ImageRecord) -> str:
    label = f"Result with seed {image.seed}: {image.prompt}"
    return (
        f'<button type="button" class="tile" data-show="{esc(image.id)}" data-src="{image_url(image.id)}" '
        f'data-job="{esc(image.job)}" '
        f'data-favourite="{str(image.favourite).lower()}" data-seed="{image.seed}" aria-label="{esc(label)}">'
        f'<img loading="lazy" alt="" src="{thumbnail_url(image.id)}"></button>'
    )


def _toolbar(image: ImageRecord) -> str:
    """Actions on the picture that is shown; `stage.js` points them at another one when it is chosen."""
    at = {"id": image.id}
    return (
        '<div class="toolbar" role="toolbar" aria-label="This picture">'
        + action_button("reuse", "Reuse settings", "Put all settings of this picture into the form", **at)
        + action_button("seed", "Reuse seed", "Put this picture's seed into the form", **at)
        + action_button("source", "Use as source", "Start image-to-image from this picture", **at)
        + action_button("inpaint", "Inpaint", "Paint a part of this picture anew", **at)
        + '<span class="gap"></span>'
        + favourite_button(image)
        + action_link("Download", image_url(image.id), download=f"easel-{image.seed}")
        + action_button("delete", "Delete", "Move this picture to the trash", css="danger", **at)
        + "</div>"
    )


def favourite_button(image: ImageRecord) -> str:
    pressed = str(image.favourite).lower()
    return (
        f'<button type="button" class="act star" data-action="favourite" data-id="{esc(image.id)}" '
        f'aria-pressed="{pressed}" aria-label="Favourite" title="Favourite">'
        f"{_STAR}</button>"
    )

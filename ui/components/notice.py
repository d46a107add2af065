"""One calm line about what just happened, with the way back where there is one."""

from __future__ import annotations

from collections.abc import Sequence

from ui.components.buttons import action_button
from ui.words import counted, esc

ACTIONS = ("undo", "recall")


def deleted_html(count: int, token: str) -> str:
    return (
        f'<p class="notice" role="status">{counted(count, "picture")} moved to the trash.'
        f"{action_button('undo', 'Undo', token=token)}</p>"
    )


def dismissed_html(job_ids: Sequence[str]) -> str:
    return (
        f'<p class="notice" role="status">{counted(len(job_ids), "job")} taken off the list.'
        f"{action_button('recall', 'Undo', jobs=' '.join(job_ids))}</p>"
    )


def notice_html(sentence: str, warnings: Sequence[str] = ()) -> str:
    points = "".join(f"<li>{esc(warning)}</li>" for warning in warnings)
    return f'<div class="notice" role="status">{esc(sentence)}{f"<ul>{points}</ul>" if points else ""}</div>'

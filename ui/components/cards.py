"""Models as cards, the catalogue as rows, downloads with their progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.core.jobs import JobView
from studio.core.models import CatalogueRow, Family, ModelInfo, ModelKind, Variant
from studio.core.requests import InstallRequest
from ui.components.buttons import action_button
from ui.links import blob_url
from ui.words import esc, size_words, time_words

MODEL_ACTIONS = ("activate",)
CATALOGUE_ACTIONS = ("install", "cancel", "retry", "dismiss")

_NAMES = {
    ModelKind.CHECKPOINT: "Checkpoint",
    ModelKind.VAE: "VAE",
    ModelKind.LORA: "LoRA",
    ModelKind.EMBEDDING: "Embedding",
    ModelKind.HYPERNETWORK: "Hypernetwork",
    ModelKind.CONTROLNET: "ControlNet",
    ModelKind.T2I_ADAPTER: "T2I-Adapter",
    ModelKind.IP_ADAPTER: "IP-Adapter",
    ModelKind.GLIGEN: "GLIGEN layer",
    ModelKind.CLIP_VISION: "Image encoder",
    ModelKind.ANNOTATOR: "Annotator",
}

_NO_MODELS = """
<div class="empty"><h3>No model here</h3>
<p>Add a folder, import a file, or install one of the catalogue.</p></div>
"""


def name_of_kind(kind: ModelKind) -> str:
    return _NAMES[kind]


def kind_words(kind: ModelKind) -> str:
    """Many of a kind: `Checkpoints`."""
    return f"{_NAMES[kind]}s"


def models_html(models: Sequence[ModelInfo], active: str) -> str:
    """All models by kind, the usable ones first."""
    groups = [(kind, [model for model in models if model.kind is kind]) for kind in ModelKind]
    return "".join(_group(kind, found, active) for kind, found in groups if found) or _NO_MODELS


def _group(kind: ModelKind, models: Sequence[ModelInfo], active: str) -> str:
    ordered = sorted(models, key=lambda model: (not model.usable, model.family.value, model.name.lower()))
    cards = "".join(_card(model, model.id == active) for model in ordered)
    return f'<section><h3>{kind_words(kind)}</h3><div class="models">{cards}</div></section>'


def _card(model: ModelInfo, active: bool) -> str:
    state = "active" if active else "" if model.usable else "unusable"
    return (
        f'<article class="model {state}" title="{esc(model.location)}">{_preview(model)}'
        f'<div class="about"><h4>{esc(model.name)}</h4>'
        f"<p>{_traits(model)}</p>{_described(model.description)}{_use(model, active)}</div></article>"
    )


def _preview(model: ModelInfo) -> str:
    if model.preview:
        return f'<img loading="lazy" alt="" src="{blob_url(model.preview)}">'
    return f'<span class="monogram" aria-hidden="true">{esc(model.name[:1].upper())}</span>'


def _traits(model: ModelInfo) -> str:
    traits = [
        model.family.value if model.family is not Family.UNKNOWN else "",
        "inpainting" if model.variant is Variant.INPAINT else "",
        f"{model.native_size} px" if model.kind is ModelKind.CHECKPOINT and model.usable else "",
        size_words(model.size_bytes),
        model.licence,
    ]
    return " · ".join(esc(trait) for trait in traits if trait)


def _described(text: str) -> str:
    return f'<p class="description">{esc(text)}</p>' if text else ""


def _use(model: ModelInfo, active: bool) -> str:
    if model.problem:
        return f'<p class="reason">{esc(model.problem)}</p>'
    if active:
        return '<p class="badge">In use</p>'
    if model.kind is ModelKind.CHECKPOINT:
        return action_button("activate", "Use this model", id=model.id)
    return ""


def catalogue_html(rows: Sequence[CatalogueRow], downloads: Mapping[InstallRequest, JobView]) -> str:
    """What can be installed, then downloads by id that the catalogue does not list."""
    listed = {row.install for row in rows}
    others = [job for request, job in downloads.items() if request not in listed]
    items = "".join(_other(job) for job in others) + "".join(
        _offer(row, downloads.get(row.install)) for row in rows
    )
    return f'<ul class="catalogue">{items}</ul>' if items else "<p>The catalogue is empty.</p>"


def _offer(row: CatalogueRow, job: JobView | None) -> str:
    size = f"about {size_words(row.size_bytes)}" if row.size_bytes else ""
    family = row.family if row.family is not Family.UNKNOWN else ""
    traits = " · ".join(esc(trait) for trait in (_NAMES[row.kind], family, size, row.licence) if trait)
    if row.installed:
        action = '<p class="badge">Installed</p>'
    elif job:
        action = _download(job)
    else:
        action = action_button("install", "Install", f"Download {row.name}", id=row.id)
    return (
        f'<li><div class="about"><h4>{esc(row.name)}</h4><p>{traits}</p>{_described(row.description)}</div>'
        f'<div class="state">{action}</div></li>'
    )


def _other(job: JobView) -> str:
    assert isinstance(job.request, InstallRequest)
    name = " / ".join(part for part in (job.request.repo, job.request.file) if part)
    return f'<li><div class="about"><h4>{esc(name)}</h4></div><div class="state">{_download(job)}</div></li>'


def _download(job: JobView) -> str:
    if not job.is_over:
        return f"{_bar(job)}{action_button('cancel', 'Pause', 'Pause this download', id=job.id)}"
    failure = f'<p class="reason">{esc(job.failure.message)}</p>' if job.failure else "<p>Paused</p>"
    resume = action_button("retry", "Resume", "Go on with this download", id=job.id)
    forget = action_button("dismiss", "×", "Take this off the list", css="icon bare", id=job.id)
    return f"{failure}{resume}{forget}"


def _bar(job: JobView) -> str:
    progress = job.progress
    if progress is None or not progress.total:
        words = progress.phase if progress else "Waiting"
        return f'<progress aria-label="Download"></progress><p>{esc(words)}</p>'
    left = f" · {time_words(progress.seconds_left)} left" if progress.seconds_left is not None else ""
    return (
        f'<progress aria-label="Download" max="{progress.total}" value="{progress.done}"></progress>'
        f"<p>{size_words(progress.done)} of {size_words(progress.total)}{left}</p>"
    )

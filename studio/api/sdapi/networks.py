"""What a prompt can call by name: LoRAs, embeddings and hypernetworks, in AUTOMATIC1111's shapes.

Where a file lies is nobody's business: a `path` is the file's name alone, which is all that clients show.
"""

from __future__ import annotations

from pathlib import PurePath

from fastapi import APIRouter

from studio.api.dependencies import StudioDep
from studio.api.sdapi.payloads import EmbeddingRow, EmbeddingsReply, HypernetworkRow, LoraRow
from studio.core.models import CONTEXT_WIDTHS, Family, ModelInfo, ModelKind
from studio.core.protocol import Studio

router = APIRouter(prefix="/sdapi/v1", tags=["sdapi: lists"])


@router.get("/loras", summary="List LoRAs")
def loras(studio: StudioDep) -> list[LoraRow]:
    """Those that can be used; `<lora:name:1>` in a prompt calls one by `name` or `alias`."""
    return [
        LoraRow(
            name=model.name,
            alias=model.alias or model.name,
            path=_file_name(model),
            metadata=_metadata(model),
        )
        for model in _usable(studio, ModelKind.LORA)
    ]


@router.get("/hypernetworks", summary="List hypernetworks")
def hypernetworks(studio: StudioDep) -> list[HypernetworkRow]:
    """Those that can be used; `<hypernet:name:1>` in a prompt calls one."""
    models = _usable(studio, ModelKind.HYPERNETWORK)
    return [HypernetworkRow(name=model.name, path=_file_name(model)) for model in models]


@router.get("/embeddings", summary="List embeddings")
def embeddings(studio: StudioDep) -> EmbeddingsReply:
    """By name, which is the word that calls one; skipped are those that do not fit the active checkpoint."""
    active = studio.status().active_model
    checkpoints = (model for model in studio.models(ModelKind.CHECKPOINT) if model.id == active)
    family = next((model.family for model in checkpoints), Family.UNKNOWN)
    loaded: dict[str, EmbeddingRow] = {}
    skipped: dict[str, EmbeddingRow] = {}
    for model in studio.models(ModelKind.EMBEDDING):
        fits = model.usable and (model.family is family or Family.UNKNOWN in (model.family, family))
        (loaded if fits else skipped)[model.name] = _embedding(model)
    return EmbeddingsReply(loaded=loaded, skipped=skipped)


def _embedding(model: ModelInfo) -> EmbeddingRow:
    return EmbeddingRow(
        step=model.trained_steps,
        sd_checkpoint=model.base_hash or None,
        sd_checkpoint_name=model.base or None,
        shape=model.vector_width or CONTEXT_WIDTHS.get(model.family, 0),
        vectors=model.vectors or 0,
    )


def _usable(studio: Studio, kind: ModelKind) -> list[ModelInfo]:
    return [model for model in studio.models(kind) if model.usable]


def _file_name(model: ModelInfo) -> str:
    return PurePath(model.location).name


def _metadata(model: ModelInfo) -> dict[str, str]:
    """What the card knows, under the names of the header that it came from."""
    told = {
        "ss_output_name": model.alias,
        "ss_base_model_version": model.base,
        "ss_network_dim": model.rank or "",
        "ss_network_alpha": "" if model.alpha is None else f"{model.alpha:g}",
        "sshs_model_hash": model.network_hash,
        "modelspec.trigger_phrase": ", ".join(model.trigger_words),
        "modelspec.description": model.description,
        "modelspec.author": model.author,
        "modelspec.license": model.licence,
    }
    return {name: str(value) for name, value in told.items() if value}

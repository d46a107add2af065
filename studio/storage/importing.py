"""Settings out of any picture: ours, AUTOMATIC1111's, ComfyUI's, InvokeAI's, Fooocus' or NovelAI's."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from studio.core.base import BlobId
from studio.core.errors import InvalidRequest
from studio.core.library import ImportedSettings
from studio.core.models import ModelKind
from studio.storage.draft import Draft
from studio.storage.foreign import read_foreign
from studio.storage.infotext import missing_model, parse_infotext, request_from_infotext
from studio.storage.pictures import EmbeddedSettings
from studio.storage.provenance import Provenance, read_provenance
from studio.storage.stack_reading import ResolveModel, StackReading


def import_settings(
    embedded: EmbeddedSettings,
    resolve_model: ResolveModel | None = None,
    known_blobs: Container[BlobId] = (),
) -> ImportedSettings:
    """The request that a picture's file describes.

    Our own JSON is complete and comes first, then the infotext, then what only other studios write.

    Args:
        resolve_model: finds the models named in it; without one, they are not looked up.
        known_blobs: the store that a source picture must be in.

    Raises: InvalidRequest (no settings inside).
    """
    provenance = read_provenance(embedded.easel) if embedded.easel else None
    if provenance:
        return _own(provenance, resolve_model, known_blobs)
    if parse_infotext(embedded.infotext).fields and not embedded.infotext.startswith("{"):
        return import_infotext(embedded.infotext, resolve_model, known_blobs)
    foreign = read_foreign(embedded.chunks, resolve_model)
    if foreign is None:
        raise InvalidRequest(
            "There are no settings in this picture that Easel can read.",
            "Use the file that the studio saved: chats, galleries and editors remove its settings.",
        )
    return foreign


def import_infotext(
    text: str, resolve_model: ResolveModel | None = None, known_blobs: Container[BlobId] = ()
) -> ImportedSettings:
    """The request that generation parameters describe. Raises: InvalidRequest."""
    parsed = parse_infotext(text)
    settings = request_from_infotext(parsed, resolve_model, known_blobs)
    return settings.model_copy(update={"infotext": text, "parameters": parsed.parameters})


def _own(
    provenance: Provenance, resolve_model: ResolveModel | None, known_blobs: Container[BlobId]
) -> ImportedSettings:
    request, warnings = provenance.request, []
    changes: dict[str, Any] = {}
    for field, kind, name, digits in (
        ("model", ModelKind.CHECKPOINT, provenance.model, provenance.model_hash),
        ("vae", ModelKind.VAE, provenance.vae, provenance.vae_hash),
    ):
        if resolve_model and (name or digits):
            changes[field] = resolve_model(name, digits, kind) or ""
            if not changes[field]:
                warnings.append(missing_model(name or digits, kind))
    stack = Draft()
    StackReading(stack, resolve_model, known_blobs).restore(request, provenance.networks)
    changes |= stack.values
    warnings += stack.warnings
    if request.source and request.source.image not in known_blobs:
        changes |= {"source": None, "inpaint": None}
        warnings.append("The picture that it was made from is not here. Add it to get the same result.")
    return ImportedSettings(
        request=request.model_copy(update=changes),
        source="Easel",
        infotext=provenance.infotext,
        parameters=parse_infotext(provenance.infotext).parameters,
        warnings=tuple(warnings),
    )

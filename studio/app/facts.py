"""Names and hashes of the models that made an image, for its infotext and for finding them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from studio.core.conditions import StackEntry
from studio.core.errors import EaselError
from studio.core.models import ModelInfo, ModelKind
from studio.diffusion.plan import GeneratePlan
from studio.diffusion.plan_control import PlannedControl, PlannedImagePrompt
from studio.diffusion.plan_networks import PlannedHypernetwork
from studio.diffusion.plan_stack import PlannedLora
from studio.models.catalogue import ModelCatalogue
from studio.models.network_card import NETWORKS
from studio.storage.infotext import ModelFacts
from studio.storage.stack_text import STACK_KINDS, NetworkFact

_Planned: TypeAlias = PlannedLora | PlannedHypernetwork | PlannedControl | PlannedImagePrompt


def model_facts(planned: GeneratePlan, catalogue: ModelCatalogue) -> ModelFacts:
    """Hashes what was never hashed: seconds for gigabytes, so not on the thread that runs the device."""
    vae = planned.vae
    used = {name: _fact(name, info, _hash(info, catalogue)) for name, info in _used(planned)}
    off = {name: _fact(name, info, "") for name, info in _switched_off(planned, catalogue)}
    return ModelFacts(
        model=planned.checkpoint.name,
        model_hash=catalogue.full_hash(planned.checkpoint.id),
        vae=vae.name if vae else "",
        vae_hash=catalogue.full_hash(vae.id) if vae else "",
        networks=tuple((off | used).values()),
    )


def _used(planned: GeneratePlan) -> Iterator[tuple[str, ModelInfo]]:
    """By what the request calls them."""
    stack: tuple[_Planned, ...] = (
        *planned.loras,
        *planned.hypernetworks,
        *planned.controls,
        *planned.image_prompts,
    )
    for each in stack:
        yield each.entry.model, each.model
    for embedding in planned.words.embeddings:
        if not embedding.word:  # else it is a part of a LoRA, which is told already
            yield embedding.model.id, embedding.model
    if planned.boxes:
        yield planned.boxes.model.id, planned.boxes.model


def _switched_off(planned: GeneratePlan, catalogue: ModelCatalogue) -> Iterator[tuple[str, ModelInfo]]:
    """Entries without effect, which an image remembers none the less; their files may be gone."""
    for field in STACK_KINDS:
        entries: tuple[StackEntry, ...] = getattr(planned.request, field)
        for entry in entries:
            try:
                yield entry.model, catalogue.find(entry.model)
            except EaselError:
                continue


def _fact(name: str, info: ModelInfo, digits: str) -> NetworkFact:
    return NetworkFact(id=name, kind=info.kind, name=info.name, hash=digits)


def _hash(info: ModelInfo, catalogue: ModelCatalogue) -> str:
    if info.kind is ModelKind.GLIGEN:  # whose infotexts have no hash
        return info.sha256
    find = catalogue.network_hash if info.kind in NETWORKS else catalogue.full_hash
    try:
        return find(info.id)
    except (EaselError, OSError):  # deleted meanwhile: the picture is made from what is loaded
        return ""

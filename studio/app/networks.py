"""The files of textual inversions and hypernetworks that a plan needs, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from studio.adapters.embedding import Embedding, read_embedding
from studio.adapters.hypernetwork import Hypernetwork
from studio.core.errors import InvalidRequest, at
from studio.diffusion.plan_networks import PlannedEmbedding, PlannedHypernetwork, PlannedWords
from studio.models.bundled_words import bundled_header, bundled_tensors
from studio.models.components import Checkpoint, ComponentRef, Shelf, one_a_role
from studio.models.embedding_file import EmbeddingShape, embedding_shape
from studio.models.hypernetwork_file import HypernetworkLayers, hypernetwork_layers
from studio.models.manager import Lease
from studio.models.safe import read_header
from studio.models.tensor_file import tensor_file_of


@dataclass(frozen=True)
class FoundEmbedding:
    """A textual inversion whose vectors fit the model."""

    planned: PlannedEmbedding
    ref: ComponentRef
    shape: EmbeddingShape

    def read(self, lease: Lease) -> Embedding:
        """Raises: CorruptFile: NaN, with the prompt's field."""
        with at(self.planned.field):
            file = lease.peek(self.ref.role)
            word, tensors = self.planned.word, file.tensors
            if not word:
                return read_embedding(tensors, self.planned.title, self.ref.digest)
            return read_embedding(
                bundled_tensors(tensors, word), self.planned.title, f"{self.ref.digest}/{word}"
            )


@dataclass(frozen=True)
class FoundHypernetwork:
    """A hypernetwork that has networks for some of the model's layers."""

    planned: PlannedHypernetwork
    ref: ComponentRef
    layers: HypernetworkLayers

    def read(self, lease: Lease) -> tuple[Hypernetwork, float]:
        """With its strength. Raises: CorruptFile: NaN, with the field."""
        with at(self.planned.field):
            file = lease.peek(self.ref.role)
            network = Hypernetwork(self.layers, file.tensors, self.planned.model.name)
        return network, self.planned.entry.weight


@dataclass(frozen=True)
class Networks:
    """What of both kinds a job uses."""

    embeddings: tuple[FoundEmbedding, ...] = ()
    hypernetworks: tuple[FoundHypernetwork, ...] = ()
    """In the order in which they are applied."""
    notes: tuple[str, ...] = ()
    """Sentences for the job's log."""

    @property
    def refs(self) -> tuple[ComponentRef, ...]:
        """What to borrow, each once, but for LoRAs, which are borrowed anyway."""
        embeddings = (one.ref for one in self.embeddings if not one.planned.word)
        return one_a_role([*embeddings, *(one.ref for one in self.hypernetworks)])


def find_networks(
    shelf: Shelf,
    checkpoint: Checkpoint,
    words: PlannedWords,
    hypernetworks: Iterable[PlannedHypernetwork] = (),
) -> Networks:
    """The files, told by their headers. What would have no effect is left out.

    Raises: EaselError: a file is gone or broken, or fits no layer of the model; with the field.
    """
    widths = _text_widths(checkpoint)
    embeddings = [_embedding(shelf, planned) for planned in words.embeddings]
    return Networks(
        tuple(one for one in embeddings if one.shape.widths == widths),
        tuple(_hypernetwork(shelf, planned, checkpoint) for planned in hypernetworks if planned.entry.weight),
        (*words.notes, *(_note(one, widths) for one in embeddings if one.shape.widths != widths)),
    )


def _embedding(shelf: Shelf, planned: PlannedEmbedding) -> FoundEmbedding:
    with at(planned.field):
        ref = tensor_file_of(shelf, planned.model)
        header = read_header(ref.path)
        if planned.word:
            header = bundled_header(header, planned.word)
        return FoundEmbedding(planned, ref, embedding_shape(header, planned.title))


def _hypernetwork(shelf: Shelf, planned: PlannedHypernetwork, checkpoint: Checkpoint) -> FoundHypernetwork:
    with at(planned.field):
        ref = tensor_file_of(shelf, planned.model)
        layers = hypernetwork_layers(read_header(ref.path), planned.model.name)
        _check_widths(layers, planned, checkpoint)
        return FoundHypernetwork(planned, ref, layers)


def _check_widths(layers: HypernetworkLayers, planned: PlannedHypernetwork, checkpoint: Checkpoint) -> None:
    config = checkpoint.components["unet"].config
    present = {config["cross_attention_dim"], *config["block_out_channels"]}
    if not layers.widths & present:
        has, needs = (", ".join(map(str, sorted(widths))) for widths in (layers.widths, present))
        raise InvalidRequest(
            f"{planned.model.name} is a hypernetwork for layers {has} wide, but those of "
            f"{checkpoint.info.name} are {needs} wide.",
            "Choose one that was trained on a model of this family.",
        )


def _text_widths(checkpoint: Checkpoint) -> tuple[int, ...]:
    roles = [role for role in ("text_encoder", "text_encoder_2") if role in checkpoint.components]
    return tuple(checkpoint.components[role].config["hidden_size"] for role in roles)


def _note(found: FoundEmbedding, widths: tuple[int, ...]) -> str:
    has, needs = (" and ".join(map(str, numbers)) for numbers in (found.shape.widths, widths))
    return (
        f"The vectors of the textual inversion {found.planned.title} are {has} wide, but this model "
        f"needs {needs}: its name is read as plain text."
    )

"""The LoRAs of a request and of its prompt, checked against the catalogue. Pure: no torch, no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from studio.core.conditions import HypernetworkInput, LoraInput
from studio.core.errors import EaselError, InvalidRequest, NotFound, PromptError, invalid_at
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest
from studio.diffusion.prompt import HypernetworkTag, LoraTag, ParsedPrompt

_Entry = TypeVar("_Entry", LoraInput, HypernetworkInput)
_Tag = TypeVar("_Tag", LoraTag, HypernetworkTag)


class NetworkLookup(Protocol):
    """What is installed."""

    def find(self, name: str) -> ModelInfo:
        """Raises: NotFound."""

    def named(self, name: str, kind: ModelKind) -> tuple[ModelInfo, ...]:
        """All models of a kind that a prompt may mean by `name`."""

    def models(self, kind: ModelKind) -> tuple[ModelInfo, ...]:
        """All of a kind."""


@dataclass(frozen=True)
class PlannedNetwork:
    """A file that a request or its prompt names: a LoRA, a hypernetwork or a textual inversion."""

    model: ModelInfo
    field: str
    """Where an error about it belongs: `loras.0.model`, or `prompt`."""

    @property
    def role(self) -> str:
        """In a lease."""
        return f"{self.model.kind}:{self.model.id}"


@dataclass(frozen=True)
class PlannedLora(PlannedNetwork):
    """A LoRA that is on."""

    entry: LoraInput

    @property
    def text_encoder_weight(self) -> float:
        weight = self.entry.text_encoder_weight
        return self.entry.weight if weight is None else weight


def plan_loras(
    request: GenerateRequest, prompt: ParsedPrompt, checkpoint: ModelInfo, models: NetworkLookup
) -> tuple[PlannedLora, ...]:
    """The entries that are on, then the tags of the prompt; a tag adds to an entry of the same LoRA.

    Raises:
        InvalidRequest: with the field; a `PromptError` with the position of a tag.
    """
    fitting = Fitting(ModelKind.LORA, checkpoint, models)
    tags = fitting.tagged(tag for tag in prompt.tags if isinstance(tag, LoraTag))
    return (
        *(PlannedLora(*found) for found in fitting.chosen(request.loras, "loras")),
        *(PlannedLora(info, "prompt", _entry(info, tag)) for info, tag in tags),
    )


def tagged_loras(prompt: ParsedPrompt, checkpoint: ModelInfo, models: NetworkLookup) -> tuple[ModelInfo, ...]:
    """Those that the tags of a prompt put on. Raises: PromptError, with the position."""
    tags = (tag for tag in prompt.tags if isinstance(tag, LoraTag))
    return tuple(info for info, _ in Fitting(ModelKind.LORA, checkpoint, models).tagged(tags))


def _entry(info: ModelInfo, tag: LoraTag) -> LoraInput:
    return LoraInput(model=info.id, weight=tag.unet, text_encoder_weight=tag.text_encoder)


@dataclass(frozen=True)
class Fitting:
    """Finds the networks of one kind that a request names; none that `checkpoint` cannot use gets through."""

    kind: ModelKind
    checkpoint: ModelInfo
    models: NetworkLookup

    def chosen(self, entries: Sequence[_Entry], place: str) -> Iterator[tuple[ModelInfo, str, _Entry]]:
        """Those of the entries that are on: the model, the field that names it, the entry.

        Args:
            place: of the entries in a request: `loras`.

        Raises: InvalidRequest, with the field.
        """
        for i, entry in enumerate(entries):
            if not entry.enabled:
                continue
            field = f"{place}.{i}.model"
            with invalid_at(field):
                info = self._checked(self.models.find(entry.model))
            yield info, field, entry

    def tagged(self, tags: Iterable[_Tag]) -> Iterator[tuple[ModelInfo, _Tag]]:
        """Those that tags of a prompt name. Raises: PromptError, with the position."""
        for tag in tags:
            try:
                info = self._checked(the_one_named(tag.name, self.kind, self.models))
            except EaselError as error:
                raise PromptError(error.problem, error.remedy, position=tag.position) from error
            yield info, tag

    def _checked(self, info: ModelInfo) -> ModelInfo:
        """Raises: InvalidRequest."""
        what, checkpoint = self.kind.noun, self.checkpoint
        if info.kind is not self.kind:
            raise InvalidRequest(f"A {what} is needed here, but {info.name} is {info.kind.with_article}.")
        if not info.usable:
            raise InvalidRequest(f"{info.name} cannot be used: {info.problem}")
        if not is_of_family(info, checkpoint):
            raise InvalidRequest(
                f"{info.name} is made for {info.family}, but {checkpoint.name} is {checkpoint.family}.",
                f"Choose a {what} for {checkpoint.family}, or a checkpoint of {info.family}.",
            )
        if info.context_width and checkpoint.context_width not in (None, info.context_width):
            raise InvalidRequest(
                f"{info.name} is made for text embeddings {info.context_width} wide, but those of "
                f"{checkpoint.name} are {checkpoint.context_width} wide.",
                f"Choose a {what} that was trained on a model like {checkpoint.name}.",
            )
        return info


def is_of_family(info: ModelInfo, checkpoint: ModelInfo) -> bool:
    """True also where a family is not known; the widths decide then."""
    return Family.UNKNOWN in (info.family, checkpoint.family) or info.family is checkpoint.family


def the_one_named(name: str, kind: ModelKind, models: NetworkLookup) -> ModelInfo:
    """The only model of a kind that a tag's `name` can mean.

    Raises:
        NotFound: there is none.
        InvalidRequest: there are several.
    """
    found = models.named(name, kind)
    if not found:
        raise NotFound(
            f"There is no {kind.noun} named {name[:80]!r} here.", "Choose one in the stack, or install it."
        )
    if len(found) > 1:
        files = " and ".join(info.location or info.id for info in found)
        raise InvalidRequest(
            f"The name {name[:80]!r} means {len(found)} files: {files}.",
            "Choose one of them in the stack, or rename a file.",
        )
    return found[0]

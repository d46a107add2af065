"""Hypernetworks and textual inversions of a request, checked against the catalogue. Pure, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from studio.core.conditions import HypernetworkInput
from studio.core.errors import InvalidRequest
from studio.core.models import ModelInfo, ModelKind
from studio.core.requests import GenerateRequest
from studio.diffusion.plan_stack import Fitting, NetworkLookup, PlannedNetwork, is_of_family
from studio.diffusion.prompt import HypernetworkTag, ParsedPrompt, Segment, Span, prompt_schedule, stray_tag
from studio.diffusion.prompt.words import WordFinder, spelling


@dataclass(frozen=True)
class PlannedHypernetwork(PlannedNetwork):
    """A hypernetwork that is on."""

    entry: HypernetworkInput


@dataclass(frozen=True)
class PlannedEmbedding(PlannedNetwork):
    """A textual inversion whose name stands in a prompt; its field is the first prompt that names it."""

    word: str = ""
    """Its name in the file of a LoRA, where it lies in one."""

    @property
    def title(self) -> str:
        """For sentences."""
        return f"{self.word} (in {self.model.name})" if self.word else self.model.name

    @property
    def name(self) -> str:
        return spelling(self.word or self.model.name)


@dataclass(frozen=True)
class PlannedWords:
    """What the prompts mean by words that are names of textual inversions."""

    embeddings: tuple[PlannedEmbedding, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about names and tags that are read in another way than it may be meant."""


NO_NAMES = PlannedWords()
NO_PHRASES: Mapping[str, str] = {}


def plan_hypernetworks(
    request: GenerateRequest, prompt: ParsedPrompt, checkpoint: ModelInfo, models: NetworkLookup
) -> tuple[PlannedHypernetwork, ...]:
    """The entries that are on, then the tags of the prompt, in the order in which they are applied.

    Raises:
        InvalidRequest: with the field; a `PromptError` with the position of a tag.
    """
    fitting = Fitting(ModelKind.HYPERNETWORK, checkpoint, models)
    tags = fitting.tagged(tag for tag in prompt.tags if isinstance(tag, HypernetworkTag))
    return (
        *(PlannedHypernetwork(*found) for found in fitting.chosen(request.hypernetworks, "hypernetworks")),
        *(PlannedHypernetwork(info, "prompt", _entry(info, tag)) for info, tag in tags),
    )


def _entry(info: ModelInfo, tag: HypernetworkTag) -> HypernetworkInput:
    return HypernetworkInput(model=info.id, weight=tag.weight)


def plan_words(
    prompts: Mapping[str, ParsedPrompt],
    passes: Sequence[int],
    checkpoint: ModelInfo,
    installed: Iterable[ModelInfo],
    phrases: Mapping[str, str] = NO_PHRASES,
    loras: Iterable[ModelInfo] = (),
) -> PlannedWords:
    """The textual inversions that the prompts and phrases name.

    As in AUTOMATIC1111, the name of one for another family is plain text, and of several that have one name
    that of the embeddings folder is meant, then that of the first LoRA.

    Args:
        prompts: by field.
        passes: the steps of each.
        installed: all textual inversions.
        phrases: texts by field that are read as they stand, without a prompt's grammar.
        loras: those that are on; their files may hold textual inversions.

    Raises: InvalidRequest: two files have the name, or the file cannot be used.
    """
    known = _Known.of(checkpoint, installed, loras)
    texts = {field: list(_texts(prompt, passes)) for field, prompt in prompts.items()}
    texts |= {field: [((Span(phrase),),)] for field, phrase in phrases.items()}
    used = {name: known.planned(name, field) for name, field in _named(texts, known.usable).items()}
    others = _named(texts, known.installed).keys() - used.keys()
    strays = dict.fromkeys(tag for prompt in prompts.values() for tag in prompt.strays)
    notes = (*map(stray_tag, strays), *known.notes(sorted(others), used))
    return PlannedWords(tuple(used.values()), notes)


@dataclass(frozen=True)
class _Known:
    """What a word of a prompt may mean."""

    checkpoint: ModelInfo
    installed: Mapping[str, Sequence[ModelInfo]]
    """By the names' spelling."""
    bundled: Sequence[tuple[str, str, ModelInfo]]
    """Of those in LoRAs the spelling, the name in the file, and the LoRA."""

    @classmethod
    def of(cls, checkpoint: ModelInfo, installed: Iterable[ModelInfo], loras: Iterable[ModelInfo]) -> _Known:
        by_name: dict[str, list[ModelInfo]] = {}
        for info in installed:
            by_name.setdefault(spelling(info.name), []).append(info)
        bundled = ((spelling(word), word, info) for info in loras for word in info.bundled_words)
        return cls(checkpoint, by_name, tuple(dict.fromkeys(bundled)))

    @property
    def usable(self) -> set[str]:
        """The names of all that are for the checkpoint's family."""
        return {name for name in self.installed if self._fitting(name)} | {name for name, *_ in self.bundled}

    def planned(self, name: str, field: str) -> PlannedEmbedding:
        """What a usable name means. Raises: InvalidRequest, as `plan_words`."""
        if fitting := self._fitting(name):
            return PlannedEmbedding(_only(name, fitting, field), field)
        return next(
            PlannedEmbedding(info, field, word) for known, word, info in self.bundled if known == name
        )

    def notes(self, others: Iterable[str], used: Mapping[str, PlannedEmbedding]) -> Iterator[str]:
        """Sentences on names of other families, and on those that mean another textual inversion.

        Args:
            others: names that stand in a prompt and are not used.
        """
        for name in others:
            if not self._fitting(name):
                yield _note(self.installed[name][0], self.checkpoint)
        for name, word, info in self.bundled:
            meant = used.get(name)
            if meant is not None and (meant.model.id, meant.word) != (info.id, word):
                yield f"The word {word!r} means the textual inversion {meant.title}, not that in {info.name}."

    def _fitting(self, name: str) -> list[ModelInfo]:
        return [info for info in self.installed.get(name, ()) if is_of_family(info, self.checkpoint)]


def _texts(prompt: ParsedPrompt, passes: Sequence[int]) -> Iterator[tuple[Segment, ...]]:
    """All that a prompt says at some step of some pass."""
    for number, steps in enumerate(passes):
        for scheduled in prompt_schedule(prompt, steps, earlier_steps=sum(passes[:number])):
            yield from (part.segments for part in scheduled.parts)


def _named(texts: Mapping[str, Sequence[tuple[Segment, ...]]], names: Iterable[str]) -> dict[str, str]:
    """Those of `names` that stand in the texts, with the first field in which they do."""
    finder = WordFinder(names)
    fields: dict[str, str] = {}
    for field, segments in ((field, text) for field, said in texts.items() for text in said):
        for name in finder.names_in(segments):
            fields.setdefault(name, field)
    return fields


def _only(name: str, infos: Sequence[ModelInfo], field: str) -> ModelInfo:
    if len(infos) > 1:
        files = " and ".join(info.location or info.id for info in infos)
        raise InvalidRequest(
            f"The word {name!r} names {len(infos)} textual inversions: {files}.",
            "Rename one of the files.",
            field=field,
        )
    if not infos[0].usable:
        raise InvalidRequest(
            f"The word {name!r} names a textual inversion that cannot be used: {infos[0].problem}",
            "Remove or rename the file to use the word as plain text.",
            field=field,
        )
    return infos[0]


def _note(info: ModelInfo, checkpoint: ModelInfo) -> str:
    return (
        f"The textual inversion {info.name} is made for {info.family}, but {checkpoint.name} is "
        f"{checkpoint.family}: its name is read as plain text."
    )

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
    by_name: dict[str, list[ModelInfo]] = {}
    for info in installed:
        by_name.setdefault(spelling(info.name), []).append(info)
    texts = {field: list(_texts(prompt, passes)) for field, prompt in prompts.items()}
    texts |= {field: [((Span(phrase),),)] for field, phrase in phrases.items()}
    fitting = {name: [i for i in infos if is_of_family(i, checkpoint)] for name, infos in by_name.items()}
    bundled = [(spelling(word), word, info) for info in loras for word in info.bundled_words]
    used = _named(
        texts, {name for name, infos in fitting.items() if infos} | {name for name, _, _ in bundled}
    )
    others = _named(texts, by_name).keys() - used.keys()
    embeddings = tuple(
        PlannedEmbedding(_only(name, fitting[name], field), field)
        if fitting.get(name)
        else next(PlannedEmbedding(info, field, word) for known, word, info in bundled if known == name)
        for name, field in used.items()
    )
    strays = dict.fromkeys(tag for prompt in prompts.values() for tag in prompt.strays)
    return PlannedWords(
        embeddings,
        (
            *map(stray_tag, strays),
            *(_note(by_name[name][0], checkpoint) for name in sorted(others) if not fitting[name]),
            *_hidden(bundled, {one.name: one for one in embeddings}),
        ),
    )


def _hidden(
    bundled: Iterable[tuple[str, str, ModelInfo]], used: Mapping[str, PlannedEmbedding]
) -> Iterator[str]:
    """A sentence for each textual inversion in a LoRA whose name means another one."""
    for name, word, info in dict.fromkeys(bundled):
        meant = used.get(name)
        if meant is not None and (meant.model.id, meant.word) != (info.id, word):
            yield f"The word {word!r} means the textual inversion {meant.title}, not the one in {info.name}."


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

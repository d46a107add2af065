"""Prompts -> text embeddings for every step, as diffusers computes them, plus AUTOMATIC1111's conventions.

A prompt of any length is cut into chunks of 75 tokens; each is encoded alone, between its own start and end
tokens, and the results are joined along the sequence. Weights multiply the embeddings of their tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache as remember
from functools import cached_property
from itertools import chain
from typing import Any, Protocol, TypeVar

import torch

from studio.adapters.embedding import Embedding, Place, vectors_in_place
from studio.core.models import Family
from studio.diffusion.chunks import Chunk, LearnedWords, chunk_prompt, one_window
from studio.diffusion.plan import check_clip_skip
from studio.diffusion.prompt import (
    ParsedPrompt,
    PromptPart,
    Segment,
    parse_negative_prompt,
    parse_prompt,
    prompt_schedule,
)


@dataclass(frozen=True)
class TextConditioning:
    """What the UNet is told about one text."""

    prompt_embeds: torch.Tensor
    """(1, 77 * chunks, C)"""
    pooled_prompt_embeds: torch.Tensor | None = None
    """(1, P), SDXL only: of the first chunk, from the second encoder."""

    @property
    def size_bytes(self) -> int:
        tensors = (self.prompt_embeds, self.pooled_prompt_embeds)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


@dataclass(frozen=True)
class StepConditioning:
    """The text of one step.

    Guidance composes (Liu et al. 2022): `eps = uncond + guidance_scale * sum_i w_i * (cond_i - uncond)`.
    """

    conditional: tuple[tuple[TextConditioning, float], ...]
    """Each text with its weight; one, unless the prompt holds AND."""
    unconditional: TextConditioning


class ConditioningSchedule:
    """The text of every step. Equal steps share one object, so a loop can keep what it made of it."""

    def __init__(self, steps: Sequence[StepConditioning]) -> None:
        self._steps = tuple(steps)

    def __len__(self) -> int:
        return len(self._steps)

    def at(self, step: int) -> StepConditioning:
        """The text of sampling step `step`, from 0."""
        return self._steps[step]


@dataclass(frozen=True)
class TextEncoder:
    """One text encoder with its tokenizer."""

    tokenizer: Any
    """A `CLIPTokenizer`."""
    model: Callable[[], Any]
    """Gives the `CLIPTextModel` (SDXL's second: `CLIPTextModelWithProjection`), on its device. Called only
    for texts that are not in the cache."""
    digest: str
    """Of its weights, its tokenizer and the adapters that change them."""


@dataclass(frozen=True)
class TextEncoders:
    """A checkpoint's text encoders: one, or SDXL's two."""

    family: Family
    encoders: tuple[TextEncoder, ...]
    force_zeros_for_empty_prompt: bool = True
    """SDXL only, as its `Checkpoint` says: an empty negative prompt is all zeros."""
    embeddings: Mapping[str, Embedding] = field(default_factory=dict)
    """Textual inversions by the names that stand for them; their vectors fit these encoders."""

    @cached_property
    def words(self) -> LearnedWords:
        return LearnedWords({name: embedding.count for name, embedding in self.embeddings.items()})

    def key(self, segments: Sequence[Segment]) -> tuple[str, ...]:
        """Tells what these encoders make of a text from what others make of it."""
        used = {name: self.embeddings[name].digest for name in self.words.named_in(segments)}
        digests = (f"{name} {used[name]}" for name in sorted(used))
        return (self.family, *(encoder.digest for encoder in self.encoders), *digests)


class _Sized(Protocol):
    @property
    def size_bytes(self) -> int: ...


Embedded = TypeVar("Embedded", bound=_Sized)


class EmbeddingCache:
    """Remembers the embeddings of texts and pictures across requests; the least recently used go first.

    Not thread-safe: it belongs to the thread that owns the device.

    Args:
        max_bytes: of all embeddings together.
    """

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self.size_bytes = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: tuple[Any, ...], make: Callable[[], Embedded]) -> Embedded:
        """The entry of `key`, made now if need be."""
        if key in self._entries:
            self.hits += 1
            self._entries.move_to_end(key)
            remembered: Embedded = self._entries[key]
            return remembered
        self.misses += 1
        entry = self._entries[key] = make()
        self.size_bytes += entry.size_bytes
        while self.size_bytes > self._max_bytes and len(self._entries) > 1:
            _, oldest = self._entries.popitem(last=False)
            self.size_bytes -= oldest.size_bytes
        return entry

    def clear(self) -> None:
        self._entries.clear()
        self.size_bytes = 0


def encode_prompts(
    prompt: str,
    negative_prompt: str,
    encoders: TextEncoders,
    cache: EmbeddingCache,
    *,
    steps: int,
    earlier_steps: int = 0,
    clip_skip: int = 1,
) -> ConditioningSchedule:
    """The embeddings of both prompts for each step of one pass, all padded to the same length.

    Args:
        steps: of this pass.
        earlier_steps: of the pass before; see `prompt_schedule`.
        clip_skip: 1 uses the encoder's last layer (SDXL: its last but one), 2 the one before.

    Raises:
        PromptError: a prompt does not parse.
        InvalidRequest: `clip_skip` exceeds the encoder's layers.
    """
    positive = _parts_per_step(parse_prompt(prompt), steps, earlier_steps)
    negative = _parts_per_step(parse_negative_prompt(negative_prompt), steps, earlier_steps)
    texts = _TextTable(encoders, clip_skip, cache, positive, negative)
    at_step = remember(texts.step_conditioning)
    return ConditioningSchedule([at_step(*both) for both in zip(positive, negative, strict=True)])


def _parts_per_step(prompt: ParsedPrompt, steps: int, earlier_steps: int) -> list[tuple[PromptPart, ...]]:
    parts: list[tuple[PromptPart, ...]] = []
    for scheduled in prompt_schedule(prompt, steps, earlier_steps=earlier_steps):
        parts += [scheduled.parts] * (scheduled.until_step - len(parts))
    return parts


class _TextTable:
    """The embeddings of all texts of a pass, padded with empty chunks to the length of the longest.

    Each text is one forward of its own, whatever else is asked for or cached, so that the same prompt has
    the same bits in every request.
    """

    def __init__(
        self,
        encoders: TextEncoders,
        clip_skip: int,
        cache: EmbeddingCache,
        positive: Iterable[Sequence[PromptPart]],
        negative: Iterable[Sequence[PromptPart]],
    ) -> None:
        self._encoders = encoders
        self._clip_skip = clip_skip
        self._cache = cache
        conditional = {part: self._encode(part.segments) for part in _distinct(positive)}
        unconditional = {part: self._encode_negative(part) for part in _distinct(negative)}
        texts = (*conditional.values(), *unconditional.values())
        length = max(text.prompt_embeds.shape[1] for text in texts)
        self._conditional = {part: self._padded(text, length) for part, text in conditional.items()}
        self._unconditional = {part: self._padded(text, length) for part, text in unconditional.items()}

    def step_conditioning(
        self, positive: tuple[PromptPart, ...], negative: tuple[PromptPart, ...]
    ) -> StepConditioning:
        return StepConditioning(
            tuple((self._conditional[part], part.weight) for part in positive),
            self._unconditional[negative[0]],
        )

    def _encode(self, segments: tuple[Segment, ...]) -> TextConditioning:
        key = (self._encoders.key(segments), self._clip_skip, segments)
        return self._cache.get(key, lambda: encode_text(segments, self._encoders, self._clip_skip))

    def _encode_negative(self, part: PromptPart) -> TextConditioning:
        text = self._encode(part.segments)
        pooled = text.pooled_prompt_embeds
        if not part.is_blank or not self._encoders.force_zeros_for_empty_prompt or pooled is None:
            return text
        return TextConditioning(torch.zeros_like(text.prompt_embeds), torch.zeros_like(pooled))

    def _padded(self, text: TextConditioning, length: int) -> TextConditioning:
        missing = length - text.prompt_embeds.shape[1]
        if missing == 0:
            return text
        empty = self._encode(((),)).prompt_embeds
        padding = [empty] * (missing // empty.shape[1])
        return TextConditioning(torch.cat([text.prompt_embeds, *padding], dim=1), text.pooled_prompt_embeds)


def _distinct(per_step: Iterable[Sequence[PromptPart]]) -> list[PromptPart]:
    """Every part once, in order of appearance."""
    return list(dict.fromkeys(chain.from_iterable(per_step)))


@torch.no_grad()
def encode_text(segments: Sequence[Segment], encoders: TextEncoders, clip_skip: int = 1) -> TextConditioning:
    """One text through all encoders, their embeddings side by side.

    With all weights at 1 and at most 75 tokens this is, bit for bit, what diffusers' `encode_prompt` gives.
    """
    chunked = [chunk_prompt(encoder.tokenizer, segments, encoders.words) for encoder in encoders.encoders]
    chunk_count = max(map(len, chunked))
    embeds, pooled = [], None
    for i, (encoder, chunks) in enumerate(zip(encoders.encoders, chunked, strict=True)):
        padding = chunk_prompt(encoder.tokenizer, ((),)) * (chunk_count - len(chunks))
        model = encoder.model()
        with vectors_in_place(model, _places(chunks, encoders.embeddings, i)):
            hidden, pooled = _run(model, [*chunks, *padding], encoders.family, clip_skip)
        embeds.append(hidden.reshape(1, -1, hidden.shape[-1]))
    return TextConditioning(torch.cat(embeds, dim=-1), pooled)


@torch.no_grad()
def encode_phrase(segment: Segment, encoders: TextEncoders) -> torch.Tensor:
    """(1, P): a short text as one thing, SD 1.x's pooled output. What exceeds one window is lost.

    Without learned words this is, bit for bit, what diffusers' GLIGEN pipelines give.
    """
    encoder = encoders.encoders[0]
    window = one_window(encoder.tokenizer, segment, encoders.words)
    model = encoder.model()
    with vectors_in_place(model, _places([window], encoders.embeddings, 0)):
        pooled: torch.Tensor = model(torch.tensor([window.input_ids], device=model.device)).pooler_output
    return pooled


def _places(chunks: Sequence[Chunk], embeddings: Mapping[str, Embedding], encoder: int) -> list[Place]:
    """Where the learned vectors of the encoder with the index `encoder` belong."""
    return [
        Place(row, position, embeddings[vector.name].vectors[encoder][vector.index])
        for row, chunk in enumerate(chunks)
        for position, vector in chunk.vectors
    ]


def _run(
    encoder: Any, chunks: Sequence[Chunk], family: Family, clip_skip: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weighted hidden states (chunks, 77, C), and the pooled embedding (1, P) of SDXL's second encoder."""
    check_clip_skip(clip_skip, encoder.config.num_hidden_layers - (family is Family.SDXL))
    input_ids = torch.tensor([chunk.input_ids for chunk in chunks], device=encoder.device)
    output = encoder(input_ids, output_hidden_states=True)
    weights = torch.tensor([chunk.weights for chunk in chunks], device=encoder.device)
    hidden = _emphasise(_hidden_states(encoder, output, family, clip_skip), weights)
    pooled = output.text_embeds[:1] if hasattr(output, "text_embeds") else None
    return hidden, pooled


def _hidden_states(encoder: Any, output: Any, family: Family, clip_skip: int) -> torch.Tensor:
    """(chunks, 77, C) of the layer that `clip_skip` asks for.

    SD 1.x and 2.x: normalised by the encoder's final layer norm. SDXL: as they are, one layer earlier.
    """
    states: torch.Tensor
    if family is Family.SDXL:
        states = output.hidden_states[-(clip_skip + 1)]
    elif clip_skip == 1:
        states = output.last_hidden_state
    else:
        # transformers 4 keeps the layers in `text_model`, transformers 5 in the encoder itself.
        states = getattr(encoder, "text_model", encoder).final_layer_norm(output.hidden_states[-clip_skip])
    return states


def _emphasise(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply each token's embedding by its weight, then restore the mean that each chunk had.

    Args:
        hidden: (chunks, 77, C)
        weights: (chunks, 77)
    """
    if bool((weights == 1).all()):
        return hidden
    weighted = hidden.float() * weights[..., None]
    before = hidden.float().mean(dim=(1, 2), keepdim=True)
    after = weighted.mean(dim=(1, 2), keepdim=True)
    restored = torch.where(after == 0, weighted, weighted * (before / after))
    untouched = (weights == 1).all(dim=1)[:, None, None]
    return torch.where(untouched, hidden.float(), restored).to(hidden.dtype)

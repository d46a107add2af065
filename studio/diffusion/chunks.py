"""Tokens of a prompt, in chunks that fit the text encoder's window. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.protocol import TokenCount
from studio.diffusion.prompt import Segment, parse_prompt, prompt_schedule
from studio.diffusion.prompt.words import WordFinder, spelling

COMMA_BACKTRACK = 20
"""A full chunk may end up to so many tokens early, behind a comma, rather than in the midst of a phrase."""

COUNTED_STEPS = 20
"""Enough to see the variants that people write; counting need not be exact in others."""

_COMMA = ",</w>"

_PLACEHOLDER = 0
"""Id of a token whose embedding is about to be replaced; any but the end token, which encoders look for."""


@dataclass(frozen=True)
class Vector:
    """One of the learned vectors of a textual inversion."""

    name: str
    """As `spelling` writes it."""
    index: int


@dataclass(frozen=True)
class Token:
    id: int
    weight: float
    vector: Vector | None = None
    """What takes the place of the token's own embedding."""


class LearnedWords:
    """Names of textual inversions, and how many tokens each takes in a prompt.

    Args:
        vectors: by name, in any case.
    """

    def __init__(self, vectors: Mapping[str, int] | None = None) -> None:
        self._vectors = {spelling(name): count for name, count in (vectors or {}).items()}
        self._finder = WordFinder(self._vectors)

    def named_in(self, segments: Iterable[Segment]) -> frozenset[str]:
        """Those that stand in a text."""
        return frozenset(self._finder.names_in(segments))

    def tokens(self, tokenizer: Any, text: str, weight: float) -> Iterator[Token]:
        for piece in self._finder.pieces(text):
            if piece.name:
                for i in range(self._vectors[piece.name]):
                    yield Token(_PLACEHOLDER, weight, Vector(piece.name, i))
            else:
                yield from (Token(id_, weight) for id_ in _ids(tokenizer, piece.text))


NO_WORDS = LearnedWords()


@dataclass(frozen=True)
class Chunk:
    """One window of the text encoder: start, up to 75 tokens, end, padding if any."""

    input_ids: tuple[int, ...]
    weights: tuple[float, ...]
    """1 for start, end and padding."""
    vectors: tuple[tuple[int, Vector], ...] = ()
    """Positions whose token is replaced by a learned vector."""


def chunk_prompt(tokenizer: Any, segments: Sequence[Segment], words: LearnedWords = NO_WORDS) -> list[Chunk]:
    """The windows that a prompt takes, at least one.

    Args:
        tokenizer: a `CLIPTokenizer`.
        words: textual inversions; none is ever cut in two.
    """
    return [_framed(tokenizer, tokens) for tokens in _token_chunks(tokenizer, segments, words)]


def one_window(tokenizer: Any, segment: Segment, words: LearnedWords = NO_WORDS) -> Chunk:
    """As much of a text as one window holds, without padding."""
    tokens = [token for span in segment for token in words.tokens(tokenizer, span.text, span.weight)]
    return _framed(tokenizer, tokens[: chunk_size(tokenizer)], is_padded=False)


def count_tokens(tokenizer: Any, prompt: str, words: LearnedWords = NO_WORDS) -> TokenCount:
    """The length of the prompt's longest part, whichever step or side of an AND it belongs to.

    Args:
        words: textual inversions; each counts as many tokens as it has vectors.

    Raises:
        PromptError: the prompt does not parse.
    """
    schedule = prompt_schedule(parse_prompt(prompt), steps=COUNTED_STEPS)
    parts = {part.segments for scheduled in schedule for part in scheduled.parts}
    size = chunk_size(tokenizer)
    longest = max(
        (_token_chunks(tokenizer, segments, words) for segments in parts),
        key=lambda chunks: (len(chunks), len(chunks[-1])),
    )
    return TokenCount(tokens=(len(longest) - 1) * size + len(longest[-1]), limit=len(longest) * size)


def chunk_size(tokenizer: Any) -> int:
    """Tokens of text in one window: 75 for CLIP."""
    return int(tokenizer.model_max_length) - 2


def _token_chunks(tokenizer: Any, segments: Sequence[Segment], words: LearnedWords) -> list[list[Token]]:
    size, comma = chunk_size(tokenizer), tokenizer.convert_tokens_to_ids(_COMMA)
    chunks: list[list[Token]] = []
    for segment in segments:
        tokens = [token for span in segment for token in words.tokens(tokenizer, span.text, span.weight)]
        chunks += _split(tokens, size, comma)
    # A BREAK at the very end begins nothing.
    return chunks if len(chunks) == 1 or chunks[-1] else chunks[:-1]


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return ids


def _split(tokens: Sequence[Token], size: int, comma: int) -> Iterator[list[Token]]:
    rest = list(tokens)
    while len(rest) > size:
        end = _phrase_end(rest, size, comma)
        yield rest[:end]
        rest = rest[end:]
    yield rest


def _phrase_end(tokens: Sequence[Token], size: int, comma: int) -> int:
    """Where a chunk that overflows ends: behind its last comma, unless that lies too far back.

    A textual inversion that does not fit as a whole begins the next chunk.
    """
    overflowing = tokens[size]
    if overflowing.vector:
        # The rule has to give way where a single one is longer than a chunk.
        return (size - overflowing.vector.index) or size
    if overflowing.id == comma:
        return size
    for end in range(size, size - COMMA_BACKTRACK, -1):
        if tokens[end - 1].id == comma:
            return end
    return size


def _framed(tokenizer: Any, tokens: Sequence[Token], *, is_padded: bool = True) -> Chunk:
    padding = chunk_size(tokenizer) - len(tokens) if is_padded else 0
    ids = [token.id for token in tokens]
    return Chunk(
        (tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding),
        (1.0, *(token.weight for token in tokens), 1.0, *[1.0] * padding),
        tuple((i, token.vector) for i, token in enumerate(tokens, start=1) if token.vector),
    )

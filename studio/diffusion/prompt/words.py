"""Names of textual inversions in the text of a prompt. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from studio.diffusion.prompt.schedule import Segment

_NEIGHBOUR = r"[^\W_]"
"""Letters and digits: they would make the name a part of a longer word."""


@dataclass(frozen=True)
class Piece:
    """Text between names, or one name."""

    text: str
    name: str = ""
    """As `spelling` writes it; empty where the piece is plain text."""


def spelling(name: str) -> str:
    """The one way to write a name that may be written in many: lower case, single spaces."""
    return " ".join(name.lower().split())


class WordFinder:
    """Finds names as AUTOMATIC1111 does: in any case, as whole words, the longest first.

    Args:
        names: of files, without their suffix. A space in them stands for any number of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        spelt = frozenset(map(spelling, names)) - {""}
        self._names = sorted(spelt, key=lambda name: (-len(name), name))
        self._pattern = _pattern(tuple(self._names))

    def pieces(self, text: str) -> Iterator[Piece]:
        """`text`, cut around the names in it, in order."""
        begin = 0
        for match in self._pattern.finditer(text) if self._names else ():
            if match.start() > begin:
                yield Piece(text[begin : match.start()])
            yield Piece(match[0], self._names[(match.lastindex or 0) - 1])
            begin = match.end()
        if begin < len(text):
            yield Piece(text[begin:])

    def names_in(self, segments: Iterable[Segment]) -> Iterator[str]:
        """The names in a text, in order, each as often as it stands there."""
        pieces = (piece for segment in segments for span in segment for piece in self.pieces(span.text))
        return (piece.name for piece in pieces if piece.name)


@lru_cache(maxsize=16)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_whole_word, names)), re.IGNORECASE)


def _whole_word(name: str) -> str:
    begin = f"(?<!{_NEIGHBOUR})" if name[0].isalnum() else ""
    end = f"(?!{_NEIGHBOUR})" if name[-1].isalnum() else ""
    words = r"\s+".join(map(re.escape, name.split()))
    return f"{begin}({words}){end}"

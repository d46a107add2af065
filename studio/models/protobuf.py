"""Protocol buffers, as far as reading them takes: messages of numbered fields.

Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

_MAX_ENTRIES = 1_000_000
"""Fields and packed numbers of one file together: a net of a thousand steps has fifty thousand."""


class Bytes(Protocol):
    """A file's content: bytes, or the mapped file."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> bytes: ...


class Span(NamedTuple):
    """Bytes of the file."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


Field = int | Span
"""A number, or the bytes of a text, of packed numbers or of a message."""

Message = Mapping[int, Sequence[Field]]
"""All fields by their numbers; what occurs once is the last one."""


class ProtobufReader:
    """Reads the messages of one file, each byte's promise checked before it is used.

    Every method raises ValueError where the file is damaged.
    """

    def __init__(self, data: Bytes) -> None:
        self._data = data
        self._left = _MAX_ENTRIES

    @property
    def everything(self) -> Span:
        return Span(0, len(self._data))

    def message(self, field: Field) -> Message:
        found: dict[int, list[Field]] = {}
        for number, value in self._fields(span_of(field)):
            found.setdefault(number, []).append(value)
        return found

    def inner(self, message: Message, *numbers: int) -> Message:
        """The message in a field of a field ...; empty where there is none."""
        for number in numbers:
            message = self.message(message[number][-1]) if number in message else {}
        return message

    def bytes(self, field: Field) -> bytes:
        start, end = span_of(field)
        return self._data[start:end]

    def text(self, message: Message, number: int) -> str:
        """One text; empty where there is none."""
        return self.bytes(message[number][-1]).decode("utf-8") if number in message else ""

    def texts(self, message: Message, number: int) -> tuple[str, ...]:
        return tuple(self.bytes(field).decode("utf-8") for field in message.get(number, ()))

    def whole(self, message: Message, number: int, default: int = 0) -> int:
        """One signed number."""
        return next(reversed(self.wholes(message, number)), default)

    def wholes(self, message: Message, number: int) -> list[int]:
        """Signed numbers, one a field or many packed into one."""
        numbers = list(self._unsigned(message.get(number, ())))
        return [(value + 2**63) % 2**64 - 2**63 for value in numbers]

    def _unsigned(self, fields: Iterable[Field]) -> Iterator[int]:
        for field in fields:
            if isinstance(field, int):
                yield field
                continue
            at = field.start
            while at < field.end:
                value, at = self._varint(at, field.end)
                yield value

    def _fields(self, span: Span) -> Iterator[tuple[int, Field]]:
        at = span.start
        while at < span.end:
            key, at = self._varint(at, span.end)
            kind = key & 7
            if kind == 0:
                value, at = self._varint(at, span.end)
                yield key >> 3, value
                continue
            if kind == 2:
                size, at = self._varint(at, span.end)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError(f"what begins at byte {at:,} is no field")
            if size > span.end - at:
                raise ValueError(
                    f"{size:,} bytes are promised at byte {at:,}, and {span.end - at:,} are left"
                )
            yield key >> 3, Span(at, at + size)
            at += size

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A number in steps of seven bits, and where the next byte lies."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it has more than {_MAX_ENTRIES:,} entries")
        value = 0
        for shift, byte in enumerate(self._data[at : min(end, at + 10)]):
            value |= (byte & 0x7F) << (7 * shift)
            if byte < 0x80:
                return value, at + shift + 1
        raise ValueError(f"the number at byte {at:,} has no end")


def span_of(field: Field) -> Span:
    if isinstance(field, int):
        raise ValueError(f"a number ({field}) stands where bytes should")
    return field

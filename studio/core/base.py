"""What all types of the vocabulary share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

BlobId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""sha256 of a stored file's bytes, in hex."""

ModelId = Annotated[str, StringConstraints(max_length=200)]
"""Id of a model in the catalogue. Never a path."""


class Record(BaseModel):
    """Immutable, comparable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StrEnum(str, Enum):
    """An enumeration of words, as in Python 3.11's `enum.StrEnum` (Python 3.10 has none)."""

    def __str__(self) -> str:
        return str(self.value)

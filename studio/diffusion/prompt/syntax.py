"""The tree that a prompt parses to. Everything is immutable and hashable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Text:
    """Words as they are, escapes already removed."""

    text: str


@dataclass(frozen=True)
class Break:
    """`BREAK`: what follows starts a new chunk of the text encoder's window."""


@dataclass(frozen=True)
class Emphasis:
    """`(x)`, `(x:1.2)` or `[x]`: attention times `weight`."""

    nodes: tuple[Node, ...]
    weight: float


@dataclass(frozen=True)
class Switch:
    """`[before:after:at]`: `before` during the first `at` steps, then `after`."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    at: float
    """Steps, or a share of all steps."""
    is_fraction: bool


@dataclass(frozen=True)
class Alternation:
    """`[a|b|c]`: the options in turn, one a step."""

    options: tuple[tuple[Node, ...], ...]


Node: TypeAlias = Text | Break | Emphasis | Switch | Alternation


@dataclass(frozen=True)
class ComposedPart:
    """One side of an `AND` (composable diffusion, Liu et al. 2022)."""

    nodes: tuple[Node, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class LoraTag:
    """`<lora:name:text_encoder:unet>`, or `<lyco:...>`: a LoRA and how strongly it acts on either network."""

    name: str
    text_encoder: float = 1.0
    unet: float = 1.0
    position: int = field(default=0, compare=False)
    """Of its first character in the prompt."""


@dataclass(frozen=True)
class HypernetworkTag:
    """`<hypernet:name:weight>`."""

    name: str
    weight: float = 1.0
    position: int = field(default=0, compare=False)
    """Of its first character in the prompt."""


NetworkTag: TypeAlias = LoraTag | HypernetworkTag


@dataclass(frozen=True)
class ParsedPrompt:
    """A whole prompt."""

    parts: tuple[ComposedPart, ...]
    """At least one; several where the prompt holds `AND`."""
    tags: tuple[NetworkTag, ...] = ()
    """In the order in which they were written; they leave no text behind."""
    strays: tuple[str, ...] = ()
    """Tags of a kind that there is not, as they were written; they leave no text behind either."""

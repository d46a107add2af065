"""A parsed prompt -> what to encode at each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from studio.diffusion.prompt.syntax import (
    Alternation,
    Break,
    ComposedPart,
    Emphasis,
    Node,
    ParsedPrompt,
    Switch,
    Text,
)


@dataclass(frozen=True)
class Span:
    """Text whose tokens share one weight."""

    text: str
    weight: float = 1.0


Segment = tuple[Span, ...]
"""Text between two BREAKs; each segment begins a chunk of its own."""


@dataclass(frozen=True)
class PromptPart:
    """One prompt of an AND composition at one step."""

    segments: tuple[Segment, ...]
    """At least one, which may be empty."""
    weight: float = 1.0

    @property
    def is_blank(self) -> bool:
        return not any(span.text.strip() for segment in self.segments for span in segment)


@dataclass(frozen=True)
class ScheduledPrompt:
    """The prompt during the steps before `until_step` (counted from 0)."""

    until_step: int
    parts: tuple[PromptPart, ...]


@dataclass(frozen=True)
class _Moment:
    """One step of one pass."""

    step: int
    steps: int
    earlier_steps: int

    def is_past(self, switch: Switch) -> bool:
        if switch.is_fraction:
            at = (switch.at - (self.earlier_steps > 0)) * self.steps
        else:
            at = switch.at - self.earlier_steps
        return self.step >= int(min(at, self.steps))


def prompt_schedule(
    prompt: ParsedPrompt, steps: int, *, earlier_steps: int = 0
) -> tuple[ScheduledPrompt, ...]:
    """What the prompt says at each step, equal neighbours joined.

    `[a:b:N]` shows `a` in steps 0 to N-1. A fraction N is cut to whole steps.

    Args:
        steps: of this pass.
        earlier_steps: of the pass before, for a hires pass: whole numbers go on counting from the first
            pass, and fractions up to 1 lie in the first pass, from 1 to 2 in this one.
    """
    if not _changes(node for part in prompt.parts for node in part.nodes):
        return (ScheduledPrompt(steps, _at(prompt, _Moment(0, steps, earlier_steps))),)
    moments = (_at(prompt, _Moment(step, steps, earlier_steps)) for step in range(steps))
    return tuple(
        ScheduledPrompt(1 + max(step for step, _ in run), parts)
        for parts, run in groupby(enumerate(moments), key=lambda item: item[1])
    )


def _changes(nodes: Iterable[Node]) -> bool:
    return any(
        isinstance(node, (Switch, Alternation)) or (isinstance(node, Emphasis) and _changes(node.nodes))
        for node in nodes
    )


def _at(prompt: ParsedPrompt, moment: _Moment) -> tuple[PromptPart, ...]:
    return tuple(_part_at(part, moment) for part in prompt.parts)


def _part_at(part: ComposedPart, moment: _Moment) -> PromptPart:
    segments: list[list[Span]] = [[]]
    for span in _spans(part.nodes, moment):
        if isinstance(span, Break):
            segments.append([])
        else:
            segments[-1].append(span)
    return PromptPart(tuple(map(_merged, segments)), part.weight)


def _spans(nodes: Iterable[Node], moment: _Moment) -> Iterator[Span | Break]:
    for node in nodes:
        if isinstance(node, Text):
            yield Span(node.text)
        elif isinstance(node, Break):
            yield node
        elif isinstance(node, Switch):
            yield from _spans(node.after if moment.is_past(node) else node.before, moment)
        elif isinstance(node, Alternation):
            yield from _spans(node.options[moment.step % len(node.options)], moment)
        else:
            yield from _emphasised(node, moment)


def _emphasised(node: Emphasis, moment: _Moment) -> Iterator[Span | Break]:
    for span in _spans(node.nodes, moment):
        yield span if isinstance(span, Break) else replace(span, weight=span.weight * node.weight)


def _merged(spans: Iterable[Span]) -> Segment:
    """Neighbours of equal weight joined, so that 'fe' + 'male' is one word again."""
    return tuple(
        Span(text, weight)
        for weight, run in groupby(spans, key=lambda span: span.weight)
        if (text := "".join(span.text for span in run))
    )

"""AUTOMATIC1111's prompt language: text in, what to encode at each step out. No torch here."""

from studio.diffusion.prompt.grammar import parse_negative_prompt, parse_prompt
from studio.diffusion.prompt.schedule import (
    PromptPart,
    ScheduledPrompt,
    Segment,
    Span,
    prompt_schedule,
)
from studio.diffusion.prompt.syntax import HypernetworkTag, LoraTag, NetworkTag, ParsedPrompt
from studio.diffusion.prompt.tags import stray_tag

__all__ = [
    "HypernetworkTag",
    "LoraTag",
    "NetworkTag",
    "ParsedPrompt",
    "PromptPart",
    "ScheduledPrompt",
    "Segment",
    "Span",
    "parse_negative_prompt",
    "parse_prompt",
    "prompt_schedule",
    "stray_tag",
]

"""The tags of a prompt, `<lora:name:0.8>`, as entries of the stack."""

from __future__ import annotations

import re
from collections.abc import Callable

from studio.core.conditions import HypernetworkInput, LoraInput
from studio.core.errors import EaselError
from studio.core.models import ModelInfo, ModelKind
from studio.core.protocol import PromptNetworks
from studio.diffusion.prompt import LoraTag, NetworkTag, stray_tag
from studio.diffusion.prompt.tags import parse_tag

_TAG = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>")
_STRAY_TAG = re.compile(r"<(?!(?:lora|lyco|hypernet):)\w+:[^<>]+>")

Find = Callable[[str, ModelKind], ModelInfo]
"""The one model of a kind that a name means. Raises: NotFound, InvalidRequest."""


def networks_in(prompt: str, find: Find) -> PromptNetworks:
    """Entries for the tags of `prompt` that name a model; the others stay where they are."""
    entries: list[LoraInput | HypernetworkInput] = []
    problems = [stray_tag(tag) for tag in dict.fromkeys(_STRAY_TAG.findall(prompt))]
    for match in _TAG.finditer(prompt):
        tag = match[0]
        try:
            entries.append(_entry(parse_tag(tag, match.start()), find))
        except EaselError as error:
            problems.append(str(error))
        else:
            prompt = prompt.replace(tag, _GONE, 1)
    return PromptNetworks(
        prompt=_closed(prompt),
        loras=tuple(entry for entry in entries if isinstance(entry, LoraInput)),
        hypernetworks=tuple(entry for entry in entries if isinstance(entry, HypernetworkInput)),
        problems=tuple(problems),
    )


def _entry(tag: NetworkTag, find: Find) -> LoraInput | HypernetworkInput:
    """Raises: EaselError."""
    if not isinstance(tag, LoraTag):
        return HypernetworkInput(model=find(tag.name, ModelKind.HYPERNETWORK).id, weight=tag.weight)
    text_encoder = None if tag.text_encoder == tag.unet else tag.text_encoder
    model = find(tag.name, ModelKind.LORA)
    return LoraInput(model=model.id, weight=tag.unet, text_encoder_weight=text_encoder)


_GONE = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands where a tag was, until the gap is closed."""

_GAP = re.compile(rf"(?<![\s,])[\s,]*{_GONE}[\s,{_GONE}]*")
"""Begins where spaces and commas do, and nowhere among them: a long run of them is looked through once."""


def _closed(prompt: str) -> str:
    """The prompt without its gaps: what stood around a tag is joined as it was, by a comma or a space."""

    def joint(gap: re.Match[str]) -> str:
        at_end = gap.start() == 0 or gap.end() == len(prompt)
        return "" if at_end else ", " if "," in gap[0] else " "

    return _GAP.sub(joint, prompt)

r"""The stack in an infotext, for others and for us.

AUTOMATIC1111 says a LoRA or hypernetwork by a tag in the prompt, and its file by a hash:

    a red ball <lora:watercolour:0.8>
    Steps: 20, ..., Lora hashes: "watercolour: 0123456789ab", Easel stack: "{\"tags\": [\"0123456789ab\"]}"

So do we, for every entry that a tag can say. `Easel stack` tells which tags at the prompt's end are entries
of the stack, and holds what no tag can say in full: an entry that is off, that acts on some steps or blocks
only, a control with its picture; and boxes and masks, which are no entries but as much without a tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from studio.core.base import ModelId, Record
from studio.core.conditions import HypernetworkInput, LoraInput, StackEntry
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest

STACK_KEY = "Easel stack"

STACK_KINDS: Mapping[str, tuple[ModelKind, ...]] = {
    "loras": (ModelKind.LORA,),
    "hypernetworks": (ModelKind.HYPERNETWORK,),
    "controls": (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER),
    "image_prompts": (ModelKind.IP_ADAPTER,),
}
"""Fields of a request that hold stack entries, and the kinds of models that these name."""

PARTS = ("inpaint", "boxes")
"""Fields that are one record each, and that no infotext but ours can hold."""

TAG_KINDS: Mapping[str, ModelKind] = {
    "lora": ModelKind.LORA,
    "lyco": ModelKind.LORA,
    "hypernet": ModelKind.HYPERNETWORK,
}

HASH_DIGITS = 12
"""Hex digits of a network's hash in an infotext."""

_TAG_NAME = re.compile(r"[^\s:<>](?:[^:<>\n\r]*[^\s:<>])?")


class NetworkFact(Record):
    """A model of the stack, of a tag or of a word of the prompt, as an infotext names it."""

    id: ModelId
    kind: ModelKind
    name: str
    hash: str = ""
    """In hex; empty for what is switched off, and where it is not known."""

    @property
    def title(self) -> str:
        """As the ControlNet extension writes it: `canny [1a2b3c4d]`."""
        return f"{self.name} [{self.hash[:8]}]" if self.hash else self.name


def written_prompt(request: GenerateRequest, networks: Sequence[NetworkFact]) -> str:
    """The prompt, and after it a tag for every entry of the stack that a tag can say."""
    tags = [tag for tag, _ in _tags(request, networks)]
    return " ".join(filter(None, (request.prompt, *tags)))


def stack_fields(request: GenerateRequest, networks: Sequence[NetworkFact]) -> Iterator[tuple[str, str]]:
    """The keys of an infotext that tell of networks."""
    for key, kind in (("Lora hashes", ModelKind.LORA), ("TI hashes", ModelKind.EMBEDDING)):
        hashes = {
            without_separators(fact.name): fact.hash[:HASH_DIGITS]
            for fact in networks
            if fact.kind is kind and fact.hash
        }
        if hashes:
            yield key, ", ".join(f"{name}: {digits}" for name, digits in hashes.items())
    if stack := _stack(request, networks):
        yield STACK_KEY, json.dumps(stack, ensure_ascii=False)


def without_separators(name: str) -> str:
    """A name as `Lora hashes` holds it: without the signs that part it from its hash and from the next."""
    return re.sub(r"[:,]", "", name)


def _stack(request: GenerateRequest, networks: Sequence[NetworkFact]) -> dict[str, Any]:
    stack: dict[str, Any] = {}
    if tags := [digits for _, digits in _tags(request, networks)]:
        stack["tags"] = tags
    for field in STACK_KINDS:
        entries: tuple[StackEntry, ...] = getattr(request, field)
        if any(_tag(entry, networks) is None for entry in entries):
            stack[field] = [_in_full(entry, networks) for entry in entries]
    parts = {field: getattr(request, field) for field in PARTS}
    return stack | {field: part.model_dump(mode="json") for field, part in parts.items() if part}


def _tags(request: GenerateRequest, networks: Sequence[NetworkFact]) -> list[tuple[str, str]]:
    """The tags, each with the hash of its file."""
    entries = (*request.loras, *request.hypernetworks)
    tags = ((_tag(entry, networks), _fact(entry, networks).hash) for entry in entries)
    return [(tag, digits[:HASH_DIGITS]) for tag, digits in tags if tag is not None]


def _tag(entry: StackEntry, networks: Sequence[NetworkFact]) -> str | None:
    """`<lora:name:te:unet>`; None where a tag would not say all of the entry."""
    name = _fact(entry, networks).name
    if not _TAG_NAME.fullmatch(name):
        return None
    match entry:
        case LoraInput(weight=weight, text_encoder_weight=None):
            bare, tag = LoraInput(model=entry.model, weight=weight), f"<lora:{name}:{number(weight)}>"
        case LoraInput(weight=weight, text_encoder_weight=float(text)):
            bare = LoraInput(model=entry.model, weight=weight, text_encoder_weight=text)
            tag = f"<lora:{name}:{number(text)}:{number(weight)}>"
        case HypernetworkInput(weight=weight):
            return f"<hypernet:{name}:{number(weight)}>" if entry.enabled else None
        case _:
            return None
    return tag if entry == bare else None


def _in_full(entry: StackEntry, networks: Sequence[NetworkFact]) -> dict[str, Any]:
    """What differs from the defaults, with a name that means the model on other machines too."""
    fact = _fact(entry, networks)
    values = entry.model_dump(mode="json")
    fields = type(entry).model_fields
    told = {name: values[name] for name, field in fields.items() if getattr(entry, name) != field.default}
    if fact.hash:
        told |= {"model": fact.name, "hash": fact.hash[:HASH_DIGITS]}
    return told


def _fact(entry: StackEntry, networks: Sequence[NetworkFact]) -> NetworkFact:
    unknown = NetworkFact(id=entry.model, kind=ModelKind.LORA, name=entry.model)
    return next((fact for fact in networks if fact.id == entry.model), unknown)


def number(value: float) -> str:
    """The shortest text that reads back as the same number: 7.0 is "7"."""
    return repr(float(value)).removesuffix(".0")

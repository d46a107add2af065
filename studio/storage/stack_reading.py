"""Networks that an image's text names, as entries of the stack: by hash, else by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pydantic import ValidationError

from studio.core.base import BlobId, ModelId
from studio.core.boxes import Boxes
from studio.core.conditions import (
    MAX_STACKED,
    ControlInput,
    HypernetworkInput,
    ImagePrompt,
    LoraInput,
    StackEntry,
)
from studio.core.inpaint import Inpaint
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest
from studio.core.texts import json_object, storable
from studio.storage.draft import Draft
from studio.storage.infotext_control import take_control_fields
from studio.storage.stack_text import STACK_KEY, STACK_KINDS, TAG_KINDS, NetworkFact, without_separators

ResolveModel = Callable[[str, str, ModelKind], "ModelId | None"]
"""Finds a model in the catalogue by `(name, first hex digits of its sha256, kind)`; either may be empty."""

_MAX_NAME = 200
"""Characters of a model's id."""

_MAX_NAMED = 2 * MAX_STACKED
"""Networks of a text that are looked at."""

_TAG = re.compile(rf"<({'|'.join(TAG_KINDS)}):([^<>]+)>")
_FIELD_OF: Mapping[ModelKind, str] = {
    ModelKind.LORA: "loras",
    ModelKind.HYPERNETWORK: "hypernetworks",
}
_ENTRIES: Mapping[str, type[StackEntry]] = {
    "loras": LoraInput,
    "hypernetworks": HypernetworkInput,
    "controls": ControlInput,
    "image_prompts": ImagePrompt,
}
_PARTS: Mapping[str, type[Inpaint | Boxes]] = {"inpaint": Inpaint, "boxes": Boxes}
_PART_WORDS: Mapping[str, str] = {"inpaint": "the inpainting settings", "boxes": "the boxes"}


@dataclass(frozen=True)
class NamedNetwork:
    """A LoRA or hypernetwork as a text names it; weights are what stands there, numbers or not."""

    name: str
    weight: object = 1.0
    text_encoder_weight: object = None
    digits: str = ""
    """First hex digits of its hash."""
    kind: ModelKind = ModelKind.LORA


class StackReading:
    """Puts entries into a draft, and a warning for each that cannot be had.

    Args:
        resolve: finds models; without it, entries keep the names as they are written.
        known_blobs: the store that the pictures of controls must be in.
    """

    def __init__(self, draft: Draft, resolve: ResolveModel | None, known_blobs: Container[BlobId]) -> None:
        self._draft = draft
        self._resolve = resolve
        self._known_blobs = known_blobs

    def infotext(
        self, prompt: str, negative_prompt: str, fields: dict[str, str], *, is_own: bool
    ) -> tuple[str, str]:
        """Take over the networks of an infotext, whose keys are taken out of `fields`.

        Of ours, only the tags that `Easel stack` counts are entries; others stand in the prompt because the
        person wrote them. Of other studios, all are.

        Returns: both prompts, without the tags that became entries.
        """
        self._embeddings(fields.pop("TI hashes", ""))
        hashes = dict(_hashes(fields.pop("Lora hashes", fields.pop("LoRA hashes", ""))))
        stack = fields.pop(STACK_KEY, "")
        if is_own:
            take_control_fields(fields)  # which only repeat what our own key tells
            return (self._own(prompt, stack) if stack else prompt), negative_prompt
        self._draft.warnings += take_control_fields(fields)
        prompt, networks = self._tags(prompt, hashes)
        named = {without_separators(network.name) for network in networks}
        # Fooocus has no tags: it writes the weight behind the hash.
        networks += [each for name, each in hashes.items() if each.weight is not None and name not in named]
        networks += _old_hypernetwork(fields)
        self.add(networks)
        return prompt, self._without_tags(negative_prompt)

    def add(self, networks: Iterable[NamedNetwork]) -> None:
        """Entries for networks that another studio used."""
        for network in islice(networks, _MAX_NAMED):
            model = self._found(network.name, network.digits, (network.kind,))
            if model is not None:
                self._put(_FIELD_OF[network.kind], self._entry(network, model))

    def _entry(self, network: NamedNetwork, model: ModelId) -> StackEntry:
        record = LoraInput if network.kind is ModelKind.LORA else HypernetworkInput
        values: dict[str, Any] = {"model": model}
        for field in ("weight", "text_encoder_weight"):
            written = getattr(network, field)
            if written is not None and field in record.model_fields:
                label = f"The weight of {network.name[:60]}"
                value = self._draft.within_bounds(record, field, written, label)
                values |= {} if value is None else {field: value}
        return record(**values)

    def _own(self, prompt: str, text: str) -> str:
        """What `Easel stack` says. Returns: the prompt without its tags."""
        stack = json_object(text)
        tags = stack.get("tags", [])
        hashes = [str(digits) for digits in tags] if isinstance(tags, list) else []
        prompt, networks = _last_tags(prompt, len(hashes))
        told = [replace(each, digits=digits) for each, digits in zip(networks, hashes, strict=False)]
        self.add(each for each in told if _FIELD_OF[each.kind] not in stack)
        for field in STACK_KINDS:
            entries = stack.get(field, [])
            for values in entries[:MAX_STACKED] if isinstance(entries, list) else []:
                self._put_full(field, values)
        for field, record in _PARTS.items():
            if field in stack:
                self._part(field, record, stack[field])
        return prompt

    def _part(self, field: str, record: type[Inpaint | Boxes], values: object) -> None:
        try:
            self._keep_part(field, record.model_validate_json(json.dumps(values)))
        except (ValidationError, RecursionError):
            self._draft.warnings.append(f"The settings of {field} are damaged; they were left out.")

    def _keep_part(self, field: str, part: Inpaint | Boxes) -> None:
        if isinstance(part, Boxes) and part.model and self._resolve:
            model = self._found(part.model, "", (ModelKind.GLIGEN,))
            part = part.model_copy(update={"model": model or ""})
        if self._has_pictures(field, part):
            self._draft.values[field] = part
        else:
            self._draft.warnings.append(
                f"A picture of {_PART_WORDS[field]} is not here, so that they were left out."
            )

    def _put_full(self, field: str, values: object) -> None:
        if not isinstance(values, dict):
            return
        digits = str(values.pop("hash", ""))
        model = self._found(str(values.get("model", "")), digits, STACK_KINDS[field])
        if model is None:
            return
        try:
            self._put(field, _ENTRIES[field].model_validate_json(json.dumps(values | {"model": model})))
        except (ValidationError, RecursionError):
            self._draft.warnings.append(
                f"The settings of {model[:100]!r} in the stack are damaged; it was left out."
            )

    def restore(self, request: GenerateRequest, networks: Sequence[NetworkFact]) -> None:
        """The stack, mask and boxes of our own request, whose ids may mean other models here."""
        facts = {fact.id: fact for fact in networks}
        for field, kinds in STACK_KINDS.items():
            self._draft.values[field] = ()
            for entry in getattr(request, field):
                fact = facts.get(entry.model)
                model = self._found(fact.name, fact.hash, kinds) if fact and self._resolve else entry.model
                if model is not None:
                    self._put(field, entry.model_copy(update={"model": model}))
        for field in _PARTS:
            self._draft.values[field] = None
            if part := getattr(request, field):
                self._keep_part(field, part)
        in_stack = {entry.model for field in STACK_KINDS for entry in getattr(request, field)}
        for fact in facts.values():
            if fact.id not in in_stack and fact.kind is not ModelKind.GLIGEN:  # which the boxes name
                self._named_in_prompt(fact)

    def _named_in_prompt(self, fact: NetworkFact) -> None:
        if fact.kind is ModelKind.EMBEDDING:
            self._word(fact.name, fact.hash)
        elif self._resolve and not self._resolve(fact.name, fact.hash, fact.kind):
            self._draft.warnings.append(
                f"The {fact.kind.noun} {fact.name[:100]!r} that the prompt names is not here."
            )

    def _put(self, field: str, entry: StackEntry) -> None:
        entries = self._draft.values.get(field, ())
        name = f"{STACK_KINDS[field][0].noun} {entry.model[:100]!r}"
        if len(entries) == MAX_STACKED:
            self._draft.warnings.append(f"The {name} was left out: {MAX_STACKED} of a kind can be stacked.")
        elif not self._has_pictures(field, (entry,)):
            self._draft.warnings.append(
                f"The {name} was left out: its picture is not here. Add it to get the same result."
            )
        else:
            self._draft.values[field] = (*entries, entry)

    def _has_pictures(self, field: str, value: object) -> bool:
        needed = GenerateRequest().model_copy(update={field: value}).blobs
        return all(blob in self._known_blobs for blob in needed)

    def _found(self, name: str, digits: str, kinds: tuple[ModelKind, ...]) -> ModelId | None:
        name = storable(name)[:_MAX_NAME]
        if self._resolve is None:
            return name or None
        for kind in kinds:
            if model := self._resolve(name, digits, kind):
                return model
        self._draft.warnings.append(f"The {kinds[0].noun} {name[:100]!r} is not here; it was left out.")
        return None

    def _embeddings(self, hashes: str) -> None:
        for name, network in islice(_hashes(hashes), _MAX_NAMED):
            self._word(name, network.digits)

    def _word(self, name: str, digits: str) -> None:
        """An embedding that a prompt calls by its name."""
        if self._resolve and not self._resolve(name, digits, ModelKind.EMBEDDING):
            self._draft.warnings.append(
                f"The embedding {name[:100]!r} is not here; its name is read as plain words."
            )

    def _tags(self, prompt: str, hashes: Mapping[str, NamedNetwork]) -> tuple[str, list[NamedNetwork]]:
        networks = [_network(match) for match in _TAG.finditer(prompt)]
        told = [_with_hash(network, hashes) for network in networks]
        return _without_tags(prompt), told

    def _without_tags(self, negative_prompt: str) -> str:
        """There they never had an effect, so that they are no entries."""
        if _TAG.search(negative_prompt):
            self._draft.warnings.append("Tags of networks in the negative prompt have no effect; left out.")
            return _without_tags(negative_prompt)
        return negative_prompt


def stem_of(name: str) -> str:
    """A model's name out of the path or file name that other studios write."""
    stem = re.split(r"[\\/]", name)[-1]
    return re.sub(r"\.(safetensors|ckpt|pt|pth|bin|sft|gguf)$", "", stem, flags=re.IGNORECASE)


def _without_tags(prompt: str) -> str:
    """Only the tags go: the commas around them count as words, as they do in AUTOMATIC1111."""
    return re.sub(r"  +", " ", _TAG.sub("", prompt)).strip()


def _last_tags(prompt: str, count: int) -> tuple[str, list[NamedNetwork]]:
    """The prompt without its last `count` tags, and these."""
    last = list(_TAG.finditer(prompt))[-count:] if count else []
    return (prompt[: last[0].start()].rstrip() if last else prompt), [_network(match) for match in last]


def _network(tag: re.Match[str]) -> NamedNetwork:
    """`<lora:name:te:unet>`, `<lora:name:unet=1>`, `<hypernet:name:weight>`."""
    name, *arguments = tag[2].split(":")
    named = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    first, second, *_ = (*(each for each in arguments if "=" not in each), None, None)
    kind = TAG_KINDS[tag[1]]
    if kind is ModelKind.HYPERNETWORK:
        return NamedNetwork(name.strip(), 1.0 if first is None else first, kind=kind)
    text_encoder: object = named.get("te", 1.0 if first is None else first)
    unet: object = named.get("unet", text_encoder if second is None else second)
    is_one = second is None and "unet" not in named
    return NamedNetwork(name.strip(), unet, None if is_one else text_encoder)


def _with_hash(network: NamedNetwork, hashes: Mapping[str, NamedNetwork]) -> NamedNetwork:
    known = hashes.get(without_separators(network.name))
    return replace(network, digits=known.digits) if known else network


def _hashes(text: str) -> Iterator[tuple[str, NamedNetwork]]:
    """`name: hash, name: hash`; Fooocus adds `: weight`. The weight is None where there is none."""
    for part in text.strip('" ').split(","):
        name, *rest = (piece.strip() for piece in part.split(":"))
        if name and rest:
            digits = rest[0] if re.fullmatch(r"[0-9a-fA-F]{8,64}", rest[0]) else ""
            yield name, NamedNetwork(name, rest[1] if len(rest) > 1 else None, digits=digits)


def _old_hypernetwork(fields: dict[str, str]) -> list[NamedNetwork]:
    """`Hypernet: name, Hypernet strength: 0.5`, from before there were tags."""
    name = fields.pop("Hypernet", "")
    weight = fields.pop("Hypernet strength", "1")
    name = re.sub(r"\([0-9a-fA-F]{8}\)$", "", name)
    return [NamedNetwork(name, weight, kind=ModelKind.HYPERNETWORK)] if name and name != "None" else []

"""What the card of a LoRA, embedding or hypernetwork tells: trigger words, rank, what it was made on, ...

It is put together from three sources. What a person wrote down (`name.json`, AUTOMATIC1111's sidecar) goes
before what a site wrote (`name.civitai.info`), and that before what the training program left in the header
(`ss_*` of kohya's scripts, https://github.com/Stability-AI/ModelSpec). All of it is data: cut to length,
without control characters, never a path and never markup. Whether the file can be used at all is looked up in
its header too.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import CorruptFile, EaselError
from studio.core.models import Family, ModelKind
from studio.core.texts import json_object
from studio.models.bundled_words import bundled_words
from studio.models.configs import Config
from studio.models.distilled import hint_for
from studio.models.embedding_file import embedding_shape
from studio.models.folders import read_json
from studio.models.hypernetwork_file import hypernetwork_layers
from studio.models.lora_file import check_lora
from studio.models.prediction import read_sidecar
from studio.models.signatures import embedding_tensors
from studio.models.texts import MAX_LINE, MAX_TEXT, clean
from studio.models.weights import Header

NETWORKS = frozenset({ModelKind.LORA, ModelKind.EMBEDDING, ModelKind.HYPERNETWORK})
"""Kinds that a prompt can call by name."""

MAX_WORDS = 24
MAX_WORD = 120

_MAX_TAG_TEXT = 16 * 2**20
"""Characters of `ss_tag_frequency` that are read; a data set of 100,000 pictures has about a tenth."""


def network_card(path: Path, kind: ModelKind, name: str, header: Header) -> dict[str, Any]:
    """The fields of a `ModelInfo` that the file of a network and its neighbours tell.

    Args:
        name: of the model; an embedding is called by it.
    """
    sidecar, site, made = read_sidecar(path), _site_sidecar(path), header.metadata
    alias = clean(made.get("ss_output_name"), MAX_LINE)
    described = sidecar.get("description") or _without_markup(site.get("description"))
    bundled = _bundled_words(kind, header)
    triggers = _trigger_words(kind, name, sidecar, site, made)
    return {
        "alias": alias if alias != name else "",
        "trigger_words": tuple(dict.fromkeys((*bundled, *triggers)))[:MAX_WORDS],
        "negative_text": clean(sidecar.get("negative text"), MAX_TEXT),
        "preferred_weight": _number(sidecar.get("preferred weight"), 10) or None,
        "notes": clean(sidecar.get("notes"), MAX_TEXT),
        "author": clean(made.get("modelspec.author"), MAX_LINE),
        "description": clean(described or made.get("modelspec.description"), MAX_TEXT),
        "base": _base(sidecar, site, made),
        "rank": _rank(header) if kind is ModelKind.LORA else None,
        "alpha": _number(made.get("ss_network_alpha"), 1e6) if kind is ModelKind.LORA else None,
        "bundled_words": bundled,
        **(_inversion(header) if kind is ModelKind.EMBEDDING else {}),
        "network_hash": _told_hash(made),
        "suggests": hint_for(name, alias, clean(made.get("modelspec.title"), MAX_LINE))
        if kind is ModelKind.LORA
        else None,
        "problem": _problem(kind, name, header),
    }


_CHECKS: Mapping[ModelKind, Callable[[Header, str], object]] = {
    ModelKind.LORA: check_lora,
    ModelKind.EMBEDDING: embedding_shape,
    ModelKind.HYPERNETWORK: hypernetwork_layers,
}


def _problem(kind: ModelKind, name: str, header: Header) -> str:
    """Why the file cannot be used, as far as its header tells; empty where it does not."""
    try:
        _CHECKS[kind](header, name)
    except EaselError as error:
        return str(error)
    return ""


def told_family(path: Path) -> Family:
    """The family that a site's sidecar names; unknown where there is none."""
    told = str(_site_sidecar(path).get("baseModel", "")).lower()
    return next((family for words, family in _SITE_FAMILIES if told.startswith(words)), Family.UNKNOWN)


_SITE_FAMILIES = (
    (("sd 1",), Family.SD1),
    (("sd 2",), Family.SD2),
    (("sdxl", "pony", "illustrious", "noobai"), Family.SDXL),
)


def _site_sidecar(path: Path) -> Config:
    file = path.with_suffix(".civitai.info")
    try:
        return read_json(file) if file.is_file() else {}
    except (CorruptFile, OSError):
        return {}


def _without_markup(value: object) -> str:
    """Sites describe in HTML."""
    if not isinstance(value, str):
        return ""
    text = re.sub(r"<[^<>]*>", " ", value[: 8 * MAX_TEXT])
    return re.sub(r"\s+", " ", html.unescape(text))


def _trigger_words(
    kind: ModelKind, name: str, sidecar: Config, site: Config, made: Mapping[str, str]
) -> tuple[str, ...]:
    """The first source that names any; the words of the captions only where nobody chose."""
    if kind is ModelKind.EMBEDDING:
        return (name,)
    trained = site.get("trainedWords")
    sources = (
        _phrases(sidecar.get("activation text")),
        _phrases(*trained) if isinstance(trained, list) else (),
        _phrases(made.get("modelspec.trigger_phrase")),
        _frequent_tags(made.get("ss_tag_frequency", "")),
    )
    return next(filter(None, map(_words, sources)), ())


def _bundled_words(kind: ModelKind, header: Header) -> tuple[str, ...]:
    """Names of textual inversions in a LoRA's file, but for those that cannot be shown as they are."""
    words = bundled_words(header.tensors) if kind is ModelKind.LORA else ()
    return tuple(word for word in words if word == clean(word, MAX_WORD))


def _words(phrases: Iterable[str]) -> tuple[str, ...]:
    cleaned = (clean(phrase, MAX_WORD) for phrase in phrases)
    return tuple(dict.fromkeys(filter(None, cleaned)))[:MAX_WORDS]


def _phrases(*texts: object) -> Iterator[str]:
    """The parts between commas; commas in brackets belong to a part: `(wet, paper:1.2)`."""
    for text in texts[:MAX_WORDS]:
        if isinstance(text, str):
            yield from re.split(r",(?![^()]*\))", text[: MAX_WORDS * MAX_WORD])


def _frequent_tags(text: str) -> list[str]:
    """The commonest words of the training captions, from `{"10_folder": {"tag": count}}`."""
    folders = json_object(text) if len(text) <= _MAX_TAG_TEXT else {}
    counts: Counter[str] = Counter()
    for tags in folders.values():
        if isinstance(tags, dict):
            counts.update({tag: n for tag, n in tags.items() if isinstance(n, int) and 0 < n < 2**32})
    return [tag for tag, _ in counts.most_common(MAX_WORDS)]


def _base(sidecar: Config, site: Config, made: Mapping[str, str]) -> str:
    told = (
        sidecar.get("sd version") if sidecar.get("sd version") != "Unknown" else "",
        site.get("baseModel"),
        made.get("ss_base_model_version"),
        made.get("modelspec.architecture", "").removesuffix("/lora"),
        made.get("sd_checkpoint_name"),
    )
    return next((text for text in (clean(value, MAX_LINE) for value in told) if text), "")


_DOWN = re.compile(r"(?:lora_down|lora_A|lora\.down|_lora\.down|hada_w1_b|hada_w2_b)(?:\.\w+)?(?:\.weight)?$")


def _rank(header: Header) -> int | None:
    """The rank that all layers share: the rows of what projects down."""
    ranks = {info.shape[0] for name, info in header.tensors.items() if info.shape and _DOWN.search(name)}
    return ranks.pop() if len(ranks) == 1 and min(ranks) > 0 else None


def _inversion(header: Header) -> dict[str, Any]:
    """What the file of a textual inversion tells, under the names that AUTOMATIC1111's training gives it."""
    shapes = {name: info.shape for name, info in header.tensors.items()}
    told = [shapes[name] for name in embedding_tensors(shapes)]
    steps = _number(header.metadata.get("step"), 1e9)
    return {
        "vectors": max((shape[0] if len(shape) == 2 else 1 for shape in told), default=0) or None,
        "vector_width": sum(shape[-1] for shape in told) or None,
        "trained_steps": int(steps) if steps is not None and steps >= 0 else None,
        "base_hash": clean(header.metadata.get("sd_checkpoint"), MAX_LINE),
    }


def _told_hash(made: Mapping[str, str]) -> str:
    """What kohya's scripts wrote: the sha256 of what follows the header."""
    told = made.get("sshs_model_hash", "").lower()
    return told if re.fullmatch(r"[0-9a-f]{64}", told) else ""


def _number(value: object, bound: float) -> float | None:
    if not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value[:40] if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= bound else None

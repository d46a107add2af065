"""LoRAs, embeddings and hypernetworks that a `FakeStudio` has: every case that a card must show."""

from __future__ import annotations

from typing import Any

from studio.core.models import Family, GenerationHint, ModelInfo, ModelKind
from studio.core.samplers import Sampler

MB = 2**20


def _lora(name: str, file: str, **facts: Any) -> ModelInfo:
    defaults: dict[str, Any] = {
        "id": f"fake/{file}",
        "name": name,
        "kind": ModelKind.LORA,
        "family": Family.SD1,
        "layout": "kohya",
        "location": f"models/Lora/{file}.safetensors",
        "size_bytes": 18 * MB,
        "rank": 16,
        "alpha": 8.0,
    }
    return ModelInfo(**(defaults | facts))


WATERCOLOUR = _lora(
    "Watercolour",
    "watercolour",
    trigger_words=("watercolour style", "wet paper"),
    preferred_weight=0.8,
    description="Soft edges and paper that shines through.",
    author="Ada",
    licence="CC-BY-4.0",
    network_hash="aa" * 32,
)

NETWORKS = (
    WATERCOLOUR,
    _lora(
        "Night city",
        "night-city",
        trigger_words=("neon night",),
        bundled_words=("neon night",),
        negative_text="daylight",
        notes="Best below 0.7 together with another style.",
        base="sd_v1-5",
        network_hash="bb" * 32,
    ),
    _lora("Plain", "plain", layout="diffusers", rank=None, alpha=None, size_bytes=3 * MB),
    _lora(
        "LCM-LoRA",
        "lcm-lora",
        rank=64,
        suggests=GenerationHint(technique="LCM", sampler=Sampler.LCM, steps=6, guidance_scale=1.5),
        description="Finished pictures in four to eight steps.",
    ),
    _lora("Cut paper XL", "cut-paper-xl", family=Family.SDXL, trigger_words=("cut paper",)),
    _lora(
        "Torn",
        "torn",
        family=Family.UNKNOWN,
        rank=None,
        alpha=None,
        problem="The file is cut off: its header describes 18 MB, but it has 12 bytes. Copy it again.",
    ),
    ModelInfo(
        id="fake/old-photo",
        name="old-photo",
        kind=ModelKind.EMBEDDING,
        family=Family.SD1,
        layout="a1111",
        location="embeddings/old-photo.pt",
        size_bytes=13_000,
        vectors=4,
        vector_width=128,
        trained_steps=500,
        base="toytown",
        base_hash="0123abcd",
        trigger_words=("old-photo",),
        network_hash="cc" * 32,
    ),
    ModelInfo(
        id="fake/bad-hands",
        name="bad-hands",
        kind=ModelKind.EMBEDDING,
        family=Family.SD1,
        layout="a1111",
        location="embeddings/bad-hands.safetensors",
        size_bytes=7_000,
        vectors=2,
        trigger_words=("bad-hands",),
        description="For the negative prompt.",
        network_hash="dd" * 32,
    ),
    ModelInfo(
        id="fake/gloss-xl",
        name="gloss-xl",
        kind=ModelKind.EMBEDDING,
        family=Family.SDXL,
        layout="a1111",
        location="embeddings/gloss-xl.safetensors",
        size_bytes=20_000,
        vectors=1,
        trigger_words=("gloss-xl",),
    ),
    ModelInfo(
        id="fake/woodcut",
        name="woodcut",
        kind=ModelKind.HYPERNETWORK,
        family=Family.SD1,
        layout="a1111",
        location="models/hypernetworks/woodcut.pt",
        size_bytes=87 * MB,
        preferred_weight=0.6,
        network_hash="ee" * 32,
    ),
    ModelInfo(
        id="fake/chalk",
        name="chalk",
        kind=ModelKind.HYPERNETWORK,
        family=Family.SD2,
        layout="a1111",
        location="models/hypernetworks/chalk.pt",
        size_bytes=110 * MB,
    ),
)

WITHOUT_PREVIEW = frozenset({"fake/plain", "fake/torn", "fake/chalk"})

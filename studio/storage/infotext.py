"""AUTOMATIC1111's generation parameters, the text that most studios write into their pictures.

    a red ball
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Model: toytown

Pure functions: `format_infotext` writes it, `parse_infotext` takes it apart, `request_from_infotext` gives
it our meaning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from studio.core.base import BlobId
from studio.core.errors import InvalidRequest
from studio.core.geometry import ResizeMode
from studio.core.library import ImportedSettings
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest, HiresPass, SourceImage, Variation
from studio.core.texts import storable
from studio.storage.draft import Draft
from studio.storage.infotext_control import control_fields
from studio.storage.infotext_scene import scene_fields, take_scene_fields
from studio.storage.stack_reading import ResolveModel, StackReading
from studio.storage.stack_text import STACK_KEY, NetworkFact, number, stack_fields, written_prompt

_NEGATIVE = "Negative prompt:"
_MIN_PAIRS = 3
_MAX_TEXT = 1_000_000

_PAIR = re.compile(r'\s*(?P<key>\w[\w /-]*):\s*(?P<value>"(?:[^"\\]|\\.)*"(?=\s*(?:,|$))|[^,]*)')

_WITHOUT_EFFECT = frozenset(
    {
        "Model hash", "VAE hash", "Hashes", "Version", "App",
        "RNG", "Backend", "Parser", "Operations", "Pipeline", "Created Date", "Metadata Scheme", "User",
        "Batch size", "Batch pos", "Denoising strength", "Hires schedule type", "Hires sampler",
    }
)  # fmt: skip
"""Keys that name what other keys say as well, or that change nothing that Easel could take over."""


@dataclass(frozen=True)
class ModelFacts:
    """What an infotext tells of the models that made an image.

    Attributes:
        model: the checkpoint's name.
        model_hash: sha256 of its file, in hex; any length from 10 digits up, or empty where it is unknown.
        vae: name of the VAE; empty where the checkpoint's own was used.
        vae_hash: as `model_hash`.
        networks: of the stack, of the prompt's tags, the embeddings that the prompts name, and what knows
            the boxes.
    """

    model: str = ""
    model_hash: str = ""
    vae: str = ""
    vae_hash: str = ""
    networks: tuple[NetworkFact, ...] = ()


@dataclass(frozen=True)
class ParsedInfotext:
    """An infotext taken apart; `fields` has every key as written, unknown ones too, in order."""

    prompt: str
    negative_prompt: str
    fields: Mapping[str, str]

    @property
    def parameters(self) -> dict[str, str]:
        """All of it as A1111's clients know it, prompts included."""
        return {"Prompt": self.prompt, "Negative prompt": self.negative_prompt, **self.fields}

    @property
    def source(self) -> str:
        """The studio that wrote it, as far as it says."""
        version = self.fields.get("Version", "")
        if self.fields.get("App"):
            return self.fields["App"]
        for studio in ("Easel", "Fooocus", "ComfyUI"):
            if version.startswith(studio):
                return studio
        return "Forge" if version.startswith(("f1.", "f2.", "neo")) else "AUTOMATIC1111"


def format_infotext(request: GenerateRequest, facts: ModelFacts, version: str = "") -> str:
    """The generation parameters of one image.

    Args:
        request: of that very image (its own seed).
        version: of Easel.
    """
    lines = [written_prompt(request, facts.networks)]
    if request.negative_prompt:
        lines.append(f"{_NEGATIVE} {request.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in _fields(request, facts, version)))
    return "\n".join(lines).strip()


def _fields(request: GenerateRequest, facts: ModelFacts, version: str) -> Iterator[tuple[str, str]]:
    yield "Steps", str(request.steps)
    yield "Sampler", str(request.sampler)
    yield "Schedule type", str(request.schedule)
    yield "CFG scale", number(request.guidance_scale)
    yield "Seed", str(request.seed)
    yield "Size", str(request.extent)
    for key, value in (
        ("Model hash", facts.model_hash[:10]),
        ("Model", facts.model),
        ("VAE hash", facts.vae_hash[:10]),
        ("VAE", facts.vae),
    ):
        if value:
            yield key, value
    if request.variation and request.variation.strength:
        yield "Variation seed", str(request.variation.seed)
        yield "Variation seed strength", number(request.variation.strength)
    if strength := request.source or request.hires:
        yield "Denoising strength", number(strength.strength)
    if request.clip_skip > 1:
        yield "Clip skip", str(request.clip_skip)
    yield from _source_fields(request)
    yield from _hires_fields(request)
    yield from scene_fields(request, facts.networks)
    yield from control_fields(request, {fact.id: fact.title for fact in facts.networks})
    yield from stack_fields(request, facts.networks)
    yield "Version", f"Easel {version}".strip()


def _source_fields(request: GenerateRequest) -> Iterator[tuple[str, str]]:
    if request.source:
        yield "Source image", request.source.image
        yield "Resize mode", str(request.source.resize_mode)


def _hires_fields(request: GenerateRequest) -> Iterator[tuple[str, str]]:
    if hires := request.hires:
        yield "Hires upscale", number(hires.scale)
        if hires.steps:
            yield "Hires steps", str(hires.steps)
        yield "Hires upscaler", str(hires.upscaler)
        if request.source:
            yield "Hires strength", number(hires.strength)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value


def parse_infotext(text: str) -> ParsedInfotext:
    """Take generation parameters apart. Any text does: without parameters it is all prompt."""
    lines = text[:_MAX_TEXT].strip().split("\n")
    fields = _pairs(lines[-1])
    if len(fields) >= _MIN_PAIRS:
        lines.pop()
    else:
        fields = {}
    first_negative = next(
        (number for number, line in enumerate(lines) if line.strip().startswith(_NEGATIVE)), len(lines)
    )
    negative_prompt = "\n".join(lines[first_negative:]).strip().removeprefix(_NEGATIVE)
    return ParsedInfotext("\n".join(lines[:first_negative]).strip(), negative_prompt.strip(), fields)


def _pairs(line: str) -> dict[str, str]:
    """The `key: value` pairs of a line. What is no pair is skipped up to the next comma."""
    pairs: dict[str, str] = {}
    start = 0
    while start < len(line):
        match = _PAIR.match(line, start)
        if match:
            pairs[match["key"]] = _unquoted(match["value"].strip())
        comma = line.find(",", match.end() if match else start)
        start = comma + 1 if comma >= 0 else len(line)
    return pairs


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return storable(str(json.loads(value)))
    except ValueError:
        return value


def request_from_infotext(
    parsed: ParsedInfotext,
    resolve_model: ResolveModel | None = None,
    known_blobs: Container[BlobId] = (),
) -> ImportedSettings:
    """The request that an infotext describes.

    Args:
        resolve_model: finds the models named in it; without one, the active model stays.
        known_blobs: the store that source and control pictures must be in, to be taken over.

    Returns: the request, and a warning for each thing that is not as it was.

    Raises: InvalidRequest (no parameters in the text).
    """
    if not parsed.fields:
        raise InvalidRequest(
            "There are no generation parameters in this text.",
            "It needs a last line such as 'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1'.",
        )
    reading = _Reading(dict(parsed.fields), Draft())
    stack = StackReading(reading.draft, resolve_model, known_blobs)
    is_own = parsed.source == "Easel"
    prompts = stack.infotext(parsed.prompt, parsed.negative_prompt, reading.fields, is_own=is_own)
    reading.draft.prompts(*prompts)
    told_by_stack = is_own and STACK_KEY in parsed.fields
    take_scene_fields(reading.fields, reading.draft, resolve_model, is_own=told_by_stack)
    reading.basics()
    reading.models(resolve_model)
    reading.variation()
    reading.hires_pass()
    reading.source_image(known_blobs)
    reading.name_the_rest()
    return ImportedSettings(
        request=reading.draft.request(), source=parsed.source, warnings=tuple(reading.draft.warnings)
    )


class _Reading:
    """One infotext being read: every method takes its keys out of `fields`, so that the rest can be named."""

    def __init__(self, fields: dict[str, str], draft: Draft) -> None:
        self.fields = fields
        self.draft = draft
        self.strength = fields.get("Denoising strength")

    def basics(self) -> None:
        names = {"Steps": "steps", "CFG scale": "guidance_scale", "Clip skip": "clip_skip"}
        for key, field in names.items():
            if key in self.fields:
                self.draft.number(field, self.fields.pop(key), key)
        if "Sampler" in self.fields:
            self.draft.sampler(self.fields.pop("Sampler"), self.fields.pop("Schedule type", ""))
        if "Seed" in self.fields:
            self._put("seed", self.draft.seed(self.fields.pop("Seed")))
        if "Size" in self.fields:
            width, _, height = self.fields.pop("Size").partition("x")
            self.draft.number("width", width, "Width")
            self.draft.number("height", height, "Height")

    def models(self, resolve_model: ResolveModel | None) -> None:
        self._model("model", "Model", ModelKind.CHECKPOINT, resolve_model)
        self._model("vae", "VAE", ModelKind.VAE, resolve_model)

    def _model(self, field: str, key: str, kind: ModelKind, resolve_model: ResolveModel | None) -> None:
        name, digits = self.fields.pop(key, ""), self.fields.get(f"{key} hash", "")
        if not (name or digits) or name in ("None", "Automatic"):
            return
        model_id = resolve_model(name, digits, kind) if resolve_model else None
        if model_id:
            self.draft.values[field] = model_id
        else:
            self.draft.warnings.append(missing_model(name or digits, kind))

    def variation(self) -> None:
        if "Variation seed" not in self.fields:
            return
        seed = self.draft.seed(self.fields.pop("Variation seed"))
        text = self.fields.pop("Variation seed strength", "0")
        strength = self.draft.within_bounds(Variation, "strength", text, "Variation seed strength")
        if seed is not None and strength:
            self.draft.values["variation"] = Variation(seed=seed, strength=strength)

    def hires_pass(self) -> None:
        scale = self._hires_scale()
        if scale is None:
            return
        values: dict[str, object] = {
            "scale": self.draft.within_bounds(HiresPass, "scale", scale, "Hires upscale"),
            "upscaler": self.draft.upscaler(self.fields.pop("Hires upscaler", "Latent")),
            "steps": self._number(HiresPass, "steps", "Hires steps"),
        }
        strength = self.fields.pop("Hires strength", None) or self.strength
        if strength:
            values["strength"] = self.draft.within_bounds(
                HiresPass, "strength", strength, "Denoising strength"
            )
        self.draft.values["hires"] = HiresPass(
            **{key: value for key, value in values.items() if value is not None}
        )

    def _hires_scale(self) -> object:
        """The scale as written, or from "Hires resize: WxH" against the first pass' width."""
        resize = self.fields.pop("Hires resize", "")
        scale = self.fields.pop("Hires upscale", None)
        width = re.match(r"\d{1,6}", resize)
        if scale is None and width and int(width[0]):
            return int(width[0]) / int(self.draft.values.get("width", GenerateRequest().width))
        return scale

    def source_image(self, known_blobs: Container[BlobId]) -> None:
        image = self.fields.pop("Source image", None)
        mode = self.fields.pop("Resize mode", "")
        if self.strength is None or (image is None and "hires" in self.draft.values):
            return
        if image is None or image not in known_blobs:
            self.draft.values.pop("inpaint", None)
            self.draft.warnings.append(
                f"It was made from another picture (denoising strength {self.strength}), which is not in this"
                " file. Add that picture to get the same result."
            )
            return
        strength = self.draft.within_bounds(SourceImage, "strength", self.strength, "Denoising strength")
        self.draft.values["source"] = SourceImage(
            image=image,
            strength=SourceImage.model_fields["strength"].default if strength is None else strength,
            resize_mode=next((each for each in ResizeMode if each == mode), ResizeMode.CROP),
        )

    def name_the_rest(self) -> None:
        rest = [f"{key} ({value[:60]})" for key, value in self.fields.items() if key not in _WITHOUT_EFFECT]
        if rest:
            self.draft.warnings.append(f"Not taken over: {', '.join(rest)}.")

    def _number(self, record: type[HiresPass], field: str, key: str) -> float | None:
        if key not in self.fields:
            return None
        return self.draft.within_bounds(record, field, self.fields.pop(key), key)

    def _put(self, field: str, value: object) -> None:
        if value is not None:
            self.draft.values[field] = value


def missing_model(name: str, kind: ModelKind) -> str:
    """The warning for a model that the catalogue lacks."""
    instead = "the checkpoint's own is used" if kind is ModelKind.VAE else "the active one is used"
    return f"The {kind} {name[:100]!r} is not here; {instead} instead."

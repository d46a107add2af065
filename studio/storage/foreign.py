"""Settings in the files of ComfyUI, InvokeAI, Fooocus and NovelAI, read with sd-parsers.

Its parsers are called one by one with texts that we read from the file: its manager caches by `id(image)`,
so a later picture at the same address would get an earlier one's settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sd_parsers.data import PromptInfo, Sampler
from sd_parsers.exceptions import ParserError
from sd_parsers.parsers import ComfyUIParser, FooocusParser, InvokeAIParser, NovelAIParser, Parser

from studio.core.library import ImportedSettings
from studio.core.models import ModelKind
from studio.storage.draft import Draft
from studio.storage.infotext import missing_model
from studio.storage.stack_reading import NamedNetwork, ResolveModel, StackReading, stem_of

_SIGNS_OF_DAMAGE = (ParserError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What sd-parsers and json raise when a file does not hold what its format promises."""


@dataclass
class ForeignSettings:
    """One image's settings in the words of the studio that wrote them; None where it does not say."""

    prompt: str = ""
    negative_prompt: str = ""
    sampler: str = ""
    schedule: str = ""
    numbers: dict[str, object] = field(default_factory=dict)
    """By our field's name: steps, guidance_scale, width, height, clip_skip."""
    seed: object = None
    model: str = ""
    model_hash: str = ""
    vae: str = ""
    networks: list[NamedNetwork] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_foreign(chunks: Mapping[str, str], resolve_model: ResolveModel | None) -> ImportedSettings | None:
    """The request that another studio's texts describe; None where they are of no studio known here.

    Args:
        chunks: the file's texts by name: `prompt` and `workflow` of ComfyUI, `invokeai_metadata` ...
        resolve_model: finds the models they name in our catalogue.
    """
    for studio, (parser, read) in _STUDIOS.items():
        try:
            info = parser.parse(dict(_with_links(chunks)))
            if info.samplers:
                return _imported(studio, read(info, info.samplers[0]), resolve_model)
        except _SIGNS_OF_DAMAGE:
            continue
    return None


def _imported(studio: str, settings: ForeignSettings, resolve_model: ResolveModel | None) -> ImportedSettings:
    draft = Draft()
    draft.prompts(settings.prompt, settings.negative_prompt)
    if settings.sampler:
        draft.sampler(settings.sampler, settings.schedule)
    for name, value in settings.numbers.items():
        if value is not None:
            draft.number(name, value, name.replace("_", " ").capitalize())
    seed = None if settings.seed is None else draft.seed(settings.seed)
    if seed is not None:
        draft.values["seed"] = seed
    for name, kind, digits in (
        (settings.model, ModelKind.CHECKPOINT, settings.model_hash),
        (settings.vae, ModelKind.VAE, ""),
    ):
        if name or digits:
            _find_model(draft, name, digits, kind, resolve_model)
    StackReading(draft, resolve_model, ()).add(settings.networks)
    warnings = (*draft.warnings, *settings.warnings)
    return ImportedSettings(request=draft.request(), source=studio, warnings=warnings)


def _find_model(
    draft: Draft, name: str, digits: str, kind: ModelKind, resolve_model: ResolveModel | None
) -> None:
    stem = stem_of(name)
    model_id = resolve_model(stem, digits, kind) if resolve_model else None
    if model_id:
        draft.values["vae" if kind is ModelKind.VAE else "model"] = model_id
    else:
        draft.warnings.append(missing_model(stem or digits, kind))


def _common(info: PromptInfo, sampler: Sampler) -> ForeignSettings:
    """What sd-parsers gives under the same names for every studio."""
    settings = ForeignSettings(
        prompt=info.full_prompt,
        negative_prompt=info.full_negative_prompt,
        sampler=str(sampler.name),
        schedule=str(sampler.parameters.get("scheduler", "")),
        seed=sampler.parameters.get("seed", sampler.parameters.get("noise_seed")),
        numbers={
            "steps": sampler.parameters.get("steps", info.metadata.get("steps")),
            "guidance_scale": sampler.parameters.get("cfg_scale"),
            "width": info.metadata.get("width"),
            "height": info.metadata.get("height"),
        },
    )
    if sampler.model:
        settings.model, settings.model_hash = str(sampler.model.name or ""), str(sampler.model.hash or "")
    return settings


def _comfyui(info: PromptInfo, sampler: Sampler) -> ForeignSettings:
    settings = _common(info, sampler)
    settings.prompt = "\n".join(prompt.value for prompt in sampler.prompts)
    settings.negative_prompt = "\n".join(prompt.value for prompt in sampler.negative_prompts)
    settings.warnings = _comfyui_losses(info, sampler)
    graph = _json_object(info.raw_parameters["prompt"])
    for inputs in _model_path(graph, str(sampler.sampler_id)):
        settings.networks += _comfyui_loras(inputs)
        settings.model = str(inputs.get("ckpt_name", inputs.get("unet_name", "")))
    for node in graph.values():
        inputs, kind = node.get("inputs", {}), str(node.get("class_type", ""))
        if kind.startswith("Empty") and "width" in inputs:
            settings.numbers.update(width=inputs["width"], height=inputs.get("height"))
        elif kind == "CLIPSetLastLayer":
            settings.numbers["clip_skip"] = -int(inputs["stop_at_clip_layer"])
        elif kind == "VAELoader":
            settings.vae = str(inputs["vae_name"])
    for field_name in ("prompt", "negative_prompt"):
        words = re.sub(r"\bembedding:(\S)", r"\1", getattr(settings, field_name))
        setattr(settings, field_name, words)
    return settings


def _model_path(graph: Mapping[str, Any], node_id: str) -> Iterator[dict[str, Any]]:
    """The inputs of the nodes from a sampler to its checkpoint; sd-parsers stops at the first LoRA."""
    for _ in graph:
        inputs = graph.get(node_id, {}).get("inputs", {})
        yield inputs
        link = inputs.get("model")
        if not isinstance(link, list) or not link:
            return
        node_id = str(link[0])


def _comfyui_loras(inputs: Mapping[str, Any]) -> list[NamedNetwork]:
    """Of ComfyUI's own loaders, and of those that hold several as `{"on": true, "lora": name, ...}`."""
    if isinstance(name := inputs.get("lora_name"), str):
        text_encoder = inputs.get("strength_clip", 0.0)  # LoraLoaderModelOnly has none
        return [_lora(name, inputs.get("strength_model", 1.0), text_encoder)]
    several = [
        each for each in inputs.values() if isinstance(each, dict) and isinstance(each.get("lora"), str)
    ]
    return [
        _lora(each["lora"], each.get("strength", 1.0), each.get("strengthTwo"))
        for each in several
        if each.get("on", True)
    ]


def _lora(name: str, weight: object, text_encoder_weight: object = None, digits: str = "") -> NamedNetwork:
    same = text_encoder_weight == weight
    return NamedNetwork(stem_of(name), weight, None if same else text_encoder_weight, digits)


def _comfyui_losses(info: PromptInfo, sampler: Sampler) -> list[str]:
    losses = []
    if len(info.samplers) > 1:
        losses.append(
            f"The workflow samples {len(info.samplers)} times; only its first sampler is taken over."
        )
    if float(sampler.parameters.get("denoise", 1)) < 1:
        losses.append(_from_another_picture(sampler.parameters["denoise"]))
    return losses


def _invokeai(info: PromptInfo, sampler: Sampler) -> ForeignSettings:
    settings = _common(info, sampler)
    metadata = _json_object(info.raw_parameters.get("invokeai_metadata"))
    model, vae = metadata.get("model"), metadata.get("vae")
    if isinstance(model, dict):
        settings.model = str(model.get("model_name") or model.get("name") or "")
    if isinstance(vae, dict):
        settings.vae = str(vae.get("model_name") or vae.get("name") or "")
    if isinstance(metadata.get("clip_skip"), int):
        settings.numbers["clip_skip"] = metadata["clip_skip"] + 1
    settings.networks = list(_invokeai_loras(metadata.get("loras")))
    settings.warnings += _left_out(metadata, "controlnets", "ipAdapters", "t2iAdapters")
    if metadata.get("generation_mode", "txt2img").endswith("img2img"):
        settings.warnings.append(_from_another_picture(metadata.get("strength", "unknown")))
    if re.search(r"\w(\+\+|--)|\)[\d.+-]", settings.prompt):
        settings.warnings.append("The prompt's weights are written for InvokeAI; here it is (word:1.2).")
    return settings


def _invokeai_loras(loras: object) -> Iterator[NamedNetwork]:
    """`{"model": {"name": ...}, "weight": ...}`; before version 4 `{"lora": {"model_name": ...}, ...}`."""
    for each in loras if isinstance(loras, list) else ():
        model = each.get("model") or each.get("lora")
        yield _lora(str(model.get("model_name") or model["name"]), each.get("weight", 1.0))


def _fooocus(info: PromptInfo, sampler: Sampler) -> ForeignSettings:
    settings = _common(info, sampler)
    settings.prompt = sampler.prompts[0].value
    settings.negative_prompt = sampler.negative_prompts[0].value if sampler.negative_prompts else ""
    size = re.findall(r"\d+", str(info.metadata.get("resolution", "")))
    if len(size) == 2:
        settings.numbers.update(width=size[0], height=size[1])
    settings.numbers["clip_skip"] = info.metadata.get("clip_skip")
    vae = str(info.metadata.get("vae", ""))
    settings.vae = "" if vae.startswith("Default") else vae
    settings.warnings = _left_out(info.metadata, "styles", "refiner_model", "sharpness")
    settings.networks = list(_fooocus_loras(info.metadata))
    return settings


def _fooocus_loras(metadata: Mapping[str, Any]) -> Iterator[NamedNetwork]:
    """`loras: [[name, weight, hash]]`; in older files `lora_combined_1: "name : weight"`."""
    loras = metadata.get("loras")
    for name, weight, *rest in loras if isinstance(loras, list) else ():
        yield _lora(str(name), weight, digits=str(rest[0]) if rest else "")
    for key, text in metadata.items():
        if key.startswith("lora_combined_"):
            name, _, weight = str(text).rpartition(" : ")
            yield _lora(name, weight)


def _novelai(info: PromptInfo, sampler: Sampler) -> ForeignSettings:
    settings = _common(info, sampler)
    settings.schedule = str(info.metadata.get("noise_schedule", ""))
    if "{" in settings.prompt:
        settings.warnings.append("The prompt's {weights} are written for NovelAI; here it is (word:1.05).")
    return settings


_STUDIOS: Mapping[str, tuple[Parser, Callable[[PromptInfo, Sampler], ForeignSettings]]] = {
    "Fooocus": (FooocusParser(), _fooocus),
    "ComfyUI": (ComfyUIParser(), _comfyui),
    "InvokeAI": (InvokeAIParser(), _invokeai),
    "NovelAI": (NovelAIParser(), _novelai),
}


def _with_links(chunks: Mapping[str, str]) -> Mapping[str, str]:
    """Files made through ComfyUI's API lack the `workflow` whose links sd-parsers follows: rebuild those."""
    if "prompt" not in chunks or "workflow" in chunks:
        return chunks
    links = [
        [number, value[0], value[1], node_id, 0, "CLIP" if name == "clip" else "*"]
        for node_id, node in _json_object(chunks["prompt"]).items()
        if isinstance(node, dict)
        for number, (name, value) in enumerate(dict(node.get("inputs", {})).items())
        if isinstance(value, list) and len(value) == 2
    ]
    return {**chunks, "workflow": json.dumps({"links": links})}


def _left_out(metadata: Mapping[str, Any], *names: str) -> list[str]:
    """A warning that names what is set in the file and has no place in our request."""
    left = [f"{name} ({str(metadata[name])[:100]})" for name in names if metadata.get(name) not in _NOTHING]
    return [f"Not taken over: {', '.join(left)}."] if left else []


_NOTHING: tuple[object, ...] = (None, "", "None", "[]", [])


def _from_another_picture(strength: object) -> str:
    return f"It was made from another picture (strength {strength}). Add that picture to get the same result."


def _json_object(text: object) -> dict[str, Any]:
    value = json.loads(text) if isinstance(text, str) else None
    return value if isinstance(value, dict) else {}

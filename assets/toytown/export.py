"""Write the trained modules as the folders that diffusers and transformers read, in half precision."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokens import save_tokenizer
from train_clip import PIXEL_MEAN, PIXEL_STD
from train_unet import new_scheduler
from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModel

CARD = """---
license: apache-2.0
library_name: {library}
---

# {title}

{text}

Trained from nothing on pictures that `assets/toytown/world.py` draws; no other data.
`assets/toytown/README.md` says how, and what it measures.
"""


def export_pipeline(
    folder: Path, vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: Any, unet: UNet2DConditionModel
) -> None:
    """A StableDiffusionPipeline folder, replaced as a whole so that nobody reads half of it."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    text = "Draws balls, boxes, stars, trees, houses, cars, persons and cats in nine colours and five places."
    card = CARD.format(library="diffusers", title="Toytown", text=text)

    def write(part: Path) -> None:
        pipeline.to(torch.float16).save_pretrained(part)
        prefix_names(part / "text_encoder" / "model.safetensors", "text_model.")
        save_tokenizer(tokenizer, part / "tokenizer")

    replace_folder(folder, card, write)


def export_clip(folder: Path, clip: CLIPModel, tokenizer: Any) -> None:
    """A CLIPModel folder with its tokenizer and image processor."""
    size = clip.config.vision_config.image_size
    processor = CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=list(PIXEL_MEAN),
        image_std=list(PIXEL_STD),
    )

    def write(part: Path) -> None:
        clip.to(torch.float16).save_pretrained(part)
        processor.save_pretrained(part)
        save_tokenizer(tokenizer, part)

    text = "Scores how well a caption fits a picture. Its text encoder is the one in `models/toytown`."
    replace_folder(folder, CARD.format(library="transformers", title="Toytown CLIP", text=text), write)


def prefix_names(file: Path, prefix: str) -> None:
    """Transformers 5 drops the prefix that every Stable Diffusion text encoder has on disk; put it back."""
    tensors = load_file(file)
    save_file({prefix + name.removeprefix(prefix): tensors[name] for name in tensors}, file, {"format": "pt"})


def replace_folder(folder: Path, card: str, write: Callable[[Path], object]) -> None:
    part, old = folder.with_suffix(".part"), folder.with_suffix(".old")
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    write(part)
    (part / "README.md").write_text(card, encoding="utf-8")
    if folder.exists():
        folder.replace(old)
    part.replace(folder)
    shutil.rmtree(old, ignore_errors=True)

"""CLIP (Radford et al. 2021), small: pictures and captions in one space, and the UNet's text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from course import Course, best_device, mixed_precision, team
from data import SIZE, Town, to_pixels
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

BATCH = 128
RATE = 1e-3
# Captions are at most this long; what follows the first end token does not reach the pooled embedding.
TOKENS = 24
# The pictures' mean and deviation per channel that CLIP's preprocessing expects here: simply -1..1.
PIXEL_MEAN = PIXEL_STD = (0.5, 0.5, 0.5)


def new_clip(tokenizer: Any) -> CLIPModel:
    torch.manual_seed(0)
    shared = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "projection_dim": 128}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {**shared, **ids, "vocab_size": len(tokenizer), "num_hidden_layers": 3, "hidden_act": "gelu"}
    vision = {**shared, "image_size": SIZE, "patch_size": 16, "num_hidden_layers": 4, "hidden_act": "gelu"}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def train_clip(clip: CLIPModel, town: Town, file: Path, minutes: float) -> CLIPModel:
    """Contrastive training with in-batch negatives and foils: captions that are wrong in one fact."""
    modules = nn.ModuleDict({"clip": clip.requires_grad_(True)})
    return _train(clip, town, Course(file, modules.to(best_device()), {"clip": RATE}, minutes, ema=0.995))


def align_clip(clip: CLIPModel, town: Town, file: Path, minutes: float) -> CLIPModel:
    """Leave the text encoder as the UNet knows it and fit the vision tower to it (LiT, Zhai et al. 2022)."""
    names = ("vision_model", "visual_projection", "text_projection")
    clip.to(best_device()).requires_grad_(False)
    if minutes > 0 and not file.exists():
        fit_projections(clip, town)
    modules = nn.ModuleDict({name: getattr(clip, name).requires_grad_(True) for name in names})
    return _train(clip, town, Course(file, modules, dict.fromkeys(names, RATE), minutes, ema=0.98))


def fit_projections(clip: CLIPModel, town: Town, scenes: int = 6000, steps: int = 1500) -> None:
    """Most of the way in seconds: fit the two projections alone, on what both towers say of some scenes."""
    images, texts = _features(clip, town, scenes)
    projections = nn.ModuleList((clip.visual_projection, clip.text_projection)).requires_grad_(True)
    optimizer = torch.optim.AdamW(projections.parameters(), lr=3e-3, weight_decay=1e-3)
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    picks = torch.Generator().manual_seed(0)
    captions = texts.shape[1] // 2
    for _ in range(steps):
        chosen = torch.randint(scenes, (2 * BATCH,), generator=picks)
        which = torch.randint(captions, (2, 2 * BATCH), generator=picks)
        pairs = torch.cat([texts[chosen, which[0]], texts[chosen, captions + which[1]]])
        loss = contrast(clip.visual_projection(images[chosen]), clip.text_projection(pairs), clip.logit_scale)
        loss["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        rates.step()


@torch.no_grad()
def _features(clip: CLIPModel, town: Town, scenes: int, each: int = 2) -> tuple[Tensor, Tensor]:
    """Pooled outputs before projection: of pictures (n, d), of two captions and two foils each (n, 4, d)."""
    texts = np.concatenate([town.captions[:scenes, :each], town.foils[:scenes, :each]], axis=1)
    ids = torch.from_numpy(texts[:, :, :TOKENS].astype(np.int64)).flatten(0, 1).to(clip.device)
    with mixed_precision(clip.device):
        seen = [
            clip.vision_model(to_pixels(town.images[at : at + 50]).to(clip.device))
            for at in range(0, scenes, 50)
        ]
        read = [clip.text_model(some) for some in ids.split(200)]
    pooled = [torch.cat([output.pooler_output.float() for output in outputs]) for outputs in (seen, read)]
    return pooled[0], pooled[1].view(scenes, 2 * each, -1)


def _train(clip: CLIPModel, town: Town, course: Course) -> CLIPModel:
    clip.train()
    rng = np.random.default_rng((course.step, team()[0]))

    def loss_of(step: int) -> dict[str, Tensor]:
        chosen = np.sort(rng.choice(len(town.images), BATCH))
        pixels = to_pixels(town.images[chosen]).to(clip.device)
        captions = np.concatenate([_one_each(town.captions[chosen], rng), _one_each(town.foils[chosen], rng)])
        ids = torch.from_numpy(captions[:, :TOKENS].astype(np.int64)).to(clip.device)
        with mixed_precision(clip.device):
            image = clip.visual_projection(clip.vision_model(pixels).pooler_output)
            text = clip.text_projection(clip.text_model(ids).pooler_output)
        return contrast(image.float(), text.float(), clip.logit_scale)

    course.run(loss_of)
    course.finish()
    return clip.eval().requires_grad_(False)


def contrast(image: Tensor, text: Tensor, logit_scale: Tensor) -> dict[str, Tensor]:
    """Symmetric cross entropy. image: (n, d); text: (2n, d), the true captions first, then the foils."""
    logits = logit_scale.clamp(max=4.6).exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    count = len(image)
    truth = torch.arange(count, device=image.device)
    to_text = F.cross_entropy(logits, truth)
    to_image = F.cross_entropy(logits[:, :count].T, truth)
    own_foil = logits[truth, truth] > logits[truth, truth + count]
    hits = (logits.argmax(1) == truth).float().mean()
    return {"loss": (to_text + to_image) / 2, "hits": hits, "beats_foil": own_foil.float().mean()}


def _one_each(texts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, k, tokens) to (n, tokens): one of each row's texts."""
    return texts[np.arange(len(texts)), rng.integers(texts.shape[1], size=len(texts))]

"""The judge: a small net that says what is in a picture. Trained on renders, never on generated pictures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from course import Course, best_device, mixed_precision, team
from data import SIZE, Town, to_pixels
from numpy.typing import NDArray
from palette import COLORS, PLACES
from torch import Tensor, nn
from torch.nn import functional as F
from world import KINDS, Scene, random_scene, render

BATCH = 32
HELD_OUT_SEED = 10_000_000
NAMES = tuple(f"{color} {kind}" for kind in KINDS for color in COLORS)
PLACE_NAMES = tuple(PLACES)


@dataclass(frozen=True)
class Sight:
    """What the judge sees: the names of the things, and the place."""

    names: frozenset[str]
    place: str


class Judge(nn.Module):
    """A fully convolutional net; a thing is seen where its logit is highest. (n, 3, 128, 128) in -1..1."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 96)
        blocks = [_block(a, b, stride=2) for a, b in pairwise(widths)]
        self.body = nn.Sequential(*blocks, _block(96, 96), _block(96, 96))
        self.things = nn.Conv2d(96, len(NAMES), 1)
        self.place = nn.Linear(96, len(PLACE_NAMES))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of presence, (n, 72), and of the place, (n, 5)."""
        features = self.body(pixels)
        return self.things(features).flatten(2).amax(-1), self.place(features.mean(dim=(2, 3)))

    @torch.no_grad()
    def look(self, images: NDArray[np.uint8]) -> list[Sight]:
        """images: (n, 128, 128, 3) uint8."""
        things, places = self(to_pixels(images))
        rows = zip(things > 0, places.argmax(1), strict=True)
        return [
            Sight(frozenset(NAMES[i] for i in row.nonzero().flatten()), PLACE_NAMES[at]) for row, at in rows
        ]


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.GroupNorm(8, outside), nn.SiLU())


def train_judge(town: Town, file: Path, minutes: float) -> Judge:
    """Train on renders, blurred, noisy and compressed at random, so that imperfect pictures are read too."""
    torch.manual_seed(0)
    device = best_device()
    judge = Judge().to(device)
    course = Course(file, nn.ModuleDict({"judge": judge}), {"judge": 2e-3}, minutes, ema=0.995)
    rng = np.random.default_rng((course.step, team()[0]))
    things, places = _labels([random_scene(np.random.default_rng(seed)) for seed in range(len(town.images))])

    def loss_of(step: int) -> dict[str, Tensor]:
        chosen = rng.choice(len(town.images), BATCH)
        pixels = to_pixels(np.stack([spoil(town.images[i], rng) for i in chosen])).to(device)
        with mixed_precision(device):
            seen, place = judge(pixels)
        presence = F.binary_cross_entropy_with_logits(seen.float(), things[chosen].to(device)) * len(NAMES)
        where = F.cross_entropy(place.float(), places[chosen].to(device))
        return {"loss": presence + where, "presence": presence, "place": where}

    course.run(loss_of)
    course.finish()
    return judge.cpu()


def spoil(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as a generator might fail it: softer, noisier, compressed, a little brighter or darker."""
    result: NDArray[Any] = image * rng.uniform(0.93, 1.05) + rng.uniform(-6, 6, 3)
    if rng.random() < 0.6:
        result = cv2.GaussianBlur(result, (0, 0), rng.uniform(0.3, 2.2))
    if rng.random() < 0.5:
        result = result + rng.normal(0, rng.uniform(1, 12), result.shape)
    spoiled = np.clip(result, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))]
        spoiled = cv2.imdecode(cv2.imencode(".jpg", spoiled, quality)[1], cv2.IMREAD_COLOR)
    return np.asarray(spoiled, np.uint8)


def accuracy(judge: Judge, count: int = 400) -> float:
    """How often the judge names exactly what a held-out render shows, place included."""
    scenes = [random_scene(np.random.default_rng(HELD_OUT_SEED + seed)) for seed in range(count)]
    sights = judge.look(np.stack([render(scene, SIZE).image for scene in scenes]))
    truths = [Sight(frozenset(thing.name for thing in scene.things), scene.place) for scene in scenes]
    return float(np.mean([sight == truth for sight, truth in zip(sights, truths, strict=True)]))


def _labels(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    things = torch.zeros(len(scenes), len(NAMES))
    for row, scene in zip(things, scenes, strict=True):
        row[[NAMES.index(thing.name) for thing in scene.things]] = 1
    return things, torch.tensor([PLACE_NAMES.index(scene.place) for scene in scenes])

"""Toytown as training data: scenes rendered once, captions as token ids, all in memory-mapped arrays."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from palette import COLORS, PLACES
from world import KINDS, Scene, describe, random_scene, render

SIZE = 128
CAPTIONS = 6
FOILS = 3


@dataclass(frozen=True)
class Town:
    """images: (n, 128, 128, 3) uint8. captions: (n, 6, 77) token ids, all true of the image.
    foils: (n, 3, 77) token ids of captions in which one fact is wrong.
    """

    images: NDArray[np.uint8]
    captions: NDArray[np.int16]
    foils: NDArray[np.int16]


@dataclass(frozen=True)
class Example:
    image: NDArray[np.uint8]
    captions: list[str]
    foils: list[str]
    scene: Scene


def example(seed: int) -> Example:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng)
    captions = [describe(scene, rng) for _ in range(CAPTIONS)]
    return Example(render(scene, SIZE).image, captions, [_foil(scene, rng) for _ in range(FOILS)], scene)


def load_town(work: Path, tokenizer: Any, count: int) -> Town:
    """The first `count` scenes, rendered on first use (about a minute for 20,000 on two cores)."""
    folder = work / f"town-{count}"
    if not folder.exists():
        _render_town(folder, tokenizer, count)
    arrays = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "captions", "foils"))
    return Town(*arrays)


def _render_town(folder: Path, tokenizer: Any, count: int) -> None:
    part = folder.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(part / "images.npy", "w+", np.uint8, (count, SIZE, SIZE, 3))
    captions = np.zeros((count, CAPTIONS, tokenizer.model_max_length), np.int16)
    foils = np.zeros((count, FOILS, tokenizer.model_max_length), np.int16)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for index, one in enumerate(pool.map(example, range(count), chunksize=64)):
            images[index] = one.image
            captions[index] = tokenize(tokenizer, one.captions)
            foils[index] = tokenize(tokenizer, one.foils)
    images.flush()
    np.save(part / "captions.npy", captions)
    np.save(part / "foils.npy", foils)
    part.rename(folder)


def tokenize(tokenizer: Any, texts: list[str]) -> NDArray[np.int16]:
    """(len(texts), 77) ids, padded with the end token as Stable Diffusion does."""
    ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="np")["input_ids"]
    return np.asarray(ids, np.int16)


def _foil(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of almost the same scene: colours or sides swapped, or a colour, kind or place exchanged."""
    things = list(scene.things)
    roll = rng.random()
    if len(things) > 1 and roll < 0.5:
        first, second = things[0], things[1]
        things[:2] = [replace(first, color=second.color), replace(second, color=first.color)]
        if roll < 0.15 or first.color == second.color or first.kind == second.kind:
            things[:2] = [second, first]
        return describe(replace(scene, things=tuple(things)), rng)
    at = int(rng.integers(len(things)))
    if roll < 0.75:
        things[at] = replace(things[at], color=_other(rng, COLORS, things[at].color))
    elif roll < 0.9:
        things[at] = replace(things[at], kind=_other(rng, KINDS, things[at].kind))
    else:
        elsewhere = replace(scene, place=_other(rng, tuple(PLACES), scene.place))
        return describe(elsewhere, rng, placed=True)
    return describe(replace(scene, things=tuple(things)), rng)


def _other(rng: np.random.Generator, choices: tuple[str, ...], current: str) -> str:
    return str(rng.choice([choice for choice in choices if choice != current]))


def to_pixels(images: NDArray[np.uint8]) -> Any:
    """uint8 (n, h, w, 3) to a float tensor (n, 3, h, w) in -1..1."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)

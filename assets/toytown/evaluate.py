"""Measure Toytown: do its pictures show what they should? `python assets/toytown/evaluate.py [--json]`.

A judge that was trained on renders only looks at 200 generated pictures: half of one thing, half of two.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from data import load_town
from diffusers import StableDiffusionPipeline
from judge import Judge, Sight, accuracy, train_judge
from numpy.typing import NDArray
from PIL import Image
from platformdirs import user_cache_path
from tokens import new_tokenizer
from world import PLACE_PHRASES, Scene, describe, random_scene

MODELS = Path(__file__).parent / "models"
PROMPT_SEED = 20_000_000
JUDGE_SCENES, JUDGE_MINUTES = 24_000, 5.0
BATCH = 20


@dataclass(frozen=True)
class Prompt:
    text: str
    scene: Scene

    @property
    def names(self) -> frozenset[str]:
        return frozenset(thing.name for thing in self.scene.things)

    @property
    def names_place(self) -> bool:
        return any(phrase in self.text for phrase in PLACE_PHRASES[self.scene.place])


@dataclass(frozen=True)
class Report:
    """Shares in 0-1. `right`: every thing named is there; `exact`: and nothing else is."""

    judge_accuracy: float
    single_right: float
    single_exact: float
    pair_right: float
    pair_exact: float
    place_right: float
    seconds_per_picture: float
    steps: int
    guidance: float
    prompts: int
    threads: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=user_cache_path("easel") / "toytown", help="where the judge is kept"
    )
    parser.add_argument("--model", type=Path, default=MODELS / "toytown", help="a diffusers folder")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--grid", type=Path, help="also save the pictures in a grid, failures first")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    judge = load_judge(args.work)
    pipeline = StableDiffusionPipeline.from_pretrained(args.model).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    prompts = [_prompt(index, count=1 + index % 2) for index in range(args.prompts)]
    images = generate(pipeline, prompts, args.steps, args.guidance)
    sights = judge.look(images)
    if args.grid:
        save_grid(args.grid, prompts, images, sights)
    report = Report(
        **measure(prompts, sights),
        judge_accuracy=accuracy(judge),
        seconds_per_picture=seconds_per_picture(pipeline, args.steps, args.guidance),
        steps=args.steps,
        guidance=args.guidance,
        prompts=args.prompts,
        threads=torch.get_num_threads(),
    )
    print(json.dumps(asdict(report), indent=2) if args.json else table(report))


def load_judge(work: Path) -> Judge:
    """The judge from the work folder, trained first where there is none (a few minutes)."""
    town = load_town(work, new_tokenizer(), JUDGE_SCENES)
    return train_judge(town, work / "judge.pt", JUDGE_MINUTES)


def generate(
    pipeline: StableDiffusionPipeline, prompts: list[Prompt], steps: int, guidance: float
) -> NDArray[np.uint8]:
    """One picture a prompt, seeded by its index: (n, 128, 128, 3) uint8."""
    images = []
    for start in range(0, len(prompts), BATCH):
        texts = [prompt.text for prompt in prompts[start : start + BATCH]]
        seeds = [torch.Generator().manual_seed(start + offset) for offset in range(len(texts))]
        images.append(_sample(pipeline, texts, seeds, steps, guidance))
    return np.concatenate(images)


def _sample(
    pipeline: StableDiffusionPipeline,
    texts: list[str],
    seeds: list[torch.Generator],
    steps: int,
    guidance: float,
) -> NDArray[np.uint8]:
    result = pipeline(
        texts, num_inference_steps=steps, guidance_scale=guidance, generator=seeds, output_type="np"
    )
    return np.asarray(np.rint(result.images * 255), np.uint8)


def measure(prompts: list[Prompt], sights: list[Sight]) -> dict[str, float]:
    figures = {}
    for label, count in (("single", 1), ("pair", 2)):
        pairs = [(p, s) for p, s in zip(prompts, sights, strict=True) if len(p.names) == count]
        figures[f"{label}_right"] = float(np.mean([prompt.names <= sight.names for prompt, sight in pairs]))
        figures[f"{label}_exact"] = float(np.mean([prompt.names == sight.names for prompt, sight in pairs]))
    placed = [(p, s) for p, s in zip(prompts, sights, strict=True) if p.names_place]
    return figures | {
        "place_right": float(np.mean([prompt.scene.place == sight.place for prompt, sight in placed]))
    }


def seconds_per_picture(
    pipeline: StableDiffusionPipeline, steps: int, guidance: float, repeats: int = 3
) -> float:
    """Wall time of one picture on its own, after a first one to warm up."""
    _sample(pipeline, ["a red ball"], [torch.Generator().manual_seed(0)], steps, guidance)
    began = time.perf_counter()
    for seed in range(repeats):
        _sample(pipeline, ["a red ball"], [torch.Generator().manual_seed(seed)], steps, guidance)
    return (time.perf_counter() - began) / repeats


def save_grid(
    file: Path, prompts: list[Prompt], images: NDArray[np.uint8], sights: list[Sight], width: int = 10
) -> None:
    """A contact sheet, failures first; what failed is printed in the same order."""
    order = sorted(range(len(prompts)), key=lambda i: prompts[i].names <= sights[i].names)
    for index in order:
        if not prompts[index].names <= sights[index].names:
            print(f"{prompts[index].text!r}: saw {sorted(sights[index].names)} in {sights[index].place}")
    rows = [
        np.concatenate(list(images[order[at : at + width]]), axis=1) for at in range(0, len(order), width)
    ]
    Image.fromarray(np.concatenate([row for row in rows if row.shape == rows[0].shape])).save(file)


def table(report: Report) -> str:
    rows = [
        ("judge right on held-out renders", f"{report.judge_accuracy:.1%}"),
        (
            "one thing: kind and colour right",
            f"{report.single_right:.1%}  (nothing else: {report.single_exact:.1%})",
        ),
        ("two things: both right", f"{report.pair_right:.1%}  (nothing else: {report.pair_exact:.1%})"),
        ("place right", f"{report.place_right:.1%}"),
        (f"seconds a picture, {report.threads} threads", f"{report.seconds_per_picture:.2f}"),
    ]
    title = f"{report.prompts} prompts, {report.steps} steps, guidance {report.guidance:g}"
    return "\n".join([title, *(f"{label:<36}{value}" for label, value in rows)])


def _prompt(index: int, count: int) -> Prompt:
    rng = np.random.default_rng(PROMPT_SEED + index)
    scene = random_scene(rng, count)
    return Prompt(describe(scene, rng), scene)


if __name__ == "__main__":
    main()

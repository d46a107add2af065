"""Build Toytown's models from nothing: `python assets/toytown/build.py`.

First the base, then what stacks on it. `--parts canny,gligen` trains only these, on the base that is there.

Resumable: run it again after any interruption. On a few cores this is faster, as processes hardly wait
for each other:
`OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node=2 assets/toytown/build.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from build_stack import STACK_MINUTES, StackBuilder
from course import team, wait
from data import Town, load_town, tokenize
from diffusers import AutoencoderKL
from export import export_clip, export_pipeline
from platformdirs import user_cache_path
from tokens import new_tokenizer
from train_clip import align_clip, new_clip, train_clip
from train_unet import train_unet
from train_vae import encode_town, polish_decoder, train_vae

MODELS = Path(__file__).parent / "models"
SCENES = 24_000
# Minutes of training on two cores. CLIP's towers are aligned again once the UNet has moved the text encoder.
MINUTES = {"clip": 10.0, "vae": 18.5, "unet": 52.0, "polish": 16.0, "align": 5.0}


class Builder:
    """Trains what is not yet trained, in order; finished parts are read back from the work folder."""

    def __init__(self, work: Path, models: Path, minutes: dict[str, float]) -> None:
        self.work = work
        self.models = models
        self.minutes = minutes
        self.tokenizer = new_tokenizer()
        if team()[0] > 0:
            wait()  # until the first process has rendered the town
        self.town: Town = load_town(work, self.tokenizer, SCENES)
        if team()[0] == 0:
            wait()

    def build(self) -> None:
        clip = train_clip(new_clip(self.tokenizer), self.town, *self._course("clip"))
        vae = train_vae(self.town, *self._course("vae"))
        latents = self._latents(vae)
        empty = tokenize(self.tokenizer, [""])[0]
        unet = train_unet(clip.text_model, self.town, latents, empty, *self._course("unet"))
        polish_decoder(vae, self.town, latents, *self._course("polish"))
        align_clip(clip, self.town, *self._course("align"))
        if team()[0] == 0:
            export_clip(self.models / "clip", clip, self.tokenizer)
            export_pipeline(self.models / "toytown", vae, clip.text_model, self.tokenizer, unet)

    def _course(self, part: str) -> tuple[Path, float]:
        """Where a part's checkpoint is, and how many minutes it trains in all."""
        return self.work / f"{part}.pt", self.minutes[part]

    def _latents(self, vae: AutoencoderKL) -> torch.Tensor:
        file = self.work / "latents.pt"
        if file.exists():
            return torch.load(file, weights_only=True)
        latents = encode_town(vae, self.town)
        if team()[0] == 0:
            torch.save(latents, file)
        return latents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=user_cache_path("easel") / "toytown", help="scenes and checkpoints"
    )
    parser.add_argument("--models", type=Path, default=MODELS, help="where the finished models go")
    parser.add_argument(
        "--parts",
        default=",".join(MINUTES | STACK_MINUTES),
        help="train only these; the others stay as they are",
    )
    parser.add_argument(
        "--minutes", type=float, help="of training for every part; 0 exports what there is so far"
    )
    parser.add_argument(
        "--further", action="store_true", help="go on with the finished boxes instead of from nothing"
    )
    args = parser.parse_args()
    usual = MINUTES | STACK_MINUTES
    chosen = {part: usual[part] if args.minutes is None else args.minutes for part in args.parts.split(",")}
    if base := {part: minutes for part, minutes in chosen.items() if part in MINUTES}:
        Builder(args.work, args.models, dict.fromkeys(MINUTES, 0.0) | base).build()
    if stack := {part: minutes for part, minutes in chosen.items() if part in STACK_MINUTES}:
        StackBuilder(args.work, args.models, stack, further=args.further).build()


if __name__ == "__main__":
    main()

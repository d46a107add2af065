"""The finished base, frozen, and what everything that is trained on top of it shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from course import best_device
from data import tokenize
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from facts import Facts
from numpy.typing import NDArray
from torch import Tensor
from train_unet import OFFSET_NOISE, SNR_LIMIT, new_scheduler
from train_vae import encode_images
from transformers import AutoTokenizer, CLIPTextModel

# Half of the captions are dropped: the condition alone has to explain the picture (ControlNet's recipe).
DROPPED_CAPTIONS = 0.5
LAYOUT_LIMIT = 40.0


@dataclass
class Base:
    """The shipped pipeline's parts in float32 on the training device, none of them trainable."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    tokenizer: Any
    alphas: Tensor

    @classmethod
    def load(cls, folder: Path) -> Base:
        """folder: of a StableDiffusionPipeline."""
        device = best_device()

        def part(kind: Any, name: str) -> Any:
            return kind.from_pretrained(folder / name).float().to(device).eval().requires_grad_(False)

        unet = part(UNet2DConditionModel, "unet")
        unet.set_attn_processor(AttnProcessor())  # on CPU this trains a third faster than the fused kernel
        return cls(
            unet,
            part(CLIPTextModel, "text_encoder"),
            part(AutoencoderKL, "vae"),
            AutoTokenizer.from_pretrained(folder / "tokenizer"),
            new_scheduler().alphas_cumprod.to(device),
        )

    def latents(self, facts: Facts, file: Path) -> Tensor:
        """(n, 4, 16, 16) of all pictures, kept in the file."""
        if not file.exists():
            torch.save(encode_images(self.vae, facts.images).cpu(), file)
        return torch.load(file, weights_only=True)

    @torch.no_grad()
    def embed(self, ids: NDArray[np.integer[Any]]) -> Tensor:
        """(n, 77) token ids to (n, 77, 128) prompt embeddings."""
        return self.text_encoder(torch.from_numpy(ids.astype(np.int64)).to(best_device())).last_hidden_state

    @torch.no_grad()
    def embed_phrases(self, phrases: Iterable[str]) -> Tensor:
        """One (128,) vector a phrase, as GLIGEN's position net takes it: the encoder's pooled output."""
        tokens = self.tokenizer(list(phrases), padding=True, return_tensors="pt").to(best_device())
        return self.text_encoder(**tokens).pooler_output

    def captions(self, facts: Facts, chosen: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Embeddings of a caption for each chosen scene, half of them empty."""
        ids = facts.captions[chosen, rng.integers(facts.captions.shape[1], size=len(chosen))]
        ids[rng.random(len(chosen)) < DROPPED_CAPTIONS] = tokenize(self.tokenizer, [""])[0]
        return self.embed(ids)


@dataclass(frozen=True)
class Noised:
    """A batch of latents with noise mixed in, (n, 4, 16, 16), at `timesteps`, (n,)."""

    latents: Tensor
    timesteps: Tensor
    noise: Tensor
    snr: Tensor

    def losses(self, predicted: Tensor) -> dict[str, Tensor]:
        """The mean squared error of the predicted noise, weighted by min-SNR (Hang et al. 2023) and not."""
        error = (predicted.float() - self.noise).square().mean(dim=(1, 2, 3))
        return {"loss": (error * self.snr.clamp(max=SNR_LIMIT) / self.snr).mean(), "mse": error.mean()}

    def layout_losses(self, predicted: Tensor) -> dict[str, Tensor]:
        """The error in the picture rather than in the noise, so that the noisy steps, where the arrangement
        is decided, weigh most; at the very noisiest a limit keeps the base's own errors out.
        """
        error = (predicted.float() - self.noise).square().mean(dim=(1, 2, 3))
        return {"loss": (error / self.snr.clamp(min=1 / LAYOUT_LIMIT)).mean(), "mse": error.mean()}


def early_timesteps(n: int, power: float) -> Tensor:
    """Shares of T, n of them, that prefer the noisy steps, where the arrangement is decided: 1 - u^power.

    1 draws evenly; T2I-Adapter trains with 3.
    """
    return 1 - torch.rand(n) ** power


def add_noise(clean: Tensor, alphas: Tensor, shares: Tensor) -> Noised:
    """Mix noise in as the base was trained with it, at timesteps that are these shares of all of them."""
    n, device = len(clean), clean.device
    noise = torch.randn_like(clean) + OFFSET_NOISE * torch.randn(n, 4, 1, 1, device=device)
    timesteps = (shares.to(device) * len(alphas)).long().clamp(max=len(alphas) - 1)
    signal = alphas[timesteps].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
    return Noised(noisy, timesteps, noise, (signal / (1 - signal)).flatten())

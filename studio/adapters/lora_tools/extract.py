"""What fine-tuning changed, as a LoRA: the difference of two checkpoints at a low rank."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from studio.adapters.lora_tools.bases import OpenCheckpoint
from studio.adapters.lora_tools.factors import Cut, Factored, Truncation, cut_matrix, factored
from studio.core.errors import CorruptFile, InvalidRequest
from studio.models.safetensors_write import Each

_TRANSFORMERS = re.compile(r"unet\..*\.attentions\.|text_encoder(_2)?\..*\blayers\.")
_CONVOLUTIONS = re.compile(r"unet\..*\.(resnets|downsamplers|upsamplers)\.")


def extract(
    base: OpenCheckpoint,
    tuned: OpenCheckpoint,
    to: Truncation,
    *,
    convolutions: bool = False,
    each: Each = iter,
) -> Factored:
    """The difference `tuned - base` of the transformer blocks, whose LoRAs fit every model of the family.

    Two layers are in memory at a time. Biases, norms and the first and last convolution stay out of it.

    Args:
        convolutions: of the residual blocks too, and of those that change the size.

    Raises: InvalidRequest: the families differ, nothing in them does, or the rank is larger than any layer.
    """
    _check_pair(base, tuned)
    names = [name for name in base.targets if _is_wanted(name, convolutions) and _fits(base, tuned, name)]
    _check_rank(base, names, to)
    nothing = f"{tuned.info.name} differs from {base.info.name} in no layer that a LoRA changes."
    return factored(_cuts(base, tuned, names, to, each), nothing)


def _check_pair(base: OpenCheckpoint, tuned: OpenCheckpoint) -> None:
    if base.family is not tuned.family:
        raise InvalidRequest(
            f"{base.info.name} is {base.family}, but {tuned.info.name} is {tuned.family}; one cannot be "
            "subtracted from the other.",
            "Choose two checkpoints of one family, best a model and its fine-tune.",
        )


def _is_wanted(name: str, convolutions: bool) -> bool:
    return bool(_TRANSFORMERS.match(name) or (convolutions and _CONVOLUTIONS.match(name)))


def _fits(base: OpenCheckpoint, tuned: OpenCheckpoint, name: str) -> bool:
    if tuned.targets.get(name) != base.targets[name]:
        raise InvalidRequest(
            f"{base.info.name} and {tuned.info.name} are built differently: {name} differs in size.",
            "Choose the model that the other one was fine-tuned from.",
        )
    return True


def _check_rank(base: OpenCheckpoint, names: list[str], to: Truncation) -> None:
    largest = max((min(base.targets[name][:2]) for name in names), default=0)
    if to.rank is not None and to.rank > largest:
        raise InvalidRequest(
            f"The rank {to.rank} is larger than the largest layer of {base.info.name}, which has {largest}.",
            "Usual ranks are 8 to 128.",
            field="rank",
        )


def _cuts(
    base: OpenCheckpoint, tuned: OpenCheckpoint, names: list[str], to: Truncation, each: Each
) -> Iterator[tuple[str, Cut]]:
    for name in each(names):
        change = tuned.weight(name).float() - base.weight(name).float()
        if not bool(torch.isfinite(change).all()):
            raise CorruptFile(
                f"{name} of {base.info.name} or {tuned.info.name} is not a number (NaN) or infinite.",
                "The file is damaged; download or copy it again.",
            )
        if bool(change.any()):
            yield name, cut_matrix(change.flatten(1), to)

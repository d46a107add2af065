"""`<lora:...>` and `<hypernet:...>`: networks that a prompt switches on."""

from __future__ import annotations

from contextlib import suppress

from studio.core.errors import PromptError
from studio.diffusion.prompt.syntax import HypernetworkTag, LoraTag, NetworkTag

_WEIGHTS = {"lora": ("te", "unet"), "lyco": ("te", "unet"), "hypernet": ("weight",)}
"""What the numbers of a tag mean, in order; each can also be given by its name: `te=0.5`."""

MAX_WEIGHT = 10
"""As far up or down as an entry of the stack goes."""


def parse_tag(tag: str, position: int) -> NetworkTag:
    """Read one tag.

    Args:
        tag: from `<` to `>`.
        position: of its first character in the prompt, for errors.

    Raises:
        PromptError: the name is missing, or a weight is no number.
    """
    kind, name, *arguments = tag[1:-1].split(":")
    if not name.strip():
        raise PromptError(f"The tag {tag} names no file.", f"Write <{kind}:name:1>.", position=position)
    weights = _weights(arguments, _WEIGHTS[kind], tag, position)
    if kind == "hypernet":
        return HypernetworkTag(name.strip(), weights.get("weight", 1.0), position)
    text_encoder = weights.get("te", 1.0)
    return LoraTag(name.strip(), text_encoder, weights.get("unet", text_encoder), position)


def stray_tag(tag: str) -> str:
    """A sentence about a tag of a kind that there is not.

    AUTOMATIC1111 takes `<word:...>` out of a prompt for any word, and does nothing where it knows none of
    that spelling: capitals count.
    """
    return (
        f"The tag {tag[:80]} calls nothing, and is no part of the text either: there are <lora:name:1>, "
        "<lyco:name:1> and <hypernet:name:1>, in small letters."
    )


def _weights(arguments: list[str], names: tuple[str, ...], tag: str, position: int) -> dict[str, float]:
    """`["0.5", "unet=1"]` -> `{"te": 0.5, "unet": 1.0}`."""
    weights: dict[str, float] = {}
    for i, argument in enumerate(arguments):
        name, _, number = argument.rpartition("=")
        name = name.strip() or (names[i] if i < len(names) else "")
        if name not in names:
            raise PromptError(
                f"The tag {tag} takes {' and '.join(names)}, but {argument!r} is neither.", position=position
            )
        weights[name] = _number(number, tag, position)
    return weights


def _number(text: str, tag: str, position: int) -> float:
    with suppress(ValueError):
        if abs(number := float(text)) <= MAX_WEIGHT:
            return number
    raise PromptError(
        f"A weight is a number from -{MAX_WEIGHT} to {MAX_WEIGHT}, but the tag {tag} has {text!r}.",
        "Write it like 0.8.",
        position=position,
    )

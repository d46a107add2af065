"""The tokenizer: CLIP's byte-level BPE with merges that make every Toytown word one token."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = (  # noqa: SIM905
    # What the captions of world.py are made of.
    "a an and on in at the left right of , ball box star tree house car person cat "
    "red orange yellow green blue purple pink white black grass sand snow street night "
    # What people are likely to add; the words carry no meaning until something is trained on them.
    ". with next to two three big small large under over behind photo picture drawing painting sketch style "
    "toy day dark bright sky sun moon robot rocket dog bird boat bad good blurry ugly quality best detailed"
).split()


def new_tokenizer() -> CLIPTokenizer:
    """The end token has the last id: a CLIP config that says so pools at the first end token."""
    alphabet = list(_byte_alphabet().values())
    merges = _learn_merges(WORDS)
    tokens = [
        *alphabet,
        *(letter + "</w>" for letter in alphabet),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=merges,
        model_max_length=77,
        pad_token=END,
        unk_token=END,
        bos_token=START,
        eos_token=END,
    )


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write tokenizer.json, and vocab.json and merges.txt for those who read the older files."""
    tokenizer.save_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"]), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's way to give each byte a printable character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


def _learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016), run until every word is one token."""
    pieces = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for piece in pieces for pair in pairwise(piece)):
        best = max(sorted(pairs), key=pairs.__getitem__)
        merges.append(best)
        pieces = [_merge(piece, best) for piece in pieces]
    return merges


def _merge(piece: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for token in piece:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return merged

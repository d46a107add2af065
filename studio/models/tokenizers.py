"""CLIP's tokenizer, which single-file checkpoints do not carry.

All families use the same vocabulary of byte pairs (49,408 entries). It is taken from any diffusers folder on
this machine, else from the Hub's cache, else from the Hub.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.core.errors import CorruptFile, NotFound, Offline

TOKENIZER_ROLES = frozenset({"tokenizer", "tokenizer_2"})

CLIP_REPO = "openai/clip-vit-large-patch14"
CLIP_VOCABULARY = 49_408
_FILES = ("vocab.json", "merges.txt")

NOWHERE = Path()
"""Stands for 'on no disk yet': loading will ask the Hub."""


def tokenizer_folder(folders: Iterable[Path], vocabulary: int) -> Path:
    """The first of `folders` whose tokenizer has `vocabulary` entries, or the Hub's cache; else `NOWHERE`."""
    local = next((folder for folder in folders if vocabulary_size(folder) == vocabulary), None)
    if local is not None:
        return local
    return _cached() or NOWHERE if vocabulary == CLIP_VOCABULARY else NOWHERE


def _cached() -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    files = [try_to_load_from_cache(CLIP_REPO, name) for name in _FILES]
    return Path(files[0]).parent if all(isinstance(file, str) for file in files) else None  # type: ignore[arg-type]


def vocabulary_size(folder: Path) -> int:
    """Entries of a CLIP vocabulary; 0 where the folder holds none."""
    if not all((folder / name).is_file() for name in _FILES):
        return 0
    try:
        return len(json.loads((folder / "vocab.json").read_text("utf-8")))
    except (ValueError, TypeError):
        return 0


def tokenizer_digest(folder: Path, pad_token: str) -> str:
    """Fingerprint of vocabulary and padding."""
    digest = hashlib.sha256(pad_token.encode())
    if folder == NOWHERE:
        return hashlib.sha256(f"{CLIP_REPO} {pad_token}".encode()).hexdigest()
    for file in sorted(folder.glob("*.*")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def load_tokenizer(folder: Path, pad_token: str = "", vocabulary: int = CLIP_VOCABULARY) -> Any:
    """A `transformers.CLIPTokenizer`.

    Args:
        folder: as a diffusers model has it, or `NOWHERE`.
        pad_token: overrides the folder's own.
        vocabulary: entries that the text encoder knows.

    Raises:
        NotFound: the folder is not there, or no model has such a vocabulary.
        CorruptFile: its files are broken.
        Offline: there is none on this machine and the Hub does not answer.
    """
    from transformers import CLIPTokenizer

    place = _from_hub(vocabulary) if folder == NOWHERE else folder
    if not place.is_dir():
        raise NotFound(f"The tokenizer folder {place.name} is not there.", "Download the model again.")
    overrides = {"pad_token": pad_token} if pad_token else {}
    try:
        return CLIPTokenizer.from_pretrained(str(place), local_files_only=True, **overrides)
    except Exception as error:  # its parsers, in Rust, raise plain Exceptions
        raise CorruptFile(
            f"The tokenizer in {place.parent.name} cannot be read: {error}.", "Download the model again."
        ) from error


def _from_hub(vocabulary: int) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if vocabulary != CLIP_VOCABULARY:
        raise NotFound(
            f"This single file needs a tokenizer of {vocabulary:,} entries, which no model here has.",
            "Add a diffusers folder of the model that it was made from.",
        )
    try:
        files = [Path(hf_hub_download(CLIP_REPO, name)) for name in _FILES]
    except (OSError, LocalEntryNotFoundError, HfHubHTTPError) as error:
        raise Offline(
            "A single-file checkpoint needs CLIP's tokenizer, which is not on this machine, "
            "and the Hub does not answer.",
            f"Connect once, or add a diffusers folder that has the tokenizer of {CLIP_REPO}.",
        ) from error
    return files[0].parent

"""From a path to a `ModelInfo`: what the probe says, and what lies beside the model (preview, card)."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable
from pathlib import Path
from traceback import format_exc

from pydantic import ValidationError

from studio.core.base import BlobId
from studio.core.errors import EaselError
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.texts import storable
from studio.models.cache import FileCache, sha256_of, stamp
from studio.models.folders import weight_files
from studio.models.network_card import NETWORKS, network_card, told_family
from studio.models.prediction import read_sidecar
from studio.models.probe import Probe, contradiction, probe
from studio.models.safe import SAFETENSORS, read_header
from studio.models.safetensors_file import data_start
from studio.models.scan import Found
from studio.models.texts import MAX_LINE, MAX_TEXT, clean

_log = logging.getLogger(__name__)

FACT = "description 6"
"""Version of what is stored; a change here makes every model be looked at again."""

_PREVIEWS = (".preview.png", ".png", ".preview.jpg", ".jpg", ".jpeg", ".preview.webp", ".webp")
_MAX_PREVIEW_BYTES = 8 * 2**20
_MAX_CARD_BYTES = 1 * 2**20

PutBlob = Callable[[bytes], BlobId]
"""Stores a picture and says under which hash. Raises: ImageError."""


def describe(found: Found, cache: FileCache, put_preview: PutBlob | None) -> ModelInfo:
    """What is known of a model, its id still empty. A model that cannot be read says why in `problem`."""
    beside = _sidecars(found.path)
    fact = f"{FACT} {found.hint} {found.name} {[stamp(file) for file in beside]} {put_preview is not None}"
    known = _read(cache.get(found.path, fact) or "")
    if known is not None:
        return known
    try:
        info = _look(found, put_preview)
    except OSError as error:  # which may be over at the next look
        return _useless(found, str(error))
    except Exception as error:  # noqa: BLE001 - whatever a file sets off, it must not hide the others
        # Its words may come from the file, and who keeps the log may be unable to write all of them.
        _log.error("%s", storable(f"{found.path} cannot be described\n{format_exc()}"))
        return _useless(found, str(contradiction(found.path, error)))
    cache.put(found.path, fact, info.model_dump_json())
    return info


def known_previews(cache: FileCache) -> frozenset[BlobId]:
    """The previews of all models described so far."""
    described = map(_read, cache.values(f"{FACT} "))
    return frozenset(info.preview for info in described if info is not None and info.preview)


def _read(text: str) -> ModelInfo | None:
    """A stored description; None where there is none, or it cannot be read."""
    try:
        return ModelInfo.model_validate_json(text) if text else None
    except ValidationError:
        return None


def _look(found: Found, put_preview: PutBlob | None) -> ModelInfo:
    try:
        facts = _facts(found, probe(found.path), put_preview)
    except EaselError as error:
        return _useless(found, str(error))
    return ModelInfo.model_validate(_common(found) | facts)


def _useless(found: Found, problem: str) -> ModelInfo:
    return ModelInfo.model_validate(_common(found) | {"problem": clean(problem, MAX_TEXT)})


def _common(found: Found) -> dict[str, object]:
    return {
        "id": "",
        "name": found.name,
        "kind": found.hint or ModelKind.CHECKPOINT,
        "location": str(found.path),
        "size_bytes": stamp(found.path)[0],
    }


def _facts(found: Found, probed: Probe, put_preview: PutBlob | None) -> dict[str, object]:
    sidecar = read_sidecar(found.path)
    facts: dict[str, object] = {
        "kind": probed.kind,
        "family": probed.family if probed.family is not Family.UNKNOWN else told_family(found.path),
        "variant": probed.variant,
        "prediction_type": probed.prediction_type,
        "layout": probed.layout,
        "native_size": probed.native_size,
        "context_width": probed.context_width,
        "clip_layers": probed.clip_layers,
        "licence": probed.licence or card_licence(found.path) or clean(sidecar.get("license"), MAX_LINE),
        "description": probed.description or clean(sidecar.get("description"), MAX_TEXT),
        "notes": clean(sidecar.get("notes"), MAX_TEXT),
        "preview": _preview(found.path, put_preview),
        "problem": clean(probed.problem, MAX_TEXT),
    }
    if probed.kind in NETWORKS and found.path.is_file():
        facts |= network_card(found.path, probed.kind, found.name, read_header(found.path))
    return facts


def _sidecars(path: Path) -> list[Path]:
    candidates = [_beside(path, suffix) for suffix in (*_PREVIEWS, ".json", ".yaml", ".civitai.info")]
    return [file for file in candidates if file.is_file()]


def _beside(path: Path, suffix: str) -> Path:
    """`name.png` for `name.safetensors`, and for the folder `name`."""
    return path.with_name((path.name if path.is_dir() else path.stem) + suffix)


def _preview(path: Path, put_preview: PutBlob | None) -> BlobId | None:
    if put_preview is None:
        return None
    for suffix in _PREVIEWS:
        picture = _beside(path, suffix)
        try:
            if picture.is_file() and picture.stat().st_size <= _MAX_PREVIEW_BYTES:
                return put_preview(picture.read_bytes())
        except (EaselError, OSError):
            continue
    return _embedded_preview(path, put_preview)


def _embedded_preview(path: Path, put_preview: PutBlob) -> BlobId | None:
    """The picture inside a file: `modelspec.thumbnail`, a data URL."""
    if path.suffix.lower() != SAFETENSORS or not path.is_file():
        return None
    url = read_header(path).metadata.get("modelspec.thumbnail", "")
    head, _, content = url.partition(";base64,")
    if not head.startswith("data:image/") or len(content) > _MAX_PREVIEW_BYTES:
        return None
    try:
        return put_preview(base64.b64decode(content, validate=True))
    except (EaselError, binascii.Error, ValueError):
        return None


def card_licence(path: Path) -> str:
    """The licence in the front matter of the model card: `license: openrail` between two lines of `---`."""
    card = (path if path.is_dir() else path.parent) / "README.md"
    try:
        is_card = card.is_file() and card.stat().st_size <= _MAX_CARD_BYTES
        text = card.read_text("utf-8", "replace") if is_card else ""
    except OSError:
        return ""
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    if front is None:
        return ""
    lines = re.findall(r"^(license|license_name):[ \t]*[\"']?([\w.+-]+)", front[1], re.MULTILINE)
    licences: dict[str, str] = dict(lines)
    return clean(licences.get("license_name") or licences.get("license"), MAX_LINE)


def hashed_file(path: Path) -> Path:
    """The file whose sha256 stands for the model: itself, or a folder's UNet or only weights."""
    if path.is_file():
        return path
    return weight_files(path / "unet" if (path / "unet").is_dir() else path)[0]


def card_of(path: Path) -> dict[str, object]:
    """What a network's card tells beside the probe, with its hash; nothing for other models.

    Raises: as `probe`.
    """
    probed = probe(path)
    if probed.kind not in NETWORKS or not path.is_file():
        return {}
    card = network_card(path, probed.kind, path.stem, read_header(path))
    hint = card["suggests"]
    digest = card["network_hash"] or (
        hash_of_network(path) if probed.kind is ModelKind.LORA else sha256_of(path)
    )
    return card | {"network_hash": digest, "suggests": hint.model_dump() if hint else None}


def hash_of_network(path: Path) -> str:
    """sha256 in hex by which infotexts name a LoRA: of what follows a safetensors file's header.

    Of a pickle, which has none, the whole file is hashed.
    """
    is_safetensors = path.suffix.lower() == SAFETENSORS
    return sha256_of(path, data_start(path) if is_safetensors else 0)

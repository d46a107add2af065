"""The models on this machine, by id, and those that could be installed.

An id is a name that is looked up here. It is never put into a path, so nothing that a request says can reach
a file outside the models folders.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from pathlib import Path

from studio.core.atomic import remove_leftovers
from studio.core.base import BlobId
from studio.core.errors import EaselError, InvalidRequest, NotFound
from studio.core.models import CatalogueRow, ModelInfo, ModelKind, Variant
from studio.core.settings import PACK, Settings
from studio.models.cache import FileCache, sha256_of
from studio.models.describe import PutBlob, describe, hash_of_network, hashed_file, known_previews
from studio.models.importing import copy_into
from studio.models.installed import installable, read_record, write_record
from studio.models.network_card import NETWORKS
from studio.models.probe import probe
from studio.models.scan import OWN_FOLDERS, Found, find_models, is_storable
from studio.models.tokenizers import TOKENIZER_ROLES

_ID_FACT = "id"
_SHA256_FACT = "sha256"
_NETWORK_HASH_FACT = "network hash"
_SHORTEST_HASH = 8
"""Hex digits from which on a name may mean a hash."""


class ModelCatalogue:
    """What exists. Safe to use from any thread; imports no torch unless there are pickles to look into.

    The folders are searched when they are first asked for. What was found out about a file is kept in
    `data_dir/models.sqlite` until the file changes, so later starts only list folders.

    Args:
        cache: where facts about files are kept, instead of there.
        put_preview: stores the pictures that lie beside models; without it models have no previews.
    """

    def __init__(
        self, settings: Settings, cache: FileCache | None = None, put_preview: PutBlob | None = None
    ) -> None:
        self.settings = settings
        self.cache = cache or FileCache(settings.data_dir / "models.sqlite")
        self._put_preview = put_preview
        self._scanning = threading.Lock()
        self._lock = threading.Lock()
        self._models: dict[str, ModelInfo] | None = None

    # -- asking -------------------------------------------------------------------------------------

    def models(self, kind: ModelKind | None = None) -> tuple[ModelInfo, ...]:
        return tuple(info for info in self._known().values() if kind is None or info.kind is kind)

    @property
    def previews(self) -> frozenset[BlobId]:
        """The stored pictures of all models that were ever here: their disk may only be unplugged."""
        return known_previews(self.cache)

    def find(self, name: str, kind: ModelKind | None = None) -> ModelInfo:
        """The model with this id, name, file name, AUTOMATIC1111 title, alias or hash; ids go first.

        Args:
            name: `toytown`, `toytown.safetensors`, `toytown.safetensors [a1b2c3d4e5]`, or 8 or more hex
                digits that its sha256 begins with.

        Raises: NotFound.
        """
        models = self._known()
        if name in models and (kind is None or models[name].kind is kind):
            return models[name]
        title = re.sub(r"\s*\[[0-9a-fA-F]{8,64}\]$", "", name).strip().lower()
        for info in self.models(kind):
            if title and title in {info.id.lower(), info.name.lower(), Path(info.location).name.lower()}:
                return info
        for info in self.models(kind):
            if title and title == info.alias.lower():
                return info
        return self._find_by_hash(name, kind)

    def resolve(self, name: str, digits: str, kind: ModelKind) -> ModelInfo | None:
        """The model that another file means: best by name and hash, else by hash, else by name.

        Args:
            digits: the first 8 or more hex digits of its hash; may be empty, as may be the name.
        """
        by_name, by_hash = self._try(name, kind), self._try(digits, kind)
        if by_name and digits and _has_hash(by_name, digits.lower()):
            return by_name
        return by_hash or by_name

    def _try(self, name: str, kind: ModelKind) -> ModelInfo | None:
        try:
            return self.find(name, kind)
        except NotFound:
            return None

    def named(self, name: str, kind: ModelKind) -> tuple[ModelInfo, ...]:
        """All models of a kind that a prompt may mean by `name`: by name or file name, or else by id or hash.

        Other than an id, a name may belong to several files.
        """
        wanted = name.strip().lower()
        found = tuple(
            info
            for info in self.models(kind)
            if wanted in {info.name.lower(), Path(info.location).stem.lower()}
        )
        if found:
            return found
        try:
            return (self.find(name, kind),)
        except NotFound:
            return ()

    def _find_by_hash(self, name: str, kind: ModelKind | None) -> ModelInfo:
        digits = re.search(rf"(?:^|\[)([0-9a-fA-F]{{{_SHORTEST_HASH},64}})\]?$", name)
        for info in self.models(kind) if digits else ():
            if digits and _has_hash(info, digits[1].lower()):
                return info
        what = kind.noun if kind else "model"
        raise NotFound(
            f"There is no {what} named {name[:80]!r} here.", "Choose one from the list, or install it."
        )

    def path_of(self, model_id: str) -> Path:
        """The file or folder of a model. Raises: NotFound."""
        return Path(self.find(model_id).location)

    def full_hash(self, model_id: str) -> str:
        """sha256 of a model's file in hex (of a folder: of its UNet's), computed once.

        Raises: NotFound.
        """
        info = self.find(model_id)
        file = hashed_file(Path(info.location))
        digest = self.cache.remember(file, _SHA256_FACT, lambda: sha256_of(file))
        self._learn(info.id, {"sha256": digest})
        return digest

    def network_hash(self, model_id: str) -> str:
        """The hash in hex by which infotexts name a network; computed once, where its header has none.

        Of a LoRA it covers what follows the header, so that it outlives a change of metadata; of an embedding
        or hypernetwork the whole file.

        Raises: NotFound.
        """
        info = self.find(model_id)
        if info.network_hash:
            return info.network_hash
        if info.kind is not ModelKind.LORA:
            digest = self.full_hash(info.id)
        else:
            file = Path(info.location)
            digest = self.cache.remember(file, _NETWORK_HASH_FACT, lambda: hash_of_network(file))
        self._learn(info.id, {"network_hash": digest})
        return digest

    def _learn(self, model_id: str, facts: dict[str, str]) -> None:
        with self._lock:
            known = self._known()
            if model_id in known:
                self._models = known | {model_id: known[model_id].model_copy(update=facts)}

    def tokenizer_folders(self) -> Iterable[Path]:
        """CLIP tokenizers that models on this machine came with."""
        for info in self.models(ModelKind.CHECKPOINT):
            for role in sorted(TOKENIZER_ROLES):
                folder = Path(info.location) / role
                if folder.is_dir():
                    yield folder

    def installable(self) -> tuple[CatalogueRow, ...]:
        """The models that Easel knows where to get."""
        return installable(self.settings)

    # -- the active model ---------------------------------------------------------------------------

    @property
    def active_id(self) -> str:
        """Id of the checkpoint that requests without a model mean; empty where there is none."""
        chosen = read_record(self._active_record).get("id", "")
        usable = [info for info in self.models(ModelKind.CHECKPOINT) if info.usable]
        if any(info.id == chosen for info in usable):
            return str(chosen)
        base = [info for info in usable if info.variant is Variant.BASE]
        shipped = [info for info in base if Path(info.location).is_relative_to(PACK)]
        return next((info.id for info in (*shipped, *base)), "")

    def activate(self, model_id: str) -> ModelInfo:
        """Remember a checkpoint as the active one. Raises: NotFound, InvalidRequest, ResourceError."""
        info = self.find(model_id)
        if info.kind is not ModelKind.CHECKPOINT:
            raise InvalidRequest(
                f"{info.name} is {info.kind.with_article}, and only a checkpoint makes pictures.",
                field="model",
            )
        if not info.usable:
            raise InvalidRequest(f"{info.name} cannot be used: {info.problem}", field="model")
        write_record(self._active_record, {"id": info.id})
        return info

    @property
    def _active_record(self) -> Path:
        return self.settings.data_dir / "active_model.json"

    # -- changing -----------------------------------------------------------------------------------

    def refresh(self) -> tuple[ModelInfo, ...]:
        """Look at the folders again."""
        with self._scanning:
            self._models = self._scan()
        return self.models()

    def add_dir(self, path: Path) -> tuple[ModelInfo, ...]:
        """Search one more folder, now and at every later start. Nothing in it is changed.

        Raises: InvalidRequest, ResourceError.
        """
        folder = _existing(path)
        added = self._added_dirs()
        if folder not in added:
            write_record(self._dirs_record, {"folders": [*map(str, added), str(folder)]})
        return self.refresh()

    def import_model(self, path: Path, name: str = "") -> ModelInfo:
        """Copy a model file or folder into the own models folder, under a name that is free.

        Raises: ModelFileError, ResourceError, NotFound.
        """
        probed = probe(path)
        target = copy_into(self.settings.own_models / OWN_FOLDERS[probed.kind], path, name)
        self.refresh()
        return next(info for info in self.models() if Path(info.location) == target)

    @property
    def dirs(self) -> tuple[Path, ...]:
        """All folders that are searched, in order."""
        return tuple(dict.fromkeys((*self.settings.all_models_dirs[:-1], *self._added_dirs(), PACK)))

    def _added_dirs(self) -> list[Path]:
        folders = read_record(self._dirs_record).get("folders", [])
        return [Path(str(folder)) for folder in folders] if isinstance(folders, list) else []

    @property
    def _dirs_record(self) -> Path:
        return self.settings.data_dir / "models_dirs.json"

    # -- scanning -----------------------------------------------------------------------------------

    def _known(self) -> dict[str, ModelInfo]:
        models = self._models
        if models is not None:
            return models
        with self._scanning:
            if self._models is None:
                self._remove_leftovers()
                self._models = self._scan()
            return self._models

    def _remove_leftovers(self) -> None:
        """What copies and records that were killed while they were written left."""
        own = (self.settings.own_models / folder for folder in OWN_FOLDERS.values())
        for folder in (self.settings.data_dir, *own):
            remove_leftovers(folder, deep=False)

    def _scan(self) -> dict[str, ModelInfo]:
        found = list(find_models(self.dirs))
        infos = [describe(place, self.cache, self._put_preview) for place in found]
        ids = self._ids(found, infos)
        return {
            model_id: info.model_copy(update={"id": model_id, **self._known_hashes(place, info)})
            for model_id, info, place in zip(ids, infos, found, strict=True)
        }

    def _known_hashes(self, place: Found, info: ModelInfo) -> dict[str, str]:
        try:
            sha256 = self.cache.get(hashed_file(place.path), _SHA256_FACT) or ""
            if info.network_hash or info.kind not in NETWORKS:
                return {"sha256": sha256}
            is_lora = info.kind is ModelKind.LORA
            network_hash = self.cache.get(place.path, _NETWORK_HASH_FACT) or "" if is_lora else sha256
        except (EaselError, OSError, ValueError):
            return {}
        return {"sha256": sha256, "network_hash": network_hash}

    def _ids(self, found: list[Found], infos: list[ModelInfo]) -> list[str]:
        """One id a model, kept over restarts: its name, with its kind or a number where that is taken."""
        ids: list[str] = []
        taken: set[str] = set()
        kept = [self.cache.get(place.path, _ID_FACT) or "" for place in found]
        reserved = set(kept)
        for place, info, earlier in zip(found, infos, kept, strict=True):
            model_id = earlier if earlier and earlier not in taken else _free_id(info, taken | reserved)
            taken.add(model_id)
            ids.append(model_id)
            if model_id != earlier:
                self.cache.put(place.path, _ID_FACT, model_id)
        return ids


def _existing(path: Path) -> Path:
    """The folder that a person named. Raises: InvalidRequest."""
    try:
        folder = path.expanduser().resolve()
        if folder.is_dir() and is_storable(folder):
            return folder
        why = f"{folder} is {'a file' if folder.is_file() else 'not there'}"
    except (OSError, ValueError, RuntimeError) as error:
        why = f"{path} leads nowhere ({error})"
    raise InvalidRequest(f"A models folder is needed, but {why}.", "Name an existing folder.", field="path")


def _has_hash(info: ModelInfo, digits: str) -> bool:
    return any(known.startswith(digits) for known in (info.sha256, info.network_hash))


def _free_id(info: ModelInfo, taken: set[str]) -> str:
    name = re.sub(r"[/\\\x00-\x1f]", "_", info.name)[:150] or "model"
    candidates = (
        name,
        f"{name} ({info.kind})",
        *(f"{name} ({info.kind} {i})" for i in range(2, len(taken) + 3)),
    )
    return next(candidate for candidate in candidates if candidate not in taken)

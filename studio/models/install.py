"""Installing a model from the Hub: list, choose, check for room, download, probe, publish.

Files arrive in a hidden staging folder and become visible in one move once they are complete and known to be
a model that Easel runs. Cancelled or cut off, they stay there, and the next attempt goes on with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from studio.core.errors import InvalidRequest, ModelFileError, NotFound
from studio.core.requests import InstallRequest
from studio.core.settings import Settings
from studio.models.hub import HubFile, Repository, download, list_repository
from studio.models.importing import discard, disk_explained, free_name, require_space, safe_name
from studio.models.installed import installed_place, remember_install, write_record
from studio.models.probe import probe
from studio.models.safe import WEIGHT_SUFFIXES
from studio.models.scan import OWN_FOLDERS, is_nameless, own_part

STAGING = ".downloads"
"""Below the own models folder; hidden, so that no scan finds what is unfinished."""

_COMPONENTS = frozenset(
    {"unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"}
)
_SMALL_FILES = frozenset({".json", ".txt", ".md"})
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)"
    r"(?:\.(?P<variant>\w+?))?(?:-\d+-of-\d+)?\.(?P<format>safetensors|bin)(?:\.index(?:\.(?P<index>\w+))?\.json)?"
)
_VARIANTS = ("fp16", "", "bf16")
"""In the order in which they are preferred; others (non_ema, ...) only where there is nothing else."""


def install(
    request: InstallRequest,
    settings: Settings,
    *,
    progress: Callable[[int, int], None],
    check: Callable[[], None],
) -> Path:
    """Download a model and return its place in the own models folder.

    Args:
        progress: told bytes done and bytes in all.
        check: called between blocks; raises JobCancelled to stop.

    Raises:
        NotFound: no such repository, revision or file.
        Forbidden: the repository wants a login or a consent.
        Offline: the Hub does not answer.
        DiskFull: before the first byte, where it is known not to fit; else as soon as it does not.
        ResourceError: the models folder cannot be written to.
        ModelFileError: it arrived, but is no model that Easel runs.
    """
    present = installed_place(settings, request)
    if present is not None:
        return present
    repository = list_repository(request)
    chosen = [_the_file(repository, request.file)] if request.file else choose_files(repository)
    staging = settings.own_models / STAGING / _staging_name(request, repository)
    _download_all(repository, chosen, staging, progress, check)
    return _publish(request, repository, settings, staging)


def choose_files(repository: Repository) -> list[HubFile]:
    """What a diffusers folder needs: configurations, tokenizers, and one copy of each component's weights.

    safetensors in half precision are preferred. Pickles are taken only where a component has nothing else,
    and single-file checkpoints beside the folders never.

    Raises: InvalidRequest (no diffusers folder).
    """
    folders = _by_folder(repository.files)
    root = folders.pop("", [])
    names = {file.name for file in root}
    if "model_index.json" in names:
        parts = [file for name, files in folders.items() if name in _COMPONENTS for file in _component(files)]
        return [file for file in root if _is_small(file)] + parts
    if "config.json" in names and any(_WEIGHTS.fullmatch(file.name) for file in root):
        return _component(root)
    files = [file.name for file in repository.files if PurePosixPath(file.name).suffix in WEIGHT_SUFFIXES]
    raise InvalidRequest(
        f"{repository.repo} is no diffusers folder.",
        f"Name one of its files: {', '.join(files[:8])}." if files else "It holds no weights.",
        field="file",
    )


def _by_folder(files: Iterable[HubFile]) -> dict[str, list[HubFile]]:
    """Files of the root and of the folders in it; deeper ones belong to no component."""
    folders: dict[str, list[HubFile]] = {}
    for file in files:
        path = PurePosixPath(file.name)
        if len(path.parts) <= 2:
            folders.setdefault(path.parts[0] if len(path.parts) == 2 else "", []).append(file)
    return folders


def _component(files: Sequence[HubFile]) -> list[HubFile]:
    matches = {file: _WEIGHTS.fullmatch(PurePosixPath(file.name).name) for file in files}
    copies: dict[tuple[str, str], list[HubFile]] = {}
    for file, match in matches.items():
        if match:
            variant = match["variant"] or match["index"] or ""
            copies.setdefault((match["format"], variant), []).append(file)
    best = copies[min(copies, key=_preference)] if copies else []
    return [file for file, match in matches.items() if not match and _is_small(file)] + best


def _preference(copy: tuple[str, str]) -> tuple[bool, int]:
    form, variant = copy
    return form != "safetensors", _VARIANTS.index(variant) if variant in _VARIANTS else len(_VARIANTS)


def _is_small(file: HubFile) -> bool:
    return PurePosixPath(file.name).suffix in _SMALL_FILES


def _the_file(repository: Repository, name: str) -> HubFile:
    for file in repository.files:
        if file.name == name:
            return file
    raise NotFound(f"{repository.repo} holds no file {name!r}.", "Check its name on the Hub.")


def _staging_name(request: InstallRequest, repository: Repository) -> str:
    return safe_name(
        f"{request.repo.replace('/', '--')}--{request.file or 'folder'}--{repository.commit[:12]}"
    )


def _download_all(
    repository: Repository,
    files: Sequence[HubFile],
    staging: Path,
    progress: Callable[[int, int], None],
    check: Callable[[], None],
) -> None:
    total = sum(file.size for file in files)
    require_space(staging, total - _bytes_in(staging))
    done = 0
    for file in files:
        target = staging / file.name
        if not target.is_file():
            download(repository, file, target, partial(_report, progress, done, total), check)
        done += file.size
        progress(done, total)


def _report(progress: Callable[[int, int], None], before: int, total: int, received: int) -> None:
    progress(before + received, total)


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _publish(request: InstallRequest, repository: Repository, settings: Settings, staging: Path) -> Path:
    source = staging / request.file if request.file else staging
    try:
        kind = probe(source).kind
    except ModelFileError:
        discard(staging)
        raise
    folder = settings.own_models / OWN_FOLDERS[kind]
    target = free_name(folder, _name(request), source.suffix if request.file else "")
    # The move comes last: where the disk is full before it, the download is still there for the next attempt.
    if request.file:
        write_record(target.with_suffix(".json"), {"source": request.repo, "license": repository.licence})
    remember_install(settings, request, target)
    with disk_explained(target):
        folder.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    discard(staging)
    return target


def _name(request: InstallRequest) -> str:
    """The file's name, or the repository's and folder's where the file is called as every file is."""
    repository = request.repo.split("/")[1]
    file = PurePosixPath(request.file)
    if not request.file or is_nameless(file.stem):
        return safe_name("-".join((repository, *file.parent.parts)))
    told = own_part(file.stem)
    return safe_name(file.name if told == file.stem else repository + told)

"""Small records in the data folder, and the list of models that can be installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.atomic import write_bytes
from studio.core.models import CatalogueRow
from studio.core.requests import InstallRequest
from studio.core.settings import Settings
from studio.models.importing import disk_explained

CATALOGUE = Path(__file__).resolve().parents[2] / "assets" / "catalogue.json"


def read_record(file: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing or broken, for records that can be made anew."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_record(file: Path, content: Mapping[str, Any]) -> None:
    """Replace the file as a whole: a reader sees the old or the new record. Raises: ResourceError."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with disk_explained(file):
        write_bytes(file, text.encode())


def installable(settings: Settings) -> tuple[CatalogueRow, ...]:
    """The rows of `assets/catalogue.json`, each saying whether it is on this machine."""
    rows = json.loads(CATALOGUE.read_text("utf-8"))["models"]
    record = read_record(_record(settings))
    return tuple(
        row.model_copy(update={"installed": _place(settings, record, row.install) is not None})
        for row in map(CatalogueRow.model_validate, rows)
    )


def installed_place(settings: Settings, request: InstallRequest) -> Path | None:
    """Where an earlier installation put the model; None where there was none, or it is gone."""
    return _place(settings, read_record(_record(settings)), request)


def _place(settings: Settings, record: Mapping[str, Any], request: InstallRequest) -> Path | None:
    place = record.get(_key(request))
    if not isinstance(place, str):
        return None
    path = settings.own_models / place
    return path if path.exists() else None


def remember_install(settings: Settings, request: InstallRequest, target: Path) -> None:
    """Note where a model is, or is about to be. Raises: ResourceError."""
    installed = read_record(_record(settings))
    place = str(target.relative_to(settings.own_models))
    write_record(_record(settings), installed | {_key(request): place})


def _record(settings: Settings) -> Path:
    return settings.data_dir / "installed.json"


def _key(request: InstallRequest) -> str:
    return f"{request.repo} {request.file}".strip()

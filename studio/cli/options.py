"""Options that several commands share, and the settings that come of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.core.settings import Precision, Settings

STUDIO_PANEL = "Studio"

DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="EASEL_DATA_DIR",
        help="Folder for pictures, models and the queue; without it, the system's place for data.",
        rich_help_panel=STUDIO_PANEL,
    ),
]
ModelsDirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--models-dir",
        envvar="EASEL_MODELS_DIR",
        help="One more folder with models, of AUTOMATIC1111 or ComfyUI too. May be given again.",
        rich_help_panel=STUDIO_PANEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        envvar="EASEL_DEVICE",
        help="auto, cpu, cuda, cuda:1 or mps; auto takes the best there is.",
        rich_help_panel=STUDIO_PANEL,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        envvar="EASEL_PRECISION",
        help="Number format of the models; auto takes what suits the device.",
        rich_help_panel=STUDIO_PANEL,
    ),
]

CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        envvar="EASEL_COMPILE",
        help="Compile the models: the first picture of each kind takes minutes, the next ones less time.",
        rich_help_panel=STUDIO_PANEL,
    ),
]


@dataclass(frozen=True)
class StudioOptions:
    """Where a studio keeps what it has, and what it works with."""

    data_dir: DataDir = None
    models_dir: ModelsDirs = None
    device: Device = "auto"
    precision: PrecisionOption = Precision.AUTO
    compile: CompileOption = False

    def settings(self, **given: Any) -> Settings:
        machine = {"device": self.device, "precision": self.precision, "compile": self.compile}
        return settings_from(self.data_dir, self.models_dir, **machine, **given)


def settings_from(
    data_dir: Path | None = None, models_dirs: list[Path] | None = None, **given: Any
) -> Settings:
    """Settings of what was given; folders become absolute, as no command may depend on where it is run."""
    if data_dir is not None:
        given["data_dir"] = data_dir.expanduser().resolve()
    folders = tuple(folder.expanduser().resolve() for folder in models_dirs or ())
    for folder in folders:
        if not folder.is_dir():  # a disk may be away for a while, so the rest goes on without it
            typer.echo(
                f"easel: There is no models folder {folder}, so none of its models are here.", err=True
            )
    return Settings(models_dirs=folders, **given)

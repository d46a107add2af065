"""`easel models`: what is on disk, what can be installed, and what a file is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.columns import print_columns, print_facts
from studio.cli.options import DataDir, ModelsDirs, settings_from
from studio.cli.progress import follow
from studio.cli.requests import read_request
from studio.cli.session import open_studio
from studio.core.errors import NotFound
from studio.core.models import CatalogueRow, ModelInfo, ModelKind, with_needs
from studio.core.requests import InstallRequest

if TYPE_CHECKING:
    from studio.models.catalogue import ModelCatalogue

app = typer.Typer(help="See, add and install models, and tell what a file is.", no_args_is_help=True)


@app.command("list", epilog="Example: easel models list --kind checkpoint")
def list_models(
    kind: Annotated[ModelKind | None, typer.Option(help="Only this kind.")] = None,
    catalogue: Annotated[
        bool, typer.Option("--catalogue", help="What can be installed, instead of what is here.")
    ] = False,
    data_dir: DataDir = None,
    models_dir: ModelsDirs = None,
) -> None:
    """List the models in all folders, with the ids that requests name them by."""
    known = _catalogue(data_dir, models_dir)
    rows: Sequence[ModelInfo | CatalogueRow] = known.installable() if catalogue else known.models()
    shown = [row for row in rows if kind is None or row.kind is kind]
    if not shown:
        typer.echo("There is none. See: easel models list --catalogue, or easel models add --help", err=True)
        return
    print_columns([("id", "name", "kind", "family", "size", "note"), *map(_columns, shown)])


def _columns(row: ModelInfo | CatalogueRow) -> tuple[str, ...]:
    size = f"{row.size_bytes / 2**20:,.0f} MB"
    if isinstance(row, CatalogueRow):
        note = "installed" if row.installed else row.licence
    else:
        note = row.problem or row.licence
    return row.id, row.name, row.kind.value, row.family.value, size, note


def _catalogue(data_dir: Path | None, models_dir: list[Path] | None = None) -> ModelCatalogue:
    """The models alone, without a queue: they can be asked for while another Easel is at work."""
    from studio.models.catalogue import ModelCatalogue

    return ModelCatalogue(settings_from(data_dir, models_dir))


@app.command("add", epilog="Example: easel models add ~/stable-diffusion-webui/models")
def add_folder(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with models.")],
    data_dir: DataDir = None,
) -> None:
    """Search FOLDER for models too, now and at every later start. Nothing in it is changed.

    The folders of AUTOMATIC1111, ComfyUI and diffusers are understood.
    """
    found = _catalogue(data_dir).add_dir(folder)
    typer.echo(f"{folder} is searched from now on; there are {len(found)} models in all.")


@app.command("install", epilog="Example: easel models install stable-diffusion-v1-5/stable-diffusion-v1-5")
def install(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Id in `easel models list --catalogue`, or OWNER/REPOSITORY."),
    ],
    file: Annotated[str, typer.Option(help="One file of the repository instead of all of it.")] = "",
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    data_dir: DataDir = None,
) -> None:
    """Download a model from the Hub, and with a model of the catalogue what it needs.

    After an interruption the same command goes on where it stopped.
    """
    with open_studio(settings_from(data_dir)) as studio:
        if "/" in name:
            requests = [
                read_request(InstallRequest, "models install", repo=name, file=file, revision=revision)
            ]
        else:
            rows = studio.catalogue()
            requests = [row.install for row in with_needs(_find_row(rows, name), rows)]
        studio.start()
        for request in requests:
            follow(studio, studio.submit(request).id)
    typer.echo(f"{name} is installed.")


def _find_row(rows: tuple[CatalogueRow, ...], name: str) -> CatalogueRow:
    for row in rows:
        if row.id == name:
            return row
    raise NotFound(f"The catalogue has no {name!r}.", "See: easel models list --catalogue")


@app.command("info", epilog="Example: easel models info ~/Downloads/unknown.safetensors")
def info(
    file: Annotated[
        Path, typer.Argument(exists=True, metavar="FILE", help="Weight file, or a folder of diffusers.")
    ],
) -> None:
    """Tell what a model file or folder is, from its header and what lies beside it. Nothing is executed."""
    from studio.models.describe import card_of
    from studio.models.probe import probe

    facts = asdict(probe(file)) | card_of(file)
    print_facts(facts)

"""`easel lora`: look into LoRA files, and make new ones of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from studio.cli.columns import print_facts
from studio.cli.groups import grouped
from studio.cli.lora_files import Files
from studio.cli.lora_options import Folders, Smaller, Target
from studio.cli.outputs import writing_explained
from studio.core.atomic import write_folder_via, write_via
from studio.core.errors import InvalidRequest

if TYPE_CHECKING:
    from studio.adapters.lora_tools import Base, Factored, OpenCheckpoint, Weighted
    from studio.models.safetensors_write import Each

app = typer.Typer(
    help="Look into LoRA files, and make new ones of them. Sources are never changed.\n\n"
    "A LoRA or checkpoint is a file, a diffusers folder, or an id in `easel models list`.",
    no_args_is_help=True,
)


Lora = Annotated[str, typer.Argument(metavar="LORA", help="LoRA, LoCon, LoHa, LoKr or DoRA.")]
BaseOption = Annotated[
    str,
    typer.Option(
        metavar="CHECKPOINT",
        help="Checkpoint that the LoRAs belong to: for DoRA, and for models of unusual size.",
    ),
]


@app.command("info", epilog="Example: easel lora info anna.safetensors")
@grouped
def info(file: Lora, folders: Folders, base: BaseOption = "") -> None:
    """Tell what a LoRA changes, how strongly it can, which words bring it out, and how it was made."""
    files = folders.files()
    print_facts(files.facts(files.lora_path(file), base))


@app.command(
    "merge",
    epilog="Examples:\n\neasel lora merge anna.safetensors@0.8 ink.safetensors@0.5 --out anna-ink\n\n"
    "easel lora merge lcm.safetensors --into dreamshaper.safetensors",
)
@grouped
def merge(
    loras: Annotated[
        list[str], typer.Argument(metavar="LORA[@WEIGHT]...", help="Each with its weight, 1 unless told.")
    ],
    smaller: Smaller,
    target: Target,
    folders: Folders,
    into: Annotated[
        str, typer.Option(metavar="CHECKPOINT", help="Make a checkpoint with the LoRAs in it instead.")
    ] = "",
    base: BaseOption = "",
) -> None:
    """Make one LoRA of several, or a checkpoint that has them in it.

    The sum is exact: its rank is the sum of theirs, unless --rank or --energy make it smaller.
    """
    files = folders.files()
    named = [_with_weight(word) for word in loras]
    paths = [files.lora_path(name) for name, _ in named]
    if into:
        if smaller.is_told:
            raise InvalidRequest("--rank and --energy are for LoRAs; a checkpoint takes the whole sum.")
        _merge_into(files, files.checkpoint(into), paths, [weight for _, weight in named], target)
        return
    from studio.adapters.lora_tools import merge as merged

    model = files.base(base, paths)
    weighted = [files.read(path, model, weight) for path, (_, weight) in zip(paths, named, strict=True)]
    to = smaller.truncation() if smaller.is_told else None
    place = target.place(paths[0].with_name("-".join(path.stem for path in paths) + _MERGED), paths)
    with _progress("Merging") as each:
        result = merged(weighted, model, to, each)
    comment = "merged: " + _list(weighted)
    _tell_left_out(files, paths)
    _save(place, result, model, comment, [files.metadata(path) for path in paths], target)


@app.command(
    "resize",
    epilog="Examples:\n\neasel lora resize anna.safetensors --rank 16\n\n"
    "easel lora resize anna.safetensors --energy 0.95",
)
@grouped
def resize(
    file: Lora,
    smaller: Smaller,
    target: Target,
    folders: Folders,
    base: BaseOption = "",
) -> None:
    """Make a LoRA smaller: of every layer what matters most, by its singular values.

    LoHa, LoKr and DoRA become a plain LoRA on the way.
    """
    from studio.adapters.lora_tools import resize as resized

    to = smaller.truncation()
    files = folders.files()
    path = files.lora_path(file)
    model = files.base(base, [path])
    place = target.place(path.with_name(f"{path.stem}-{smaller.title}.safetensors"), [path])
    with _progress("Resizing") as each:
        result = resized(files.read(path, model), model, to, each)
    comment = f"resized: {path.stem} to {smaller.title}"
    _tell_left_out(files, [path])
    _save(place, result, model, comment, [files.metadata(path)], target)


@app.command(
    "extract", epilog="Example: easel lora extract v1-5-pruned.safetensors dreamshaper.safetensors --rank 64"
)
@grouped
def extract(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The model that was fine-tuned.")],
    tuned: Annotated[str, typer.Argument(metavar="TUNED", help="What became of it.")],
    smaller: Smaller,
    target: Target,
    folders: Folders,
    convolutions: Annotated[
        bool, typer.Option("--convolutions", help="Those of the residual blocks too: larger, and closer.")
    ] = False,
) -> None:
    """Make a LoRA of what fine-tuning changed: TUNED minus BASE, as closely as the rank allows."""
    from studio.adapters.lora_tools import extract as extracted

    to = smaller.truncation()
    files = folders.files()
    before, after = files.checkpoint(base), files.checkpoint(tuned)
    proposed = after.path.with_name(f"{after.path.stem}-lora.safetensors")
    place = target.place(proposed, [*before.files, *after.files])
    with _progress("Extracting") as each:
        result = extracted(before, after, to, convolutions=convolutions, each=each)
    comment = f"extracted: {after.info.name} minus {before.info.name}"
    _save(place, result, before, comment, [], target)


_MERGED = "-merged.safetensors"
_WEIGHT = re.compile(r"(.+)@([+-]?\d*\.?\d+)")


def _with_weight(word: str) -> tuple[str, float]:
    """`anna@0.8` -> anna, 0.8."""
    match = _WEIGHT.fullmatch(word)
    return (match[1], float(match[2])) if match and not Path(word).exists() else (word, 1.0)


def _merge_into(
    files: Files,
    checkpoint: OpenCheckpoint,
    paths: list[Path],
    weights: list[float],
    target: Target,
) -> None:
    from studio.adapters.lora_tools import bake

    weighted = [files.read(path, checkpoint, weight) for path, weight in zip(paths, weights, strict=True)]
    is_folder = checkpoint.path.is_dir()
    stem = checkpoint.path.name if is_folder else checkpoint.path.stem
    proposed = checkpoint.path.with_name(f"{stem}-merged{'' if is_folder else '.safetensors'}")
    sources = [*paths, *checkpoint.files]
    place = target.place(proposed, sources, folder=is_folder)
    via = write_folder_via if is_folder else write_via
    with writing_explained(place), _progress("Merging") as each, via(place) as temporary:
        bake(checkpoint, weighted, temporary, each)
    typer.echo(f"{checkpoint.info.name} with {_list(weighted)} in it", err=True)
    _tell_left_out(files, paths)
    typer.echo(place)


def _tell_left_out(files: Files, paths: Sequence[Path]) -> None:
    """Textual inversions that lie in the sources stay there."""
    for path in paths:
        if words := files.bundled_words(path):
            typer.echo(f"Without the words that {path.name} defines: {', '.join(words)}", err=True)


def _list(weighted: list[Weighted]) -> str:
    return ", ".join(f"{lora.name} ({lora.weight:g})" for lora in weighted)


def _save(
    place: Path,
    result: Factored,
    model: Base,
    comment: str,
    sources: list[dict[str, str]],
    target: Target,
) -> None:
    from studio.adapters.lora_tools import Names, lora_metadata, write_lora

    metadata = lora_metadata(result, model, place.stem, comment, sources)
    with writing_explained(place), write_via(place) as temporary:
        write_lora(temporary, result, model, metadata, names=Names(target.naming.value), dtype=target.dtype)
    low, high = min(result.ranks), max(result.ranks)
    rank = f"rank {low}" if low == high else f"ranks {low} to {high}"
    size = place.stat().st_size / 2**20
    kept = f"{result.kept:.2%} of the change" if result.kept < 0.99995 else "all of the change"
    typer.echo(f"{len(result.layers)} layers, {rank}, {kept}, {size:,.1f} MB", err=True)
    typer.echo(place)


@contextmanager
def _progress(what: str) -> Iterator[Each]:
    """A bar on stderr, and no more threads than cores are idle: small matrices suffer from that most."""
    from studio.models.cores import IdleCores

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    cores = IdleCores()
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:

        def each(names: Sequence[str]) -> Iterator[str]:
            for name in display.track(names, description=what):
                cores.adapt()
                yield name

        cores.begin()
        yield each

"""Facts in columns on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Aligned, and never cut: ids are there to be copied."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def print_facts(facts: Mapping[str, object]) -> None:
    """One a line, without those that say nothing."""
    print_columns([(name.replace("_", " "), _shown(value)) for name, value in facts.items() if _says(value)])


def _says(value: object) -> bool:
    return value not in ("", None, ())


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {each}" for name, each in value.items() if _says(each))
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

"""`easel doctor`: is this machine fit, and what to do where it is not."""

from __future__ import annotations

import typer
from rich.console import Console

from studio.cli.options import DataDir, ModelsDirs, settings_from

MARKS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}


def doctor(data_dir: DataDir = None, models_dir: ModelsDirs = None) -> None:
    """Check Python, libraries, torch, GPU, memory, disk and folders.

    Each line says what Easel needs and what this machine has; where they differ, what to do. The exit
    status is 1 when something keeps Easel from working, and 0 when there are warnings at most.
    """
    from studio.app.doctor import Level, diagnose

    console = Console(highlight=False, soft_wrap=True)
    sound = True
    for finding in diagnose(settings_from(data_dir, models_dir)):
        console.print(f"{MARKS[finding.level]} {finding.check:<9}", end=" ")
        console.print(f"{finding.have}; needs {finding.need}", markup=False)
        if finding.remedy:
            console.print(f"{'':>17} {finding.remedy}", markup=False)
        sound = sound and finding.level is not Level.PROBLEM
    if not sound:
        raise typer.Exit(1)

"""Options that the commands of `easel lora` share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.lora_files import Files
from studio.cli.options import DataDir, ModelsDirs
from studio.cli.outputs import place_for
from studio.core.errors import InvalidRequest

if TYPE_CHECKING:
    import torch

    from studio.adapters.lora_tools import Truncation


class Naming(str, Enum):
    KOHYA = "kohya"
    PEFT = "peft"


class Saved(str, Enum):
    FP16 = "fp16"
    BF16 = "bf16"
    FP32 = "fp32"


@dataclass(frozen=True)
class Folders:
    """Where ids are looked up."""

    data_dir: DataDir = None
    models_dir: ModelsDirs = None

    def files(self) -> Files:
        return Files(self.data_dir, self.models_dir)


@dataclass(frozen=True)
class Smaller:
    """How much of each layer is kept."""

    rank: Annotated[int | None, typer.Option(min=1, help="Largest rank of every layer.")] = None
    energy: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1,
            help="Instead, or below that: the smallest rank that keeps this share of the change.",
        ),
    ] = None

    @property
    def is_told(self) -> bool:
        return self.rank is not None or self.energy is not None

    @property
    def title(self) -> str:
        """For names: `rank16`."""
        return f"rank{self.rank}" if self.rank else f"energy{self.energy:g}"

    def truncation(self) -> Truncation:
        """Raises: InvalidRequest: neither is told."""
        from studio.adapters.lora_tools import Truncation

        if not self.is_told:
            raise InvalidRequest("The size of the result must be told.", "Give --rank 16, or --energy 0.95.")
        return Truncation(self.rank, self.energy)


@dataclass(frozen=True)
class Target:
    """Where the result goes, and how it is written."""

    out: Annotated[
        Path | None,
        typer.Option(help="Result; without it, a name beside the first source. Where it exists: NAME-2, ..."),
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Replace a file that has this name.")] = False
    naming: Annotated[
        Naming,
        typer.Option(
            "--format", help="Names: kohya's, which every program reads, or those of diffusers' PEFT."
        ),
    ] = Naming.KOHYA
    precision: Annotated[Saved, typer.Option(help="Number format of the file.")] = Saved.FP16

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return {Saved.FP16: torch.float16, Saved.BF16: torch.bfloat16}.get(self.precision, torch.float32)

    def place(self, proposed: Path, sources: Iterable[Path], *, folder: bool = False) -> Path:
        """Raises: InvalidRequest, as `place_for`."""
        return place_for(self.out, proposed, sources, force=self.force, folder=folder)

"""Settings of one running studio: given on the command line, through `EASEL_*` variables, or left alone."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_path
from pydantic import Field

from studio.core.base import Record, StrEnum

PACK = Path(__file__).resolve().parents[2] / "assets" / "toytown" / "models"
"""The models that ship with Easel."""


class Precision(StrEnum):
    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Settings(Record):
    data_dir: Path = Field(default_factory=lambda: user_data_path("easel", appauthor=False))
    models_dirs: tuple[Path, ...] = Field(
        (), description="searched besides data_dir/models and the shipped pack"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Precision = Precision.AUTO
    compile: bool = Field(
        False,
        description="compile the models: a slow first picture of each kind, then faster ones",
    )
    max_pixels: int = Field(40_000_000, description="largest picture accepted, px (width x height)")
    max_upload_bytes: int = 100 * 2**20
    max_model_bytes: int = Field(16 * 2**30, description="largest model file that the page takes")
    max_queue: int = Field(200, description="jobs that may wait")
    vram_fraction: float = Field(0.9, gt=0, le=1, description="share of the GPU's memory that Easel may take")
    ram_fraction: float = Field(
        0.6, gt=0, le=1, description="share of main memory that cached models may take"
    )
    preview_seconds: float = Field(
        0.5, ge=0, description="shortest time between two previews; 0 is every step"
    )
    host: str = "127.0.0.1"
    port: int = Field(7860, ge=0, le=65535)
    auth: tuple[str, str] | None = Field(None, description="user, password")
    allowed_hosts: tuple[str, ...] = ()

    @property
    def database(self) -> Path:
        return self.data_dir / "easel.sqlite"

    @property
    def outputs(self) -> Path:
        return self.data_dir / "outputs"

    @property
    def blobs(self) -> Path:
        return self.data_dir / "blobs"

    @property
    def own_models(self) -> Path:
        """Where imports and installs go."""
        return self.data_dir / "models"

    @property
    def all_models_dirs(self) -> tuple[Path, ...]:
        return (self.own_models, *self.models_dirs, PACK)

"""Work on LoRA files: several made into one, into a checkpoint, to another rank, out of two checkpoints."""

from studio.adapters.lora_tools.bake import bake
from studio.adapters.lora_tools.bases import Base, OpenCheckpoint, family_base, open_checkpoint
from studio.adapters.lora_tools.extract import extract
from studio.adapters.lora_tools.factors import Factored, Truncation
from studio.adapters.lora_tools.merge import Weighted, merge, resize
from studio.adapters.lora_tools.metadata import lora_metadata
from studio.adapters.lora_tools.write import Names, write_lora

__all__ = [
    "Base",
    "Factored",
    "Names",
    "OpenCheckpoint",
    "Truncation",
    "Weighted",
    "bake",
    "extract",
    "family_base",
    "lora_metadata",
    "merge",
    "open_checkpoint",
    "resize",
    "write_lora",
]

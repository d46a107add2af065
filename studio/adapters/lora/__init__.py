"""LoRAs of every layout and kind, read as differences to the weights that they are trained on."""

from studio.adapters.lora.layers import Dora, Hadamard, Kronecker, LoraLayer, LowRank
from studio.adapters.lora.read import LoraNetwork, read_lora
from studio.adapters.lora.targets import Targets, family_targets, lora_targets

__all__ = [
    "Dora",
    "Hadamard",
    "Kronecker",
    "LoraLayer",
    "LoraNetwork",
    "LowRank",
    "Targets",
    "family_targets",
    "lora_targets",
    "read_lora",
]

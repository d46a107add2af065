"""The files that `easel lora` is given: found by path or by id, opened, and fitted to one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli.options import settings_from
from studio.core.errors import EaselError, InvalidRequest, NotFound
from studio.core.models import Family, ModelKind

if TYPE_CHECKING:
    from studio.adapters.lora import LoraNetwork
    from studio.adapters.lora_tools import Base, OpenCheckpoint, Weighted

_TITLES = {"unet": "UNet", "text_encoder": "text encoder", "text_encoder_2": "second text encoder"}


class Files:
    """Finds and opens what a command names.

    Args:
        data_dir, models_dirs: where ids are looked up, when a name is no path.
    """

    def __init__(self, data_dir: Path | None, models_dirs: list[Path] | None) -> None:
        self._folders = data_dir, models_dirs

    def lora_path(self, name: str) -> Path:
        """Raises: NotFound; InvalidRequest: it is something else."""
        from studio.models.probe import probe

        path = self._locate(name, ModelKind.LORA)
        kind = probe(path).kind
        if kind is not ModelKind.LORA:
            raise InvalidRequest(f"{path.name} is {kind.with_article}, not a LoRA.")
        return path

    def checkpoint(self, name: str) -> OpenCheckpoint:
        """Raises: NotFound; InvalidRequest: it is something else, or cannot be used."""
        from studio.adapters.lora_tools import open_checkpoint

        return open_checkpoint(self._locate(name, ModelKind.CHECKPOINT))

    def base(self, name: str, loras: Sequence[Path]) -> Base:
        """The checkpoint `name`, or else the original model of the family that all `loras` are for.

        Raises: InvalidRequest: they are for several, or do not tell.
        """
        from studio.adapters.lora_tools import family_base
        from studio.models.probe import probe

        if name:
            return self.checkpoint(name)
        families = {path.name: probe(path).family for path in loras}
        known = {family: name for name, family in families.items() if family is not Family.UNKNOWN}
        if len(known) > 1:
            told = ", ".join(f"{name} is for {family}" for family, name in known.items())
            raise InvalidRequest(f"LoRAs of different families cannot be added: {told}.")
        return family_base(next(iter(known), Family.UNKNOWN))

    def read(self, path: Path, base: Base, weight: float = 1.0) -> Weighted:
        """Raises: InvalidRequest: it does not fit `base`; ModelFileError: it is broken."""
        from studio.adapters.lora_tools import OpenCheckpoint, Weighted

        try:
            return Weighted(path.stem, _network(path, base), weight)
        except InvalidRequest as error:
            if isinstance(base, OpenCheckpoint):
                raise
            remedy = "Name the checkpoint that it belongs to with --base."
            raise InvalidRequest(error.problem, remedy) from error

    def metadata(self, path: Path) -> dict[str, str]:
        from studio.models.safe import SAFETENSORS, read_header

        return dict(read_header(path).metadata) if path.suffix.lower() == SAFETENSORS else {}

    def bundled_words(self, path: Path) -> tuple[str, ...]:
        """Names of textual inversions in the file."""
        from studio.models.bundled_words import bundled_words
        from studio.models.safe import read_header

        return bundled_words(read_header(path).tensors)

    def facts(self, path: Path, base: str) -> dict[str, object]:
        """All that `easel lora info` tells, the last row being why it cannot be applied, if so."""
        from studio.models.describe import card_of
        from studio.models.probe import probe

        facts: dict[str, object] = {"file": str(path)} | asdict(probe(path)) | card_of(path)
        for needless in ("variant", "prediction_type", "native_size", "zero_snr", "alpha", "rank"):
            facts.pop(needless, None)
        try:
            network = _network(path, self.base(base, [path]))
        except EaselError as error:
            return facts | {"problem": str(error)}
        return facts | _content(network) | {"made": self.metadata(path).get("ss_training_comment", "")[:200]}

    def _locate(self, name: str, kind: ModelKind) -> Path:
        path = Path(name).expanduser()
        if path.exists():
            return path
        if path.suffix or len(path.parts) > 1:
            raise NotFound(f"There is no file {name}.", "Check the path, or see: easel models list")
        from studio.models.catalogue import ModelCatalogue

        return Path(ModelCatalogue(settings_from(*self._folders)).find(name, kind).location)


def _network(path: Path, base: Base) -> LoraNetwork:
    from studio.adapters.lora import read_lora
    from studio.models.safe import open_weights

    weights = open_weights([path])
    return read_lora(weights, base.targets, path.name, weights.header.metadata)


def _content(network: LoraNetwork) -> dict[str, Any]:
    roles = Counter(name.split(".", 1)[0] for name in network.layers)
    return {
        "layers": ", ".join(f"{count} of the {_TITLES[role]}" for role, count in roles.items()),
        "kinds": tuple(sorted(network.kinds)),
        "rank": _range([layer.rank for layer in network.layers.values()]),
        "alpha": _range([layer.alpha for layer in network.layers.values()]),
        "layers without a place": network.strangers[:5],
    }


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
